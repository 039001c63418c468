"""How each set of the model lies in the kernel: the types of its key and data, and what its elements carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from anycastd.model.nft import NftSet


class Field(Enum):
    """A type of nftables: its name, and its width in bytes before it is padded to four."""

    IPV4 = ("ipv4_addr", 4)
    IPV6 = ("ipv6_addr", 16)
    MARK = ("mark", 4)
    CLASS = ("classid", 4)
    PROTOCOL = ("inet_proto", 1)
    PORT = ("inet_service", 2)

    @property
    def type_name(self) -> str:
        """Return its name in a set's definition."""
        return self.value[0]

    @property
    def width(self) -> int:
        """Return its width in bytes."""
        return self.value[1]

    @property
    def padded(self) -> int:
        """Return its width inside a concatenation."""
        return (self.width + 3) & ~3


@dataclass(frozen=True, slots=True)
class Layout:
    """One set: `data` empty for a set without data, `limit` and `counter` for what its elements carry, in this order.

    `interval`: elements are prefixes.
    """

    key: tuple[Field, ...]
    data: tuple[Field, ...] = ()
    limit: bool = False
    counter: bool = False
    interval: bool = False

    @property
    def key_bytes(self) -> int:
        """Return the width of a key in the kernel."""
        return self.key[0].width if len(self.key) == 1 else sum(field.padded for field in self.key)

    @property
    def data_bytes(self) -> int:
        """Return the width of the data in the kernel; 0 without."""
        return sum(field.padded for field in self.data)


def _layouts() -> dict[NftSet, Layout]:
    found = {
        NftSet.POOL: Layout((Field.MARK,), (Field.MARK,)),
        # the bucket travels in `meta priority`, whose type is classid
        NftSet.SLOT: Layout((Field.MARK, Field.CLASS), (Field.MARK,)),
        NftSet.TRANSLATED: Layout((Field.MARK,)),
    }
    for version, address in (("4", Field.IPV4), ("6", Field.IPV6)):
        here = {
            "own": Layout((address,), interval=True),
            "eip": Layout((address,), (Field.MARK,)),
            "nat": Layout((Field.MARK,), (address,)),
            "port": Layout((Field.MARK, Field.PROTOCOL, Field.PORT), (address, Field.PORT)),
            "hide": Layout((Field.MARK,), (address,)),
            "pong": Layout((address,)),
            "free": Layout((address,)),
            "loose": Layout((address,)),
            "class": Layout((address,), (Field.CLASS,)),
            **{name: Layout((address,), counter=True) for name in ("in", "new", "out", "idle", "dark")},
            **{name: Layout((address,), limit=True, counter=True) for name in ("limin", "limout")},
        }
        found |= {NftSet(name + version): layout for name, layout in here.items()}
    return found


LAYOUTS: Mapping[NftSet, Layout] = _layouts()


def definition(name: NftSet) -> str:
    """Return the set's definition in the words of nft."""
    layout = LAYOUTS[name]
    types = " . ".join(field.type_name for field in layout.key)
    data = " . ".join(field.type_name for field in layout.data)
    words = [f"type {types} : {data};" if data else f"type {types};"]
    if layout.interval:
        words.append("flags interval;")
    if layout.limit:
        words.append("limit rate over 125000 bytes/second burst 65536 bytes;")
    if layout.counter:
        words.append("counter;")
    return f"{'map' if data else 'set'} {name.value} {{ {' '.join(words)} }}"
