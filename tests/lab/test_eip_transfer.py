"""Long transfers and packets by number: what crosses a fault is whole, and comes once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest

from anycastd.lab.inside import NodeProcess
from tests.lab.eip_load import each_mode
from tests.lab.eip_stage import BOTH, POP, USER, Stage, wait_whole
from tests.lab.measured import Measured, Row
from tests.lab.topology_facts import PREFIX_A4, heal_tunnels
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

BULK = ("python3", "-S", "/lab/bulk.py")
MORE = 500_000
"""Bytes each way by which a transfer is seen to go on."""


@dataclass
class Transfers:
    """Connections over which both ends send all the time."""

    process: NodeProcess
    path: Path
    addresses: list[str]
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def so_far(self) -> dict[str, tuple[int, int]]:
        """Return the bytes sent and received of each."""
        lines = [line.split() for line in self.path.read_text(encoding="utf-8").splitlines() if line[:1] != "{"]
        return {words[0]: (int(words[1]), int(words[2])) for words in lines if len(words) == 3}

    def more(self, deadline_s: float = 40.0) -> None:
        """Wait until each has carried more, both ways."""
        begun = self.so_far()

        def carried() -> bool:
            now = self.so_far()
            late = {
                to: now[to]
                for to, (sent, received) in begun.items()
                if now[to][0] < sent + MORE or now[to][1] < received + MORE
            }
            assert not late, (late, begun)
            return True

        wait_until("transfers go on", deadline_s, carried)

    def end(self) -> None:
        """Let both ends tell what they have sent and received."""
        self.process.terminate()
        self.process.wait(90)
        rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line[:1] == "{"]
        self.ended = {row["to"]: row for row in rows}


@contextmanager
def transfers(stage: Stage, *addresses: str) -> Iterator[Transfers]:
    """Keep transfers to EIPs of eu/b1 going; each has carried something when it begins."""
    serve = stage.lab.popen("eu-b1", *BULK, "serve")
    try:
        assert serve.stdout is not None
        assert serve.stdout.readline() == "ready\n"
        with NamedTemporaryFile("w+", encoding="utf-8") as said:
            process = stage.lab.popen(USER, *BULK, "run", *addresses, stdout=said.file)
            one = Transfers(process, Path(said.name), list(addresses))
            try:
                wait_until("all transfers have begun", 15, lambda: set(one.so_far()) == set(addresses))
                one.more()
                yield one
            finally:
                one.end()
    finally:
        serve.terminate()
        serve.communicate(timeout=20)


def test_long_transfers_of_all_modes_cross_a_cut_and_a_device_that_goes_down(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    with transfers(stage, *eips) as going:
        cut, _ = stage.world.cut_best(POP, PREFIX_A4)
        going.more()
        # not all that is to be undone: backends would no longer own what is routed to them
        heal_tunnels(stage.lab, POP, cut[-1])
        wait_whole(stage.lab)
        present = wait_until("a device", 5, lambda: stage.world.path_device(POP, PREFIX_A4))
        set_link = partial(stage.lab.exec, POP, "ip", "link", "set", present)
        stage.world.hurt(partial(set_link, "down", check=True), partial(set_link, "up"))
        going.more()
    assert set(going.ended) == set(eips)
    for address, row in going.ended.items():
        assert row["error"] is None, (address, row)
        here, there = row["here"], row["there"]
        for ours, theirs in (("sent", "received"), ("received", "sent")):
            assert (here[ours], here[f"{ours}_hash"]) == (there[theirs], there[f"{theirs}_hash"]), (address, ours)
    gaps_ms = [row["here"]["longest_gap_s"] * 1000 for row in going.ended.values()]
    assert max(gaps_ms) > 300, f"the cut was not felt: {gaps_ms}"
    carried = sum(row["here"]["sent"] + row["here"]["received"] for row in going.ended.values())
    print(f"\n{carried / 1e6:.1f} MB; longest gaps {[round(one) for one in gaps_ms]} ms")
    measured.add(
        Row(
            "EIP: long transfers both ways, tunnel cut, then device down",
            f"{len(eips)} transfers go on, all bytes right",
            None,
            max(gaps_ms),
            0,
            0,
        )
    )
