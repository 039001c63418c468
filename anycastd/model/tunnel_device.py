"""Tunnel devices: what is wanted of each, what the kernel holds of it, and the steps between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import NamedTuple

from anycastd.model.address import Address, Prefix, TunnelId

Interface = IPv4Interface | IPv6Interface
"""An address with the length of its network."""

ALIAS = "anycastd:tunnel/"
"""How the alias (IFLA_IFALIAS) of a device that we made begins; the tunnel's id follows."""
UNDERLAY_MTU_BYTES = 1500
_GRE_KEY_BYTES = 4


class TunnelKind(StrEnum):
    """The kernel's names (IFLA_INFO_KIND) of the kinds that can be created."""

    VXLAN = "vxlan"
    GENEVE = "geneve"
    GRE = "gre"
    GRETAP = "gretap"
    IP6GRE = "ip6gre"
    IP6GRETAP = "ip6gretap"
    IPIP = "ipip"
    IP6TNL = "ip6tnl"
    WIREGUARD = "wireguard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan:
    """RFC 7348, one peer, no learning. `local` None: the kernel chooses; `ttl` 0: the machine's default."""

    vni: int
    remote: Address
    local: Address | None = None
    port: int = 4789
    lower: str | None = None
    ttl: int = 0

    @property
    def kind(self) -> TunnelKind:
        """Return the kernel's name."""
        return TunnelKind.VXLAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Geneve:
    """RFC 8926; the kernel takes no local address. `ttl` 0: the machine's default."""

    vni: int
    remote: Address
    port: int = 6081
    ttl: int = 0

    @property
    def kind(self) -> TunnelKind:
        """Return the kernel's name."""
        return TunnelKind.GENEVE


@dataclass(frozen=True, slots=True, kw_only=True)
class IpTunnel:
    """GRE (RFC 2784), GRE with Ethernet, IP in IPv4 (RFC 2003) or in IPv6 (RFC 2473). `key`: GRE only (RFC 2890)."""

    kind: TunnelKind
    local: Address
    remote: Address
    key: int | None = None
    ttl: int = 64


class Endpoint(NamedTuple):
    """An outer address and UDP port."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WireGuard:
    """One peer. The private key is never here: `key_digest` tells keys apart, filled in by who reads the file.

    `endpoint` None: the peer speaks first. `keepalive_s` 0: off.
    """

    private_key_file: str
    public_key: str
    listen_port: int = 0
    endpoint: Endpoint | None = None
    allowed: frozenset[Prefix] = frozenset()
    keepalive_s: int = 0
    key_digest: str = ""

    @property
    def kind(self) -> TunnelKind:
        """Return the kernel's name."""
        return TunnelKind.WIREGUARD


Shape = Vxlan | Geneve | IpTunnel | WireGuard
"""What a created device is made of."""

_OVERHEAD_BYTES: Mapping[TunnelKind, tuple[int, int]] = {
    TunnelKind.VXLAN: (50, 70),
    TunnelKind.GENEVE: (50, 70),
    TunnelKind.GRE: (24, 44),
    TunnelKind.IP6GRE: (24, 44),
    TunnelKind.GRETAP: (38, 58),
    TunnelKind.IP6GRETAP: (38, 58),
    TunnelKind.IPIP: (20, 40),
    # the kernel leaves room for the encapsulation limit (RFC 2473 section 5.1)
    TunnelKind.IP6TNL: (48, 48),
    # the larger of both: an endpoint may roam to IPv6
    TunnelKind.WIREGUARD: (80, 80),
}


