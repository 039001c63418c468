"""Files of state that another release wrote: an older one's are read, and a newer one's as far as they are understood.

What is in `older/` was written by the first release of this repository that had the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anycastd.attack.playbook import Doing
from anycastd.attack.standby import Stage
from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory, Penalty
from anycastd.model.filters import Blackhole, FlowRule
from anycastd.model.operator import Drain, DrainPhase, DrainScope, OverrideKind
from anycastd.model.status import Alarm
from anycastd.resources import codec
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kept import filters_file, memory_file, orders_file, spread_file
from anycastd.runtime.kept.memories import MEMORIES, Memories
from anycastd.runtime.kept.memory_file import Clocks
from anycastd.runtime.orders.desk import ORDERS
from tests.unit.runtime.order_world import order_desk

OLDER = Path(__file__).parent / "older"
A: Prefix = ip_network("203.0.113.0/24")
B: Prefix = ip_network("2001:db8:113::/48")
NOW = Clocks("11111111-2222-3333-4444-555555555555", 5100.0, 1_790_000_100.0)
Change = Callable[[dict[str, Any]], object]


def older(name: str) -> str:
    return (OLDER / name).read_text(encoding="utf-8")


def test_what_the_first_releases_wrote_is_read() -> None:
    lasting = {"level": Level.DEPREF, "level_since_s": 4000.0, "was_announced": True, "bad_since_s": 4001.0}
    told = Memory(**lasting, relapses=2, last_relapse_s=3999.0, epoch=7, penalty=Penalty(500.0, 1500.0, 4003.0))  # type: ignore[arg-type]
    assert memory_file.decode(older("memory.json"), NOW) == {A: told, B: Memory()}
    orders = orders_file.decode(older("orders.json"), NOW)
    by = {"owner": "ops", "began_s": 4000.0}
    drain = Drain(id="drain-1", scope=DrainScope.TUNNEL, name="sin-a", reason="cable", phase_since_s=4100.0, **by)  # type: ignore[arg-type]
    assert orders.drains == (replace(drain, phase=DrainPhase.DEPREF),)
    (override,) = orders.overrides
    assert (override.kind, override.level, override.expires_s) == (OverrideKind.PREFIX, Level.DEPREF, 9000.0)
    hole, rule = filters_file.decode(older("filters.json"), NOW).standing
    assert isinstance(hole, Blackhole)
    assert isinstance(rule, FlowRule)
    assert (hole.address, hole.expires_s) == (ip_address("203.0.113.10"), 9000.0)
    assert (rule.match.protocols, rule.match.destination_ports, rule.rate_bytes_s) == ((17,), ((53, 53),), 10_000)
    spread = spread_file.decode(older("spread.json"), NOW)
    run = spread.runs["relieve", A]
    assert (run.taken[0].at_s, run.approved, run.doing) == (4000.0, 1, Doing.VERIFYING)
    assert (spread.standbys[B].stage, spread.standbys[B].by) == (Stage.JOINED, ("sin",))
    eip = codec.decode_eip(older("eip.json"))
    assert eip.binding is not None
    assert [(one.backend, one.weight, one.priority) for one in eip.binding.targets] == [
        ("sin-web-1", 3, 1),
        ("fra-web-1", 1, 2),
    ]
    assert (eip.bandwidth.in_bps, eip.generation, eip.description) == (10_000_000, 4, "shop")


def edited(name: str, change: Change) -> str:
    document = json.loads(older(name))
    change(document)
    return json.dumps(document)


DECODE: dict[str, Callable[[str], object]] = {
    "orders.json": lambda text: orders_file.decode(text, NOW),
    "filters.json": lambda text: filters_file.decode(text, NOW),
    "spread.json": lambda text: spread_file.decode(text, NOW),
}
PLACES: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "quorum": ("orders.json", lambda d: d),
    "clocks.quorum": ("orders.json", lambda d: d["clocks"]),
    "drain-1.quorum": ("orders.json", lambda d: d["drains"][0]),
    "override-1.quorum": ("orders.json", lambda d: d["overrides"][0]),
    "blackhole-1.quorum": ("filters.json", lambda d: d["filters"][0]),
    "flow-1.quorum": ("filters.json", lambda d: d["filters"][1]),
    "flow-1.match.quorum": ("filters.json", lambda d: d["filters"][1]["match"]),
    "run.quorum": ("spread.json", lambda d: d["runs"][0]["run"]),
    r"run.taken\[0\].quorum": ("spread.json", lambda d: d["runs"][0]["run"]["taken"][0]),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_field_of_a_newer_release_that_says_nothing_is_in_no_way(place: str) -> None:
    name, find = PLACES[place]
    said_nothing: tuple[Any, ...] = (None, False, 0, 0.0, "", [], {})
    for nothing in said_nothing:
        text = edited(name, lambda document, value=nothing: find(document).update(quorum=value))  # type: ignore[misc]
        assert DECODE[name](text) == DECODE[name](older(name))


@pytest.mark.parametrize("place", PLACES)
def test_one_that_says_something_is_not_understood_and_named(place: str) -> None:
    """A flow rule without one of its terms would drop what it was not made for."""
    name, find = PLACES[place]
    for something in (True, 3, "fra", ["fra"], {"of": 2}):
        text = edited(name, lambda document, value=something: find(document).update(quorum=value))  # type: ignore[misc]
        with pytest.raises(ValueError, match=f"{place}: there is no such field in this release"):
            DECODE[name](text)


def test_what_a_newer_release_remembers_besides_is_passed_over() -> None:
    def change(document: dict[str, Any]) -> None:
        document["prefixes"][str(A)] |= {"trusted_since_s": 4004.0}
        document["prefixes"][str(A)]["penalty"] |= {"softer": 3.0}

    assert memory_file.decode(edited("memory.json", change), NOW) == memory_file.decode(older("memory.json"), NOW)


@pytest.mark.parametrize("text", [older("memory.json").replace('"format": 1', '"format": 2'), "{"], ids=["2", "torn"])
async def test_a_memory_that_is_not_understood_is_kept_beside_the_new_one(tmp_path: Path, text: str) -> None:
    """What an older release or a damaged disk makes unreadable is there for who goes forward again, or looks."""
    path = tmp_path / MEMORIES
    path.write_text(text)
    reported = Reported()
    memories = Memories(str(tmp_path), reported)
    assert memories.loaded == {}
    assert (Alarm.STATE_NOT_SAVED, str(path)) in reported.details
    for epoch in (1, 2):
        await memories.save({A: Memory(epoch=epoch)})
    memories.close()
    assert (tmp_path / f"{MEMORIES}.unread").read_text() == text
    assert {prefix: one.epoch for prefix, one in memory_file.load(path)[0].items()} == {A: 2}


async def test_orders_of_a_newer_release_hold_what_is_announced_and_are_left_as_they_are(tmp_path: Path) -> None:
    text = edited("orders.json", lambda document: document["drains"][0].update(quorum=2))
    (tmp_path / ORDERS).write_text(text)
    desk, _ = order_desk(tmp_path)
    assert "drain-1.quorum" in desk.orders.hold
    for _ in range(2):
        await desk.look()
    await desk.close()
    assert (tmp_path / ORDERS).read_text() == text


def test_a_field_that_is_added_says_nothing_until_it_is_used() -> None:
    """Else a roll back by one release would freeze every POP that has an order."""
    written = {
        "orders.json": orders_file.encode(orders_file.decode(older("orders.json"), NOW), NOW),
        "filters.json": filters_file.encode(filters_file.decode(older("filters.json"), NOW), NOW),
        "spread.json": spread_file.encode(spread_file.decode(older("spread.json"), NOW), NOW),
    }
    for place, (name, find) in PLACES.items():
        before, now = find(json.loads(older(name))), find(json.loads(written[name]))
        assert {name for name in now.keys() - before.keys() if now[name]} == set(), place
