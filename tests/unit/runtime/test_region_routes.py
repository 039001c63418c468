"""The kernel's routes and rules of each region: followed, taken over, lingering, and nothing else touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import CheckId, Prefix, RegionName, TunnelId
from anycastd.model.decision import TunnelOrder
from anycastd.model.kernel import (
    MAIN_TABLE,
    DeleteRoute,
    KernelObserved,
    KernelRoute,
    LinkView,
    MarkRule,
    PutRoute,
    RouteKind,
)
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Config
from anycastd.policy.desired import blackhole, region_table
from anycastd.policy.tunnel_order import order
from anycastd.runtime.loop import region_routes
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.region_routes import RegionRoutes
from tests.unit.runtime.world import A, B, Kernel, config

EU, US = RegionName("eu"), RegionName("us")
EVERYTHING = ip_network("0.0.0.0/0")
CONFIG = config()


class Bench:
    """The routes of one daemon, on a kernel that may have seen others before."""

    def __init__(self, its_config: Config = CONFIG, kernel: Kernel | None = None) -> None:
        self.kernel, self.now_s = kernel or Kernel(), 0.0
        self.reroutes: list[tuple[TunnelOrder, TunnelOrder]] = []
        self.routes = RegionRoutes(self.kernel, lambda before, after: self.reroutes.append((before, after)))
        self.beliefs = Beliefs(its_config, self.now_s)
        self.routes.configure(its_config, self.beliefs, self.now_s)

    def act(self, *, anew: bool = False) -> list[tuple[RegionName, int]]:
        moved = self.routes.choose(self.beliefs, self.now_s)
        self.routes.act(moved, self.now_s, anew=anew)
        return moved

    def settle(self) -> None:
        for _ in range(3):
            self.act(anew=True)

    def answer(self, match: str, why: Why = Why.ANSWERED, times: int = 3) -> None:
        for _ in range(times):
            self.now_s += 1.0
            for id_ in [id_ for id_ in self.beliefs.tracker.states if match in id_]:
                self.beliefs.feed(ProbeResult(CheckId(id_), why, self.now_s - 0.01, self.now_s))
        self.beliefs.refresh(self.now_s)

    def reload(self, its_config: Config) -> None:
        self.beliefs.configure(its_config, self.now_s)
        self.routes.configure(its_config, self.beliefs, self.now_s)

    def devices(self, region: RegionName = EU) -> list[str | None]:
        """Return the devices of a region's table, best first; None is the blackhole."""
        table = region_table(self.routes._config, region)
        found = [one for one in self.kernel.observed.routes or () if one.table == table]
        return [one.device for one in sorted(found, key=lambda one: one.metric)]


def well() -> Bench:
    bench = Bench()
    bench.answer("")
    bench.settle()
    bench.kernel.done.clear()
    return bench


def test_each_region_has_its_tunnels_in_order_and_a_blackhole_below() -> None:
    bench = well()
    assert bench.devices() == ["eu-a", "eu-b", None]
    assert bench.devices(US) == ["us-a", "us-b", None]
    assert (bench.kernel.observed.routes, bench.kernel.observed.rules) == bench.routes.wanted


def test_a_failover_says_its_own_routes_first_and_nothing_else() -> None:
    bench = well()
    bench.answer("tunnel/eu/a", Why.TIMEOUT)
    assert bench.act() == [(EU, 4)]
    assert {type(one) for one in bench.kernel.done} == {PutRoute}
    assert {one.route.table for one in bench.kernel.done if isinstance(one, PutRoute)} == {region_table(CONFIG, EU)}
    assert bench.devices() == ["eu-b", "eu-a", None]
    assert [(before.best, after.best) for before, after in bench.reroutes] == [(TunnelId("eu/a"), TunnelId("eu/b"))]


def test_nothing_is_compared_while_neither_side_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = well()
    bench.act()
    said: list[int] = []
    monkeypatch.setattr(bench.kernel, "apply", lambda actions: said.append(len(actions)))
    for _ in range(5):
        bench.act()
    assert said == []
    bench.act(anew=True)
    assert said == [0]
    bench.kernel.observed = replace(bench.kernel.observed)
    bench.act()
    assert said == [0, 0]


def test_what_another_took_away_is_put_back_and_what_is_wanted_by_nobody_goes() -> None:
    bench = well()
    whole = bench.kernel.observed
    stray = KernelRoute(ip_network("192.0.2.0/24"), RouteKind.BLACKHOLE, CONFIG.kernel.blackhole_metric)
    bench.kernel.observed = KernelObserved(routes=frozenset({stray}), rules=frozenset())
    bench.act()
    assert bench.kernel.observed == whole


