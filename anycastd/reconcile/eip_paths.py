"""The paths that pools may use, with their elements: there before a failover needs them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.model.address import Address, Family, RegionName, TunnelId
from anycastd.model.decision import TunnelOrder
from anycastd.model.eip import FlushConnections, Mode, Path
from anycastd.model.health import HealthView
from anycastd.model.nft import Elements, Value
from anycastd.model.topology import Config, ReturnPath
from anycastd.policy.condition import carries
from anycastd.policy.elements import SETS, Wanted, of_path
from anycastd.policy.numbering import Renumbered
from anycastd.policy.paths import numbered, path_numbering
from anycastd.reconcile.wanted import WantedElements


class EipPaths:
    """Paths by what they are (as `policy.paths.path_of` gives them), counted by the pools that may use them."""

    def __init__(self, config: Config, wanted: WantedElements) -> None:
        self._config, self._wanted = config, wanted
        self._numbers = path_numbering()
        self._uses: dict[Path, int] = {}
        self._elements: dict[Path, Wanted] = {}
        self._best: dict[tuple[RegionName, int], TunnelId | None] = {}
        self._drained: dict[tuple[RegionName, int], tuple[TunnelId, ...]] = {}

    def __getitem__(self, path: Path) -> Path:
        """Return the path with its final number."""
        return numbered(path, self._numbers[path])

    def by_mark(self) -> dict[int, Path]:
        """Return the paths by their marks."""
        return {path.mark: path for path in map(self.__getitem__, self._uses)}

    def elements(self, path: Path) -> Wanted:
        """Return the elements of a path."""
        return self._elements[path]

    def add(self, paths: Iterable[Path]) -> frozenset[Path]:
        """Take in the paths of one pool; return others whose number changed."""
        moved: set[Path] = set()
        for path in paths:
            self._uses[path] = self._uses.get(path, 0) + 1
            if self._uses[path] == 1:
                moved |= self._renumbered(self._numbers.add(path))
                self._elements[path] = {}
                self._refresh((path,))
        return frozenset(moved)

    def remove(self, paths: Iterable[Path]) -> frozenset[Path]:
        """Leave out the paths of one pool; return others whose number changed."""
        moved: set[Path] = set()
        for path in paths:
            self._uses[path] -= 1
            if not self._uses[path]:
                del self._uses[path]
                self._wanted.change(self._elements.pop(path), {})
                moved |= self._renumbered(self._numbers.remove(path))
        return frozenset(moved & self._uses.keys())

    def configure(self, config: Config) -> list[FlushConnections]:
        """Take a configuration; return the connections that would be hidden behind another address from now on.

        The paths of pools that are no longer what they were are then removed by them.
        """
        before = {path: self._hidden_behind(path) for path in self._uses}
        self._config = config
        self._refresh(self._uses)
        return [
            FlushConnections(self[path].mark)
            for path, was in before.items()
            if was is not None and was != self._hidden_behind(path) and self._is_broken(path)
        ]

    def _hidden_behind(self, path: Path) -> Value:
        return self._elements[path].get((SETS[self._version(path)].hide, self[path].mark))

    @property
    def best(self) -> Mapping[tuple[RegionName, int], TunnelId | None]:
        """Return the tunnel that carries each region's packets, by region and IP version."""
        return self._best

    def set_tunnels(
        self, orders: Mapping[tuple[RegionName, int], TunnelOrder], health: HealthView
    ) -> list[FlushConnections]:
        """Take the order of every region's tunnels; return the connections that a change of tunnel breaks.

        A drain, or its end, breaks none while the tunnel that is left works: answers go on to come back by it.
        """
        drained, self._drained = self._drained, {key: order.drained for key, order in orders.items()}
        before, self._best = self._best, {key: order.best for key, order in orders.items()}
        changed = {key for key in before.keys() | self._best.keys() if before.get(key) != self._best.get(key)}
        broken = []
        for path in self._uses if changed else ():
            key = (path.region, self._version(path))
            if path.mode is Mode.MASQUERADE and key in changed:
                old = self._elements[path]
                self._refresh((path,))
                left = before.get(key)
                by_hand = drained.get(key, ()) != self._drained.get(key, ())
                if left is None or (by_hand and left in health.tunnels and health.tunnels[left].health.is_usable):
                    continue
                if old != self._elements[path] and self._is_broken(path):
                    broken.append(FlushConnections(self[path].mark))
        return broken

    def take_over(self, observed: Elements) -> list[FlushConnections]:
        """Return the connections that were hidden behind another address than they would be now."""
        broken = []
        for path, elements in self._elements.items():
            hide, mark = SETS[self._version(path)].hide, self[path].mark
            there: Address | object | None = observed.get(hide, {}).get(mark)
            if there is not None and there != elements.get((hide, mark)) and self._is_broken(path):
                broken.append(FlushConnections(mark))
        return broken

    def _is_broken(self, path: Path) -> bool:
        region = self._config.regions.get(path.region)
        return region is not None and region.return_path is ReturnPath.ADDRESS

    def _renumbered(self, what: Renumbered[Path]) -> frozenset[Path]:
        for number in what.changed_hands:
            self._wanted.reassign(number)
        self._refresh(what.had)
        return frozenset(what.had)

    def _refresh(self, paths: Iterable[Path]) -> None:
        before, after = Wanted(), Wanted()
        for path in paths:
            before |= self._elements[path]
            self._elements[path] = self._of(path)
            after |= self._elements[path]
        self._wanted.change(before, after)

    def _of(self, path: Path) -> Wanted:
        if path.backend not in self._config.backends:
            return {}
        version = self._version(path)
        best = self._best.get((path.region, version))
        if best not in self._config.regions[path.region].tunnels:
            best = self._first_tunnel(path.region, version)
        return of_path(self._config, self[path], version, best)

    def _version(self, path: Path) -> int:
        backend = self._config.backends.get(path.backend)
        return backend.address.version if backend else 4

    def _first_tunnel(self, region: RegionName, version: int) -> TunnelId | None:
        """Return what stands in until an order of the region's tunnels is known."""
        family = Family.IPV4_UNICAST if version == 4 else Family.IPV6_UNICAST
        tunnels = [self._config.tunnels[id_] for id_ in self._config.regions[region].tunnels]
        ours = [tunnel for tunnel in tunnels if carries(tunnel, family)]
        return min(ours, key=lambda tunnel: (tunnel.priority, tunnel.id)).id if ours else None
