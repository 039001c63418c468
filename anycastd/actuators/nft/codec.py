"""Keys and values of the model as the bytes that sets hold, and as the words of nft; and back.

Numbers of marks and classes lie in the machine's own byte order, everything of packets in the network's.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from anycastd.actuators.nft.layout import LAYOUTS, Field
from anycastd.model.address import KnownIPv4Address, KnownIPv6Address, Prefix
from anycastd.model.nft import Count, Key, Limit, NftSet, Value
from anycastd.model.shaping import MAJOR

LIMIT = struct.Struct(">QQIII")
"""Rate, unit in seconds, burst, what is counted, flags (NFTA_LIMIT_*, linux/netfilter/nf_tables.h)."""
PER_SECOND, OF_BYTES, OVER = 1, 1, 1
CLASS_MAJOR = MAJOR << 16
CLASS_MAPS = frozenset({NftSet.CLASS4, NftSet.CLASS6})
HOST_ORDER = frozenset({Field.MARK, Field.CLASS})
ADDRESSES: dict[Field, type[IPv4Address] | type[IPv6Address]] = {Field.IPV4: IPv4Address, Field.IPV6: IPv6Address}
_MADE = {Field.IPV4: KnownIPv4Address, Field.IPV6: KnownIPv6Address}

_ADDRESS4, _ADDRESS6 = (Field.IPV4,), (Field.IPV6,)


class UnfitError(ValueError):
    """A key or value that its set cannot hold."""


def encode_key(name: NftSet, key: Key) -> bytes:
    """Return a key's bytes; a prefix is its first address and its length. UnfitError if the set cannot hold it."""
    layout = LAYOUTS[name]
    if layout.key in (_ADDRESS4, _ADDRESS6) and not layout.interval:
        if not isinstance(key, ADDRESSES[layout.key[0]]):
            raise _unfit(name, key)
        return key.packed
    if layout.interval:
        wanted = IPv4Network if layout.key[0] is Field.IPV4 else IPv6Network
        if not isinstance(key, wanted):
            raise _unfit(name, key)
        return encode_prefix(key)
    return _pack(name, layout.key, key if isinstance(key, tuple) else (key,), key)


def encode_prefix(prefix: Prefix) -> bytes:
    """Return a prefix as one key, which the kernel holds as two elements: see `ends`."""
    return prefix.network_address.packed + bytes([prefix.prefixlen])


