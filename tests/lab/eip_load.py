"""Clients of EIPs while something happens to them: new connections every 10 ms, and such as stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from anycastd.lab.inside import NodeProcess
from tests.lab.eip_stage import MODES, USER, Answers, Stage
from tests.lab.measured import Row
from tests.lab.topology_facts import CLIENT, answers, longest_gap_s
from tests.wait import wait_until

EVERY_MS, FOREVER_S = 10, 300


@dataclass
class Load:
    """What clients saw while something happened: new connections every 10 ms, and those that stand."""

    fresh: Answers = field(default_factory=lambda: Answers(()))
    kept: Answers = field(default_factory=lambda: Answers(()))

    def gap_ms(self, address: str) -> float:
        """Return the longest time between two good answers of new connections."""
        rows = self.fresh.of(address).rows
        return longest_gap_s(rows, rows[0].sent_s, rows[-1].sent_s) * 1000

    def lost(self, address: str) -> int:
        """Return how many requests on new connections were not answered."""
        return sum(not one.ok for one in self.fresh.of(address).rows)


@contextmanager
def loaded(
    stage: Stage, fresh: list[str], kept: list[str], seconds: float | None, patience_ms: int = 400
) -> Iterator[Load]:
    """Keep clients busy; what they saw is there when the block ends.

    `patience_ms` is how long one waits on a new connection: less than TCP takes to send a lost first packet again,
    where losses are to be counted. `seconds` None: until the block ends.
    """
    load = Load()
    with ExitStack() as stack:
        running = {}
        for name, addresses, how in (
            ("fresh", fresh, ("--every-ms", str(EVERY_MS), "--timeout-ms", str(patience_ms))),
            ("kept", kept, ("--keep", "--every-ms", str(EVERY_MS * len(kept)), "--timeout-ms", "6000")),
        ):
            if addresses:
                # a pipe that nobody empties would stop the client
                said = stack.enter_context(NamedTemporaryFile("w+", encoding="utf-8"))
                words = (*CLIENT, "--seconds", str(seconds or FOREVER_S), *how, *addresses)
                running[name] = stage.lab.popen(USER, *words, stdout=said.file), Path(said.name)
        for _, path in running.values():
            wait_until("all goes well before anything happens", 5, partial(is_well, path))
        try:
            yield load
        finally:
            for name, (process, path) in running.items():
                if seconds is None:
                    process.terminate()
                process.wait(60)
                setattr(load, name, Answers(answers(path.read_text(encoding="utf-8"))))


def is_well(path: Path) -> bool:
    """Return whether a client has got an answer, and no failure."""
    text = path.read_text(encoding="utf-8")
    assert '"ok": false' not in text
    return '"ok": true' in text


def each_mode(stage: Stage, *versions: int) -> list[str]:
    """Return an EIP of each mode and family, all bound to eu/b1 only."""
    return [stage.bound(version, "eu/b1", mode=mode) for version in versions for mode in MODES]


def row(load: Load, address: str, fault: str, changed: str, after_ms: float | None = None) -> Row:
    """Return what was measured at one EIP."""
    asked = len(load.fresh.of(address).rows)
    return Row(fault, changed, after_ms, load.gap_ms(address), load.lost(address), asked)


def dripping(stage: Stage, *addresses: str, seconds: float) -> NodeProcess:
    """Start connections that send all the time; they stand when this returns."""
    words = ("python3", "-S", "/lab/drip.py", "--seconds", str(seconds), *addresses)
    one = stage.lab.popen(USER, *words)
    assert one.stdout is not None
    if (said := one.stdout.readline()) != "ready\n":
        pytest.fail(said + one.communicate(timeout=30)[0])
    return one
