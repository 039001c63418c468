"""The plane of EIPs: what a step costs, what it says, and which connections end by it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest

from anycastd.model.address import BackendId, Prefix, RegionName, TunnelId
from anycastd.model.decision import TunnelOrder
from anycastd.model.eip import (
    Bandwidth,
    Binding,
    EipStatus,
    EipView,
    FlushConnections,
    Mode,
    Ping,
    Placement,
    PlacementReason,
    Shaping,
    Spread,
    Tracking,
)
from anycastd.model.health import Health
from anycastd.model.nft import DropElement, NftObserved, NftSet, PutElement, Value
from anycastd.model.shaping import Shaped
from anycastd.model.topology import Config, PrefixSpec, ReturnPath
from anycastd.policy import elements, paths, placement
from anycastd.policy.outlook import Outlook
from anycastd.policy.paths import path_of
from anycastd.reconcile import eip_pools
from anycastd.reconcile.eip_plane import EipPlane
from tests.unit.policy.eips import BAD, BLIND, CONFIG, NEW, bound, eip, shares, to, view_of, world
from tests.unit.reconcile.filter import apply, observed, tables, ways

EU, US = RegionName("eu"), RegionName("us")
ONE, TWO = ip_address("203.0.113.1"), ip_address("203.0.113.2")
BOTH = bound("eu/web-1", to("us/web-1", priority=2))
OFF = bound("eu/web-1", drop=True)
S, R = EipStatus, PlacementReason


class Bench:
    """A plane beside a packet filter that does what it says."""

    def __init__(self, config: Config = CONFIG, states: dict[str, Health] | None = None) -> None:
        self.config, self.there, self.now_s = config, tables(), 100.0
        self.plane = EipPlane(config, view_of(states or {}, config=config), self.now_s)

    def settle(self) -> list[str]:
        """Apply all changes; return them in short."""
        changes = self.plane.changes(observed(self.there))
        apply(self.there, changes)
        assert self.plane.changes(observed(self.there)) == ()
        return [f"{'+' if isinstance(one, PutElement) else '-'}{one.set.value}" for one in changes]

    def believe(self, states: dict[str, Health], suspect: bool = False) -> list[tuple[int, int]]:
        health = view_of(states, config=self.config, suspect=suspect)
        moved = self.plane.on_health(health, None, self.now_s)
        return [(one.pool, len(one.addresses)) for one in moved]

    def view(self, last: int = 1) -> EipView:
        found = self.plane.view(ip_address(f"203.0.113.{last}"), observed(self.there))
        assert found is not None
        return found

    def view_pool(self, last: int = 1) -> Value:
        """Return the number of an EIP's pool."""
        return self.plane.wanted[NftSet.EIP4][ip_address(f"203.0.113.{last}")]

    def mark(self, backend: str) -> int:
        path = path_of(self.config, to(backend), 4)
        assert path is not None
        return path.mark


# what an operator does


def test_the_life_of_an_eip() -> None:
    bench = Bench()
    bench.plane.put(eip(1), 1.0)
    assert (bench.view().status, bench.view().reason) == (S.CREATING, R.UNBOUND)
    assert bench.settle() == ["+idle4", "+in4", "+out4", "+own4", "+own6"]
    assert bench.view().status is S.UNBIND
    bench.plane.put(eip(1, BOTH), 2.0)
    assert (bench.view().status, bench.view().reason) == (S.BINDING, R.PREFERRED)
    assert bench.settle() == ["+translated", "+translated", "+nat4", "+nat4", "+pool", "+new4", "+eip4", "-idle4"]
    assert bench.view().status is S.BIND
    bench.plane.put(eip(1), 3.0)
    assert bench.view().status is S.UNBINDING
    bench.settle()
    assert bench.view().status is S.UNBIND
    bench.plane.put(eip(1, BOTH, released_unix_s=9.0), 4.0)
    bench.settle()
    assert (bench.view().status, bench.view().reason) == (S.OFFLINING, R.RELEASED)
    bench.plane.drop(ONE, 5.0)
    assert (bench.view().status, bench.view().reason) == (S.OFFLINING, R.RELEASED)
    assert bench.settle() == ["-idle4", "-in4", "-out4"]
    assert bench.plane.view(ONE, observed(bench.there)) is None
    assert bench.plane.views(observed(bench.there)) == ()


