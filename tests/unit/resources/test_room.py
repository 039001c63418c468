"""Whether other POPs could take what one sends away, from what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.model.decision import Truth
from anycastd.model.safety import CapacityConfig, PopCapacity
from anycastd.resources.fleet import Presence
from anycastd.resources.room import forecasts, room

A = "203.0.113.0/24"
SPEC = CapacityConfig()


def said(pop: str, in_bps: float, capacity_bps: float = 10e9) -> Presence:
    return Presence(
        pop=pop, version="0", config="", at_unix_s=0.0, started_unix_s=0.0, state="serving", in_bps=in_bps,
        capacity_bps=capacity_bps,
    )  # fmt: skip


FLEET = {"fra": said("fra", 9e9), "lon": said("lon", 2e9), "sin": said("sin", 5e9)}


@pytest.mark.parametrize(
    ("change", "moved_bps", "truth", "words"),
    [
        ({}, 5e9, Truth.TRUE, "lon, sin could each take 65 % of 5000 Mbit/s"),
        ({}, 6e9, Truth.FALSE, "sin would carry 8900 Mbit/s (now 5000 Mbit/s), 8500 Mbit/s are allowed"),
        ({"sin": replace(FLEET["sin"], away=frozenset({A}))}, 9e9, Truth.TRUE, "lon could each take"),
        ({"sin": replace(FLEET["sin"], drain="DEPREF")}, 9e9, Truth.TRUE, "lon could each take"),
        ({"lon": replace(FLEET["lon"], sheds=frozenset({A}))}, 1e9, Truth.FALSE, "lon has too much of it as well"),
        ({"lon": replace(FLEET["lon"], pressed=frozenset({A}))}, 1e9, Truth.FALSE, "lon has too much of it as well"),
        ({"lon": replace(FLEET["lon"], capacity_bps=0.0)}, 1e9, Truth.UNKNOWN, "lon does not say what it can carry"),
        ({}, None, Truth.UNKNOWN, "what comes in for the prefix was not measured"),
    ],
)
def test_room(change: dict[str, Presence], moved_bps: float | None, truth: Truth, words: str) -> None:
    found, told = room("fra", A, {**FLEET, **change}, SPEC, moved_bps)
    assert found is truth
    assert words in told


def test_without_a_store_nothing_is_known_and_alone_there_is_no_room() -> None:
    assert room("fra", A, None, SPEC, 1e9)[0] is Truth.UNKNOWN
    assert room("fra", A, {}, SPEC, 1e9)[0] is Truth.UNKNOWN
    assert room("fra", A, {"fra": FLEET["fra"]}, SPEC, 1e9) == (Truth.FALSE, "no other POP announces it")


def test_what_the_file_declares_counts_where_a_pop_says_nothing() -> None:
    silent = {**FLEET, "lon": replace(FLEET["lon"], capacity_bps=0.0)}
    declared = replace(SPEC, pops={"lon": PopCapacity(capacity_bps=int(4e9))})
    assert room("fra", A, silent, declared, 1e9)[0] is Truth.TRUE
    assert room("fra", A, silent, declared, 3e9)[0] is Truth.FALSE
    told = [str(one) for one in forecasts("fra", A, silent, declared, 2e9)]
    assert told[0] == "lon would carry up to 3300 Mbit/s (now 2000), 3400 are allowed"
