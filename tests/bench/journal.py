"""What the journal costs the event loop: 8,000 decisions at once, on a real file, and how long a turn of the loop lasts
while a thread writes them. Without the journal the same loop is the baseline.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from anycastd.model.journal import EntryKind
from anycastd.model.topology import JournalConfig
from anycastd.policy.snapshot import Snapshot
from anycastd.runtime.app import GIL_S
from tests.bench.figures import Figure, percentile
from tests.unit.journal_world import Running, made, running, until

STORM = 8000
TURN_S = 0.002
NOTE_BUDGET_US, LAG_BUDGET_MS = 10.0, 5.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one storm: seconds in the loop for all, seconds until all were in the file, and how late turns were."""

    noted_s: float
    written_s: float
    late_s: list[float]
    size_bytes: int


async def _late(seconds: float | None, world: Running | None) -> list[float]:
    """Return how much later than asked the loop came back, for some time or until the journal has written."""
    late, end_s = [], time.perf_counter() + (seconds or 60.0)
    while time.perf_counter() < end_s and (world is None or world.journal.unwritten):
        begun_s = time.perf_counter()
        await asyncio.sleep(TURN_S)
        late.append(time.perf_counter() - begun_s - TURN_S)
    return late


async def _storm(directory: Path, snapshots: list[Snapshot]) -> Cost:
    async with running(directory, JournalConfig()) as world:
        journal = world.journal
        await until("the file is open", lambda: journal.opened)
        begun_s = time.perf_counter()
        for snapshot in snapshots:
            decision = snapshot.decision
            journal.note(
                EntryKind.DECISION,
                str(decision.prefix),
                before="NORMAL",
                after=decision.level.name,
                reason=decision.reason.value,
                hold=decision.hold.value if decision.hold else "",
                detail=decision.detail,
                snapshot=snapshot,
            )
        noted_s = time.perf_counter() - begun_s
        late_s = await _late(None, world)
        written_s = time.perf_counter() - begun_s
        return Cost(noted_s, written_s, late_s, journal.facts().size_bytes or 0)


def run() -> list[Figure]:
    """Return the figures; the best of three storms, since the machine is not quiet."""
    sys.setswitchinterval(GIL_S)
    snapshots = [made(ip_network((0x0A000000 + (number << 8), 24))) for number in range(STORM)]
    costs = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as directory:
            costs.append(asyncio.run(_storm(Path(directory), snapshots)))
    alone_ms = percentile(asyncio.run(_late(2.0, None)), 0.99) * 1000
    note_us = min(cost.noted_s for cost in costs) / STORM * 1e6
    written_s, late_ms = min(cost.written_s for cost in costs), min(percentile(c.late_s, 0.99) for c in costs) * 1000
    return [
        Figure(
            "one decision journalled: the event loop's time",
            f"{note_us:.1f} us",
            budget=f"<= {NOTE_BUDGET_US:.0f} us",
            missed=f"It took {note_us:.1f} us." if note_us > NOTE_BUDGET_US else "",
        ),
        Figure(
            f"{STORM} decisions at once: in the file, synced",
            f"{written_s:.1f} s ({STORM / written_s:.0f} a second, {costs[0].size_bytes / STORM / 1024:.1f} KiB each)",
        ),
        Figure(
            "a turn of the loop meanwhile: late, p99",
            f"{late_ms:.1f} ms",
            f"{alone_ms:.1f} ms (no journal)",
            budget=f"<= {LAG_BUDGET_MS:.0f} ms over the baseline",
            missed=f"It was {late_ms:.1f} ms." if late_ms > alone_ms + LAG_BUDGET_MS else "",
        ),
    ]


if __name__ == "__main__":
    for figure in run():
        print(
            f"{figure.name}: {figure.measured}; baseline {figure.baseline or 'none'}; budget {figure.budget or 'none'}"
        )
