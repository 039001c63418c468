"""The kernel side of the control loop: routes of regions and prefixes, and the packet filter that steers EIPs."""

from __future__ import annotations

from collections.abc import Collection

from anycastd.model.address import Prefix, family_of
from anycastd.model.kernel import KernelObserved, KernelRoute, KernelRule
from anycastd.model.topology import Config, PrefixTimers
from anycastd.policy.condition import counted
from anycastd.policy.desired import blackhole
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.ports import KernelPort, NftPort, Record
from anycastd.runtime.loop.region_routes import RegionRoutes
from anycastd.runtime.loop.steering import Steering


class Forwarder:
    """Keeps both halves of the data plane as wanted; routes first, as the packet filter leads to them."""

    def __init__(self, kernel: KernelPort, nft: NftPort, record: Record) -> None:
        self.routes = RegionRoutes(kernel, record.rerouted)
        self.steering = Steering(nft, record.moved)
        self._is_first = True

    @property
    def observed(self) -> KernelObserved:
        """Return the routes, rules and devices that the kernel holds."""
        return self.routes.observed

    @property
    def wanted(self) -> tuple[frozenset[KernelRoute], frozenset[KernelRule]]:
        """Return the routes and rules that should be there, lingering ones included."""
        return self.routes.wanted

    def configure(self, config: Config, beliefs: Beliefs, gone_linger_s: dict[Prefix, float], now_s: float) -> None:
        """Take a configuration; prefixes that left it keep forwarding for their linger time (I5, S21)."""
        until_s = {prefix: now_s + linger_s for prefix, linger_s in gone_linger_s.items()}
        self.routes.linger(until_s)
        self.steering.linger(until_s)
        if self._is_first:
            self._is_first = False
            # left by a daemon before us for prefixes that our file lacks: perhaps still announced (I5)
            left = {route.prefix for route in self.routes.observed.routes or ()} - set(config.prefixes)
            self.routes.linger(dict.fromkeys(left, now_s + PrefixTimers().linger_s))
        self._config = config
        self.routes.configure(config, beliefs, now_s)
        self.steering.configure(config, beliefs.view, now_s)

    def keep(self, prefixes: Collection[Prefix], now_s: float) -> None:
        """Go on forwarding for prefixes that are not configured, for the default linger time from now."""
        self.routes.linger(dict.fromkeys(prefixes, now_s + PrefixTimers().linger_s))
        self.steering.keep(prefixes, now_s)

    def ready(self, prefix: Prefix) -> tuple[bool, bool]:
        """Return whether a prefix's blackhole was read back, and whether all that carries its packets was (I5).

        That is the packet filter's rules with the prefix in them, and the table of a region that counts for it.
        """
        caught = blackhole(self._config, prefix) in (self.routes.observed.routes or ())
        condition = self._config.prefixes[prefix].announce_when
        ways = ((name, prefix.version) for name in counted(self._config, condition, family_of(prefix)))
        return caught, caught and self.steering.carries(prefix) and any(self.routes.ready(way) for way in ways)

    def act(self, beliefs: Beliefs, now_s: float, *, anew: bool = False) -> None:
        """Choose ways and put right what differs."""
        self.routes.act(self.routes.choose(beliefs, now_s), now_s, anew=anew)
        self.steering.act(beliefs.view, self.routes.orders, now_s, anew=anew)

    def next_s(self) -> float | None:
        """Return when something falls due by itself."""
        due = [at_s for at_s in (*self.routes.until_s.values(), self.steering.next_s()) if at_s is not None]
        return min(due, default=None)