def test_a_change_half_done_is_not_done() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH, bandwidth=Bandwidth(in_bps=8_000_000)), 1.0)
    changes = bench.plane.changes(observed(bench.there))
    for change in changes:
        assert bench.view().status is not S.BIND
        apply(bench.there, (change,))
        if change.set is NftSet.OWN4:
            break
    assert bench.view().status is S.BIND
    bench.plane.put(eip(1, BOTH, bandwidth=Bandwidth(in_bps=16_000_000)), 1.0)
    assert bench.view().status is S.BINDING


@pytest.mark.parametrize("address", ["203.0.113.1", "2001:db8:113::1"])
def test_a_released_eip_is_told_as_gone_only_when_the_kernel_carries_it_no_more(address: str) -> None:
    bench, backend = Bench(), "eu/web-1" if ":" not in address else "eu/six"
    one, released = eip(address, bound(backend)), eip(address, released_unix_s=9.0)

    def status() -> EipStatus:
        view = bench.plane.view(one.address, observed(bench.there))
        assert view is not None
        return view.status

    bench.plane.put(one, 1.0)
    bench.settle()
    bench.plane.put(eip(address), 2.0)
    bench.plane.put(released, 3.0)
    for change in bench.plane.changes(observed(bench.there)):
        sets = elements.SETS[one.address.version]
        is_there = any(one.address in bench.there[name] for name in (sets.eip, sets.new))
        assert status() is (S.UNBINDING if is_there else S.OFFLINING), change
        apply(bench.there, (change,))
    assert (status(), ways(bench.there, one.address)) == (S.OFFLINING, None)
    # one that was dropped while the kernel carries it is not told as gone either
    bench.plane.put(one, 4.0)
    bench.settle()
    bench.plane.drop(one.address, 5.0)
    assert (status(), ways(bench.there, one.address) is None) == (S.UNBINDING, False)
    bench.settle()
    assert bench.plane.view(one.address, observed(bench.there)) is None


@pytest.mark.parametrize("binding", [None, BOTH])
@pytest.mark.parametrize(
    ("before", "gone"),
    [
        ({"bandwidth": Bandwidth(in_bps=8_000_000)}, NftSet.LIMIT_IN4),
        ({"bandwidth": Bandwidth(out_bps=8_000_000)}, NftSet.LIMIT_OUT4),
        ({"bandwidth": Bandwidth(out_bps=8_000_000, shaping=Shaping.HTB)}, NftSet.CLASS4),
        ({"ping": Ping.POP}, NftSet.PONG4),
        ({"tracking": Tracking.STATELESS}, NftSet.FREE4),
    ],
)
def test_what_is_taken_from_an_eip_is_done_only_when_the_kernel_has_it_no_more(
    binding: Binding | None, before: dict[str, Any], gone: NftSet
) -> None:
    bench = Bench()
    bench.plane.put(replace(eip(1, binding), **before), 1.0)
    bench.settle()
    settled = bench.view().status
    bench.plane.put(eip(1, binding), 2.0)
    assert ONE in bench.there[gone]
    assert bench.view().status is (S.CREATING if binding is None else S.BINDING)
    bench.settle()
    assert (bench.view().status, ONE in bench.there[gone]) == (settled, False)


@pytest.mark.parametrize(("before", "after"), [({}, {EU: 50}), ({EU: 50}, {}), ({EU: 50}, {EU: 25})])
def test_it_is_bound_as_told_only_when_its_packets_go_there(
    before: dict[RegionName, int], after: dict[RegionName, int]
) -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.plane.set_dials(before, 1.0)
    bench.settle()
    bench.plane.set_dials(after, 2.0)
    wanted = ways(tables(bench.plane.wanted), ONE)
    told = []
    for change in bench.plane.changes(observed(bench.there)):
        told.append(bench.view().status)
        assert told[-1] is S.BINDING or ways(bench.there, ONE) == wanted, change
        apply(bench.there, (change,))
    assert told[0] is S.BINDING
    assert (bench.view().status, ways(bench.there, ONE)) == (S.BIND, wanted)


