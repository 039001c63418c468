"""Requests whose bytes we make ourselves, in the shape in which the netlink library takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Numbers:
    """Sequence numbers, each once: the library's own pool walks its last 255 at every request (60 us)."""

    def __init__(self) -> None:
        self._last = 0

    def alloc(self) -> int:
        """Return the next, never 0: that is what events carry."""
        self._last = self._last % 0x7FFFFFFF + 1
        return self._last

    def free(self, number: int, ban: int = 0) -> None:
        """Do nothing: a number comes again after 2^31."""


class Encoded(dict[str, Any]):
    """A request whose bytes we make ourselves, as the library wants to see it."""

    def __init__(self, kind: int, flags: int, encode: Callable[[int], bytes]) -> None:
        super().__init__(header={"type": kind, "flags": flags})
        self._encode, self.data = encode, b""

    def reset(self) -> None:
        """Do nothing: there is no buffer."""

    def encode(self) -> None:
        """Make the bytes, now that the sequence number is known."""
        self.data = self._encode(self["header"]["sequence_number"])
