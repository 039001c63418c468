"""What a gateway is told: its tunnels to the POPs, and what it routes to which backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from anycastd.model.address import Address, Prefix

TABLE = "anycastd_gateway"
"""The nftables table, of family inet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTunnel:
    """One tunnel to a POP. `number` makes its mark and routing table; it depends on the name, not on the others."""

    name: str
    device: str
    pop: str
    number: int
    far_end_ipv4: IPv4Address | None = None
    far_end_ipv6: IPv6Address | None = None

    def far_end(self, version: int) -> Address | None:
        """Return the far end's address of a family (4, 6)."""
        return self.far_end_ipv4 if version == 4 else self.far_end_ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A whole checked configuration. `mss_ipv4`, `mss_ipv6`: the largest TCP segments (bytes) that fit the tunnels.

    `protocol` marks our routes and rules; marks are `mark_base` + number, tables and rule preferences `table_base` +
    number.
    """

    tunnels: tuple[GatewayTunnel, ...]
    routes: Mapping[Prefix, tuple[Address, ...]] = field(default_factory=dict)
    mss_ipv4: int = 1380
    mss_ipv6: int = 1360
    tune: bool = True
    protocol: int = 202
    mark_base: int = 0x67000000
    table_base: int = 7000

    def mark(self, tunnel: GatewayTunnel) -> int:
        """Return the packet and connection mark of a tunnel."""
        return self.mark_base + tunnel.number

    def table(self, tunnel: GatewayTunnel) -> int:
        """Return the routing table and rule preference of a tunnel."""
        return self.table_base + tunnel.number

    def twins(self, tunnel: GatewayTunnel) -> tuple[GatewayTunnel, ...]:
        """Return the tunnels to the same POP, this one first, the others in the order of the file."""
        return (tunnel, *(one for one in self.tunnels if one.pop == tunnel.pop and one is not tunnel))