def test_an_eip_of_a_prefix_that_the_kernel_does_not_have_yet_is_not_bound() -> None:
    bench = Bench()
    bench.settle()
    spec, address = PrefixSpec(prefix=ip_network("198.51.100.0/24")), ip_address("198.51.100.1")
    bench.plane.configure(replace(CONFIG, prefixes={**CONFIG.prefixes, spec.prefix: spec}), view_of({}), 2.0)
    bench.plane.put(eip("198.51.100.1", BOTH), 2.0)

    def status() -> EipStatus:
        view = bench.plane.view(address, observed(bench.there))
        assert view is not None
        return view.status

    for change in bench.plane.changes(observed(bench.there)):
        apply(bench.there, (change,))
        assert (status() is S.BIND) is (ways(bench.there, address) is not None), change
    assert status() is S.BIND


def test_a_blocked_eip_carries_nothing_and_says_so() -> None:
    bench = Bench()
    bench.plane.put(replace(eip(1, BOTH, blocked=True), blocked_reason="abuse"), 1.0)
    bench.settle()
    assert (bench.view().status, bench.view().reason, bench.view().detail) == (S.UNBIND, R.BLOCKED, "abuse")
    assert ways(bench.there, ONE) is None


def test_an_eip_outside_every_prefix_is_kept_but_not_carried() -> None:
    bench = Bench()
    bench.plane.put(eip("198.51.100.1", BOTH), 1.0)
    bench.settle()
    view = bench.plane.view(ip_address("198.51.100.1"), observed(bench.there))
    assert view is not None
    assert (view.status, view.reason, view.placement) == (S.UNBIND, R.NO_PATH, None)
    assert "in no configured prefix" in view.detail
    spec = PrefixSpec(prefix=ip_network("198.51.100.0/24"))
    config = replace(CONFIG, prefixes={**CONFIG.prefixes, spec.prefix: spec})
    bench.plane.configure(config, view_of({}), 2.0)
    bench.settle()
    assert ways(bench.there, ip_address("198.51.100.1")) is not None


def test_eips_with_the_same_binding_share_a_pool_and_its_elements() -> None:
    bench = Bench()
    several = bound("eu/web-1", "eu/web-2")
    bench.plane.put(eip(1, several), 1.0)
    bench.settle()
    bench.plane.put(eip(2, several), 1.0)
    assert bench.settle() == ["+in4", "+out4", "+new4", "+eip4"]
    bench.plane.put(eip(1), 1.0)
    assert bench.settle() == ["+idle4", "-eip4", "-new4"]
    bench.plane.drop(TWO, 1.0)
    assert bench.settle().count("-slot") == 64
    assert not bench.there[NftSet.NAT4]


def test_putting_the_same_again_costs_nothing() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.settle()
    bench.plane.put(eip(1, BOTH), 2.0)
    bench.plane.put(replace(eip(1, BOTH), generation=7, description="mine"), 3.0)
    assert bench.settle() == []
    assert bench.view().eip.generation == 7


def test_shaped_eips_have_classes_of_their_own() -> None:
    bench = Bench()
    shaped = Bandwidth(out_bps=8_000_000, shaping=Shaping.HTB)
    for last in range(1, 101):
        bench.plane.put(eip(last, BOTH, bandwidth=shaped), 1.0)
    bench.settle()
    minors = bench.plane.minors
    assert len(set(minors.values())) == len(minors) == 100
    assert {one: bench.there[NftSet.CLASS4][one] for one in minors} == minors
    bench.plane.put(eip(1, BOTH), 2.0)
    bench.plane.drop(TWO, 2.0)
    assert bench.plane.minors.keys() == minors.keys() - {ONE, TWO}


def test_what_is_shaped_is_told_with_its_rate_and_counts_each_change() -> None:
    bench = Bench()

    def put(bandwidth: Bandwidth) -> int:
        bench.plane.put(eip(1, BOTH, bandwidth=bandwidth), 1.0)
        return bench.plane.shaped_version

    first = put(Bandwidth(out_bps=8_000_000, shaping=Shaping.HTB))
    assert bench.plane.shaped == {ONE: Shaped(bench.plane.minors[ONE], 8_000_000)}
    assert put(Bandwidth(in_bps=64_000, out_bps=8_000_000, shaping=Shaping.HTB)) == first, "nothing of it changed"
    faster = put(Bandwidth(out_bps=9_000_000, shaping=Shaping.HTB))
    assert (bench.plane.shaped[ONE].out_bps, faster > first) == (9_000_000, True)
    policed = put(Bandwidth(out_bps=9_000_000))
    assert (dict(bench.plane.shaped), policed > faster) == ({}, True)
    again = put(Bandwidth(out_bps=9_000_000, shaping=Shaping.HTB))
    bench.plane.drop(ONE, 2.0)
    assert (dict(bench.plane.shaped), bench.plane.shaped_version > again) == ({}, True)


