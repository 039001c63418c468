"""What was read of our table: the kernel's bytes to compare by, and the model's values made of them.

While a whole set is read, elements of it go on changing and are read one by one: of those the whole may tell what was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from anycastd.actuators.nft import codec
from anycastd.model.nft import Key, NftObserved, NftSet, PutElement, Value

BITE = 250
"""Elements taken in at once: about 1 ms."""

Raw = dict[bytes, bytes]
"""A set's elements as of `codec.encode_key` and `codec.encode_value`."""


class Picture:
    """All elements of our sets. What did not change is never made anew: 10,000 addresses cost 10 ms to build."""

    def __init__(self) -> None:
        self._raw: dict[NftSet, Raw] = {name: {} for name in NftSet}
        self._keys: dict[NftSet, dict[bytes, Key]] = {name: {} for name in NftSet}
        self._elements: dict[NftSet, dict[Key, Value]] = {name: {} for name in NftSet}
        self._under_way: Mapping[NftSet, Collection[bytes]] = {}
        self._newer: dict[NftSet, set[bytes]] = {}
        self._observed = NftObserved()

    @property
    def observed(self) -> NftObserved:
        """Return it as a value; the same object until something changes."""
        return self._observed

    def value(self, name: NftSet, key: bytes) -> bytes | None:
        """Return what an element holds, None when it is not there."""
        return self._raw[name].get(key)

    def size(self, name: NftSet) -> int:
        """Return how many elements a set has."""
        return len(self._raw[name])

    def keys(self, name: NftSet) -> Mapping[bytes, Key]:
        """Return a set's keys by their bytes."""
        return self._keys[name]

    def take(self, name: NftSet, key: bytes, value: bytes | None, asked: PutElement | None = None) -> bool:
        """Take in how one element is, None for not there; return whether that is news.

        `asked` is a change with just this key and value, whose objects can be used.
        """
        if name in self._newer:
            self._newer[name].add(key)
        return self._set(name, key, value, asked)

    def _set(self, name: NftSet, key: bytes, value: bytes | None, asked: PutElement | None = None) -> bool:
        raw = self._raw[name]
        if raw.get(key) == value:
            return False
        if value is None:
            del raw[key]
            del self._elements[name][self._keys[name].pop(key)]
            return True
        known = self._keys[name].get(key)
        if known is None:
            known = self._keys[name][key] = codec.decode_key(name, key) if asked is None else asked.key
        raw[key] = value
        self._elements[name][known] = codec.decode_value(name, value) if asked is None else asked.value
        return True

    def expect(self, touched: Mapping[NftSet, Collection[bytes]]) -> None:
        """Note which elements are being changed and will be taken one by one."""
        self._under_way = touched
        for name in self._newer.keys() & touched.keys():
            self._newer[name].update(touched[name])

    def begin(self, name: NftSet) -> None:
        """Note that a whole set is about to be read, which `become` will take."""
        self._newer[name] = set(self._under_way.get(name, ()))

    def become(self, name: NftSet, now: Raw) -> Iterator[bool]:
        """Take in a whole set; yields now and then whether there is news, so that others can run. Exhaust it.

        What was taken one by one since `begin` stays as it was taken.
        """
        newer = self._newer.setdefault(name, set())
        before = self._raw[name]
        if before != now:
            gone = [(key, None) for key in before.keys() - now.keys()]
            news = [(key, value) for key, value in now.items() if before.get(key) != value]
            told = len(newer)
            if changes := [(key, value) for key, value in (*gone, *news) if key not in newer]:
                yield True
            for count, (key, value) in enumerate(changes):
                if len(newer) == told or key not in newer:
                    self._set(name, key, value)
                if count % BITE == BITE - 1:
                    yield True
        del self._newer[name]

    def publish(self, *, rules: bool | None = None, resync: bool = False) -> None:
        """Make `observed` another object; `rules`: whether they stand, None for as before."""
        now = self._observed
        self._observed = NftObserved(
            self._elements,
            now.rules if rules is None else rules,
            now.resync + 1 if resync else now.resync,
        )
