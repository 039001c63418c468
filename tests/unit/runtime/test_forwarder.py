"""Both halves of the data plane together: what is ready, what lingers, what is taken over, and when it falls due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from anycastd.model.address import Prefix, RegionName
from anycastd.model.kernel import KernelRoute, MarkRule
from anycastd.model.nft import NftSet
from anycastd.model.probe import Why
from anycastd.model.topology import Condition, Config, PrefixTimers, Scope
from anycastd.policy.desired import blackhole, region_table
from tests.unit.runtime.world import A, B, World, config, eip_of

EU, US = RegionName("eu"), RegionName("us")


def well(its_config: Config | None = None) -> World:
    world = World(its_config)
    world.answer("")
    return world


def holes(world: World) -> set[Prefix]:
    found = world.kernel.observed.routes or frozenset()
    return {route.prefix for route in found if route.key == blackhole(world.control.config, route.prefix).key}


def lose(world: World, what: str) -> None:
    """Take something away that others may take away."""
    routes, rules = world.kernel.observed.routes or frozenset[KernelRoute](), world.kernel.observed.rules
    table = region_table(world.control.config, EU)
    if what == "blackhole":
        routes = frozenset(one for one in routes if one.prefix != A)
    elif what == "best route of eu":
        routes = frozenset(one for one in routes if one.table != table)
    elif what == "best routes":
        routes = frozenset(one for one in routes if one.device is None)
    elif what == "mark rules":
        rules = frozenset(one for one in rules if not isinstance(one, MarkRule))
    elif what == "prefix in the filter":
        world.nft.elements[NftSet.OWN4].pop(A)
    elif what == "rules of the filter":
        world.nft.rules = False
    world.kernel.observed = replace(world.kernel.observed, routes=routes, rules=rules)


@pytest.mark.parametrize(
    ("what", "regions", "ready"),
    [
        ("nothing", (), (True, True)),
        ("blackhole", (), (False, False)),
        ("best route of eu", (), (True, True)),
        ("best route of eu", (EU,), (True, False)),
        ("best route of eu", (US,), (True, True)),
        ("best routes", (), (True, False)),
        ("mark rules", (), (True, False)),
        ("prefix in the filter", (), (True, False)),
        ("rules of the filter", (), (True, False)),
    ],
)
def test_a_prefix_is_ready_when_all_that_carries_it_was_read_back(
    what: str, regions: tuple[RegionName, ...], ready: tuple[bool, bool]
) -> None:
    its_config = config()
    spec = replace(its_config.prefixes[A], announce_when=Condition(scope=Scope.REGIONS, regions=regions))
    world = well(replace(its_config, prefixes={**its_config.prefixes, A: spec}))
    lose(world, what)
    assert world.control.forwarder.ready(A) == ready


def test_a_prefix_that_left_goes_on_with_its_eip_and_then_all_of_it_goes() -> None:
    world = well(config(timers=PrefixTimers(linger_s=60.0)))
    forwarder = world.control.forwarder
    world.configure(config(prefixes=(A,)))
    assert forwarder.next_s() == world.now_s + 60.0
    world.wait(59.0)
    assert world.device_of(B) == "eu-a"
    assert holes(world) == {A, B}
    world.wait(2.0)
    assert holes(world) == {A}
    assert world.nft.elements[NftSet.OWN4].keys() == {A}
    assert eip_of(B) not in world.nft.elements[NftSet.EIP4]
    assert forwarder.next_s() is None


def test_what_lingers_still_follows_health() -> None:
    world = well(config(timers=PrefixTimers(linger_s=60.0)))
    world.configure(config(prefixes=(A,)))
    world.answer("backend/eu", Why.REFUSED)
    assert world.device_of(B) == "us-a"


def test_a_restart_with_a_file_that_lost_a_prefix_goes_on_with_it_for_the_default_time() -> None:
    world = well()
    again = World(config(prefixes=(A,)), speaker=world.speaker, kernel=world.kernel, nft=world.nft, now_s=world.now_s)
    begun_s = again.now_s
    again.answer("")
    assert holes(again) == {A, B}
    assert again.device_of(B) == "eu-a", "its EIP may be of the store, or come back with the file"
    again.wait(begun_s + PrefixTimers().linger_s + 1.0 - again.now_s)
    assert holes(again) == {A}
    assert again.nft.elements[NftSet.OWN4].keys() == {A}
    assert again.control.forwarder.next_s() is None


def test_a_filter_flushed_by_another_program_is_put_back_whole() -> None:
    world = well()
    before = {name: dict(some) for name, some in world.nft.elements.items()}
    for some in world.nft.elements.values():
        some.clear()
    world.nft.resync += 1
    world.control.on_observed(world.now_s)
    assert world.nft.elements == before
    assert world.nft.flushed == []


def test_a_failover_waits_for_neither_half_to_be_told_of_the_other() -> None:
    world = well()
    world.kernel.refuses = True
    world.answer("backend/eu", Why.REFUSED)
    assert world.device_of(A) == "us-a"
    world.kernel.refuses = False
    world.nft.refuses = True
    world.answer("tunnel/us/a", Why.TIMEOUT)
    assert world.device_of(A) == "us-b"


@pytest.mark.parametrize("outer", [True, False])
def test_a_prefix_inside_another_is_carried_by_the_wider_and_stays_when_that_goes(outer: bool) -> None:
    inner = ip_network("203.0.113.0/25")
    world = well(config(prefixes=(A, inner), timers=PrefixTimers(linger_s=60.0)))
    assert world.nft.elements[NftSet.OWN4].keys() == {A}
    assert world.control.forwarder.ready(inner) == (True, True)
    stays = inner if outer else A
    world.configure(config(prefixes=(stays,)))
    world.wait(61.0)
    assert world.nft.elements[NftSet.OWN4].keys() == {stays}
    assert world.control.forwarder.ready(stays) == (True, True)
    assert world.device_of(stays) == "eu-a"


class _Looked(frozenset[KernelRoute]):
    """The kernel's routes, and how often all of them were looked through."""

    looks = 0

    def __iter__(self) -> Iterator[KernelRoute]:
        self.looks += 1
        return super().__iter__()


def test_thousands_of_prefixes_that_leave_together_cost_few_looks_at_the_kernels_routes() -> None:
    """Each was once held against every route: 3.5 s without a check or a failover for 2,000 prefixes (measured)."""
    halves: tuple[Prefix, ...] = tuple(B.subnets(new_prefix=28))
    world = well(config(prefixes=(A, *halves)))
    routes = _Looked(world.kernel.observed.routes or ())
    world.kernel.observed = replace(world.kernel.observed, routes=routes)
    forwarder = world.control.forwarder
    ends_s = dict.fromkeys(halves, 60.0)
    forwarder.configure(config(prefixes=(A,)), world.control.beliefs, ends_s, world.now_s)
    assert routes.looks <= 4 < len(halves)
    assert {route.prefix for route in forwarder.routes.until_s} == set(halves)