# what health does


def test_a_failover_rewrites_the_pool_and_no_eip() -> None:
    bench = Bench()
    for last in range(1, 101):
        bench.plane.put(eip(last, BOTH), 1.0)
    bench.settle()
    pool = bench.there[NftSet.EIP4][ONE]
    assert bench.believe({"eu/web-1": BAD}) == [(pool, 100)]
    assert bench.settle() == ["+pool"]
    assert bench.view().reason is R.OTHER_PRIORITY
    assert bench.believe({"eu/web-1": BAD}) == []
    assert bench.believe({}) == [(pool, 100)]


def test_only_pools_that_may_use_the_region_are_looked_at() -> None:
    bench = Bench()
    bench.plane.put(eip(1, bound("eu/web-1")), 1.0)
    bench.plane.put(eip(2, bound("us/web-1")), 1.0)
    assert bench.plane.on_health(view_of({"us": BAD}), frozenset({EU}), 2.0) == ()
    assert [one.addresses for one in bench.plane.on_health(view_of({"us": BAD}), frozenset({US}), 3.0)] == [(TWO,)]


def test_another_latency_places_only_pools_that_choose_between_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[Binding] = []

    def place(outlook: Outlook, binding: Binding, *rest: Any) -> Placement:
        placed.append(binding)
        return placement.place_in(outlook, binding, *rest)

    near, ordered = bound("eu/web-1", "us/web-1"), bound("eu/web-1", "us/web-1", spread=Spread.ORDERED)
    bench = Bench()
    for last, binding in enumerate((near, ordered, bound("eu/web-1"), bound("us/web-1")), 1):
        bench.plane.put(eip(last, binding), 1.0)
    monkeypatch.setattr(eip_pools, "place_in", place)
    bench.plane.on_health(view_of({}, latency_ms={"eu": 10.0, "us": 50.0}), None, 2.0)
    assert placed == [near]
    [moved] = bench.plane.on_health(view_of({}, latency_ms={"eu": 90.0, "us": 50.0}), frozenset({EU}), 3.0)
    assert moved.addresses == (ONE,)
    assert placed == [near, near]
    # a backend of which something else is believed at the same moment is not passed over
    bench.plane.on_health(view_of({"eu/web-1": BAD}, latency_ms={"eu": 10.0, "us": 50.0}), frozenset({EU}), 4.0)
    assert placed[2:] == [near, ordered, bound("eu/web-1")]


def test_without_a_path_by_choice_packets_are_dropped_at_the_eip() -> None:
    bench = Bench()
    bench.plane.put(eip(1, OFF), 1.0)
    bench.settle()
    bench.believe({"eu": BAD})
    assert bench.settle() == ["+dark4", "-pool"]
    assert (bench.view().status, bench.view().reason) == (S.BIND, R.NO_PATH)
    assert ways(bench.there, ONE) is None
    bench.believe({})
    assert bench.settle() == ["+pool", "-dark4"]


def test_a_dial_moves_packets_and_ends_no_connection() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.settle()
    moved = bench.plane.set_dials({EU: 0}, 2.0)
    assert [shares(one.after) for one in moved] == [{"us/web-1": 64}]
    assert bench.settle() == ["+pool"]
    assert bench.plane.take_flushes() == ()
    assert bench.plane.set_dials({EU: 0}, 3.0) == ()
    assert [shares(one.after) for one in bench.plane.set_dials({}, 4.0)] == [{"eu/web-1": 64}]


# which connections end


def test_a_bad_backend_ends_the_connections_of_its_path() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.plane.put(eip(2, bound("us/web-1")), 1.0)
    bench.believe({"eu/web-1": BAD})
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1")),)
    assert bench.plane.take_flushes() == ()
    bench.believe({})
    assert bench.plane.take_flushes() == ()


def test_but_not_those_of_eips_that_stay_there() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.plane.put(eip(2, bound("eu/web-1")), 1.0)
    bench.believe({"eu/web-1": BAD})
    assert bench.view(2).reason is R.FAIL_OPEN
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1"), address=ONE),)


