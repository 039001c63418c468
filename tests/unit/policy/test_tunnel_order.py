"""In which order a region's tunnels carry packets: the best that works, and no other for a trifle."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import RegionName, TunnelId
from anycastd.model.decision import TunnelOrder
from anycastd.model.health import Health
from anycastd.model.kernel import KernelRoute, RouteKind
from anycastd.policy.tunnel_order import order, order_in_kernel
from tests.unit.policy.eips import BAD, BLIND, NEW, POOR, world
from tests.unit.policy.pops import NOW_S, Place, believed

EU, DEFAULT = RegionName("eu"), ip_network("0.0.0.0/0")
CONFIG = world({"eu": Place({"a": "46", "b": "46", "c": "4"}, {"web-1": 4, "six": 6}, tunnel_priority={"c": 2})})


def before(*keys: str) -> TunnelOrder:
    return TunnelOrder(EU, 4, tuple(TunnelId(f"eu/{key}") for key in keys), "", 5.0)


def ordered(
    states: dict[str, Health],
    last: TunnelOrder | None = None,
    latency_ms: dict[str, float] | None = None,
    version: int = 4,
) -> str:
    found = order(CONFIG, EU, version, believed(CONFIG, states, latency_ms=latency_ms), last, NOW_S)
    return "".join(id_[-1] for id_ in found.tunnels)


def test_health_then_priority_then_latency() -> None:
    assert ordered({}) == "abc"
    assert ordered({}, latency_ms={"tunnel/eu/b": 9.0, "tunnel/eu/a": 10.0}) == "bac"
    assert ordered({"tunnel/eu/a": BAD}) == "bca"
    assert ordered({"tunnel/eu/a": BLIND, "tunnel/eu/b": BAD}) == "cab"
    assert ordered({"tunnel/eu/a": NEW, "tunnel/eu/b": BLIND}) == "cba"


def test_a_degraded_tunnel_carries_packets_only_for_want_of_a_healthy_one() -> None:
    assert ordered({"tunnel/eu/a": POOR}) == "bca"
    # c has the worse priority, and is taken all the same
    assert ordered({"tunnel/eu/a": POOR, "tunnel/eu/b": POOR}) == "cab"
    assert ordered({"tunnel/eu/a": POOR, "tunnel/eu/b": BAD, "tunnel/eu/c": BLIND}) == "acb"
    # one that works, but through which no backend answers, is no alternative
    nothing_seen = {f"backend/eu/web-1/web@{key}": BAD for key in "bc"}
    assert ordered({"tunnel/eu/a": POOR, **nothing_seen}) == "abc"
    found = order(CONFIG, EU, 4, believed(CONFIG, {"tunnel": POOR}), None, NOW_S)
    assert found.reason == "best of 3 tunnels, degraded"


def test_a_degraded_first_is_left_and_returned_to_by_its_health() -> None:
    assert ordered({"tunnel/eu/a": POOR}, before("a", "b", "c")) == "bca"
    # well again, and not quicker than the one in use: nothing moves back
    assert ordered({}, before("b", "c", "a")) == "bac"


def test_only_tunnels_of_the_family() -> None:
    assert ordered({}, version=6) == "ab"
    config = world({"eu": Place({"a": "4"}, {"web-1": 4})})
    found = order(config, EU, 6, believed(config, {}), None, NOW_S)
    assert (found.tunnels, found.best, found.reason) == ((), None, "no tunnel of this family")


def test_each_family_looks_at_its_own_backends() -> None:
    assert ordered({"backend/eu/six/web@a": BAD}, before("a", "b", "c")) == "abc"
    assert ordered({"backend/eu/six/web@a": BAD}, before("a", "b"), version=6) == "ba"


def test_a_tunnel_through_which_no_backend_answers_is_left() -> None:
    assert ordered({"backend/eu/web-1/web@a": BAD}, before("a", "b", "c")) == "bca"
    assert ordered({"backend/eu/web-1": BAD}, before("a", "b", "c")) == "abc"


def test_the_present_first_stays_while_its_first_verdict_is_awaited() -> None:
    assert ordered({"tunnel/eu/b": NEW}, before("b", "a", "c")) == "bac"
    assert ordered({"backend/eu/web-1/web@b": NEW}, before("b", "a", "c")) == "bac"
    assert ordered({"tunnel/eu/b": BAD, "backend/eu/web-1": NEW}, before("b", "a", "c")) == "acb"


def test_with_nothing_usable_the_last_order_stands() -> None:
    assert ordered({"tunnel": BAD, "tunnel/eu/c": BLIND}, before("b", "c", "a")) == "bca"
    assert ordered({"tunnel": BAD}, before("b")) == "bac"
    assert ordered({"tunnel": BAD, "tunnel/eu/b": NEW}) == "bac"


def test_lower_latency_wins_only_by_more_than_the_hysteresis() -> None:
    assert ordered({}, before("a", "b", "c"), {"tunnel/eu/a": 14.9, "tunnel/eu/b": 10.0}) == "abc"
    assert ordered({}, before("a", "b", "c"), {"tunnel/eu/a": 15.1, "tunnel/eu/b": 10.0}) == "bac"
    assert ordered({}, before("a", "b", "c"), {"tunnel/eu/a": 90.0, "tunnel/eu/c": 1.0}) == "abc"


def test_since_when_the_first_is_the_first() -> None:
    view = believed(CONFIG, {})
    first = order(CONFIG, EU, 4, view, None, 10.0)
    assert (first.since_s, first.best) == (10.0, "eu/a")
    assert order(CONFIG, EU, 4, view, first, 20.0) is first
    assert order(CONFIG, EU, 4, believed(CONFIG, {"tunnel/eu/b": BAD}), first, 20.0).since_s == 10.0
    assert order(CONFIG, EU, 4, believed(CONFIG, {"tunnel/eu/a": BAD}), first, 20.0).since_s == 20.0


STATES = st.fixed_dictionaries(
    {
        key: st.sampled_from(Health)
        for key in ("tunnel/eu/a", "tunnel/eu/b", "tunnel/eu/c", "backend/eu/web-1/web@a", "backend/eu/web-1/web@b")
    }
)
LATENCIES = st.fixed_dictionaries({f"tunnel/eu/{key}": st.floats(1.0, 30.0) for key in "abc"})


@given(st.lists(st.tuples(STATES, LATENCIES), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_it_is_whole_usable_ones_first_and_at_rest(history: list[tuple[dict[str, Health], dict[str, float]]]) -> None:
    last: TunnelOrder | None = None
    for now_s, (states, latency_ms) in enumerate(history):
        view = believed(CONFIG, states, latency_ms=latency_ms)
        found = order(CONFIG, EU, 4, view, last, float(now_s))
        assert sorted(found.tunnels) == ["eu/a", "eu/b", "eu/c"]
        again = order(CONFIG, EU, 4, view, found, 99.0)
        assert (again.tunnels, again.since_s) == (found.tunnels, found.since_s)
        assert order(CONFIG, EU, 4, view, again, 99.0) is again
        usable = [view.tunnels[id_].health.is_usable for id_ in found.tunnels]
        if any(usable) and found.reason.startswith("best"):
            assert all(one >= other for one, other in pairwise(usable))
        last = found


@given(st.lists(st.tuples(st.floats(8.0, 12.9), st.floats(8.0, 12.9)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_it_never_flaps_between_equals(latencies: list[tuple[float, float]]) -> None:
    last, seen = None, set()
    for a_ms, b_ms in latencies:
        view = believed(CONFIG, {}, latency_ms={"tunnel/eu/a": a_ms, "tunnel/eu/b": b_ms})
        last = order(CONFIG, EU, 4, view, last, NOW_S)
        seen.add(last.tunnels)
    assert len(seen) == 1


def test_a_restarted_daemon_takes_over_the_order_that_the_kernel_has() -> None:
    table = CONFIG.kernel.region_table_base + CONFIG.regions[EU].number

    def route(key: str, metric: int, in_table: int = table) -> KernelRoute:
        tunnel = CONFIG.tunnels[TunnelId(f"eu/{key}")]
        return KernelRoute(DEFAULT, RouteKind.UNICAST, metric, in_table, tunnel.far_end_ipv4, tunnel.device)

    hole = KernelRoute(DEFAULT, RouteKind.BLACKHOLE, 9999, table)
    found = order_in_kernel(CONFIG, EU, 4, {route("a", 200), route("b", 100), hole, route("c", 50, 254)}, NOW_S)
    assert found is not None
    assert found.tunnels == ("eu/b", "eu/a")
    assert ordered({"tunnel/eu/b": NEW}, found) == "bac"
    assert order_in_kernel(CONFIG, EU, 4, {hole}, NOW_S) is None
    assert order_in_kernel(CONFIG, EU, 6, {route("a", 200)}, NOW_S) is None
