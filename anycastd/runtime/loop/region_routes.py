"""Which tunnels carry each region's packets, best first, and the kernel's routes and rules that make it so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from anycastd.model.address import Prefix, RegionName, TunnelId
from anycastd.model.decision import TunnelOrder
from anycastd.model.health import RegionView
from anycastd.model.kernel import MAIN_TABLE, KernelObserved, KernelRoute, KernelRule
from anycastd.model.topology import Config
from anycastd.policy.condition import reaches
from anycastd.policy.desired import region_routes, wanted_kernel_routes, wanted_kernel_rules
from anycastd.policy.tunnel_order import order, order_in_kernel
from anycastd.reconcile.kernel import diff
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.ports import KernelPort

Way = tuple[RegionName, int]
"""A region and an IP version."""


class RegionRoutes:
    """Orders the tunnels of each region, and keeps the kernel's routes and rules as wanted."""

    def __init__(self, kernel: KernelPort, rerouted: Callable[[TunnelOrder, TunnelOrder], None]) -> None:
        self._kernel, self._rerouted = kernel, rerouted
        self.orders: dict[Way, TunnelOrder] = {}
        self.until_s: dict[KernelRoute, float] = {}
        self._static: frozenset[KernelRoute] = frozenset()
        self._routes: frozenset[KernelRoute] = frozenset()
        self._rules: frozenset[KernelRule] = frozenset()
        self._seen: KernelObserved | None = None
        self._looked: dict[Way, tuple[RegionView, frozenset[TunnelId]]] = {}

    @property
    def observed(self) -> KernelObserved:
        """Return what the kernel holds of ours."""
        return self._kernel.observed

    @property
    def wanted(self) -> tuple[frozenset[KernelRoute], frozenset[KernelRule]]:
        """Return the routes and rules that should be there, lingering ones included."""
        return self._routes | frozenset(self.until_s), self._rules

    def configure(self, config: Config, beliefs: Beliefs, now_s: float) -> None:
        """Take a configuration; regions that stay keep the order of their tunnels."""
        self._config, self._rules = config, wanted_kernel_rules(config)
        self._static = wanted_kernel_routes(config, ())
        ways = [(name, version) for name in config.regions for version in (4, 6) if reaches(config, name, version)]
        self.orders = {way: self.orders[way] for way in ways if way in self.orders}
        self._ways = ways
        self._looked.clear()
        self.choose(beliefs, now_s)
        self._build()
        self._seen = None

    def linger(self, until_s: Mapping[Prefix, float]) -> None:
        """Keep the blackholes that the kernel holds of prefixes that are not configured, each until its time."""
        # one look at the kernel's routes, however many prefixes have gone
        for route in (self._kernel.observed.routes or ()) if until_s else ():
            if route.table == MAIN_TABLE and (end_s := until_s.get(route.prefix)) is not None:
                self.until_s[route] = end_s

    def choose(self, beliefs: Beliefs, now_s: float) -> list[Way]:
        """Order the tunnels of every region anew; return where the order changed."""
        moved = []
        for way in self._ways:
            before = known = self.orders.get(way)
            # a region that was not assessed anew is what it was, with all its tunnels and backends: with thousands of
            # them one verdict must not cost a look at all
            view, drained = beliefs.view.regions[way[0]], beliefs.drained.tunnels
            looked = self._looked.get(way)
            if known is not None and looked is not None and looked[0] is view and looked[1] == drained:
                continue
            self._looked[way] = (view, drained)
            if before is None:
                # without this, a restart would take away the routes that a daemon before us left, until checks rise
                before = order_in_kernel(self._config, *way, self._kernel.observed.routes or (), now_s)
            after = order(self._config, *way, beliefs.view, before, now_s, beliefs.drained.tunnels)
            self.orders[way] = after
            if known is None or known.tunnels != after.tunnels:
                moved.append(way)
            if before is not None and before.tunnels[:1] != after.tunnels[:1]:
                self._rerouted(before, after)
        return moved

    def act(self, moved: Collection[Way], now_s: float, *, anew: bool = False) -> None:
        """Put right what differs; costs nothing when neither wanted nor observed has changed."""
        lingering = len(self.until_s)
        keys = {route.key for route in self._routes} if lingering else set()
        self.until_s = {r: end for r, end in self.until_s.items() if end > now_s and r.key not in keys}
        if moved:
            self._move(moved)
        elif anew or self._seen is not self._kernel.observed or lingering != len(self.until_s):
            self._seen = self._kernel.observed
            if self._seen.routes is not None:
                # said even when empty: a plan takes the place of what is still queued of the one before
                self._kernel.apply(diff(*self.wanted, self._seen))

    def _move(self, moved: Collection[Way]) -> None:
        """Say just what moved, before anything else is looked at; the rest is compared when this was done."""
        self._build()
        self._seen, observed = None, self._kernel.observed
        if observed.routes is None:
            return
        wanted = frozenset(self._of(moved))
        places = {(route.table, route.prefix.version) for route in wanted}
        have = frozenset(r for r in observed.routes if (r.table, r.prefix.version) in places)
        self._kernel.apply(diff(wanted, observed.rules, replace(observed, routes=have)))

    def _of(self, ways: Iterable[Way]) -> Iterable[KernelRoute]:
        return (route for way in ways for route in region_routes(self._config, self.orders[way]))

    def _build(self) -> None:
        self._routes = self._static | frozenset(self._of(self.orders))

    def ready(self, way: Way) -> bool:
        """Return whether a region's best route and its rule were read back."""
        best = next(iter(region_routes(self._config, self.orders[way])), None)
        rules = self._kernel.observed.rules
        ruled = any(rule in rules for rule in self._rules if rule.table == (best.table if best else 0))
        return ruled and best is not None and best.device is not None and best in (self.observed.routes or ())
