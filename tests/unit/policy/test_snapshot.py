"""Decisions kept in full: written, read strictly, and made again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, NewType

import pytest

from anycastd.model.decision import Level, Reason, Truth
from anycastd.model.plain import from_plain, to_plain
from anycastd.policy.snapshot import Snapshot, decode, differences, encode, replay
from tests import replays
from tests.unit.journal_world import made

CASES = sorted(Path(replays.__path__[0]).glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_recorded_decision_comes_out_the_same(path: Path) -> None:
    """Real decisions, written by `anycastd decisions export`. One that is meant to differ now is exported anew."""
    recorded = decode(json.loads(path.read_text(encoding="utf-8")))
    now = replay(recorded)
    assert differences(recorded.decision, now) == ()
    assert now == recorded.decision


def test_there_are_recorded_decisions_of_every_kind() -> None:
    snapshots = [decode(json.loads(path.read_text(encoding="utf-8"))) for path in CASES]
    assert {one.decision.level for one in snapshots} >= {Level.NORMAL, Level.DEPREF, Level.WITHDRAWN}
    assert {one.decision.hold for one in snapshots} >= {None, Reason.SLOW_START, Reason.STATIC_GUARD}
    assert {one.facts.condition for one in snapshots} >= {Truth.TRUE, Truth.FALSE}


def test_a_decision_is_the_same_after_a_way_through_text() -> None:
    snapshot = made()
    assert decode(json.loads(json.dumps(encode(snapshot)))) == snapshot
    assert replay(snapshot) == snapshot.decision
    assert differences(snapshot.decision, snapshot.decision) == ()


def changed(**places: Any) -> dict[str, Any]:
    """Return a written decision with some places changed: `facts__now_s=...`; ... = removed."""
    value: dict[str, Any] = json.loads(json.dumps(encode(made())))
    for place, new in places.items():
        *path, last = place.split("__")
        here = value
        for part in path:
            here = here[part]
        if new is ...:
            del here[last]
        else:
            here[last] = new
    return value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (changed(format=2), "format: 1 is wanted, not 2"),
        (changed(memory=...), "memory: it is missing"),
        (changed(facts__now_s=...), "facts.now_s: it is missing"),
        (changed(facts__now_s="1"), "facts.now_s: a finite number is wanted, not '1'"),
        (changed(facts__now_s=True), "facts.now_s: a finite number is wanted"),
        (changed(facts__now_s=float("nan")), "facts.now_s: a finite number is wanted"),
        (changed(facts__stopping=0), "facts.stopping: bool is wanted, not '0'"),
        (changed(facts__luck=1), "facts.luck: there is no such field"),
        (changed(facts__condition="perhaps"), "facts.condition: one of true, false, unknown is wanted"),
        (changed(facts__spec__prefix="203.0.113.1/24"), "facts.spec.prefix: a prefix is wanted"),
        (changed(facts__spec__timers=[]), "facts.spec.timers: an object is wanted"),
        (changed(facts__spec__neighbors="a"), "facts.spec.neighbors: a list is wanted"),
        (changed(facts__spec__neighbors=["a", 1]), r"facts.spec.neighbors\[1\]: str is wanted"),
        (changed(memory__level="HIGH"), "memory.level: one of WITHDRAWN, GSHUT, DEPREF, NORMAL is wanted"),
        (changed(memory__relapses=1.5), "memory.relapses: int is wanted"),
        (changed(decision__trail=[{"rule": "x"}]), r"decision.trail\[0\].reason: it is missing"),
        ([], "a decision's snapshot is an object"),
    ],
)
def test_what_is_not_a_decision_is_refused_by_its_place(value: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode(value)


def test_a_fact_that_was_not_known_then_has_its_default() -> None:
    """A release that knows of more reads the journals of those before it."""
    older = changed(facts__suspect_detail=..., facts__blackhole_ready=...)
    assert decode(older) == made()


def test_differences_are_told_in_words() -> None:
    then = made().decision
    now = replace(then, level=Level.WITHDRAWN, hold=None, wake_at_s=None, trail=then.trail[:1])
    assert differences(then, now) == (
        "level: DEPREF -> WITHDRAWN",
        "hold: SETTLING -> none",
        "rule settle: DEPREF (settling) a passing fault needs no withdrawal -> silent",
        "wake_at_s: 1002.0 -> none",
    )
    turned = replace(then, trail=then.trail[::-1])
    assert differences(then, turned) == ("the order of rules is another",)


Name = NewType("Name", str)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


@dataclass(frozen=True)
class Leaf:
    name: Name
    at: IPv4Address | IPv6Address | None = None


@dataclass(frozen=True)
class Branch:
    """As rules in rules may come to be: one class or another, and its own kind inside."""

    parts: tuple[Branch | Leaf, ...] = ()
    names: frozenset[Name] = frozenset()
    sizes: dict[Name, Size] | None = None
    colour: Colour = Colour.RED
    only: Leaf | None = None


def test_every_shape_that_a_fact_may_take_comes_back() -> None:
    leaf = Leaf(Name("a"), ip_address("2001:db8::1"))
    value = Branch((Branch((leaf,)), leaf), frozenset({Name("y"), Name("x")}), {Name("n"): Size.SMALL}, only=leaf)
    plain = json.loads(json.dumps(to_plain(value)))
    assert plain["names"] == ["x", "y"]
    assert plain["sizes"] == {"n": "SMALL"}
    assert [part.get("is") for part in plain["parts"]] == [None, "Leaf"], "the first class needs no name"
    assert from_plain(Branch, plain, "x") == value
    with pytest.raises(ValueError, match=r"x.parts\[0\]: an object whose 'is' is one of Branch, Leaf is wanted"):
        from_plain(Branch, {"parts": [{"is": "Root"}]}, "x")


def test_a_class_that_cannot_be_told_from_another_is_refused_when_it_is_met() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: int | str = 1

    with pytest.raises(TypeError, match="cannot be told from another"):
        to_plain(Odd())
    assert Snapshot.__slots__ == ("facts", "memory", "decision")
