"""The largest TCP segment that fits every tunnel: what SYN packets are clamped to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.model.topology import Tunnel

UNKNOWN_MTU_BYTES = 1420
"""For a tunnel of which nothing is known: as WireGuard, which takes the most of 1500 of the usual kinds."""
IPV4_HEADERS_BYTES, IPV6_HEADERS_BYTES = 40, 60
"""IP and TCP headers without options (RFC 9293, 8200)."""


def mss(tunnels: Iterable[Tunnel], mtus: Mapping[str, int]) -> tuple[int, int]:
    """Return the segment sizes of IPv4 and IPv6: of the smallest MTU among the tunnels that carry the family.

    `mtus` are those observed by device name; a tunnel without one counts with what is configured. Path MTU beyond the
    tunnels is not looked at.
    """
    sizes: dict[int, list[int]] = {4: [], 6: []}
    for tunnel in tunnels:
        mtu = mtus.get(tunnel.device) or tunnel.mtu_bytes or UNKNOWN_MTU_BYTES
        for version, local in ((4, tunnel.local_ipv4), (6, tunnel.local_ipv6)):
            if local is not None:
                sizes[version].append(mtu)
    smallest = {version: min(found, default=UNKNOWN_MTU_BYTES) for version, found in sizes.items()}
    return smallest[4] - IPV4_HEADERS_BYTES, smallest[6] - IPV6_HEADERS_BYTES
