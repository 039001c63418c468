"""What the operator configured of BGP sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from anycastd.model.address import Address, Family, FlowFamily, NeighborName
from anycastd.model.spread import Announce


class Role(StrEnum):
    """What a neighbor is for: `upstream` gets our prefixes, `observer` carries the POPs' beacons to each other."""

    UPSTREAM = "upstream"
    OBSERVER = "observer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """How routes to a neighbor look. Communities are `65000:1`, large communities `65000:1:2`."""

    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    depref_communities: tuple[str, ...] = ()
    blackhole_communities: tuple[str, ...] = ()
    prepend: int = 0
    med: int | None = None
    next_hop_ipv4: IPv4Address | None = None
    next_hop_ipv6: IPv6Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """One BGP session. `graceful_restart_s` 0 = off; `multihop` is a TTL; `ttl_security` hops (RFC 5082).

    `blackhole`, `flowspec`: whether it takes blackholes of ours, and flow rules.
    """

    name: NeighborName
    address: Address
    asn: int
    local_address: Address
    local_asn: int
    families: tuple[Family, ...] = (Family.IPV4_UNICAST,)
    password_file: str | None = None
    hold_time_s: int = 9
    graceful_restart_s: int = 120
    multihop: int | None = None
    ttl_security: int | None = None
    max_prefixes: int = 1000
    export: Export = field(default_factory=Export)
    role: Role = Role.UPSTREAM
    announce: Announce = Announce.ALWAYS
    blackhole: bool = False
    flowspec: bool = False

    @property
    def carried(self) -> tuple[Family | FlowFamily, ...]:
        """Return every family of the session, those of flow rules last."""
        return (*self.families, *(FlowFamily(f"ipv{one.version}-flow") for one in self.families if self.flowspec))

    @property
    def is_observer(self) -> bool:
        """Return whether it carries beacons, and nothing else."""
        return self.role is Role.OBSERVER

    @property
    def is_ebgp(self) -> bool:
        """Return whether the session leaves our AS."""
        return self.asn != self.local_asn