def test_older_connections_end_too_when_the_backend_that_a_dial_left_turns_bad() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.plane.set_dials({EU: 0}, 2.0)
    assert bench.plane.take_flushes() == ()
    bench.believe({"eu/web-1": BAD})
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1")),)


@pytest.mark.parametrize("state", [BLIND, NEW])
def test_what_is_not_known_ends_nothing(state: Health) -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.believe({"eu/web-1": state})
    bench.believe({"eu": BAD, "us": BAD, "ap": BAD}, suspect=True)
    assert bench.plane.take_flushes() == ()


@pytest.mark.parametrize("after", [eip(1), eip(1, BOTH, blocked=True), eip(1, BOTH, released_unix_s=1.0)])
def test_an_eip_that_carries_nothing_any_more_ends_all_its_connections(after: object) -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.plane.put(after, 2.0)  # type: ignore[arg-type]
    assert bench.plane.take_flushes() == (FlushConnections(0, 0, ONE),)
    bench.plane.drop(ONE, 3.0)
    assert bench.plane.take_flushes() == ()


def test_a_removed_eip_ends_all_its_connections() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.plane.drop(ONE, 2.0)
    assert bench.plane.take_flushes() == (FlushConnections(0, 0, ONE),)


def test_a_new_binding_ends_only_connections_to_backends_that_are_not_well() -> None:
    bench = Bench()
    bench.plane.put(eip(1, bound("eu/web-1")), 1.0)
    bench.plane.put(eip(1, bound("eu/web-2")), 2.0)
    bench.plane.put(eip(1, bound(to("eu/web-2", 7), "us/web-1")), 3.0)
    assert bench.plane.take_flushes() == ()
    bench.believe({"eu/web-2": BAD, "us/web-1": BAD})
    assert bench.plane.take_flushes() == ()
    bench.plane.put(eip(1, bound("eu/web-1")), 4.0)
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-2"), address=ONE),)


def test_two_new_bindings_in_a_row_leave_nothing_behind_that_the_next_verdict_stumbles_over() -> None:
    bench = Bench(states={"eu/web-1": BAD})
    bench.plane.put(eip(1, bound("eu/web-1")), 1.0)
    bench.settle()
    bench.plane.put(eip(1, bound("eu/web-1", "us/web-1")), 2.0)
    bench.plane.put(eip(1, bound("us/web-1")), 3.0)
    bench.settle()
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1"), address=ONE),)
    assert bench.believe({"eu/web-1": BAD, "us/web-1": BAD})
    assert bench.plane.take_flushes() == ()


@pytest.mark.parametrize("there", [False, True])
def test_connections_left_by_a_new_binding_end_when_their_backend_turns_bad_if_it_is_still_bound(there: bool) -> None:
    bench = Bench()
    drained = bound(to("eu/web-1", 0), "eu/web-2")
    if there:
        bench.plane.put(eip(3, drained), 1.0)
    bench.plane.put(eip(1, bound("eu/web-1", "eu/web-2")), 1.0)
    bench.plane.put(eip(1, drained), 2.0)
    bench.plane.put(eip(2, bound("us/web-1", to("eu/web-1", priority=2))), 2.0)
    bench.believe({"eu/web-1": BAD})
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1")),)


def test_an_eip_that_is_no_longer_tracked_forgets_what_was() -> None:
    bench = Bench()
    routed = bound(to("eu/web-1", mode=Mode.ROUTED))
    bench.plane.put(eip(1, routed), 1.0)
    bench.plane.put(eip(1, routed, tracking=Tracking.STATELESS), 2.0)
    assert bench.plane.take_flushes() == (FlushConnections(0, 0, ONE),)
    bench.plane.put(eip(1, routed), 3.0)
    assert bench.plane.take_flushes() == ()


# tunnels


def orders(best: str, other: str) -> dict[tuple[RegionName, int], TunnelOrder]:
    return {(EU, 4): TunnelOrder(EU, 4, (TunnelId(best), TunnelId(other)), "", 0.0)}


