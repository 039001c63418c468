"""Pools of EIPs with the same binding, where their packets go, and the elements that say so. Pure.

A pool's number comes from its binding alone: when health moves packets, elements of pools change, never those of
10,000 EIPs. Only an EIP that is to have no path at all gets an element of its own (`dark`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from anycastd.model.address import Address, RegionName
from anycastd.model.decision import TunnelOrder
from anycastd.model.eip import Binding, FlushConnections, Mode, Path, Placement, PlacementReason, Spread
from anycastd.model.health import Health, HealthView
from anycastd.model.nft import REGION_MASK, Elements, NftSet
from anycastd.model.operator import Drained
from anycastd.model.topology import Config
from anycastd.policy.elements import PoolKey, Wanted, of_pool, pool_key, pool_numbering
from anycastd.policy.numbering import Renumbered
from anycastd.policy.outlook import Outlook, RegionOutlook, outlook_of, region_outlook
from anycastd.policy.paths import path_of, path_text
from anycastd.policy.placement import place_in
from anycastd.reconcile.eip_paths import EipPaths
from anycastd.reconcile.eip_pool import Moved, Pool, shares_in
from anycastd.reconcile.wanted import WantedElements, are_there


class EipPools:
    """All pools. `touched` gathers those whose number or darkness changed, so that their EIPs must follow."""

    def __init__(self, config: Config, health: HealthView, wanted: WantedElements) -> None:
        self._config, self._health, self._wanted = config, health, wanted
        self._dials: dict[RegionName, int] = {}
        self._drained = Drained()
        self._outlooks = {version: outlook_of(config, version, health, {}) for version in (4, 6)}
        self._numbers = pool_numbering()
        self._pools: dict[PoolKey, Pool] = {}
        self._by_region: dict[tuple[RegionName, int], dict[Pool, None]] = {}
        self._by_path: dict[Path, dict[Pool, None]] = {}
        self._left: dict[Path, list[Pool]] = {}
        self.paths = EipPaths(config, wanted)
        self.touched: dict[Pool, None] = {}
        self.flushes: list[FlushConnections] = []

    def all(self) -> Collection[Pool]:
        """Return every pool: a live view."""
        return self._pools.values()

    def join(
        self, address: Address, binding: Binding, version: int, stateless: bool, before: Pool | None, now_s: float
    ) -> Pool:
        """Put an EIP into the pool of its binding; a new pool begins with what the EIP's pool `before` did."""
        key = pool_key(binding, version, stateless)
        pool = self._pools.get(key)
        if pool is None:
            nothing = Placement((), PlacementReason.AWAITS_CHECKS, "", now_s)
            pool = self._pools[key] = Pool(key, binding, version, 0, nothing)
            self._renumbered(self._numbers.add(key))
            pool.number = self._numbers[key]
            self._enter(pool)
            pool.worn = set(before.worn if before else ())
            self._settle(pool, before.placement if before else None, now_s)
        elif before is not None:
            pool.worn |= before.worn.intersection(pool.known)
        pool.addresses[address] = None
        # what was noted of this pool is of no use, and of no known path, once the pool has ended
        self._flush_left()
        return pool

    def leave(self, address: Address, pool: Pool) -> None:
        """Take an EIP out of its pool; an empty pool ends."""
        del pool.addresses[address]
        if pool.addresses:
            return
        self._wanted.change(pool.elements, {})
        self._exit(pool)
        del self._pools[pool.key]
        self._renumbered(self._numbers.remove(pool.key))
        self.touched.pop(pool, None)

    def configure(self, config: Config, health: HealthView, now_s: float) -> list[Moved]:
        """Take a configuration; connections to backends and regions that are no longer in it as they were end."""
        ended = self._ended_by(config)
        self._config, self._health = config, health
        best = self.paths.best
        self._outlooks = {
            version: outlook_of(config, version, health, self._dials, best, self._drained) for version in (4, 6)
        }
        ended += self.paths.configure(config)
        self._by_region, self._by_path = {}, {}
        old = [path for pool in self._pools.values() for path in pool.known if path is not None]
        for pool in self._pools.values():
            self._enter(pool)
        self._rename(self.paths.remove(old))
        moved = self._settle_all(self._pools.values(), now_s)
        self.flushes += ended
        return moved

    def _ended_by(self, config: Config) -> list[FlushConnections]:
        """Return the connections that lead nowhere, or to another's region, under a new configuration."""
        before, after = self._config, config
        regions = sorted(
            one.number
            for name, one in before.regions.items()
            if name not in after.regions or after.regions[name].number != one.number
        )
        used = {
            path
            for pool in self._pools.values()
            for known, path in pool.named.items()
            if known in pool.worn or pool.uses(path)
        }
        paths = sorted(
            path.mark for path in used if path.region_number not in regions and _is_other(path, before, after)
        )
        return [
            *(FlushConnections(number << 24, REGION_MASK) for number in regions),
            *map(FlushConnections, paths),
        ]

    def set_tunnels(self, orders: Mapping[tuple[RegionName, int], TunnelOrder], now_s: float) -> list[Moved]:
        """Take the order of the tunnels of all regions: backends count as they are seen through the best one."""
        before = dict(self.paths.best)
        self.flushes += self.paths.set_tunnels(orders, self._health)
        after = self.paths.best
        names = {key[0] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        return self.on_health(self._health, names, now_s) if names else []

    def on_health(self, health: HealthView, regions: Iterable[RegionName] | None, now_s: float) -> list[Moved]:
        """Take what is believed; only pools that may use a region of which something else is believed are placed."""
        was_suspect, self._health = self._health.self_test.suspect_until_s is not None, health
        suspect = health.self_test.suspect_until_s is not None
        names = set(self._config.regions)
        if regions is not None and suspect == was_suspect:
            names.intersection_update(regions)
        affected: dict[Pool, None] = {}
        for version, outlook in self._outlooks.items():
            changed = {}
            for name in names:
                view = region_outlook(self._config, name, version, health, self.paths.best.get((name, version)))
                if view != outlook.regions[name]:
                    changed[name] = view
                    affected |= self._affected(name, version, outlook.regions[name], view)
            if changed or suspect != was_suspect:
                views = {**outlook.regions, **changed}
                self._outlooks[version] = replace(outlook, regions=views, suspect=suspect)
        return self._settle_all(affected if suspect == was_suspect else self._pools.values(), now_s)

    def _affected(
        self, name: RegionName, version: int, before: RegionOutlook, after: RegionOutlook
    ) -> dict[Pool, None]:
        """Return the pools that may be placed otherwise: those with a backend of which something else is believed.

        A latency only puts regions in order: placing all the pools that have no other region took 7 ms with 300 of
        them, each time that it was another (measured).
        """
        pools = self._by_region.get((name, version), {})
        if replace(before, backends=after.backends, latency_ms=after.latency_ms) != after:
            return pools
        is_ranked = before.latency_ms != after.latency_ms
        news = {one for one, state in after.backends.items() if before.backends.get(one) is not state}
        return {
            pool: None
            for pool in pools
            if (is_ranked and pool.ranks_regions) or not news.isdisjoint(path.backend for path in pool.known if path)
        }

    def set_dials(self, dials: Mapping[RegionName, int], now_s: float) -> list[Moved]:
        """Take the dials that operators set at run time, in percent; other regions have the configured one."""
        changed = {name for name in dials.keys() | self._dials.keys() if dials.get(name) != self._dials.get(name)}
        self._dials = dict(dials)
        affected: dict[Pool, None] = {}
        for version, outlook in self._outlooks.items():
            self._outlooks[version] = replace(outlook, dials=self._dials)
            for name in changed:
                affected |= self._by_region.get((name, version), {})
        return self._settle_all(affected, now_s)

    def set_drained(self, drained: Drained, now_s: float) -> list[Moved]:
        """Take what operators drained: new connections go elsewhere, those that stand go on."""
        self._drained = drained
        for version, outlook in self._outlooks.items():
            self._outlooks[version] = replace(outlook, drained=drained)
        return self._settle_all(self._pools.values(), now_s)

    def take_over(self, observed: Elements, now_s: float) -> list[Moved]:
        """Begin where the kernel is: pools that nothing was known of go on as their elements say."""
        moved = []
        for pool in self._pools.values():
            there = shares_in(pool, observed) if pool.is_new else ()
            if pool.is_new:
                pool.worn.update(pool.named)
            pool.is_new = False
            if there:
                regions = tuple(dict.fromkeys(share.path.region for share in there))
                kept = Placement(there, PlacementReason.PREFERRED, "taken over from the kernel", now_s, regions)
                moved += self._settle(pool, kept, now_s)
        self._flush_left()
        return moved

    def is_bad(self, path: Path) -> bool:
        """Return whether the backend of a path is known not to be usable."""
        backend = self._config.backends.get(path.backend)
        if backend is None:
            return True
        outlook = self._outlooks[backend.address.version]
        return not outlook.suspect and _is_bad(outlook, path)

    def is_there(self, pool: Pool, observed: Elements) -> bool:
        """Return whether the elements of a pool and of the paths that it uses are in the kernel, and alone count."""
        if pool.number in observed.get(NftSet.POOL, {}) and (NftSet.POOL, pool.number) not in pool.elements:
            # it is looked at before the buckets
            return False
        used = [known for known, path in zip(pool.known, pool.paths, strict=True) if path and pool.uses(path)]
        wanted = (pool.elements, *(self.paths.elements(known) for known in used if known))
        return all(are_there(one, observed) for one in wanted)

    def _enter(self, pool: Pool) -> None:
        """Find a pool's paths and where it has to be looked for."""
        pool.known = tuple(path_of(self._config, target, pool.version) for target in pool.binding.targets)
        found = [path for path in pool.known if path is not None]
        pool.ranks_regions = pool.binding.spread is Spread.NEAREST and len({path.region for path in found}) > 1
        moved = self.paths.add(found)
        for path in found:
            self._by_path.setdefault(path, {})[pool] = None
            self._by_region.setdefault((path.region, pool.version), {})[pool] = None
        self._name_paths(pool)
        self._rename(moved)

    def _exit(self, pool: Pool) -> None:
        found = [path for path in pool.known if path is not None]
        for path in set(found):
            del self._by_path[path][pool]
            if not self._by_path[path]:
                del self._by_path[path]
        for region in {path.region for path in found}:
            del self._by_region[region, pool.version][pool]
        self._rename(self.paths.remove(found))

    def _rename(self, paths: Iterable[Path]) -> None:
        """Follow a change of path numbers."""
        for pool in {pool: None for path in paths for pool in self._by_path.get(path, {})}:
            self._name_paths(pool)
            self._write(pool)

    def _name_paths(self, pool: Pool) -> None:
        pool.paths = tuple(self.paths[path] if path else None for path in pool.known)
        by_text = {path_text(path): path for path in pool.paths if path}
        shares = tuple(
            replace(share, path=by_text.get(path_text(share.path), share.path)) for share in pool.placement.shares
        )
        if shares != pool.placement.shares:
            pool.placement = replace(pool.placement, shares=shares)

    def _renumbered(self, what: Renumbered[PoolKey]) -> None:
        for number in what.changed_hands:
            self._wanted.reassign(number)
        before, after = Wanted(), Wanted()
        for key in what.had:
            pool = self._pools[key]
            before |= pool.elements
            pool.number = self._numbers[key]
            pool.elements, pool.written = of_pool(pool.number, pool.placement), (pool.number, pool.placement.shares)
            after |= pool.elements
            self.touched[pool] = None
        self._wanted.change(before, after)

    def _settle_all(self, pools: Iterable[Pool], now_s: float) -> list[Moved]:
        moved = [one for pool in list(pools) for one in self._settle(pool, pool.placement, now_s)]
        self._flush_left()
        return moved

    def _settle(self, pool: Pool, last: Placement | None, now_s: float) -> list[Moved]:
        """Place a pool's packets."""
        outlook, before = self._outlooks[pool.version], pool.placement
        after = pool.placement = place_in(outlook, pool.binding, pool.paths, last, now_s)
        self._look_for_bad(pool, outlook)
        if (pool.number, after.shares) != pool.written:
            self._write(pool)
        if before.shares != after.shares or before.reason is not after.reason:
            return [Moved(pool.number, tuple(pool.addresses), before, after)]
        return []

    def _look_for_bad(self, pool: Pool, outlook: Outlook) -> None:
        """Note bad backends to which there may be connections though packets go there no more."""
        named = pool.named
        pool.worn = {known for known, path in named.items() if known in pool.worn or pool.uses(path)}
        if outlook.suspect:
            return
        for known in sorted(pool.worn, key=lambda path: path.mark):
            if not pool.uses(named[known]) and _is_bad(outlook, known):
                pool.worn.discard(known)
                self._left.setdefault(known, []).append(pool)

    def _write(self, pool: Pool) -> None:
        if bool(pool.elements) == pool.is_dark:
            self.touched[pool] = None
        elements = of_pool(pool.number, pool.placement)
        self._wanted.change(pool.elements, elements)
        pool.elements, pool.written = elements, (pool.number, pool.placement.shares)

    def _flush_left(self) -> None:
        """End the connections to bad backends that packets have left; those of EIPs that stay there go on."""
        for known, pools in self._left.items():
            path = self.paths[known]
            if any(pool.uses(path) for pool in self._by_path[known]):
                self.flushes += [FlushConnections(path.mark, address=one) for pool in pools for one in pool.addresses]
            else:
                self.flushes.append(FlushConnections(path.mark))
        self._left = {}


def _is_other(path: Path, before: Config, after: Config) -> bool:
    """Return whether what is translated to a backend's address would go on to one that is not the backend's."""
    backend = after.backends.get(path.backend)
    if backend is None:
        return True
    return path.mode is not Mode.ROUTED and backend.address != before.backends[path.backend].address


def _is_bad(outlook: Outlook, path: Path) -> bool:
    return outlook.state(path.backend) is Health.UNHEALTHY
