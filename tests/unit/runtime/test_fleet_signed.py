"""Signed beacons from POP to POP by a reflector: a key is given out and nobody is lost, and then no forger is believed.

And replays, and reloads that change the number of parts.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from anycastd.fleet.codec import Kind, read, route_of
from anycastd.model.address import Prefix
from anycastd.model.bgp import Route
from anycastd.model.decision import Level
from anycastd.model.fleet import Claim, NotCounted
from anycastd.model.probe import Why
from anycastd.model.status import Alarm
from anycastd.runtime.fleet.trust import FleetKeyError, read_key
from tests.unit.runtime.fleet_world import POPS, FleetOfPops, Pop, config, line
from tests.unit.runtime.world import A

KEY = "the secret of this fleet and of no other"


@pytest.fixture
def fleet() -> FleetOfPops:
    three = FleetOfPops("fra", "sin", "iad")
    three.serve()
    return three


def give(fleet: FleetOfPops, name: str, file: Path | None, *, accept: bool = False) -> None:
    """Reload a POP with a key."""
    pop = fleet[name]
    now = pop.world.control.config
    assert now.fleet is not None
    new = replace(now, fleet=replace(now.fleet, key_file=None if file is None else str(file), accepts_unsigned=accept))
    pop.link.configure(new)
    pop.world.configure(new)
    fleet.wait(0.5)


def key(directory: Path, text: str = KEY, name: str = "key") -> Path:
    file = directory / name
    file.touch(0o600)
    file.write_text(text)
    return file


def is_signed(pop: Pop) -> bool:
    ((_, route),) = pop.beacon.items()
    return any(int(one.split(":")[2]) >> 28 == Kind.MAC for one in route.large_communities)


def whys(pop: Pop) -> dict[str, NotCounted | None]:
    return {one.name: one.why for one in pop.link.report().pops}


def alarms(pop: Pop) -> set[tuple[Alarm, str]]:
    return {(alarm, subject) for alarm, subject, _ in pop.link.alarms()}


def test_a_key_is_given_to_one_pop_after_another_and_nobody_is_lost(fleet: FleetOfPops, tmp_path: Path) -> None:
    file = key(tmp_path)
    for accept in (True, False):
        for name in fleet.pops:
            give(fleet, name, file, accept=accept)
            fleet.wait(4.0)
            for pop in fleet.pops.values():
                assert set(whys(pop).values()) == {None}
                assert not alarms(pop)
    assert all(map(is_signed, fleet.pops.values()))
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(2.6)
    assert fleet["fra"].level(A) is Level.WITHDRAWN


def test_without_acceptance_who_has_no_key_yet_is_not_counted(fleet: FleetOfPops, tmp_path: Path) -> None:
    give(fleet, "fra", key(tmp_path))
    fleet.wait(3.0)
    assert set(whys(fleet["fra"]).values()) == {NotCounted.UNREADABLE}
    assert set(whys(fleet["sin"]).values()) == {None}
    assert alarms(fleet["fra"]) == {(Alarm.BEACON_REFUSED, "sin"), (Alarm.BEACON_REFUSED, "iad")}
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    fleet.wait(4.0)
    assert fleet["fra"].level(A) is Level.DEPREF


def forged(pop: Pop, victim: Pop) -> tuple[Prefix, Route]:
    """Return what would make `victim` leave: the newest of a POP, NORMAL, with the victim's epoch, sealed, unsigned."""
    ((prefix, route),) = pop.beacon.items()
    head = pop.link.parts[-1]
    said = {name: replace(one, claim=Claim.NORMAL) for name, one in head.said.items()}
    part = replace(head, seq=head.seq + 50, said=said, echoes={**head.echoes, 1: victim.link.own.epoch})
    return prefix, replace(route, large_communities=route_of(pop.link.spec, part)[1])


def test_a_forger_who_knows_all_but_the_key_makes_nobody_leave(fleet: FleetOfPops, tmp_path: Path) -> None:
    for name in fleet.pops:
        give(fleet, name, key(tmp_path), accept=True)
    for name in fleet.pops:
        give(fleet, name, key(tmp_path))
    fra, sin = fleet["fra"], fleet["sin"]
    for name in fleet.pops:
        fleet.answer(name, "tunnel/", Why.TIMEOUT)
    fleet.wait(1.0)
    prefix, route = forged(sin, fra)
    ((_, true),) = sin.beacon.items()
    macs = tuple(one for one in true.large_communities if int(one.split(":")[2]) >> 28 == Kind.MAC)
    for communities in (route.large_communities, (*route.large_communities, *macs)):
        fra.link.hear(line(prefix, replace(route, large_communities=communities), **{"originator-id": "192.0.2.2"}))
        assert alarms(fra) == {(Alarm.BEACON_REFUSED, "sin")}
        assert whys(fra)["sin"] is NotCounted.UNREADABLE
        fleet.wait(4.0)
    assert {pop.level(A) for pop in fleet.pops.values()} == {Level.DEPREF}
    assert not alarms(fra), "its next true beacon is heard"


