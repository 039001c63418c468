"""The fleet's records and budget: who may leave by order, and what is made of records that somebody else wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from anycastd.resources.fleet import (
    MAX_NAMED,
    Entry,
    Ledger,
    Member,
    Presence,
    decode_ledger,
    decode_member,
    decode_presence,
    encode_ledger,
    encode_member,
    encode_presence,
)
from anycastd.resources.fleet_budget import FleetSeen, Flights, budget_refusal, most_away

A, B = "203.0.113.0/24", "2001:db8:113::/48"
NAMES = tuple("abcdefgh")


def presence(pop: str, *away: str) -> Presence:
    return Presence(
        pop=pop, version="0.1.0", config="x", at_unix_s=5.0, started_unix_s=1.0, state="serving", away=frozenset(away)
    )


def entry(pop: str) -> Entry:
    return Entry(pop=pop, drain=f"drain-{pop}", owner="ann", reason="line card", forced=False, since_unix_s=10.0)


def fleet(count: int, *, drained: str = "", absent: str = "", away: str = "") -> FleetSeen:
    """Return so many POPs with both prefixes; names are letters."""
    names = NAMES[:count]
    ledger = Ledger()
    for pop in drained:
        ledger = ledger.entered(entry(pop))
    present = {name: presence(name, *((A,) if name in away else ())) for name in names if name not in absent}
    members = {name: Member(pop=name, asn=64500, prefixes=frozenset({A, B})) for name in names}
    return FleetSeen(members, present, ledger, 7)


@pytest.mark.parametrize(("carriers", "most"), [(1, 0), (2, 0), (3, 1), (4, 1), (7, 1), (8, 2), (12, 3)])
def test_a_quarter_may_be_away_and_one_while_two_others_remain(carriers: int, most: int) -> None:
    assert most_away(carriers, 25) == most


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (fleet(3), ""),
        (fleet(3, drained="b"), f"{B}: 3 POPs announce it, 1 may be away at once: b is drained"),
        (fleet(3, absent="c"), f"{B}: 3 POPs announce it, 1 may be away at once: c is not seen by the store"),
        (fleet(3, away="b"), f"{A}: 3 POPs announce it, 1 may be away at once: b does not announce it"),
        (fleet(2), f"{B}: 2 POPs announce it, 0 may be away at once"),
        (fleet(1), f"{B}: 1 POP announces it, 0 may be away at once"),
        (fleet(8, drained="b"), ""),
        (
            fleet(8, drained="b", absent="c"),
            f"{B}: 8 POPs announce it, 2 may be away at once: b is drained; c is",
        ),
        # one that is drained and away is one
        (fleet(8, drained="b", absent="b", away="b"), ""),
        (FleetSeen(unread="/ledger: not a record"), "what the POPs say cannot be read: /ledger: not a record"),
    ],
)
def test_who_may_leave(seen: FleetSeen, why: str) -> None:
    assert budget_refusal("a", seen, 25).startswith(why) and bool(budget_refusal("a", seen, 25)) is bool(why)


def test_a_pop_that_shares_no_prefix_does_not_count() -> None:
    seen = fleet(3, drained="c")
    other = {**seen.members, "c": Member(pop="c", asn=64500, prefixes=frozenset({"198.51.100.0/24"}))}
    assert budget_refusal("a", FleetSeen(other, seen.present, seen.ledger), 25) != ""
    assert "c is drained" not in budget_refusal("a", FleetSeen(other, seen.present, seen.ledger), 25)


def test_moves_are_spaced_by_our_own_clock() -> None:
    flights, seen = Flights(), fleet(8)
    flights.note(seen.ledger, now_s=100.0, wall_s=1_000.0)
    moved = fleet(8, drained="b")
    flights.note(moved.ledger, now_s=200.0, wall_s=99_999_999.0)
    assert "b began to leave 12 s ago" in flights.refusal("a", moved, 60.0, 212.0)
    assert "try again in 48 s" in flights.refusal("a", moved, 60.0, 212.0)
    # it is noted once, however often it is read
    flights.note(moved.ledger, now_s=230.0, wall_s=0.0)
    assert flights.refusal("a", moved, 60.0, 261.0) == ""
    assert flights.refusal("b", moved, 60.0, 212.0) == ""
    back = FleetSeen(moved.members, moved.present, moved.ledger.released("b", 5.0))
    flights.note(back.ledger, now_s=300.0, wall_s=0.0)
    assert "b came back 1 s ago" in flights.refusal("a", back, 60.0, 301.0)


def test_only_of_moves_before_the_first_reading_the_wall_clock_is_asked() -> None:
    moved = fleet(8, drained="b")
    for wall_s, held in ((10.0 + 61.0, False), (10.0 + 5.0, True), (0.0, True)):
        flights = Flights()
        flights.note(moved.ledger, now_s=500.0, wall_s=wall_s)
        assert bool(flights.refusal("a", moved, 60.0, 500.0)) is held


def test_records_come_back_as_they_were() -> None:
    member = Member(pop="fra", asn=64500, prefixes=frozenset({A, B}))
    assert decode_member(encode_member(member)) == member
    assert decode_presence(encode_presence(presence("fra", A))) == presence("fra", A)
    ledger = Ledger().entered(entry("fra")).entered(entry("sin")).released("fra", 20.0)
    assert decode_ledger(encode_ledger(ledger)) == ledger
    assert (ledger.number, set(ledger.entries)) == (3, {"sin"})


def test_a_pop_that_is_away_for_very_many_prefixes_is_away_for_all() -> None:
    many = presence("fra", *(f"10.{number >> 8}.{number & 255}.0/24" for number in range(MAX_NAMED + 1)))
    said = decode_presence(encode_presence(many))
    assert said.away_all and not said.away


def test_what_a_newer_release_says_besides_is_passed_over() -> None:
    body = json.loads(encode_presence(presence("fra"))) | {"mood": "good"}
    assert decode_presence(json.dumps(body)) == presence("fra")


@pytest.mark.parametrize(
    "change",
    [
        {"at_unix_s": "soon"},
        {"at_unix_s": -1},
        {"at_unix_s": 1e300},
        {"health": 7},
        {"health": {"UP": "many"}},
        {"away": [7]},
        {"state": "serving\x1b[2J"},
        {"version": None},
        {"pop": "x" * 1000},
        {"revision": 1e999},
    ],
)
def test_a_forged_presence_is_refused(change: dict[str, object]) -> None:
    body = json.loads(encode_presence(presence("fra"))) | change
    with pytest.raises(ValueError, match=r".+"):
        decode_presence(json.dumps(body))


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{}", '{"entries": [], "moves": {}}', '{"entries": {"a": {}}, "moves": {}}']
)
def test_a_forged_ledger_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_ledger(text)
    with pytest.raises(ValueError, match=r".+"):
        decode_member(text)


def test_a_silent_standby_is_not_away_and_one_that_has_joined_counts() -> None:
    seen = fleet(4, away="d")
    silent = replace(presence("d", A), standby=frozenset({A}))
    assert "d does not announce it" in budget_refusal("a", seen, 25)
    quiet = replace(seen, present={**seen.present, "d": silent})
    assert budget_refusal("a", quiet, 25) == ""
    assert quiet.carriers(A) == {"a", "b", "c"}
    joined = replace(seen, present={**seen.present, "d": replace(silent, away=frozenset())})
    assert joined.carriers(A) == {"a", "b", "c", "d"}


def test_what_spreads_load_goes_through_the_store_and_releases_before_say_nothing_of_it() -> None:
    said = replace(
        presence("a"), capacity_bps=1e10, standby=frozenset({A}), calls=frozenset({B}), sheds=frozenset({A, B}),
        pressed=frozenset({B}),
    )  # fmt: skip
    assert decode_presence(encode_presence(said)) == said
    older = json.loads(encode_presence(said))
    for name in ("capacity_bps", "standby", "calls", "sheds", "pressed"):
        del older[name]
    assert decode_presence(json.dumps(older)) == presence("a")
