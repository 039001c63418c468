"""The EIP side of the control loop: where the packets of each EIP go, and the packet filter's sets that make it so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network

from anycastd.model.absorb import Untrack
from anycastd.model.address import Address, Family, Prefix, RegionName
from anycastd.model.decision import TunnelOrder
from anycastd.model.eip import Eip, EipView
from anycastd.model.health import Health, HealthView, RegionView
from anycastd.model.nft import DropElement, NftChange, NftObserved, NftSet
from anycastd.model.operator import Drained
from anycastd.model.topology import Config, PrefixTimers
from anycastd.policy.condition import carries
from anycastd.policy.outlook import best_of
from anycastd.reconcile.eip_plane import EipPlane
from anycastd.reconcile.eip_pool import Moved
from anycastd.runtime.loop.ports import NftPort

Signature = tuple[tuple[Health, ...], tuple[tuple[Health, ...], ...], bool]
Mark = tuple[RegionView, bool]
Latencies = tuple[float | None, float | None]
OF_ADDRESSES = frozenset(name for name in NftSet if name[-1] in "46" and name[:3] not in ("nat", "por", "hid"))
"""Sets whose keys are addresses or prefixes of ours; what the other keys stand for cannot be told from them."""

TOLD_ANEW = 2000
"""So many changes are told anew, in order with what came to them, while the packet filter is still at it: 10 ms. More
wait until it has done what it was told: at a start each first verdict would have cost 60 ms (measured)."""


class Steering:
    """Keeps the plane of EIPs up to date with health and configuration, and the packet filter as the plane wants it.

    Prefixes that left the configuration keep carrying packets for their linger time (I5, S21), and with them the
    EIPs inside. What a daemon before us left is touched only when it is known whose it is: not while the store could
    not be read (`is_complete`), nor inside prefixes that no file names any more; what stands in the way of an EIP or a
    prefix that is known is no such thing. Nothing is changed before the EIPs of a start are here (`is_filled`).
    """

    def __init__(self, nft: NftPort, moved: Callable[[Moved], None]) -> None:
        self._nft, self._moved = nft, moved
        self.is_complete: Callable[[], bool] = lambda: True
        self.is_filled: Callable[[], bool] = lambda: True
        self.on_shaped: Callable[[], None] = lambda: None
        """Called when an EIP is shaped, not any more, or otherwise."""
        self._shaped_version = 0
        self._said: tuple[NftChange, ...] = ()
        self._observed: NftObserved | None = None
        self._looked: tuple[int, bool, frozenset[Prefix]] | None = None
        self._differed: tuple[NftChange, ...] | None = None
        self.dials: Mapping[RegionName, int] = {}
        self._drained = Drained()
        self.plane: EipPlane
        self._until_s: dict[Prefix, float] = {}
        self._lost: dict[Prefix, float] = {}
        self._gone: dict[Address, float] = {}
        self._attacked: dict[Address, float | None] = {}
        self._seen: dict[RegionName, Signature] = {}
        self._marks: dict[RegionName, Mark] = {}
        self._latency_ms: dict[RegionName, Latencies] = {}
        self._is_first = True
        self.held = False
        """Whether changes wait until the packet filter has done what it was told."""

    @property
    def observed(self) -> NftObserved:
        """Return what the packet filter holds of ours."""
        return self._nft.observed

    def configure(self, config: Config, health: HealthView, now_s: float) -> None:
        """Take a configuration; what it says of health is taken in whole."""
        self._config = config
        self._until_s = {p: end for p, end in self._until_s.items() if p not in config.prefixes}
        self._lost = {p: end for p, end in self._lost.items() if p not in config.prefixes}
        if self._is_first:
            self._is_first = False
            self.plane = EipPlane(config, health, now_s)
            self._lost = dict.fromkeys(self._found() - set(config.prefixes), now_s + PrefixTimers().linger_s)
        else:
            self._tell(self.plane.configure(config, health, now_s))
        self._marks = {}
        self._seen = {name: _signature(health, config, name) for name in config.regions}
        self._latency_ms = {name: _latencies_ms(health, config, name) for name in config.regions}

    def _found(self) -> set[Prefix]:
        elements = self._nft.observed.elements or {}
        keys = [key for name in (NftSet.OWN4, NftSet.OWN6) for key in elements.get(name, {})]
        return {key for key in keys if isinstance(key, IPv4Network | IPv6Network)}

    def _tell(self, moves: Iterable[Moved]) -> None:
        for moved in moves:
            self._moved(moved)

    def linger(self, until_s: Mapping[Prefix, float]) -> None:
        """Go on carrying packets of the EIPs of prefixes that left the configuration, each until its time."""
        self._until_s |= until_s

    def put(self, eip: Eip, now_s: float) -> None:
        """Take an EIP in, new or changed."""
        self._gone.pop(eip.address, None)
        self.plane.put(eip, now_s)

    def drop(self, address: Address, now_s: float) -> None:
        """Take an EIP out; while its prefix lingers, when that is over, also if the prefix comes back meanwhile."""
        # by lookup: with thousands of prefixes that go at once each EIP would be held against each of them
        whole = ip_network(address)
        ends_s = [self._until_s[prefix] for prefix in (whole, *_wider(whole)) if prefix in self._until_s]
        if ends_s:
            self._gone[address] = max(ends_s)
        else:
            self.plane.drop(address, now_s)

    def set_dials(self, dials: Mapping[RegionName, int], now_s: float) -> None:
        """Take the traffic dials of the regions."""
        self.dials = dict(dials)
        self._tell(self.plane.set_dials(dials, now_s))

    def set_drained(self, drained: Drained, now_s: float) -> None:
        """Take what operators drained, if it is news."""
        if drained != self._drained:
            self._drained = drained
            self._tell(self.plane.set_drained(drained, now_s))

    def set_attacked(self, addresses: Collection[Address], now_s: float) -> None:
        """Take the EIPs that are under attack, and say at once what differs by it; it ends slowly (S29)."""
        calm_s, version = self._config.attack.absorb.holds.calm_s, self.plane.version
        ended = {address: now_s + calm_s if end_s is None else end_s for address, end_s in self._attacked.items()}
        self._attacked = ended | dict.fromkeys(addresses)
        self._absorb(now_s)
        if self.plane.version != version and self.is_filled():
            self._say(anew=False)

    def _absorb(self, now_s: float) -> None:
        """Have what begins at attacked EIPs tracked no more, and so for some time after the attack."""
        absorb = self._config.attack.absorb
        self._attacked = {one: end_s for one, end_s in self._attacked.items() if end_s is None or end_s > now_s}
        wanted = absorb.enabled and absorb.untrack is Untrack.AUTO
        self.plane.set_attacked(frozenset(self._attacked if wanted else ()), now_s)

    def end_connections(self, drained: Drained) -> None:
        """Have every connection into regions and to backends reset: they are forgotten at the next look."""
        regions = [self._config.regions[name].number for name in drained.regions if name in self._config.regions]
        self.plane.end_connections(regions, drained.backends)

    def view(self, address: Address, observed: NftObserved) -> EipView | None:
        """Return one EIP as wanted and as it is."""
        return self.plane.view(address, observed)

    def act(
        self,
        health: HealthView,
        orders: Mapping[tuple[RegionName, int], TunnelOrder],
        now_s: float,
        *,
        anew: bool = False,
    ) -> None:
        """Follow health and the tunnels, and say what differs from what the packet filter holds.

        What was said is said again when something else is wanted or observed, or `anew`.
        """
        self._wake(now_s)
        moved = [*self._follow_health(health, now_s), *self.plane.set_tunnels(orders, now_s)]
        # our prefixes alone would be ready to be announced, and their packets be dropped as nobody's; and a pool that
        # comes after the taking over would not go on where the kernel is
        if self.is_filled():
            moved += self.plane.take_over(self._nft.observed, now_s)
            self._say(anew=anew)
        # thousands of pools may have moved: packets do not wait for the log
        self._tell(moved)

    def _follow_health(self, health: HealthView, now_s: float) -> Iterable[Moved]:
        suspect = health.self_test.suspect_until_s is not None
        marks = {name: (health.regions[name], suspect) for name in self._config.regions}
        # a region that was not assessed anew is what it was
        anew = [name for name, mark in marks.items() if not _is_same(mark, self._marks.get(name))]
        news = {name: self._look_of(health, name) for name in anew if self._is_news(health, name)}
        self._marks = marks
        if not news:
            return ()
        moved = self.plane.on_health(health, frozenset(news), now_s)
        for name, (signature, latencies_ms) in news.items():
            self._seen[name], self._latency_ms[name] = signature, latencies_ms
        return moved

    def _say(self, *, anew: bool) -> None:
        self.held = self._nft.busy and self.plane.waiting > TOLD_ANEW
        if self.held:
            return
        # with a store that cannot be read thousands of elements differ for as long as that lasts
        looked = (self.plane.version, self.is_complete(), frozenset(self._lost))
        if anew or self._nft.observed is not self._observed or looked != self._looked:
            found, before = self._compare(self._nft.observed, anew=anew), self._differed
            # what was asked for a moment ago is looked at once more
            self._looked, self._differed = looked if found == before else None, found
        if flushes := self.plane.take_flushes():
            self._nft.flush(flushes)

    def _compare(self, observed: NftObserved, *, anew: bool) -> tuple[NftChange, ...]:
        """Say what differs and is ours to change; return all that differs."""
        found = changes = self.plane.changes(observed)
        if self.plane.shaped_version != self._shaped_version:
            self._shaped_version = self.plane.shaped_version
            self.on_shaped()
        if self._lost or not self.is_complete():
            numbers = self.plane.pool_numbers
            changes = tuple(change for change in changes if not self._is_somebodys(change, numbers))
        # a refused change changes nothing: told again at each look, it would keep the kernel and the loop busy for ever
        if changes and (anew or observed is not self._observed or changes != self._said):
            self._nft.apply(changes)
        self._said, self._observed = changes, observed
        return found

    def _is_somebodys(self, change: NftChange, numbers: Container[int]) -> bool:
        """Return whether a change would take away what we never wanted, and another may still need.

        `numbers` are those of the pools that are known.
        """
        if not isinstance(change, DropElement) or (change.set, change.key) in self.plane.let_go:
            return False
        key = change.key
        if isinstance(key, IPv4Network | IPv6Network):
            # inside a wider one of ours, which the kernel takes only without it
            return not self._is_ours(_wider(key)) and (key in self._lost or not self.is_complete())
        if change.set in (NftSet.POOL, NftSet.SLOT):
            # a single path goes before the buckets: it would be used for ever though the pool has several now
            return (key[0] if isinstance(key, tuple) else key) not in numbers
        if change.set not in OF_ADDRESSES or isinstance(key, int | tuple):
            return True
        if self.plane.knows(key):
            return False
        return not self.is_complete() or any(_is_in(key, prefix) for prefix in self._lost)

    def _is_ours(self, prefixes: Iterable[Prefix]) -> bool:
        own = self.plane.wanted
        return any(prefix in own[NftSet.OWN4 if prefix.version == 4 else NftSet.OWN6] for prefix in prefixes)

    def _wake(self, now_s: float) -> None:
        self.plane.wake(now_s)
        self._absorb(now_s)
        self._lost = {prefix: end for prefix, end in self._lost.items() if end > now_s}
        self._until_s = {prefix: end for prefix, end in self._until_s.items() if end > now_s}
        for address in [address for address, end in self._gone.items() if end <= now_s]:
            del self._gone[address]
            self.plane.drop(address, now_s)

    def keep(self, prefixes: Iterable[Prefix], now_s: float) -> None:
        """Go on with prefixes that are announced and not configured."""
        until_s = now_s + PrefixTimers().linger_s
        kept = {prefix: until_s for prefix in prefixes if prefix not in self._config.prefixes}
        self._lost |= kept
        self.plane.keep(kept, now_s)

    def _look_of(self, health: HealthView, name: RegionName) -> tuple[Signature, Latencies]:
        return _signature(health, self._config, name), _latencies_ms(health, self._config, name)

    def _is_news(self, health: HealthView, name: RegionName) -> bool:
        """Return whether a region looks different than when it was last considered; small changes of latency do not."""
        signature, latencies_ms = self._look_of(health, name)
        before_ms, limit_ms = self._latency_ms.get(name, (None, None)), self._config.eip.region_hysteresis_ms / 2
        return signature != self._seen.get(name) or any(
            _is_far(was_ms, now_ms, limit_ms) for was_ms, now_ms in zip(before_ms, latencies_ms, strict=True)
        )

    def carries(self, prefix: Prefix) -> bool:
        """Return whether the rules stand and the prefix was read back as ours: its packets are judged, none leaks."""
        elements = self._nft.observed.elements or {}
        own = elements.get(NftSet.OWN4 if prefix.version == 4 else NftSet.OWN6, {})
        return self._nft.observed.rules and (prefix in own or any(wider in own for wider in _wider(prefix)))

    def next_s(self) -> float | None:
        """Return when something falls due by itself."""
        due = (
            *self._until_s.values(),
            *self._gone.values(),
            *self._lost.values(),
            *self._attacked.values(),
            self.plane.next_s(),
        )
        return min((at_s for at_s in due if at_s is not None), default=None)


def _is_same(mark: Mark, before: Mark | None) -> bool:
    return before is not None and before[0] is mark[0] and before[1] == mark[1]


def _signature(health: HealthView, config: Config, name: RegionName) -> Signature:
    region = config.regions[name]
    tunnels = tuple(health.tunnels[id_].health for id_ in region.tunnels)
    backends = (health.backends[id_] for id_ in region.backends)
    suspect = health.self_test.suspect_until_s is not None
    return tunnels, tuple((view.health, *view.paths.values()) for view in backends), suspect


def _latencies_ms(health: HealthView, config: Config, name: RegionName) -> Latencies:
    """Return the latency of a region's quickest usable tunnel, for IPv4 and IPv6."""
    return _latency_ms(health, config, name, Family.IPV4_UNICAST), _latency_ms(
        health, config, name, Family.IPV6_UNICAST
    )


def _latency_ms(health: HealthView, config: Config, name: RegionName, family: Family) -> float | None:
    ids = [id_ for id_ in config.regions[name].tunnels if carries(config.tunnels[id_], family)]
    views = best_of([health.tunnels[id_] for id_ in ids])
    return min((view.latency_ms for view in views if view.latency_ms is not None), default=None)


def _is_far(was_ms: float | None, now_ms: float | None, limit_ms: float) -> bool:
    if was_ms is None or now_ms is None:
        return was_ms is not now_ms
    return abs(now_ms - was_ms) > limit_ms


def _is_in(address: Address, prefix: Prefix) -> bool:
    return address.version == prefix.version and address in prefix


def _wider(prefix: Prefix) -> Iterable[Prefix]:
    return (prefix.supernet(new_prefix=length) for length in range(prefix.prefixlen))