@pytest.mark.parametrize(("way_back", "ends"), [(ReturnPath.ADDRESS, True), (ReturnPath.GATEWAY, False)])
def test_masquerading_follows_the_best_tunnel(way_back: ReturnPath, ends: bool) -> None:
    config = world(modes={"eu": Mode.MASQUERADE})
    config = replace(config, regions={**config.regions, EU: replace(config.regions[EU], return_path=way_back)})
    bench = Bench(config)
    bench.plane.put(eip(1, bound("eu/web-1", to("us/web-1", mode=Mode.DNAT))), 1.0)
    bench.plane.set_tunnels(orders("eu/a", "eu/b"), 1.0)
    bench.settle()
    mark = bench.mark("eu/web-1")
    assert bench.there[NftSet.HIDE4] == {mark: config.tunnels[TunnelId("eu/a")].local_ipv4}
    bench.plane.set_tunnels(orders("eu/b", "eu/a"), 1.0)
    assert bench.settle() == ["+hide4"]
    assert bench.there[NftSet.HIDE4] == {mark: config.tunnels[TunnelId("eu/b")].local_ipv4}
    assert bench.plane.take_flushes() == ((FlushConnections(mark),) if ends else ())


def test_a_best_tunnel_that_left_the_file_is_not_hidden_behind() -> None:
    config = world(modes={"eu": Mode.MASQUERADE})
    bench = Bench(config)
    bench.plane.put(eip(1, bound("eu/web-1")), 1.0)
    bench.plane.set_tunnels(orders("eu/b", "eu/a"), 1.0)
    bench.settle()
    region = replace(config.regions[EU], tunnels=(TunnelId("eu/a"),))
    bench.plane.configure(replace(config, regions={**config.regions, EU: region}), view_of({}, config=config), 2.0)
    assert bench.settle() == ["+hide4"]
    assert bench.there[NftSet.HIDE4][bench.mark("eu/web-1")] == config.tunnels[TunnelId("eu/a")].local_ipv4
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1")),)


def test_connections_hidden_behind_an_address_that_the_tunnel_lost_end() -> None:
    config = world(modes={"eu": Mode.MASQUERADE})
    bench = Bench(config)
    bench.plane.put(eip(1, bound("eu/web-1", to("us/web-1", mode=Mode.DNAT))), 1.0)
    bench.plane.set_tunnels(orders("eu/a", "eu/b"), 1.0)
    bench.settle()
    bench.plane.take_flushes()
    name = TunnelId("eu/a")
    moved = replace(config.tunnels[name], local_ipv4=IPv4Address("10.255.77.1"))
    after = replace(config, tunnels={**config.tunnels, name: moved})
    bench.plane.configure(after, view_of({}, config=after), 2.0)
    assert bench.settle() == ["+hide4"]
    assert bench.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1")),), "they would hang"
    bench.plane.configure(after, view_of({}, config=after), 3.0)
    assert bench.plane.take_flushes() == ()


# configurations


def test_a_prefix_that_left_the_file_is_carried_for_its_linger_time() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.settle()
    less: dict[Prefix, PrefixSpec] = {net: spec for net, spec in CONFIG.prefixes.items() if net.version == 6}
    bench.plane.configure(replace(CONFIG, prefixes=less), view_of({}), 1000.0)
    assert bench.settle() == []
    assert bench.plane.next_s() == 1300.0
    bench.plane.wake(1299.0)
    assert bench.settle() == []
    bench.plane.configure(CONFIG, view_of({}), 1299.0)
    assert bench.plane.next_s() is None
    bench.plane.configure(replace(CONFIG, prefixes=less), view_of({}), 1000.0)
    bench.plane.wake(1300.0)
    assert bench.plane.next_s() is None
    assert set(bench.settle()) == {"+idle4", "-own4", "-eip4", "-new4", "-pool", "-nat4", "-translated"}
    assert bench.plane.take_flushes() == (FlushConnections(0, 0, ONE),)


def test_a_backend_that_left_the_file_ends_its_connections() -> None:
    bench = Bench()
    several = bound("eu/web-1", "eu/web-2")
    bench.plane.put(eip(1, several), 1.0)
    bench.settle()
    mark = bench.mark("eu/web-1")
    region = replace(CONFIG.regions[EU], backends=tuple(one for one in CONFIG.regions[EU].backends if one[-1] != "1"))
    backends = {id_: one for id_, one in CONFIG.backends.items() if id_ != "eu/web-1"}
    probes = tuple(one for one in CONFIG.probes if one.backend != "eu/web-1")
    bench.config = replace(CONFIG, regions={**CONFIG.regions, EU: region}, backends=backends, probes=probes)
    bench.plane.configure(bench.config, view_of({}, config=bench.config), 2.0)
    assert bench.plane.take_flushes() == (FlushConnections(mark),)
    bench.settle()
    assert mark not in bench.there[NftSet.NAT4]
    assert shares(bench.view().placement) == {"eu/web-2": 64}  # type: ignore[arg-type]
    assert "eu/web-1" in bench.view().detail