def test_without_a_key_the_same_forger_does(fleet: FleetOfPops) -> None:
    """What the key is for."""
    fra, sin = fleet["fra"], fleet["sin"]
    for name in fleet.pops:
        fleet.answer(name, "tunnel/", Why.TIMEOUT)
    for _ in range(30):
        prefix, route = forged(sin, fra)
        fra.link.hear(line(prefix, route, **{"originator-id": "192.0.2.2"}))
        fra.wait(0.1)
    assert fra.level(A) is Level.WITHDRAWN


def test_a_key_that_is_lost_makes_nobody_counted_and_changes_nothing(fleet: FleetOfPops, tmp_path: Path) -> None:
    file = key(tmp_path)
    file.chmod(0o644)
    with pytest.raises(FleetKeyError, match="can be used by others"):
        read_key(str(file))
    for name in fleet.pops:
        give(fleet, name, file)
    fleet.wait(4.0)
    for pop in fleet.pops.values():
        assert set(whys(pop).values()) == {NotCounted.UNREADABLE}
        assert {alarm for alarm, _ in alarms(pop)} == {Alarm.BEACON_REFUSED}
        assert "chmod 600" in " ".join(detail for _, _, detail in pop.link.alarms())
        assert pop.level(A) is Level.NORMAL
    file.chmod(0o600)
    for name in fleet.pops:
        give(fleet, name, file)
    fleet.wait(4.0)
    assert all(set(whys(pop).values()) == {None} for pop in fleet.pops.values())


def test_a_beacon_that_was_signed_once_is_no_more_than_an_old_one(fleet: FleetOfPops, tmp_path: Path) -> None:
    """Replays of everything that sin said, to fra: sin has left since, and only fra is there."""
    for name in fleet.pops:
        give(fleet, name, key(tmp_path), accept=True)
    past: list[tuple[Prefix, Route]] = []
    for _ in range(10):
        past += sin_says(fleet)
    fleet.answer("sin", "tunnel/", Why.TIMEOUT)
    fleet.wait(3.0)
    assert fleet["sin"].level(A) is Level.WITHDRAWN
    fleet.wait(20.0)
    fra = fleet["fra"]
    fleet.answer("iad", "tunnel/", Why.TIMEOUT)
    fleet.answer("fra", "tunnel/", Why.TIMEOUT)
    for prefix, route in past:
        fra.link.hear(line(prefix, route, **{"originator-id": str(POPS["sin"].router_id)}))
        assert "sin" not in fra.link.report().others[A].present
        assert (Alarm.BEACON_REPLAYED, "sin") in alarms(fra)
        fleet.wait(0.3)
    announcing = {name for name, pop in fleet.pops.items() if pop.level(A) is not Level.WITHDRAWN}
    assert "fra" in announcing


def sin_says(fleet: FleetOfPops) -> list[tuple[Prefix, Route]]:
    fleet.wait(3.0)
    return list(fleet["sin"].beacon.items())


MANY = [ip_network((0xCB000000 + n * 256, 24)) for n in range(200)]


def prefixes(fleet: FleetOfPops, name: str, count: int) -> None:
    """Reload a POP with so many prefixes; those that are new are served at once."""
    pop = fleet[name]
    now = pop.world.control.config
    made = config(name, prefixes=MANY[:count])
    assert made.fleet is not None and now.fleet is not None
    new = replace(made, fleet=replace(made.fleet, beacon_networks=(ip_network("10.255.0.0/20"),)))
    pop.link.configure(new)
    pop.world.configure(new)


@pytest.mark.parametrize(("first", "second"), [(64, 65), (65, 64), (190, 191), (191, 190)])
def test_a_reload_that_changes_the_number_of_parts_shows_no_gap(first: int, second: int) -> None:
    """Others, which may have left because this POP is there, do not come back for a moment."""
    fleet = FleetOfPops("fra", "sin", "iad")
    for name in fleet.pops:
        prefixes(fleet, name, first)
    fleet.serve()
    fleet.wait(1.0)
    stays = MANY[: min(first, second)]
    fra = fleet["fra"]
    assert all(fra.link.others(prefix).present == ("sin", "iad") for prefix in stays)  # type: ignore[union-attr]
    hear, gaps = fra.link.hear, list[str]()

    def watched(said: str) -> None:
        hear(said)
        for prefix in stays[::7]:
            others = fra.link.others(prefix)
            assert others is not None
            if others.present != ("sin", "iad"):
                gaps.append(f"{prefix}: {others.present}")

    fra.link.hear = watched  # type: ignore[method-assign, assignment]
    prefixes(fleet, "sin", second)
    fleet.answer("sin", "")
    fleet.wait(2.0, step_s=0.02)
    assert not gaps, gaps[:3]
    parts = [read(fra.link.spec, prefix, route.large_communities) for prefix, route in fleet["sin"].beacon.items()]
    assert len(parts) == {64: 1, 65: 2, 190: 2, 191: 3}[second]
    assert all(fra.link.others(prefix).present == ("sin", "iad") for prefix in stays)  # type: ignore[union-attr]