def test_a_kernel_that_was_not_read_is_told_nothing_and_then_everything() -> None:
    bench = Bench(kernel=Kernel(KernelObserved()))
    bench.answer("")
    bench.act(anew=True)
    bench.act()
    assert bench.kernel.done == []
    assert not bench.routes.ready((EU, 4))
    bench.kernel.observed = KernelObserved(routes=frozenset())
    bench.act()
    assert bench.devices() == ["eu-a", "eu-b", None]
    assert bench.routes.ready((EU, 4))


def test_a_kernel_that_refuses_for_a_while_has_all_of_it_in_the_end() -> None:
    bench = well()
    bench.kernel.refuses = True
    bench.answer("tunnel/eu/a", Why.TIMEOUT)
    bench.act()
    bench.answer("tunnel/us/a", Why.TIMEOUT)
    bench.act()
    assert bench.devices() == ["eu-a", "eu-b", None]
    bench.kernel.refuses = False
    bench.act()
    assert (bench.devices(), bench.devices(US)) == (["eu-b", "eu-a", None], ["us-b", "us-a", None])


def test_a_restarted_daemon_goes_on_in_the_kernels_order_until_its_first_verdicts() -> None:
    bench = well()
    bench.answer("tunnel/eu/a", Why.TIMEOUT)
    bench.settle()
    bench.kernel.done.clear()
    again = Bench(kernel=bench.kernel)
    again.settle()
    assert bench.kernel.done == []
    assert again.reroutes == []
    again.answer("")
    again.settle()
    assert again.devices() == ["eu-a", "eu-b", None]


def test_blackholes_of_prefixes_that_left_linger_and_go_or_stay_when_they_come_back() -> None:
    bench = well()
    hole = blackhole(CONFIG, B)
    bench.routes.linger({B: bench.now_s + 60.0})
    bench.reload(config(prefixes=(A,)))
    bench.now_s += 59.0
    bench.settle()
    assert hole in (bench.kernel.observed.routes or ())
    bench.reload(CONFIG)
    bench.settle()
    assert bench.routes.until_s == {}
    bench.now_s += 10.0
    bench.settle()
    assert hole in (bench.kernel.observed.routes or ())
    bench.routes.linger({B: bench.now_s + 60.0})
    bench.reload(config(prefixes=(A,)))
    bench.now_s += 61.0
    bench.act()
    assert hole not in (bench.kernel.observed.routes or ())


def test_only_blackholes_of_the_main_table_linger() -> None:
    bench = well()
    bench.routes.linger({EVERYTHING: 1e9})
    assert bench.routes.until_s == {}


def test_a_region_with_another_number_moves_as_a_whole_and_keeps_its_order() -> None:
    bench = well()
    bench.answer("tunnel/eu/a", Why.TIMEOUT)
    bench.settle()
    numbered = replace(CONFIG, regions={**CONFIG.regions, EU: replace(CONFIG.regions[EU], number=77)})
    bench.reload(numbered)
    bench.settle()
    assert bench.devices() == ["eu-b", "eu-a", None]
    tables = {one.table for one in bench.kernel.observed.routes or ()}
    assert region_table(CONFIG, EU) not in tables
    marks = {one.mark >> 24 for one in bench.kernel.observed.rules if isinstance(one, MarkRule)}
    assert marks == {77, CONFIG.regions[US].number}
    assert len(bench.reroutes) == 1


def test_a_region_that_leaves_takes_its_table_and_rules_along() -> None:
    bench = well()
    bench.reload(without_eu())
    bench.settle()
    assert bench.routes.orders.keys() == {(US, 4)}
    assert region_table(CONFIG, EU) not in {one.table for one in bench.kernel.observed.routes or ()}
    assert (bench.kernel.observed.routes, bench.kernel.observed.rules) == bench.routes.wanted


def without_eu() -> Config:
    return replace(
        CONFIG,
        regions={US: CONFIG.regions[US]},
        tunnels={key: one for key, one in CONFIG.tunnels.items() if one.region == US},
        backends={key: one for key, one in CONFIG.backends.items() if one.region == US},
        probes=tuple(one for one in CONFIG.probes if one.region == US),
    )