def test_also_when_packets_had_left_it_before() -> None:
    bench = Bench()
    bench.plane.put(eip(1, bound("eu/web-1", "us/web-1")), 1.0)
    bench.settle()
    mark = bench.mark("eu/web-1")
    bench.plane.set_dials({EU: 0}, 1.0)
    bench.settle()
    backends = {id_: one for id_, one in CONFIG.backends.items() if id_ != "eu/web-1"}
    region = replace(CONFIG.regions[EU], backends=tuple(one for one in CONFIG.regions[EU].backends if one[-1] != "1"))
    probes = tuple(one for one in CONFIG.probes if one.backend != "eu/web-1")
    bench.config = replace(CONFIG, regions={**CONFIG.regions, EU: region}, backends=backends, probes=probes)
    bench.plane.configure(bench.config, view_of({}, config=bench.config), 2.0)
    assert bench.plane.take_flushes() == (FlushConnections(mark),)


@pytest.mark.parametrize(("mode", "ends"), [(Mode.DNAT, True), (Mode.MASQUERADE, True), (Mode.ROUTED, False)])
def test_a_backend_with_another_address_ends_the_connections_that_were_translated_to_the_old_one(
    mode: Mode, ends: bool
) -> None:
    bench = Bench(world(modes={"eu": mode}))
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.settle()
    mark = bench.mark("eu/web-1")
    name = BackendId("eu/web-1")
    moved = replace(bench.config.backends[name], address=ip_address("10.1.0.99"))
    bench.config = replace(bench.config, backends={**bench.config.backends, name: moved})
    bench.plane.configure(bench.config, view_of({}, config=bench.config), 2.0)
    assert bench.plane.take_flushes() == ((FlushConnections(mark),) if ends else ())


def test_regions_that_change_numbers_end_all_their_connections_also_those_that_packets_had_left() -> None:
    bench = Bench()
    bench.plane.put(eip(1, bound("eu/web-1", "us/web-1")), 1.0)
    bench.settle()
    bench.plane.set_dials({EU: 0}, 1.0)
    bench.settle()
    regions = {**CONFIG.regions}
    numbers = {EU: CONFIG.regions[US].number, US: CONFIG.regions[EU].number}
    regions |= {name: replace(regions[name], number=number) for name, number in numbers.items()}
    bench.config = replace(CONFIG, regions=regions)
    bench.plane.configure(bench.config, view_of({}, config=bench.config), 2.0)
    ended = sorted(numbers.values())
    assert bench.plane.take_flushes() == tuple(FlushConnections(number << 24, 0xFF000000) for number in ended)


# what the kernel shows


def test_nothing_is_done_before_the_first_read_and_then_everything_is_compared() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    assert bench.plane.changes(NftObserved()) == ()
    stray = tables()
    stray[NftSet.IN4][TWO] = None
    assert DropElement(NftSet.IN4, TWO) in bench.plane.changes(observed(stray))


def test_after_the_first_time_only_what_changed_is_looked_at_until_a_reading_was_unexpected() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.settle()
    del bench.there[NftSet.EIP4][ONE]
    assert bench.plane.changes(observed(bench.there)) == ()
    assert bench.plane.changes(observed(bench.there, 1)) == (PutElement(NftSet.EIP4, ONE, bench.view_pool()),)
    del bench.there[NftSet.IN4][ONE]
    assert bench.plane.changes(observed(bench.there, 1)) == (PutElement(NftSet.EIP4, ONE, bench.view_pool()),)


