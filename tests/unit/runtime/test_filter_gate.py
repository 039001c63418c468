"""S11 for blackholes and flow rules: what leaves is what the file allows, whoever wanted it; and how each looks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from anycastd.model.address import NeighborName
from anycastd.model.bgp import Announce, AnnounceFlow, BgpObserved, DeadManStage, Withdraw, WithdrawFlow
from anycastd.model.decision import Level, Memory
from anycastd.model.export import ExportRefusal
from anycastd.model.filters import Blackhole, Filter, FlowRule
from anycastd.model.topology import Config, Export
from anycastd.policy.filters import blackhole_route, flow_route, takers, wanted_filters
from anycastd.runtime.alarms import Reported
from anycastd.runtime.bgp.export_gate import ExportGate
from anycastd.runtime.loop.takeover import adopted, missing_too_many
from tests.unit.runtime.filter_world import EIP, UDP, with_filter
from tests.unit.runtime.world import UP, A, config

IBGP = NeighborName("core")
HOLE = Blackhole(id="blackhole-1", address=EIP, owner="", reason="", began_s=0.0, expires_s=9.0)
RULE = FlowRule(id="flow-1", match=UDP, owner="", reason="", began_s=0.0, expires_s=9.0)


def two() -> Config:
    """Return a POP with a transit that takes both, with a community of its own, and an iBGP neighbor that does."""
    base = with_filter(max_blackholes=2, max_flow_rules=2)
    transit = replace(base.neighbors[UP], export=Export(communities=("64496:1",), blackhole_communities=("64496:666",)))
    inside = replace(transit, name=IBGP, address=ip_address("192.0.2.9"), asn=64500, export=Export(), flowspec=False)
    return replace(base, neighbors={UP: transit, IBGP: inside})


def gate(its: Config) -> tuple[ExportGate, Counter[ExportRefusal]]:
    counted = Counter[ExportRefusal]()
    return ExportGate(its, Reported(), lambda why: counted.update([why])), counted


def test_a_blackhole_has_its_own_communities_and_none_of_the_prefixes() -> None:
    its = two()
    wanted = wanted_filters(its, [HOLE, RULE])
    out, inside = wanted[UP][ip_network(EIP)], wanted[IBGP][ip_network(EIP)]
    assert out == blackhole_route(its.neighbors[UP], HOLE)
    assert getattr(out, "communities", None) == ("64496:666", "65535:666", "65535:65281")
    assert (getattr(inside, "as_path", None), getattr(inside, "local_preference", None)) == ((), 100)
    assert len(wanted[UP]) == 2
    assert len(wanted[IBGP]) == 1, "it takes no flow rules"
    assert takers(its, replace(HOLE, neighbors=(IBGP,))) == (its.neighbors[IBGP],)
    assert wanted_filters(its, [replace(HOLE, address=ip_address("2001:db8::1"))]) == {UP: {}, IBGP: {}}


@pytest.mark.parametrize("one", [HOLE, RULE], ids=["blackhole", "flow"])
def test_what_policy_makes_passes_and_is_counted_apart_from_prefixes(one: Filter) -> None:
    its = two()
    passes, counted = gate(its)
    made = [blackhole_route(its.neighbors[UP], replace(HOLE, address=EIP + n)) for n in range(3)]
    flows = [flow_route(its.neighbors[UP], replace(RULE, rate_bytes_s=n, match=replace(UDP, source=s)))
             for n, s in enumerate((None, ip_network("10.0.0.0/8"), ip_network("10.1.0.0/16")))]  # fmt: skip
    announced = [Announce(UP, r) for r in made] if one is HOLE else [AnnounceFlow(UP, f) for f in flows]
    assert [passes.may_leave(action) for action in announced] == [True, True, False]
    assert counted == {ExportRefusal.TOO_MANY_FILTERS: 1}
    assert passes.may_leave(announced[0]), "what was told already is not one more"
    gone = Withdraw(UP, made[0].prefix, made[0].next_hop) if one is HOLE else WithdrawFlow(UP, flows[0])
    assert passes.may_leave(gone)
    assert passes.may_leave(announced[2])
    assert passes.permitted([DeadManStage("ended", 0.0, (gone,), 5.0)])[0].actions == (gone,)


def test_what_the_file_does_not_allow_stays() -> None:
    its = two()
    neighbor = its.neighbors[UP]
    good, flow = blackhole_route(neighbor, HOLE), flow_route(neighbor, RULE)
    bare = replace(its, neighbors={UP: replace(neighbor, blackhole=False, flowspec=False)})
    foreign = ip_network("192.0.2.1")
    for its_config, action, why in (
        (bare, Announce(UP, good), ExportRefusal.FILTER_NOT_TAKEN),
        (bare, AnnounceFlow(UP, flow), ExportRefusal.FILTER_NOT_TAKEN),
        (its, Announce(UP, replace(good, communities=("65535:666",))), ExportRefusal.FILTER_NOT_TAKEN),
        (its, Announce(UP, replace(good, prefix=foreign)), ExportRefusal.NOT_OUR_ADDRESS),
        (its, AnnounceFlow(UP, replace(flow, destination=foreign)), ExportRefusal.NOT_OUR_ADDRESS),
        (its, AnnounceFlow(UP, replace(flow, destination=ip_network("203.0.112.0/23"))), ExportRefusal.NOT_OUR_ADDRESS),
        (its, Announce(UP, replace(good, as_path=(64500, 1))), ExportRefusal.FOREIGN_ORIGIN),
        (its, Announce(UP, replace(good, next_hop="192.0.2.77")), ExportRefusal.FOREIGN_NEXT_HOP),
        # a whole prefix with the community is a prefix, and this one is not in the file
        (its, Announce(UP, replace(good, prefix=ip_network("203.0.113.0/25"))), ExportRefusal.PREFIX_NOT_CONFIGURED),
        (its, AnnounceFlow(NeighborName("nobody"), flow), ExportRefusal.NEIGHBOR_UNKNOWN),
        (its, Announce(NeighborName("nobody"), good), ExportRefusal.NEIGHBOR_UNKNOWN),
    ):
        refuses, counted = gate(its_config)
        assert not refuses.may_leave(action)
        assert counted == {why: 1}


def test_a_restarted_daemon_takes_a_blackhole_neither_for_a_prefix_nor_for_a_loss() -> None:
    its = config()
    held = BgpObserved(routes={UP: {}}, filters={UP: {ip_network(EIP): blackhole_route(two().neighbors[UP], HOLE)}})
    assert missing_too_many(its, held) == frozenset()
    assert adopted(its, held, {A: Memory()}, 1.0)[A].level is Level.WITHDRAWN
