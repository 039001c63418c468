"""Numbered datagrams to EIPs while something happens: an exact count of what was lost, each way and by when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from anycastd.lab.inside import NodeProcess
from tests.lab.eip_stage import USER, Stage
from tests.wait import wait_until

WORDS = ("python3", "-S", "/lab/numbered.py")
EVERY_MS = 4


@dataclass(frozen=True)
class Flow:
    """What became of the datagrams to one address; times of CLOCK_MONOTONIC."""

    to: str
    sent: int
    lost: list[tuple[int, float]]
    twice: int
    longest_gap_ms: float

    def between(self, begin_s: float, end_s: float) -> tuple[int, float]:
        """Return how many of those sent within a span were lost, and the time from the first of them to the last."""
        times = [at_s for _, at_s in self.lost if begin_s <= at_s < end_s]
        return len(times), (max(times) - min(times)) * 1000 if times else 0.0

    def all_lost(self, begin_s: float, end_s: float) -> int:
        """Return how many were sent within a span, none of which may have come back."""
        numbers = [number for number, at_s in self.lost if begin_s <= at_s < end_s]
        assert numbers, self.sent
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "some came back"
        return len(numbers)


@dataclass
class Numbered:
    """Datagrams that are sent all the time, and what became of them when they have ended."""

    process: NodeProcess
    path: Path
    flows: dict[str, Flow] = field(default_factory=dict)
    unable: int = 0
    """Packets of anybody that this machine threw away because no processor took them in time."""

    def is_ready(self) -> bool:
        """Return whether one of each address has come back."""
        said = self.path.read_text(encoding="utf-8")
        assert "ready" in said, said
        return True

    def back(self) -> int:
        """Return how many have come back so far."""
        words = [line for line in self.path.read_text(encoding="utf-8").splitlines() if line.isdecimal()]
        return int(words[-1]) if words else 0

    def more(self, count: int = 200) -> None:
        """Wait until so many more have come back."""
        begun = self.back()
        wait_until(f"{count} datagrams more", 30, lambda: self.back() >= begun + count)

    def go_on(self, tenths: int = 3) -> None:
        """Wait until more were sent for so many tenths of a second, whether or not any comes back."""

        def lines() -> int:
            return self.path.read_text(encoding="utf-8").count("\n")

        begun = lines()
        wait_until("datagrams are sent", 30, lambda: lines() > begun + tenths)

    def whole(self) -> int:
        """Return how many were sent, all of which must have come back, once.

        But what a machine without a processor to spare says that it threw away itself.
        """
        assert self.flows
        bad = [flow for flow in self.flows.values() if flow.lost or flow.twice]
        wrong = {flow.to: (flow.sent, flow.lost[:5], flow.twice) for flow in bad}
        assert sum(len(flow.lost) for flow in bad) <= self.unable, wrong
        assert not any(flow.twice for flow in bad), wrong
        return sum(flow.sent for flow in self.flows.values())


def thrown_away() -> int:
    """Return how many packets have been dropped because a processor's queue of them was full."""
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


@contextmanager
def numbered(
    stage: Stage, *addresses: str, at: Sequence[str] = ("eu-b1",), every_ms: float = EVERY_MS
) -> Iterator[Numbered]:
    """Send datagrams to EIPs, which backends send back, until the block ends; what became of them is there then."""
    begun = thrown_away()
    with ExitStack() as stack:
        for node in at:
            serve = stage.lab.popen(node, *WORDS, "serve")
            stack.callback(serve.communicate, timeout=20)
            stack.callback(serve.terminate)
            assert serve.stdout is not None
            assert serve.stdout.readline() == "ready\n", node
        said = stack.enter_context(NamedTemporaryFile("w+", encoding="utf-8"))
        process = stage.lab.popen(USER, *WORDS, "run", *addresses, "--every-ms", str(every_ms), stdout=said.file)
        one = Numbered(process, Path(said.name))
        try:
            wait_until("datagrams come back", 15, one.is_ready)
            yield one
        finally:
            process.terminate()
            process.wait(60)
        one.unable = thrown_away() - begun
        rows = [json.loads(line) for line in one.path.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
        one.flows = {row["to"]: Flow(**row | {"lost": [tuple(lost) for lost in row["lost"]]}) for row in rows}