def test_a_restart_goes_on_from_what_the_kernel_shows() -> None:
    """us serves because eu was bad; the daemon after us knows nothing yet and must not try eu first."""
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.believe({"eu": BAD})
    bench.settle()
    unknown = view_of({"eu": NEW, "us": NEW, "ap": NEW})
    plane = EipPlane(CONFIG, unknown, 1.0)
    plane.put(eip(1, BOTH), 1.0)
    assert plane.changes(observed(bench.there)) == ()
    view = plane.view(ONE, observed(bench.there))
    assert view is not None
    assert shares(view.placement) == {"us/web-1": 64}  # type: ignore[arg-type]
    assert [shares(one.after) for one in plane.on_health(view_of({}), None, 2.0)] == [{"eu/web-1": 64}]


def test_a_restart_with_other_tunnels_ends_what_hides_behind_the_old_one() -> None:
    config = world(modes={"eu": Mode.MASQUERADE})
    bench = Bench(config)
    bench.plane.put(eip(1, bound("eu/web-1")), 1.0)
    bench.plane.set_tunnels(orders("eu/a", "eu/b"), 1.0)
    bench.settle()
    after = Bench(config)
    after.there = bench.there
    after.plane.put(eip(1, bound("eu/web-1")), 1.0)
    after.plane.set_tunnels(orders("eu/b", "eu/a"), 1.0)
    assert after.settle() == ["+hide4"]
    assert after.plane.take_flushes() == (FlushConnections(bench.mark("eu/web-1")),)


def test_a_restart_keeps_carrying_prefixes_that_its_file_lost() -> None:
    bench = Bench()
    bench.plane.put(eip(1, BOTH), 1.0)
    bench.settle()
    less = replace(CONFIG, prefixes={})
    plane = EipPlane(less, view_of({}), 1.0)
    plane.put(eip(1, BOTH), 1.0)
    plane.take_over(observed(bench.there), 50.0)
    assert plane.changes(observed(bench.there)) == ()
    assert plane.next_s() == 350.0


# numbers that collide


BACKENDS = ("eu/web-1", "eu/web-2", "us/web-1", "ap/web-1")
ORDERS = ("3b718402a596", "915a0b264837", "b0a182937465", "5b60a1492873", "0123456789ab", "ba9876543210")


@pytest.mark.parametrize(("pools", "paths_in_region"), [(20, 1000), (1000, 5), (20, 5)])
def test_whose_numbers_collide_never_meet(monkeypatch: pytest.MonkeyPatch, pools: int, paths_in_region: int) -> None:
    """With few numbers; no EIP is ever sent to the backend of another, and none is left without a way."""
    monkeypatch.setattr(elements, "POOL_NUMBERS", pools)
    monkeypatch.setattr(paths, "PATH_NUMBERS", paths_in_region)
    bench, mode = Bench(), (Mode.DNAT, Mode.MASQUERADE)
    kinds = [bound(to(BACKENDS[n % 4], n + 1, mode=mode[n % 3 % 2])) for n in range(12)]
    addresses = [ip_address(f"203.0.113.{n + 1}") for n in range(12)]
    reused = False
    for index in (int(digit, 16) for order in ORDERS for digit in order):
        before = tables(bench.there)
        if bench.plane.view(addresses[index], observed(bench.there)) is None:
            bench.plane.put(eip(index + 1, kinds[index]), 1.0)
        else:
            bench.plane.drop(addresses[index], 1.0)
        for change in bench.plane.changes(observed(bench.there)):
            reused = reused or (
                isinstance(change, PutElement)
                and change.set in (NftSet.POOL, NftSet.NAT4)
                and before[change.set].get(change.key) not in (None, change.value)
            )
            apply(bench.there, (change,))
            for n, address in enumerate(addresses):
                found = ways(bench.there, address)
                backend = CONFIG.backends[BackendId(BACKENDS[n % 4])].address
                assert found is None or {way.backend for way in found} == {backend}, change
                assert found is not None or n == index or ways(before, address) is None, change
        assert bench.plane.changes(observed(bench.there)) == ()
    assert reused


def test_one_eip_more_or_less_touches_only_its_own_elements_among_thousands() -> None:
    bench = Bench()
    for low in range(2, 250):
        bench.plane.put(eip(low, bound(to("eu/web-1", low % 200 + 1), "eu/web-2")), 1.0)
    bench.settle()
    bench.plane.put(eip(1, BOTH), 2.0)
    changes = bench.plane.changes(observed(bench.there))
    assert len(changes) <= 9
    assert all(one.key in (ONE, bench.view_pool()) or one.key == bench.mark("us/web-1") for one in changes)
