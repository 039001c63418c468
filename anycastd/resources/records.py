"""Every EIP there is, of the store and of the file, found by address, by id and in order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any

from anycastd.model.address import Address, KnownIPv4Address, KnownIPv6Address, Prefix, known_address
from anycastd.model.eip import Eip, EipId

Place = tuple[int, int]
"""Family and number of an address: the order in which EIPs are listed."""


def place_of(address: Address) -> Place:
    """Return where an address stands in the order."""
    return address.version, int(address)


def address_at(place: Place) -> Address:
    """Return the address at a place."""
    return KnownIPv4Address(place[1]) if place[0] == 4 else KnownIPv6Address(place[1])


class Records:
    """The EIPs; one of the file hides a stored one of the same address."""

    def __init__(self, stored: Iterable[Eip] = (), file: Mapping[Address, Eip] | None = None) -> None:
        self._stored = {eip.address: eip for eip in stored}
        self._file: Mapping[Address, Eip] = file or {}
        self._ids: dict[EipId, Address] = {}
        self._places: list[Place] = []
        self._index()

    def _index(self) -> None:
        self._ids = {eip.id: eip.address for eip in (*self._stored.values(), *self._file.values())}
        self._places = sorted(map(place_of, self._stored.keys() | self._file.keys()))

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Eip]:
        """Yield every EIP in force, in order."""
        for place in self._places:
            eip = self.get(address_at(place))
            assert eip is not None
            yield eip

    @property
    def places(self) -> Sequence[Place]:
        """Return where there are EIPs, in order."""
        return self._places

    def addresses(self) -> Collection[Address]:
        """Return the address of every EIP in force as of now, in no order."""
        fewer, more = sorted((self._stored, self._file), key=len)
        # an address takes its time to hash: 10,000 of them 2 ms
        return [*more, *(address for address in fewer if address not in more)]

    @property
    def stored(self) -> Mapping[Address, Eip]:
        """Return what the store holds, hidden or not."""
        return self._stored

    @property
    def file(self) -> Mapping[Address, Eip]:
        """Return what the file holds."""
        return self._file

    def get(self, address: Address) -> Eip | None:
        """Return the EIP in force at an address."""
        return self._file.get(address) or self._stored.get(address)

    def hidden(self, address: Address) -> bool:
        """Return whether a stored EIP is not in force because the file has its address."""
        return address in self._file and address in self._stored

    def find(self, name: str) -> Eip | None:
        """Return the EIP in force with an id or an address."""
        address = self._ids.get(EipId(name))
        if address is None:
            address = parsed(name)
        return None if address is None else self.get(address)

    def put(self, eip: Eip) -> None:
        """Make a stored EIP so."""
        known = self.get(eip.address) is not None
        if (before := self._stored.get(eip.address)) is not None:
            self._ids.pop(before.id, None)
        self._stored[eip.address] = eip
        self._ids[eip.id] = eip.address
        if not known:
            insort(self._places, place_of(eip.address))

    def drop(self, address: Address) -> None:
        """Forget a stored EIP."""
        eip = self._stored.pop(address, None)
        if eip is not None:
            self._ids.pop(eip.id, None)
            if address not in self._file:
                del self._places[bisect_left(self._places, place_of(address))]

    def set_file(self, file: Mapping[Address, Eip]) -> None:
        """Take the EIPs of a new configuration."""
        if file is not self._file:
            self._file = file
            self._index()

    def next_free(self, prefix: Prefix, avoid: Container[Address] = ()) -> Address | None:
        """Return the lowest address of a prefix that no EIP has and that is not to be avoided.

        Its first and last address (of IPv6 only the first) come after all others: some networks drop packets to them.
        """
        first, last = int(prefix.network_address), int(prefix.broadcast_address)
        outer = [] if last - first < 2 else [first, last] if prefix.version == 4 else [first]
        inner = range(first + (first in outer), last + 1 - (last in outer))
        return self._gap(prefix.version, inner, avoid) or next(
            (
                found
                for number in outer
                if (found := self._gap(prefix.version, range(number, number + 1), avoid)) is not None
            ),
            None,
        )

    def _gap(self, version: int, numbers: range, avoid: Container[Address]) -> Address | None:
        """Return the first free address of a range; the run of EIPs before it is leapt over by bisection."""
        number = numbers.start
        while number < numbers.stop:
            at = bisect_left(self._places, (version, number))
            run = _Run(self._places, at, (version, number))
            number += bisect_left(run, True, 0, len(self._places) - at)
            if number >= numbers.stop:
                return None
            address = address_at((version, number))
            if address not in avoid:
                return address
            number += 1
        return None


class _Run(Sequence[bool]):
    """Whether the place at an index is beyond where it would be if all were taken: False, ..., False, True, ..."""

    def __init__(self, places: Sequence[Place], at: int, first: Place) -> None:
        self._places, self._at, self._first = places, at, first

    def __len__(self) -> int:
        return len(self._places) - self._at

    def __getitem__(self, index: Any) -> Any:
        version, number = self._first
        return self._places[self._at + index] != (version, number + index)


def parsed(text: str) -> Address | None:
    """Return the address that a text is, or None. Zones (`fe80::1%eth0`) are no EIPs."""
    try:
        address = known_address(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id else address
