"""All EIPs of this POP: from what is wanted and believed to the packet filter's elements, change by change. Pure.

One EIP more or less costs the same whatever the number of EIPs. What was once wanted stays on the list of changes
until it was read back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from zlib import crc32

from anycastd.model.address import Address, BackendId, Prefix, RegionName
from anycastd.model.decision import TunnelOrder
from anycastd.model.eip import Eip, EipView, FlushConnections, Path, Placement, Tracking
from anycastd.model.health import HealthView
from anycastd.model.nft import REGION_MASK, Elements, NftChange, NftObserved, NftSet
from anycastd.model.operator import Drained
from anycastd.model.shaping import MINORS, Shaped
from anycastd.model.topology import Config
from anycastd.policy.elements import Wanted, is_shaped, may_be_loose, of_eip
from anycastd.policy.numbering import Numbering
from anycastd.reconcile.eip_pool import Moved, Pool
from anycastd.reconcile.eip_pools import EipPools
from anycastd.reconcile.eip_view import leaving_view, status_of, view_of
from anycastd.reconcile.nft import ElementKey
from anycastd.reconcile.own_prefixes import OwnPrefixes
from anycastd.reconcile.wanted import WantedElements


@dataclass(slots=True)
class _Entry:
    eip: Eip
    pool: Pool | None
    elements: Wanted


def _minor(address: Address, salt: int) -> int:
    return MINORS[crc32(address.packed + bytes(salt)) % len(MINORS)]


class EipPlane:
    """Begins with a configuration; then the EIPs are put, the kernel is read (`changes`), and everything may change.

    Put all EIPs before the first `changes`: what is in the kernel and not wanted goes.
    """

    def __init__(self, config: Config, health: HealthView, now_s: float) -> None:
        self._wanted, self._config = WantedElements(), config
        self._attacked: frozenset[Address] = frozenset()
        self._own = OwnPrefixes(self._wanted)
        self._own.configure(config.prefixes, now_s)
        self._pools = EipPools(config, health, self._wanted)
        self._entries: dict[Address, _Entry] = {}
        self._gone: dict[Address, _Entry] = {}
        self._minors: Numbering[Address] = Numbering(_minor, str)
        self._shaped: dict[Address, Shaped] = {}
        self.shaped_version = 0
        """Counts on whenever `shaped` changes."""
        self._flushes: list[FlushConnections] = []
        self._taken_over = False
        self._now_s = now_s

    @property
    def wanted(self) -> Elements:
        """Return the elements that should be there: a live view."""
        return self._wanted.elements

    @property
    def version(self) -> int:
        """Return what is another number when another element is wanted."""
        return self._wanted.version

    @property
    def missing(self) -> int:
        """Return how many elements were not read back as wanted yet."""
        return self._wanted.missing

    @property
    def waiting(self) -> int:
        """Return how many elements were changed here and not found as wanted by `changes` yet."""
        return len(self._wanted.dirty)

    @property
    def let_go(self) -> Collection[ElementKey]:
        """Return the elements that were wanted and are not any more, until they were read back as gone."""
        return self._wanted.let_go

    @property
    def pool_numbers(self) -> frozenset[int]:
        """Return the numbers of the pools that there are."""
        return frozenset(pool.number for pool in self._pools.all())

    def knows(self, address: Address) -> bool:
        """Return whether an EIP is wanted, so that all elements of its address are ours to judge."""
        return address in self._entries

    @property
    def minors(self) -> Mapping[Address, int]:
        """Return the minor numbers of the HTB classes of EIPs that are shaped."""
        return {address: self._minors[address] for address in self._minors}

    @property
    def shaped(self) -> Mapping[Address, Shaped]:
        """Return the EIPs that are shaped, with their classes and rates: a live view."""
        return self._shaped

    def configure(self, config: Config, health: HealthView, now_s: float) -> tuple[Moved, ...]:
        """Take a configuration and what is believed under it; return what moved."""
        self._now_s, self._config = now_s, config
        moved = self._pools.configure(config, health, now_s)
        if self._own.configure(config.prefixes, now_s):
            self._look_again(now_s)
        for address in self._attacked & self._entries.keys():
            self._write(self._entries[address])  # a region's mode may be another
        self._follow()
        return tuple(moved)

    def put(self, eip: Eip, now_s: float) -> None:
        """Want an EIP as given, new or changed."""
        self._now_s = now_s
        entry = self._entries.get(eip.address)
        if entry is not None and entry.eip == eip:
            return
        if entry is None:
            entry = self._entries[eip.address] = _Entry(eip, None, {})
            self._gone.pop(eip.address, None)
        self._set(entry, eip, now_s)
        self._follow()

    def drop(self, address: Address, now_s: float) -> None:
        """Want an EIP no longer; nothing happens if it is not known."""
        self._now_s = now_s
        entry = self._entries.pop(address, None)
        if entry is None:
            return
        self._gone[address] = _Entry(entry.eip, None, entry.elements)
        if entry.pool is not None:
            self._flushes.append(FlushConnections(0, 0, address))
            self._pools.leave(address, entry.pool)
        self._number(entry.eip, is_there=False)
        self._shape(address, None)
        self._wanted.change(entry.elements, {})
        self._follow()

    def set_dials(self, dials: Mapping[RegionName, int], now_s: float) -> tuple[Moved, ...]:
        """Take the traffic dials that operators set, in percent; other regions have the configured one."""
        self._now_s = now_s
        moved = self._pools.set_dials(dials, now_s)
        self._follow()
        return tuple(moved)

    def set_drained(self, drained: Drained, now_s: float) -> tuple[Moved, ...]:
        """Take the regions and backends that operators drained."""
        self._now_s = now_s
        moved = self._pools.set_drained(drained, now_s)
        self._follow()
        return tuple(moved)

    def set_attacked(self, addresses: frozenset[Address], now_s: float) -> None:
        """Take the EIPs that are under attack: what begins there is tracked no more, where it can do without."""
        self._now_s, before, self._attacked = now_s, self._attacked, addresses
        for address in before ^ addresses:
            if (entry := self._entries.get(address)) is not None:
                self._write(entry)

    def end_connections(self, regions: Iterable[int], backends: Collection[BackendId]) -> None:
        """Have every connection into regions (by number), and to backends that are in use, forgotten."""
        self._flushes += [FlushConnections(number << 24, REGION_MASK) for number in regions]
        self._flushes += [FlushConnections(mark) for mark, path in self.paths().items() if path.backend in backends]

    def on_health(self, health: HealthView, regions: frozenset[RegionName] | None, now_s: float) -> tuple[Moved, ...]:
        """Take what is believed now; `regions` are those that may have changed, None = any. Return what moved."""
        self._now_s = now_s
        moved = self._pools.on_health(health, regions, now_s)
        self._follow()
        return tuple(moved)

    def set_tunnels(self, orders: Mapping[tuple[RegionName, int], TunnelOrder], now_s: float) -> tuple[Moved, ...]:
        """Take the order of the tunnels of all regions, by region and IP version; return what moved.

        Masquerading follows the best tunnel, and a backend counts as it is seen through it.
        """
        self._now_s = now_s
        moved = self._pools.set_tunnels(orders, now_s)
        self._follow()
        return tuple(moved)

    def keep(self, prefixes: Iterable[Prefix], now_s: float) -> None:
        """Go on with prefixes that are announced though no file names them, for the default linger time from now."""
        self._now_s = now_s
        if self._own.keep(prefixes, now_s):
            self._look_again(now_s)
            self._follow()

    def wake(self, now_s: float) -> None:
        """Let what falls due fall due; see `next_s`."""
        self._now_s = now_s
        if self._own.wake(now_s):
            self._look_again(now_s)
            self._follow()

    def next_s(self) -> float | None:
        """Return when `wake` has something to do."""
        return self._own.next_s()

    def take_over(self, observed: NftObserved, now_s: float) -> tuple[Moved, ...]:
        """Go on from what a daemon before us left in the kernel; only the first time that something was read.

        Prefixes that are no longer configured linger, and pools of which nothing is known yet go on as they were.
        """
        if self._taken_over or observed.elements is None:
            return ()
        self._taken_over, self._now_s = True, now_s
        left = {key for name in (NftSet.OWN4, NftSet.OWN6) for key in observed.elements.get(name, {})}
        if self._own.keep([key for key in left if isinstance(key, IPv4Network | IPv6Network)], now_s):
            self._look_again(now_s)
        moved = self._pools.take_over(observed.elements, now_s)
        self._flushes += self._pools.paths.take_over(observed.elements)
        self._follow()
        return tuple(moved)

    def changes(self, observed: NftObserved) -> tuple[NftChange, ...]:
        """Return what must be changed now, in order; nothing before the first read.

        Everything is compared the first time and when `observed.resync` counts on, else only what was changed here
        and not read back yet.
        """
        if observed.elements is None:
            return ()
        self.take_over(observed, self._now_s)
        changes = self._wanted.changes(observed)
        for address, entry in list(self._gone.items()):
            if not any(key in observed.elements.get(name, {}) for name, key in entry.elements):
                del self._gone[address]
        return changes

    def take_flushes(self) -> tuple[FlushConnections, ...]:
        """Return the connections to forget, once; after the changes that `changes` says now."""
        flushes = dict.fromkeys((*self._flushes, *self._pools.flushes))
        self._flushes, self._pools.flushes = [], []
        return tuple(flushes)

    def view(self, address: Address, observed: NftObserved) -> EipView | None:
        """Return one EIP as it is; None if it is neither wanted nor (any more) in the kernel."""
        entry = self._entries.get(address)
        if entry is None:
            gone = self._gone.get(address)
            return leaving_view(gone.eip, observed.elements or {}) if gone else None
        return self._view(entry, observed.elements or {}, {})

    def views(self, observed: NftObserved) -> tuple[EipView, ...]:
        """Return every EIP as it is, those on their way out last."""
        pools, there = dict[Pool, bool](), observed.elements or {}
        views = [self._view(entry, there, pools) for entry in self._entries.values()]
        return (*views, *(leaving_view(entry.eip, there) for entry in self._gone.values()))

    def _view(self, entry: _Entry, observed: Elements, known: dict[Pool, bool]) -> EipView:
        pool = entry.pool
        if pool is not None and pool not in known:
            known[pool] = self._pools.is_there(pool, observed)
        is_there = pool is None or (known[pool] and self._own.is_there(entry.eip.address, observed))
        status = status_of(entry.eip, entry.elements, observed, is_there)
        return view_of(entry.eip, pool, status)

    def paths(self) -> Mapping[int, Path]:
        """Return the paths that bindings may use, by their marks."""
        return self._pools.paths.by_mark()

    def placements(self) -> Iterator[tuple[Placement, Collection[Address]]]:
        """Yield where packets go now, with the EIPs that share it."""
        return ((pool.placement, pool.addresses) for pool in self._pools.all())

    def _look_again(self, now_s: float) -> None:
        """Find the EIPs that other prefixes make carried, or not carried any more."""
        for entry in self._entries.values():
            if (entry.pool is not None) != self._carries(entry.eip):
                self._set(entry, entry.eip, now_s)

    def _carries(self, eip: Eip) -> bool:
        return eip.carries and eip.address in self._own

    def _set(self, entry: _Entry, eip: Eip, now_s: float) -> None:
        before, was_tracked, pool = entry.pool, entry.eip.tracking is Tracking.CONNTRACK, None
        if eip.binding is not None and self._carries(eip):
            stateless = eip.tracking is Tracking.STATELESS
            pool = self._pools.join(eip.address, eip.binding, eip.address.version, stateless, before, now_s)
        if before is not None and before is not pool:
            self._end_connections(eip, before, pool, was_tracked)
            self._pools.leave(eip.address, before)
        entry.eip, entry.pool = eip, pool
        self._number(eip, is_there=True)
        self._write(entry)

    def _end_connections(self, eip: Eip, before: Pool, after: Pool | None, was_tracked: bool) -> None:
        """Forget the connections of an EIP that nothing carries on: all of them, or those to bad backends it left.

        Connections to a backend that is well go on until they end, also if it is no longer in the binding.
        """
        if after is None or (was_tracked and eip.tracking is Tracking.STATELESS):
            self._flushes.append(FlushConnections(0, 0, eip.address))
            return
        for known, path in before.named.items():
            if known in before.worn and not after.uses(path) and self._pools.is_bad(path):
                self._flushes.append(FlushConnections(path.mark, address=eip.address))

    def _number(self, eip: Eip, *, is_there: bool) -> None:
        """Give an EIP's HTB class a number, or take it back."""
        address, is_needed = eip.address, is_there and is_shaped(eip)
        if is_needed == (address in self._minors):
            return
        renumbered = self._minors.add(address) if is_needed else self._minors.remove(address)
        for other in renumbered.had:
            self._write(self._entries[other])

    def _follow(self) -> None:
        """Let EIPs follow the pools whose number or darkness changed."""
        touched, self._pools.touched = self._pools.touched, {}
        for pool in touched:
            for address in pool.addresses:
                self._write(self._entries[address])

    def _write(self, entry: _Entry) -> None:
        eip, pool = entry.eip, entry.pool
        number, is_dark = (pool.number, pool.is_dark) if pool else (None, False)
        minor, out_bps = self._minors.find(eip.address), eip.bandwidth.out_bps
        self._shape(eip.address, None if minor is None or out_bps is None else Shaped(minor, out_bps))
        loose = eip.address in self._attacked and may_be_loose(self._config, eip)
        elements = of_eip(eip, number, dark=is_dark, minor=minor, loose=loose)
        self._wanted.change(entry.elements, elements)
        entry.elements = elements

    def _shape(self, address: Address, shaped: Shaped | None) -> None:
        if self._shaped.get(address) == shaped:
            return
        self.shaped_version += 1
        if shaped is None:
            del self._shaped[address]
        else:
            self._shaped[address] = shaped
