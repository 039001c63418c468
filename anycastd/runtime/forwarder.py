"""The kernel side of the control loop: which tunnel carries each prefix, and the routes and rules that make it so."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from anycastd.model.address import Prefix
from anycastd.model.decision import PathChoice
from anycastd.model.kernel import MAIN_TABLE, KernelObserved, KernelRoute, KernelRule, RouteKind
from anycastd.model.topology import Config, PrefixTimers
from anycastd.policy.desired import blackhole, forward, wanted_kernel_routes, wanted_kernel_rules
from anycastd.policy.path import choose, path_in_kernel
from anycastd.reconcile.kernel import diff
from anycastd.runtime.beliefs import Beliefs, Group
from anycastd.runtime.ports import KernelPort


class Forwarder:
    """Chooses paths by the group of prefixes, and keeps the kernel as wanted."""

    def __init__(self, kernel: KernelPort, rerouted: Callable[[PathChoice, PathChoice], None]) -> None:
        self._kernel, self._rerouted = kernel, rerouted
        self._paths: dict[Group, PathChoice] = {}
        self._until_s: dict[KernelRoute, float] = {}
        self._static: frozenset[KernelRoute] = frozenset()
        self._over: dict[Group, frozenset[KernelRoute]] = {}
        self._routes: frozenset[KernelRoute] = frozenset()
        self._rules: frozenset[KernelRule] = frozenset()
        self._seen: KernelObserved | None = None
        self._is_first = True

    @property
    def observed(self) -> KernelObserved:
        """Return what the kernel holds of ours."""
        return self._kernel.observed

    @property
    def wanted(self) -> tuple[frozenset[KernelRoute], frozenset[KernelRule]]:
        """Return the routes and rules that should be there, lingering ones included."""
        return self._routes | frozenset(self._until_s), self._rules

    def configure(self, config: Config, beliefs: Beliefs, gone_linger_s: dict[Prefix, float], now_s: float) -> None:
        """Take a configuration; routes of prefixes that left it keep forwarding for their linger time (I5, S21)."""
        for route in self._routes:
            if route.prefix in gone_linger_s and route.table == MAIN_TABLE:
                self._until_s[route] = now_s + gone_linger_s[route.prefix]
        if self._is_first:
            self._is_first = False
            # left by a daemon before us for prefixes that our file lacks: perhaps still announced (I5)
            left = {route.prefix for route in self._kernel.observed.routes or ()} - set(config.prefixes)
            self.keep(left, now_s)
        self._config, self._rules = config, wanted_kernel_rules(config)
        self._static = wanted_kernel_routes(config, ())
        self._paths = {group: path for group, path in self._paths.items() if group in beliefs.groups}
        self._choose(beliefs, now_s)
        self._over = {}
        self._build(beliefs, beliefs.groups)
        self._seen = None

    def keep(self, prefixes: Collection[Prefix], now_s: float) -> None:
        """Go on forwarding for prefixes that are not configured, for the default linger time from now."""
        until_s = now_s + PrefixTimers().linger_s
        for route in self._kernel.observed.routes or ():
            if route.table == MAIN_TABLE and route.prefix in prefixes:
                self._until_s[route] = until_s

    def path(self, beliefs: Beliefs, prefix: Prefix) -> PathChoice:
        """Return which tunnel carries a prefix."""
        group = (beliefs.config.prefixes[prefix].announce_when, prefix.version)
        return replace(self._paths[group], prefix=prefix)

    def ready(self, beliefs: Beliefs, prefix: Prefix) -> tuple[bool, bool]:
        """Return whether a prefix's blackhole was read back from the kernel, and whether its tunnel route too (I5)."""
        have = self._kernel.observed.routes or frozenset()
        over = forward(self._config, self.path(beliefs, prefix))
        caught = blackhole(self._config, prefix) in have
        return caught, caught and over is not None and over in have

    def act(self, beliefs: Beliefs, now_s: float, *, anew: bool = False) -> None:
        """Choose paths and put right what differs; costs nothing when neither wanted nor observed has changed."""
        lingering = len(self._until_s)
        keys = {route.key for route in self._routes} if lingering else set()
        self._until_s = {r: end for r, end in self._until_s.items() if end > now_s and r.key not in keys}
        moved = self._choose(beliefs, now_s)
        if moved:
            self._move(beliefs, moved)
        elif anew or self._seen is not self._kernel.observed or lingering != len(self._until_s):
            self._seen = self._kernel.observed
            if self._seen.routes is not None:
                # said even when empty: a plan takes the place of what is still queued of the one before
                self._kernel.apply(diff(*self.wanted, self._seen))

    def _move(self, beliefs: Beliefs, groups: Collection[Group]) -> None:
        """Say just what moved, before anything else is looked at; the rest is compared when this was done."""
        observed, before = self._kernel.observed, {group: self._over.get(group, frozenset()) for group in groups}
        self._build(beliefs, groups)
        self._seen = None
        if observed.routes is None:
            return
        holes = frozenset(blackhole(self._config, prefix) for group in groups for prefix in beliefs.groups[group])
        wanted = holes.union(*(self._over[group] for group in groups))
        have = wanted.union(*before.values()) & observed.routes
        self._kernel.apply(diff(wanted, observed.rules, replace(observed, routes=have)))

    def _choose(self, beliefs: Beliefs, now_s: float) -> list[Group]:
        """Choose for every group; return those that moved."""
        moved = []
        for group, prefixes in beliefs.groups.items():
            before = known = self._paths.get(group)
            if known is None or known.tunnel is None:
                # without this, a restart would take away the route that a daemon before us left, until checks rise
                before = self._taken_over(prefixes, now_s) or known
            after = choose(self._config, prefixes[0], group[0], beliefs.view, before, now_s)
            self._paths[group] = after
            if known is None or known.tunnel != after.tunnel:
                moved.append(group)
            if before is not None and before.tunnel not in (None, after.tunnel):
                for prefix in prefixes:
                    self._rerouted(replace(before, prefix=prefix), replace(after, prefix=prefix))
        return moved

    def _taken_over(self, prefixes: list[Prefix], now_s: float) -> PathChoice | None:
        routes = self._kernel.observed.routes or ()
        have = {r.prefix: r for r in routes if r.kind is RouteKind.UNICAST and r.table == MAIN_TABLE}
        found = (path_in_kernel(self._config, p, (have[p],), now_s) for p in prefixes if p in have)
        return next((path for path in found if path is not None), None)

    def _build(self, beliefs: Beliefs, groups: Collection[Group]) -> None:
        for group in groups:
            over = (forward(self._config, replace(self._paths[group], prefix=p)) for p in beliefs.groups[group])
            self._over[group] = frozenset(route for route in over if route is not None)
        self._routes = self._static.union(*self._over.values())

    def next_s(self) -> float | None:
        """Return when a lingering route may go."""
        return min(self._until_s.values(), default=None)