def default_mtu_bytes(shape: Shape) -> int:
    """Return the largest MTU whose packets fit an underlay of 1500 bytes when wrapped."""
    over_v6 = not isinstance(shape, WireGuard) and shape.remote.version == 6
    keyed = isinstance(shape, IpTunnel) and shape.key is not None
    return UNDERLAY_MTU_BYTES - _OVERHEAD_BYTES[shape.kind][over_v6] - (_GRE_KEY_BYTES if keyed else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDevice:
    """What a tunnel wants of its device. `shape` None: an existing one is adopted.

    `mtu_bytes` None: left as it is. `addresses`: of a created one only. `tune`: the per-device sysctls.
    """

    tunnel: TunnelId
    name: str
    shape: Shape | None = None
    mtu_bytes: int | None = None
    addresses: frozenset[Interface] = frozenset()
    tune: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device as read from the kernel. `shape` None: a kind that we cannot create, or parameters we never set.

    `addresses` without link-local ones. `rp_filter` and `keep_addresses` are its own sysctls; None: not read or not
    there.
    """

    name: str
    index: int
    kind: str
    alias: str = ""
    mtu_bytes: int = 0
    admin_up: bool = False
    addresses: frozenset[Interface] = frozenset()
    shape: Shape | None = None
    rp_filter: int | None = None
    keep_addresses: int | None = None

    @property
    def owner(self) -> TunnelId | None:
        """Return the tunnel for which we made it, None for a device that is not ours."""
        return TunnelId(self.alias.removeprefix(ALIAS)) if self.alias.startswith(ALIAS) else None


@dataclass(frozen=True, slots=True)
class DevicesObserved:
    """All devices of the namespace by name. `rp_filter_all`: the larger of it and the device's own counts."""

    devices: Mapping[str, DeviceView] = field(default_factory=dict)
    rp_filter_all: int = 0


class Sysctl(StrEnum):
    """Per-device switches; the value is the path below /proc/sys/net, with the device's name for `{}`."""

    RP_FILTER = "ipv4/conf/{}/rp_filter"
    KEEP_ADDRESSES = "ipv6/conf/{}/keep_addr_on_down"


@dataclass(frozen=True, slots=True)
class CreateDevice:
    """Make it, with its alias and MTU, administratively down."""

    device: WantedDevice


@dataclass(frozen=True, slots=True)
class SetWireGuard:
    """Give a WireGuard device its key, port and peer; what runs is not interrupted."""

    device: WantedDevice
    index: int


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Remove a device of ours; `why` is for the log."""

    name: str
    index: int
    why: str


@dataclass(frozen=True, slots=True)
class SetAlias:
    """Note for which tunnel a device of ours is, after the tunnel got another name."""

    name: str
    index: int
    alias: str


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set the MTU."""

    name: str
    index: int
    mtu_bytes: int


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Add an address; IPv6 without duplicate address detection, so that it is usable at once."""

    name: str
    index: int
    address: Interface


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    """Take an address from a device of ours."""

    name: str
    index: int
    address: Interface


@dataclass(frozen=True, slots=True)
class SetUp:
    """Bring it up."""

    name: str
    index: int


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Write one per-device switch."""

    name: str
    sysctl: Sysctl
    value: int


DeviceAction = (
    CreateDevice
    | SetWireGuard
    | DeleteDevice
    | SetAlias
    | SetMtu
    | AddAddress
    | DeleteAddress
    | SetUp
    | SetSysctl
)  # fmt: skip


class DeviceFault(StrEnum):
    """Why a device is not as wanted."""

    MISSING = "missing"
    """An adopted one is not there."""
    FOREIGN = "foreign"
    """The name is taken by a device that we did not make."""
    UNSUPPORTED = "unsupported"
    """This kernel has no such devices."""
    REFUSED = "refused"
    """The kernel said no; again only when something changes."""
    KEY_FILE = "key_file"
    """The private key cannot be had from its file."""
    MTU = "mtu"
    """An adopted one is larger than fits its underlay: packets are fragmented."""


@dataclass(frozen=True, slots=True)
class DeviceProblem:
    """One device that is not as wanted; `detail` is a sentence for the operator."""

    tunnel: TunnelId
    device: str
    fault: DeviceFault
    detail: str