def test_a_renamed_device_leaves_the_old_route_until_the_new_one_is_there() -> None:
    bench = well()
    up = {name: LinkView(name, 1, True, True, "UP") for name in ("lo", "eu-a", "eu-b", "us-a", "us-b")}
    bench.kernel.observed = replace(bench.kernel.observed, links=up)
    first = TunnelId("eu/a")
    renamed = replace(CONFIG, tunnels={**CONFIG.tunnels, first: replace(CONFIG.tunnels[first], device="eu-new")})
    bench.reload(renamed)
    bench.act()
    assert bench.devices() == ["eu-a", "eu-b", None]
    assert not any(isinstance(one, DeleteRoute) for one in bench.kernel.done)
    assert not bench.routes.ready((EU, 4))
    links = {**up, "eu-new": LinkView("eu-new", 2, True, True, "UP")}
    bench.kernel.observed = replace(bench.kernel.observed, links=links)
    bench.act()
    assert bench.devices() == ["eu-new", "eu-b", None]
    assert bench.routes.ready((EU, 4))


@pytest.mark.parametrize("what", ["best route", "rule", "nothing"])
def test_a_way_is_ready_when_its_best_route_and_its_rule_were_read_back(what: str) -> None:
    bench = well()
    routes, rules = bench.kernel.observed.routes or frozenset(), bench.kernel.observed.rules
    if what == "best route":
        routes = frozenset(one for one in routes if one.device != "eu-a" or one.table != region_table(CONFIG, EU))
    if what == "rule":
        rules = frozenset(one for one in rules if one.table != region_table(CONFIG, EU))
    bench.kernel.observed = replace(bench.kernel.observed, routes=routes, rules=rules)
    assert bench.routes.ready((EU, 4)) is (what == "nothing")
    assert bench.routes.ready((US, 4))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("tunnel/eu/a", "tunnel/eu/b", "tunnel/us", "backend/eu")), st.booleans()),
        st.sampled_from(("refuse", "accept", "flush", "shrink", "grow", "wait")),
    ),
    max_size=12,
)


@settings(max_examples=15)
@given(steps=STEPS)
def test_whatever_happened_the_kernel_is_as_wanted_once_it_accepts_again(
    steps: list[tuple[str, bool] | str],
) -> None:
    bench = well()
    prefixes: tuple[Prefix, ...] = (A, B)
    for step in steps:
        if isinstance(step, tuple):
            bench.answer(step[0], Why.ANSWERED if step[1] else Why.TIMEOUT)
        elif step in ("refuse", "accept"):
            bench.kernel.refuses = step == "refuse"
        elif step == "flush":
            bench.kernel.observed = KernelObserved(routes=frozenset())
        elif step in ("shrink", "grow"):
            gone = set(prefixes) - {A} if step == "shrink" else set()
            prefixes = (A,) if step == "shrink" else (A, B)
            bench.routes.linger(dict.fromkeys(gone, bench.now_s + 30.0))
            bench.reload(config(prefixes=prefixes))
        else:
            bench.now_s += 31.0
        bench.act()
    bench.kernel.refuses = False
    bench.settle()
    assert (bench.kernel.observed.routes, bench.kernel.observed.rules) == bench.routes.wanted
    holes = {one.prefix for one in bench.kernel.observed.routes or () if one.table == MAIN_TABLE}
    assert holes >= set(prefixes)


def test_only_a_region_that_was_assessed_anew_is_ordered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With thousands of backends in other regions a verdict would else cost a look at all of them."""
    bench, ordered = well(), list[RegionName]()
    bench.act()

    def counted(its_config: Config, region: RegionName, *more: object) -> TunnelOrder:
        ordered.append(region)
        return order(its_config, region, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(region_routes, "order", counted)
    bench.act()
    assert ordered == []
    for id_ in [id_ for id_ in bench.beliefs.tracker.states if "tunnel/eu/a" in id_]:
        for _ in range(3):
            bench.now_s += 1.0
            bench.beliefs.feed(ProbeResult(CheckId(id_), Why.TIMEOUT, bench.now_s - 0.01, bench.now_s))
    bench.beliefs.refresh(bench.now_s, frozenset({EU}))
    assert bench.act() == [(EU, 4)]
    assert set(ordered) == {EU}
    ordered.clear()
    bench.beliefs.refresh(bench.now_s)
    bench.act()
    assert set(ordered) == {EU, US}, "assessed anew, all of them"
    ordered.clear()
    bench.reload(CONFIG)
    assert set(ordered) == {EU, US}
