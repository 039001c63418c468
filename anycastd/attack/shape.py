"""The shape of what comes in, from sampled packets, in memory that is bounded whatever they are."""

from __future__ import annotations

from ipaddress import ip_network

from anycastd.attack.packet import Sampled
from anycastd.attack.top import Top, shares
from anycastd.model.address import Prefix
from anycastd.model.attack import Shape

CAPACITY = 64
LISTED = 5
LEAST_PERCENT = 2.0
WINDOW_S = 10.0
BITS = 1 << 13
"""Of the bitmap that sources are counted in; a window is cut off well before it is full."""
MOST_PER_WINDOW = 1000
SPOOFED_FROM = 64
SPOOFED_SHARE = 0.9
SOURCE_BITS = {4: 24, 6: 48}
_MIX = 0x9E3779B97F4A7C15
_MASK64 = (1 << 64) - 1


class _Window:
    """What was sampled in some seconds."""

    __slots__ = ("bitmap", "bytes", "distinct", "origins", "ports", "protocols", "sampled", "since_s", "sources")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.sampled = self.bytes = self.bitmap = self.distinct = 0
        self.protocols, self.sources = Top[str](CAPACITY), Top[Prefix](CAPACITY)
        self.ports, self.origins = Top[int](CAPACITY), Top[int](CAPACITY)

    def add(self, packet: Sampled) -> None:
        if self.sampled >= MOST_PER_WINDOW:
            return
        self.sampled += 1
        self.bytes += packet.bytes
        self.protocols.add(packet.protocol)
        version = packet.source.version
        kept = SOURCE_BITS[version]
        whole = packet.source.max_prefixlen
        self.sources.add(ip_network((int(packet.source) >> (whole - kept) << (whole - kept), kept)))
        if packet.port is not None:
            self.ports.add(packet.port)
        if packet.source_port is not None:
            self.origins.add(packet.source_port)
        self._count_source(int(packet.source))

    def _count_source(self, source: int) -> None:
        folded = (source ^ (source >> 64)) & _MASK64
        bit = 1 << ((folded * _MIX & _MASK64) >> 51)
        if not self.bitmap & bit:
            self.bitmap |= bit
            self.distinct += 1


class Sketch:
    """Of one EIP, or of the POP: the last two windows of WINDOW_S."""

    def __init__(self, now_s: float) -> None:
        self._windows = [_Window(now_s)]

    def add(self, packet: Sampled, now_s: float) -> None:
        """Take in a packet that was sampled at `now_s`."""
        if now_s - self._windows[-1].since_s >= WINDOW_S:
            self._windows = [self._windows[-1], _Window(now_s)]
        self._windows[-1].add(packet)

    def shape(self) -> Shape | None:
        """Return what they look like; None without any."""
        windows = self._windows
        count = sum(one.sampled for one in windows)
        if not count:
            return None
        fullest = max(windows, key=lambda one: one.sampled)
        return Shape(
            sampled=count,
            mean_bytes=round(sum(one.bytes for one in windows) / count, 1),
            protocols=shares([one.protocols for one in windows], LISTED, LEAST_PERCENT),
            ports=shares([one.ports for one in windows], LISTED, LEAST_PERCENT),
            source_ports=shares([one.origins for one in windows], LISTED, LEAST_PERCENT),
            sources=shares([one.sources for one in windows], LISTED, LEAST_PERCENT),
            spoofed=fullest.sampled >= SPOOFED_FROM and fullest.distinct >= SPOOFED_SHARE * fullest.sampled,
        )