def ends(key: bytes) -> tuple[bytes, bytes | None]:
    """Return a prefix's first address, and the one behind its last; None behind the last of all."""
    start, width = key[:-1], 8 * (len(key) - 1)
    behind = int.from_bytes(start, "big") + (1 << width - key[-1])
    return start, None if behind >> width else behind.to_bytes(width // 8, "big")


@lru_cache(maxsize=4096)
def encode_value(name: NftSet, value: Value) -> bytes:
    """Return a value's bytes, none for a set without data; of a limit those of `LIMIT`."""
    layout = LAYOUTS[name]
    if layout.limit:
        if not isinstance(value, Limit):
            raise _unfit(name, value)
        try:
            return LIMIT.pack(value.bytes_per_s, PER_SECOND, value.burst_bytes, OF_BYTES, OVER)
        except struct.error:
            raise _unfit(name, value) from None
    if not layout.data:
        if value is not None:
            raise _unfit(name, value)
        return b""
    if name in CLASS_MAPS and isinstance(value, int) and not value >> 16:
        return _pack(name, layout.data, (CLASS_MAJOR | value,), value)
    return _pack(name, layout.data, value if isinstance(value, tuple) else (value,), value)


def _unfit(name: NftSet, what: object) -> UnfitError:
    return UnfitError(f"{name.value} cannot hold {what}")


def _pack(name: NftSet, fields: tuple[Field, ...], parts: tuple[Any, ...], whole: object) -> bytes:
    if len(parts) != len(fields):
        raise _unfit(name, whole)
    out = b""
    for field, part in zip(fields, parts, strict=True):
        wanted = ADDRESSES.get(field, int)
        if not isinstance(part, wanted):
            raise _unfit(name, whole)
        if isinstance(part, IPv4Address | IPv6Address):
            out += part.packed
            continue
        try:
            number = part.to_bytes(field.width, sys.byteorder if field in HOST_ORDER else "big")
        except OverflowError:
            raise _unfit(name, whole) from None
        out += number.ljust(field.padded, b"\0")
    return out


def decode_key(name: NftSet, raw: bytes) -> Key:
    """Return the key of bytes that `encode_key` may have made."""
    if LAYOUTS[name].interval:
        return ip_network((raw[:-1], raw[-1]))
    parts = _unpack(LAYOUTS[name].key, raw)
    return parts[0] if len(parts) == 1 else tuple(parts)


def decode_value(name: NftSet, raw: bytes) -> Value:
    """Return the value of bytes that have the layout's length."""
    if LAYOUTS[name].limit:
        rate, unit, burst, kind, flags = LIMIT.unpack(raw)
        # one of packets, of an hour or of what is below it is nothing that we make
        return Limit(rate, burst) if (unit, kind, flags) == (PER_SECOND, OF_BYTES, OVER) else Limit(0, 0)
    parts = _unpack(LAYOUTS[name].data, raw)
    if not parts:
        return None
    if name in CLASS_MAPS:
        return int(parts[0] - CLASS_MAJOR)
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _unpack(fields: tuple[Field, ...], raw: bytes) -> list[Any]:
    parts: list[Any] = []
    at = 0
    for field in fields:
        piece = raw[at : at + field.width]
        at += field.padded
        if field in _MADE:
            parts.append(_MADE[field](piece))
        else:
            parts.append(int.from_bytes(piece, sys.byteorder if field in HOST_ORDER else "big"))
    return parts


def intervals(bounds: list[tuple[bytes, bool]]) -> Iterator[bytes | tuple[bytes, bytes]]:
    """Yield what an interval set holds: the key of a prefix (`encode_prefix`), or first and last address of a range.

    `bounds` are its elements: an address, and whether something starts there; with False it ends before that address.
    """
    start: bytes | None = None
    # sorted, an end comes before the start that has the same address: nothing lies between
    for bound, starts in [*sorted(bounds), (b"", False)]:
        if start is not None and start != bound:
            width = 8 * len(start)
            first, behind = int.from_bytes(start, "big"), int.from_bytes(bound, "big") if bound else 1 << width
            size = behind - first
            if size & (size - 1) == 0 and first % size == 0:
                yield start + bytes([width + 1 - size.bit_length()])
            else:
                yield start, (behind - 1).to_bytes(width // 8, "big")
        start = bound if starts else None


def key_text(name: NftSet, key: Key) -> str:
    """Return a key in the words of nft."""
    return _text(LAYOUTS[name].key, key if isinstance(key, tuple) else (key,))


def element_text(name: NftSet, key: Key, value: Value, count: Count | None = None) -> str:
    """Return an element in the words of nft, with what its counter shows."""
    words = key_text(name, key)
    if isinstance(value, Limit):
        words += f" limit rate over {value.bytes_per_s} bytes/second burst {value.burst_bytes} bytes"
    if count is not None and LAYOUTS[name].counter:
        words += f" counter packets {count.packets} bytes {count.bytes}"
    elif isinstance(value, Limit):
        words += " counter"
    if name in CLASS_MAPS and isinstance(value, int):
        return f"{words} : a001:{value:x}"
    if LAYOUTS[name].data:
        words += f" : {_text(LAYOUTS[name].data, value if isinstance(value, tuple) else (value,))}"
    return words


def _text(fields: tuple[Field, ...], parts: tuple[Any, ...]) -> str:
    return " . ".join(_word(field, part) for field, part in zip(fields, parts, strict=True))


def _word(field: Field, part: Any) -> str:
    if not isinstance(part, int) or field not in HOST_ORDER:
        return str(part)
    return f"{part:#x}" if field is Field.MARK else f"0:{part:x}"
