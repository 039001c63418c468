"""A drain past a second real neighbor, and orders that end by themselves: a real daemon, two BGP listeners that stamp.

What is right is told by what each neighbor was sent.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.bench.configs import AT_ONCE, QUICK, document, region, server, toggled
from tests.bench.world import POP_ADDRESS, Program, Row, World, world
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SECOND, SECOND_ASN = "10.9.9.9", 64497
PREFIX = toggled(0)
GRACEFUL_SHUTDOWN = "65535:0"
PACE = {"depref": "500ms", "settled": "500ms", "quiet_for": "200ms", "wait_at_most": "1s"}
NORMAL, DEPREF, GSHUT, ABSENT = "NORMAL", "DEPREF", "GSHUT", "ABSENT"


@dataclass
class Peer:
    """One neighbor: all that it was sent of the prefix, in words."""

    program: Program
    seen: list[str] = field(default_factory=list)

    def look(self) -> list[str]:
        """Take in what is new, and return all."""
        for row in self.program.rows.new():
            if row.get("prefix") == PREFIX:
                self.seen.append(level_of(row))
        return self.seen

    def has(self, level: str) -> bool:
        """Return whether the last word was this."""
        return self.look()[-1:] == [level]


def level_of(row: Row) -> str:
    """Return what a neighbor is told."""
    if row["kind"] == "withdraw":
        return ABSENT
    if GRACEFUL_SHUTDOWN in row.get("communities", ()):
        return GSHUT
    return NORMAL if len(row["as_path"]) == 1 else DEPREF


@dataclass
class Scene:
    """A daemon with two neighbors."""

    made: World
    first: Peer
    second: Peer

    def verb(self, *words: str, status: int = 0) -> str:
        """Run a verb of the command line at the daemon's socket."""
        argv = [sys.executable, "-m", "anycastd", *words, "--socket", str(self.made.directory / "run" / "api.sock")]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def expect(self, first: str, second: str, within_s: float = 10.0) -> None:
        """Wait until each neighbor was last told this."""
        wait_until(f"{first} and {second}", within_s, lambda: self.first.has(first) and self.second.has(second))


@contextmanager
def announced() -> Iterator[Scene]:
    with world(1) as made:
        regions = {"r0": region(0, {"web": {"address": server(0), "checks": [QUICK]}})}
        whole = document(regions, {PREFIX: {"timers": AT_ONCE}})
        second = {"address": SECOND, "asn": SECOND_ASN, "local_address": POP_ADDRESS, "multihop": 3}
        whole["neighbors"]["second"] = {**second, "hold_time": "60s"}
        whole["operator"] = PACE
        made.write_config(whole)
        made.run("ip", "-n", made.far, "addr", "add", f"{SECOND}/32", "dev", "lo")
        made.run("ip", "-n", made.pop, "route", "add", f"{SECOND}/32", "via", "10.9.0.2")
        sinks = (made.sink(), made.sink(SECOND, SECOND_ASN))
        made.backend()
        made.daemon()
        scene = Scene(made, *map(Peer, sinks))
        scene.expect(NORMAL, NORMAL, 30)
        yield scene


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with announced() as one:
        yield one


def test_a_neighbor_is_drained_to_the_end_while_the_other_has_the_prefix_and_hears_nothing(scene: Scene) -> None:
    before = len(scene.second.look())
    told = len(scene.first.look())
    scene.verb("drain", "neighbor", "transit", "--reason", "their maintenance", "--wait")
    scene.expect(ABSENT, NORMAL)
    assert scene.first.look()[told:] == [DEPREF, GSHUT, ABSENT]
    said = scene.verb("drain", "neighbor", "second", "--reason", "theirs too", "--dry-run")
    # without any other, the first would have to come back
    assert "transit DEPREF, second DEPREF" in said, said
    scene.verb("undrain", "neighbor", "transit")
    scene.expect(NORMAL, NORMAL, 20)
    assert len(scene.second.look()) == before, "the other neighbor was told something"


def test_of_two_drained_neighbors_none_leaves_until_one_is_back(scene: Scene) -> None:
    scene.verb("drain", "neighbor", "transit", "--reason", "their maintenance", "--wait")
    scene.verb("drain", "neighbor", "second", "--reason", "theirs too")
    scene.expect(DEPREF, DEPREF)
    drains = scene.verb("drains")
    assert all(f"at {name} stays at DEPREF (only_neighbor)" in drains for name in ("transit", "second")), drains
    scene.verb("undrain", "neighbor", "transit")
    # now it is the other one's turn, without another word
    scene.expect(NORMAL, ABSENT, 20)
    scene.verb("undrain", "neighbor", "second")
    scene.expect(NORMAL, NORMAL, 20)


@pytest.mark.parametrize(
    ("words", "list_"),
    [
        (("drain", "neighbor", "transit", "--reason", "short"), "drains"),
        (("override", "prefix", PREFIX, "--level", "depref", "--reason", "short"), "overrides"),
    ],
    ids=["drain", "override"],
)
def test_an_order_ends_by_itself(scene: Scene, words: tuple[str, ...], list_: str) -> None:
    scene.verb(*words, "--for", "4s")
    wait_until("it is followed", 4, partial(scene.first.has, DEPREF))
    scene.expect(NORMAL, NORMAL, 20)
    body = scene.made.ask("/v1/status")
    assert not json.dumps(body.get(list_, [])).count('"short"')
    assert "short" not in scene.verb("status")
