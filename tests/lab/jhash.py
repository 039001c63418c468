"""Bob Jenkins' lookup3 as Linux has it (include/linux/jhash.h), written from its description for the tests."""

from __future__ import annotations

import struct

MASK = 0xFFFFFFFF


def _rotate(word: int, by: int) -> int:
    return ((word << by) | (word >> (32 - by))) & MASK


def jhash(data: bytes, seed: int) -> int:
    """Return the hash of bytes; all words little endian."""
    a = b = c = (0xDEADBEEF + len(data) + seed) & MASK
    while len(data) > 12:
        words = struct.unpack("<3I", data[:12])
        a, b, c = ((one + word) & MASK for one, word in zip((a, b, c), words, strict=True))
        a, b, c = _mix(a, b, c)
        data = data[12:]
    if not data:
        return c
    words = struct.unpack("<3I", data.ljust(12, b"\0"))
    a, b, c = ((one + word) & MASK for one, word in zip((a, b, c), words, strict=True))
    return _final(a, b, c)


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    a = ((a - c) & MASK) ^ _rotate(c, 4)
    c = (c + b) & MASK
    b = ((b - a) & MASK) ^ _rotate(a, 6)
    a = (a + c) & MASK
    c = ((c - b) & MASK) ^ _rotate(b, 8)
    b = (b + a) & MASK
    a = ((a - c) & MASK) ^ _rotate(c, 16)
    c = (c + b) & MASK
    b = ((b - a) & MASK) ^ _rotate(a, 19)
    a = (a + c) & MASK
    c = ((c - b) & MASK) ^ _rotate(b, 4)
    b = (b + a) & MASK
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    c = ((c ^ b) - _rotate(b, 14)) & MASK
    a = ((a ^ c) - _rotate(c, 11)) & MASK
    b = ((b ^ a) - _rotate(a, 25)) & MASK
    c = ((c ^ b) - _rotate(b, 16)) & MASK
    a = ((a ^ c) - _rotate(c, 4)) & MASK
    b = ((b ^ a) - _rotate(a, 14)) & MASK
    return ((c ^ b) - _rotate(b, 24)) & MASK


def scaled(value: int, into: int) -> int:
    """Return a 32-bit number brought into 0..into-1 as the kernel does (reciprocal_scale)."""
    return value * into >> 32
