"""What was read from the kernel so far: dumps and events put together into one `KernelObserved`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from anycastd.actuators.dataplane.wire import WireRoute, to_model
from anycastd.model.address import Address
from anycastd.model.kernel import KernelObserved, KernelRoute, KernelRule, LinkView

Key = tuple[int, bytes, int, int, int]

EXPECTED = 65536
"""Routes asked for and not read back that are remembered; more only cost time."""


class Picture:
    """Ours in the kernel, as last read. Events that come during a dump are repeated on top of its result."""

    def __init__(self) -> None:
        self._wires: dict[WireRoute, KernelRoute] = {}
        self._by_key: dict[Key, tuple[WireRoute, ...]] = {}
        self._routes: set[KernelRoute] = set()
        self._known: dict[WireRoute, KernelRoute] = {}
        self._rules: frozenset[KernelRule] = frozenset()
        self._links: Mapping[str, LinkView] = {}
        self._names: dict[int, str] = {}
        self._read = False
        self._since_dump: list[Callable[[], object]] | None = None
        self._observed: KernelObserved | None = KernelObserved()
        self.link_events = 0
        """How many events of devices and addresses were taken in: a dump older than one of them is not used."""

    @property
    def observed(self) -> KernelObserved:
        """Return it as a value; the same object until something changes."""
        if self._observed is None:
            # copying a set keeps the hashes, so this costs 25 ns a route, not 3 us
            routes = frozenset(self._routes) if self._read else None
            self._observed = KernelObserved(routes, self._rules, self._links)
        return self._observed

    @property
    def links(self) -> Mapping[str, LinkView]:
        """Return the devices by name."""
        return self._links

    @property
    def indexes(self) -> dict[str, int]:
        """Return the devices' numbers by name."""
        return {name: index for index, name in self._names.items()}

    def name_of(self, index: int) -> str | None:
        """Return a device's name."""
        return self._names.get(index)

    def holds_key(self, key: Key) -> bool:
        """Return whether a route of ours has this place."""
        return key in self._by_key

    def expect(self, wire: WireRoute, route: KernelRoute) -> None:
        """Use this very object when the route is read back: comparing it with itself costs nothing."""
        if len(self._known) >= EXPECTED:
            self._known.clear()
        self._known[wire] = route

    def put(self, wire: WireRoute, *, beside: bool = False) -> bool:
        """Take a route in; unless `beside`, it takes the place of the others of its key. Return whether it was news."""
        if self._since_dump is not None:
            self._since_dump.append(lambda: self._put(wire, beside))
        return self._put(wire, beside)

    def _put(self, wire: WireRoute, beside: bool) -> bool:
        if wire in self._wires and (beside or len(self._by_key[wire.key]) == 1):
            return False
        if not beside:
            for other in self._by_key.get(wire.key, ()):
                self._forget(other)
        self._add(wire)
        return True

    def drop(self, wire: WireRoute) -> bool:
        """Take a route out; False when just this one was not there."""
        if self._since_dump is not None:
            self._since_dump.append(lambda: self._forget(wire))
        return self._forget(wire)

    def uses(self, index: int) -> bool:
        """Return whether a route of ours goes over a device."""
        return any(wire.device == index for wire in self._wires)

    def drop_device(self, index: int) -> bool:
        """Take out every route over a device: what the kernel does, silently for IPv4, when it goes down."""
        if self._since_dump is not None:
            self._since_dump.append(lambda: self._drop_device(index))
        return self._drop_device(index)

    def _drop_device(self, index: int) -> bool:
        gone = [wire for wire in self._wires if wire.device == index]
        for wire in gone:
            self._forget(wire)
        return bool(gone)

    def _add(self, wire: WireRoute) -> None:
        if wire in self._wires:
            return
        route = self._known.pop(wire, None) or to_model(wire, self._names)
        self._wires[wire] = route
        self._by_key[wire.key] = (*self._by_key.get(wire.key, ()), wire)
        self._routes.add(route)
        self._observed = None

    def _forget(self, wire: WireRoute) -> bool:
        route = self._wires.pop(wire, None)
        if route is None:
            return False
        rest = tuple(other for other in self._by_key[wire.key] if other != wire)
        if rest:
            self._by_key[wire.key] = rest
        else:
            del self._by_key[wire.key]
        self._routes.discard(route)
        self._observed = None
        return True

    @contextmanager
    def dumping(self) -> Iterator[None]:
        """Keep what happens meanwhile, for `dumped`."""
        self._since_dump = []
        try:
            yield
        finally:
            self._since_dump = None

    def dumped(self, *parts: set[WireRoute]) -> Iterator[None]:
        """Become what was dumped; yields now and then, so that the caller can let others run. Exhaust it."""
        changes: list[tuple[WireRoute, bool]] = []
        for part in parts:
            changes += [(wire, True) for wire in part - self._wires.keys()]
            yield
        gone = self._wires.keys() - parts[0] if parts else set()
        for part in parts[1:]:
            gone -= part
            yield
        for count, (wire, present) in enumerate([*((wire, False) for wire in gone), *changes]):
            if present:
                self._add(wire)
            else:
                self._forget(wire)
            if count % 500 == 499:
                yield
        for again in self._since_dump or ():
            again()
        if not self._read:
            self._read, self._observed = True, None

    def set_rules(self, rules: Iterable[KernelRule]) -> None:
        """Take the rules that were read."""
        rules = frozenset(rules)
        if rules != self._rules:
            self._rules, self._observed = rules, None

    def set_links(self, links: Mapping[str, LinkView]) -> frozenset[str]:
        """Take the devices in; return the names of those that came, went or changed."""
        before = self._links
        changed = frozenset(name for name in {*before, *links} if before.get(name) != links.get(name))
        if not changed:
            return changed
        self._links, self._observed = dict(links), None
        names = {link.index: name for name, link in links.items()}
        renamed = {index for index in {*names, *self._names} if names.get(index) != self._names.get(index)}
        self._names = names
        for wire in [wire for wire in self._wires if wire.device in renamed] if renamed else ():
            self._forget(wire)
            self._add(wire)
        return changed

    def set_link(self, link: LinkView) -> frozenset[str]:
        """Take one device in; it may have a new name."""
        self.link_events += 1
        links = {name: old for name, old in self._links.items() if old.index != link.index}
        return self.set_links({**links, link.name: link})

    def drop_link(self, index: int) -> frozenset[str]:
        """Take a device out."""
        self.link_events += 1
        return self.set_links({name: old for name, old in self._links.items() if old.index != index})

    def set_address(self, index: int, address: Address, *, present: bool) -> frozenset[str]:
        """Take a device's address in or out."""
        name = self._names.get(index)
        if name is None:
            return frozenset()
        link = self._links[name]
        addresses = link.addresses | {address} if present else link.addresses - {address}
        return self.set_link(replace(link, addresses=addresses))
