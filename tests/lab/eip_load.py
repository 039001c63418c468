"""Clients of EIPs while something happens to them: new connections every 10 ms, and such as stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from anycastd.lab.inside import NodeProcess
from tests.lab.clients import Client, running
from tests.lab.eip_stage import MODES, USER, Answers, Stage
from tests.lab.measured import Row
from tests.lab.topology_facts import longest_gap_s

EVERY_MS = 10
BUSY = 3
"""How much slower than the machine for which a bound was found a machine may be; what was measured is told."""


@dataclass
class Load:
    """What clients saw while something happened: new connections every 10 ms, and those that stand."""

    fresh: Answers = field(default_factory=lambda: Answers(()))
    kept: Answers = field(default_factory=lambda: Answers(()))
    clients: list[Client] = field(default_factory=list)

    def felt(self) -> None:
        """Wait until a client on new connections has felt what was done."""
        self.clients[0].felt()

    def more(self, count: int = 60) -> None:
        """Wait until the clients have got so many good answers of each address from now on, and none bad."""
        self.clients[0].more(count)
        for client in self.clients[1:]:
            client.more(5)

    def gap_ms(self, address: str) -> float:
        """Return the longest time between two good answers of new connections."""
        rows = self.fresh.of(address).rows
        return longest_gap_s(rows, rows[0].sent_s, rows[-1].sent_s) * 1000

    def lost(self, address: str) -> int:
        """Return how many requests on new connections were not answered."""
        return sum(not one.ok for one in self.fresh.of(address).rows)


@contextmanager
def loaded(stage: Stage, fresh: list[str], kept: list[str], patience_ms: int = 400) -> Iterator[Load]:
    """Keep clients busy until the block ends; what they saw is there then.

    `patience_ms` is how long one waits on a new connection: less than TCP takes to send a lost first packet again,
    where losses are to be counted.
    """
    load = Load()
    wanted = [
        (name, addresses, how)
        for name, addresses, how in (
            ("fresh", fresh, ("--every-ms", str(EVERY_MS), "--timeout-ms", str(patience_ms))),
            ("kept", kept, ("--keep", "--every-ms", str(EVERY_MS * len(kept)), "--timeout-ms", "6000")),
        )
        if addresses
    ]
    with running(stage.lab, [(USER, how, addresses) for _, addresses, how in wanted]) as clients:
        load.clients = clients
        yield load
    for (name, _, _), client in zip(wanted, clients, strict=True):
        setattr(load, name, Answers(client.rows))


def each_mode(stage: Stage, *versions: int) -> list[str]:
    """Return an EIP of each mode and family, all bound to eu/b1 only."""
    return [stage.bound(version, "eu/b1", mode=mode) for version in versions for mode in MODES]


def row(load: Load, address: str, fault: str, changed: str, after_ms: float | None = None) -> Row:
    """Return what was measured at one EIP."""
    asked = len(load.fresh.of(address).rows)
    return Row(fault, changed, after_ms, load.gap_ms(address), load.lost(address), asked)


def dripping(stage: Stage, *addresses: str, until: int) -> NodeProcess:
    """Start connections that send all the time, until so many have ended; they stand when this returns."""
    words = ("python3", "-S", "/lab/drip.py", "--seconds", "25", "--until", str(until), *addresses)
    one = stage.lab.popen(USER, *words)
    assert one.stdout is not None
    if (said := one.stdout.readline()) != "ready\n":
        pytest.fail(said + one.communicate(timeout=30)[0])
    return one
