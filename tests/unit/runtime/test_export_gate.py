"""S11: whatever is wanted, a route that the file does not allow never leaves, and what is in order always does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from anycastd.actuators.exabgp.speaker import Speaker as ExaBgp
from anycastd.model.address import Family, NeighborName, Prefix
from anycastd.model.bgp import Announce, BgpAction, DeadManStage, EndOfRib, Route, Withdraw
from anycastd.model.decision import Level
from anycastd.model.export import ExportRefusal
from anycastd.model.fleet_config import FleetConfig, FleetPop
from anycastd.model.status import Alarm
from anycastd.model.topology import Config, Export, Role
from anycastd.policy.desired import route_for
from anycastd.runtime.alarms import Reported
from anycastd.runtime.bgp.export_gate import ExportGate
from tests.unit import status_builder
from tests.unit.runtime.world import UP, A, B, Speaker, World, config

IBGP = NeighborName("core")
NARROW, WIDE = ip_network("203.0.113.0/25"), ip_network("203.0.112.0/23")


def two() -> Config:
    """Return a POP with an eBGP neighbor that has both prefixes and an iBGP one that has B."""
    base = config()
    inside = replace(base.neighbors[UP], name=IBGP, address=ip_address("192.0.2.9"), asn=64500)
    specs = {**base.prefixes, B: replace(base.prefixes[B], neighbors=(UP, IBGP))}
    return replace(base, neighbors={**base.neighbors, IBGP: inside}, prefixes=specs)


def good(name: NeighborName, prefix: Prefix, its_config: Config) -> Route:
    route = route_for(its_config.neighbors[name], its_config.prefixes[prefix], Level.NORMAL)
    assert route is not None
    return route


def gate_of(its_config: Config) -> tuple[ExportGate, Reported, Counter[ExportRefusal]]:
    reported, counted = Reported(), Counter[ExportRefusal]()
    return ExportGate(its_config, reported, lambda why: counted.update([why])), reported, counted


@pytest.mark.parametrize("level", [Level.NORMAL, Level.DEPREF, Level.GSHUT])
def test_what_policy_makes_passes_at_every_level_to_every_kind_of_neighbor(level: Level) -> None:
    built = status_builder.serving().config
    for its_config in (two(), built):
        gate, reported, counted = gate_of(its_config)
        for spec in its_config.prefixes.values():
            for name in spec.neighbors:
                route = route_for(its_config.neighbors[name], spec, level)
                assert route is not None
                assert gate.may_leave(Announce(name, route))
        assert (reported.details, counted) == ({}, {})


@pytest.mark.parametrize(
    ("neighbor", "change", "why"),
    [
        (NeighborName("stranger"), {}, ExportRefusal.NEIGHBOR_UNKNOWN),
        (UP, {"prefix": ip_network("0.0.0.0/0")}, ExportRefusal.PREFIX_NOT_CONFIGURED),
        (UP, {"prefix": NARROW}, ExportRefusal.PREFIX_NOT_CONFIGURED),
        (UP, {"prefix": WIDE}, ExportRefusal.PREFIX_NOT_CONFIGURED),
        (UP, {"prefix": ip_network("2001:db8::/48")}, ExportRefusal.PREFIX_NOT_CONFIGURED),
        (IBGP, {"as_path": ()}, ExportRefusal.PREFIX_NOT_FOR_NEIGHBOR),
        (UP, {"as_path": (64500, 64999)}, ExportRefusal.FOREIGN_ORIGIN),
        (UP, {"as_path": (64999, 64500)}, ExportRefusal.FOREIGN_ORIGIN),
        (UP, {"as_path": ()}, ExportRefusal.FOREIGN_ORIGIN),
        (UP, {"next_hop": "192.0.2.1"}, ExportRefusal.FOREIGN_NEXT_HOP),
        (UP, {"next_hop": "198.51.100.7"}, ExportRefusal.FOREIGN_NEXT_HOP),
    ],
)
def test_a_wrong_route_does_not_leave_and_says_which_rule(
    neighbor: NeighborName, change: dict[str, object], why: ExportRefusal
) -> None:
    its_config = two()
    gate, reported, counted = gate_of(its_config)
    wrong = replace(good(UP, A, its_config), **change)  # type: ignore[arg-type]
    assert not gate.may_leave(Announce(neighbor, wrong))
    assert counted == {why: 1}
    assert f"{wrong.prefix} is not sent: {why.value}" == reported.details[Alarm.EXPORT_REFUSED, neighbor]
    # what takes routes away is never kept back
    assert gate.may_leave(Withdraw(neighbor, wrong.prefix, "192.0.2.2"))
    assert gate.may_leave(EndOfRib(neighbor, Family.IPV4_UNICAST))
    assert reported.details == {}


def test_an_observer_gets_our_own_beacon_and_nothing_else_and_nobody_else_gets_it() -> None:
    base = two()
    peer = replace(base.neighbors[UP], name=NeighborName("rr"), address=ip_address("192.0.2.77"), asn=64500)
    observer = replace(peer, role=Role.OBSERVER)
    own = FleetPop(name="fra", number=1)
    fleet = FleetConfig(own=own, pops={"fra": own}, beacon_networks=(ip_network("10.255.0.0/24"),))
    its_config = replace(base, neighbors={**base.neighbors, observer.name: observer}, fleet=fleet)
    gate, _, counted = gate_of(its_config)
    beacon = Route(ip_network("10.255.0.1/32"), "192.0.2.2", (), local_preference=100, communities=("65535:65281",))
    assert gate.may_leave(Announce(observer.name, beacon))
    others = ("10.255.0.0/24", "0.0.0.0/0", "10.255.0.2/32", "10.255.1.1/32", "fd00::1/128")
    wrong = [replace(beacon, communities=()), *(replace(beacon, prefix=ip_network(text)) for text in others)]
    for route in wrong:
        assert not gate.may_leave(Announce(observer.name, route))
    assert not gate.may_leave(Announce(UP, replace(beacon, as_path=(64500,)))), "an upstream gets prefixes of the file"
    assert not gate.may_leave(Announce(observer.name, replace(beacon, next_hop="192.0.2.1")))
    assert not gate.may_leave(Announce(observer.name, good(IBGP, B, its_config))), (
        "nor an observer a prefix of the file"
    )
    assert counted == {
        ExportRefusal.PREFIX_NOT_CONFIGURED: 7,
        ExportRefusal.FOREIGN_NEXT_HOP: 1,
        ExportRefusal.PREFIX_NOT_FOR_NEIGHBOR: 1,
    }


def test_inside_our_as_nothing_is_in_the_path() -> None:
    its_config = two()
    gate, _, counted = gate_of(its_config)
    route = good(IBGP, B, its_config)
    assert gate.may_leave(Announce(IBGP, route))
    assert not gate.may_leave(Announce(IBGP, replace(route, as_path=(64500,))))
    assert counted == {ExportRefusal.FOREIGN_ORIGIN: 1}


def test_no_more_than_max_prefixes_leave_however_many_the_file_has() -> None:
    base = config()
    its_config = replace(base, neighbors={UP: replace(base.neighbors[UP], max_prefixes=1)})
    gate, reported, counted = gate_of(its_config)
    assert gate.may_leave(Announce(UP, good(UP, A, its_config)))
    assert gate.may_leave(Announce(UP, good(UP, A, its_config)))
    assert not gate.may_leave(Announce(UP, good(UP, B, its_config)))
    assert counted == {ExportRefusal.TOO_MANY_PREFIXES: 1}
    assert gate.may_leave(Withdraw(UP, A, "192.0.2.2"))
    assert gate.may_leave(Announce(UP, good(UP, B, its_config)))
    assert reported.details == {}


def test_a_next_hop_that_the_file_names_is_ours() -> None:
    base = config()
    export = Export(next_hop_ipv4=ip_address("192.0.2.77"))  # type: ignore[arg-type]
    its_config = replace(base, neighbors={UP: replace(base.neighbors[UP], export=export)})
    gate, _, counted = gate_of(its_config)
    assert gate.may_leave(Announce(UP, good(UP, A, its_config)))
    assert counted == {}


def test_the_alarm_goes_with_its_cause() -> None:
    its_config = two()
    gate, reported, _ = gate_of(its_config)
    for prefix in (A, B):
        assert not gate.may_leave(Announce(UP, replace(good(UP, prefix, its_config), next_hop="192.0.2.1")))
    assert reported.details[Alarm.EXPORT_REFUSED, UP].endswith("foreign_next_hop and 1 more")
    assert gate.may_leave(Announce(UP, good(UP, A, its_config)))
    assert reported.details[Alarm.EXPORT_REFUSED, UP] == f"{B} is not sent: foreign_next_hop"
    gate.configure(replace(its_config, prefixes={A: its_config.prefixes[A]}))
    assert reported.details == {}
    assert not gate.may_leave(Announce(UP, good(UP, B, its_config)))


def test_the_dead_man_is_not_given_what_may_not_leave() -> None:
    its_config = two()
    gate, reported, _ = gate_of(its_config)
    route = good(UP, A, its_config)
    wrong: tuple[BgpAction, ...] = (Announce(UP, replace(route, prefix=NARROW)), Withdraw(UP, NARROW, "192.0.2.2"))
    stage = DeadManStage("depref", 30.0, (Announce(UP, route), *wrong))
    assert gate.permitted([stage]) == (replace(stage, actions=(Announce(UP, route), wrong[1])),)
    # it was not said, so it is no alarm
    assert reported.details == {}


class Gated(Speaker):
    """ExaBGP behind the gate, as the real one is."""

    gate: ExportGate

    def apply(self, actions: object, /) -> None:
        super().apply([action for action in actions if self.gate.may_leave(action)])  # type: ignore[attr-defined]


def test_a_loop_that_wants_the_wrong_thing_does_not_get_it_out_and_the_rest_goes_on() -> None:
    its_config = config()
    speaker = Gated()
    speaker.gate, reported, _ = gate_of(its_config)
    bad = replace(its_config.neighbors[UP], local_asn=64999)
    world = World(replace(its_config, neighbors={UP: bad}), speaker=speaker)
    world.answer("")
    assert speaker.observed.routes == {UP: {}}
    assert (Alarm.EXPORT_REFUSED, UP) in reported.details
    world.configure(its_config)
    world.settle()
    assert set((speaker.observed.routes or {})[UP]) == {A, B}
    assert reported.details == {}


async def test_the_real_speaker_asks_before_anything_is_queued() -> None:
    its_config = config()
    gate, _, counted = gate_of(its_config)
    speaker = ExaBgp(
        its_config.bgp, its_config.pop, its_config.neighbors, on_change=lambda _: None, on_event=lambda _: None
    )
    speaker.may_leave = gate.may_leave
    route = good(UP, A, its_config)
    speaker.apply([Announce(UP, replace(route, prefix=NARROW)), Announce(UP, route)])
    assert speaker.observed.in_flight == {(UP, A)}
    assert counted == {ExportRefusal.PREFIX_NOT_CONFIGURED: 1}


def test_what_went_with_its_neighbor_or_with_its_exabgp_takes_no_room_of_what_comes() -> None:
    base = config()
    alone = replace(base.prefixes[A], neighbors=())
    gone = replace(base, neighbors={}, prefixes={A: alone, B: replace(base.prefixes[B], neighbors=())})
    only_b = replace(
        base, neighbors={UP: replace(base.neighbors[UP], max_prefixes=1)}, prefixes={A: alone, B: base.prefixes[B]}
    )
    gate, reported, _ = gate_of(replace(only_b, prefixes={A: base.prefixes[A], B: alone}))
    assert gate.may_leave(Announce(UP, good(UP, A, base)))
    gate.configure(gone)
    gate.configure(only_b)
    assert gate.may_leave(Announce(UP, good(UP, B, only_b))), "nobody has A any more: its session ended with it"
    gate.configure(base)
    gate.configure(replace(base, neighbors=only_b.neighbors))
    gate.begin_anew()
    assert gate.may_leave(Announce(UP, good(UP, A, base))), "another ExaBGP has said nothing yet"
    assert reported.details == {}
