"""`regions.NAME.tunnels.NAME.create`: what a tunnel device is made of, one kind each."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import DeviceName, FileName, whole, whole_seconds
from anycastd.config.values.net import AddressField, Ipv4Field, Ipv6Field, Port
from anycastd.config.values.tunnel import EndpointField, NetworkField, PublicKey

Vni = Annotated[int, whole(0, 16777215)]
Ttl = Annotated[int, whole(1, 255)]
GreKey = Annotated[int, whole(0, 4294967295)]


class VxlanCreate(Section):
    """VXLAN (RFC 7348) to one peer, without learning."""

    vni: Vni = Field(description="The network's number, the same on both ends.")
    remote: AddressField = Field(description="The far end's outer address.")
    local: AddressField | None = Field(
        default=None, description="Our outer address; default: the kernel's choice, which may change with routes."
    )
    port: Port = Field(default=4789, description="UDP port, the same on both ends.")
    lower: DeviceName | None = Field(default=None, description="The device that outer packets are bound to.")
    ttl: Annotated[int | None, whole(1, 255)] = Field(
        default=None, description="TTL of outer packets; default: the machine's."
    )


class GeneveCreate(Section):
    """Geneve (RFC 8926) to one peer."""

    vni: Vni = Field(description="The network's number, the same on both ends.")
    remote: AddressField = Field(description="The far end's outer address.")
    port: Port = Field(default=6081, description="UDP port, the same on both ends.")
    ttl: Annotated[int | None, whole(1, 255)] = Field(
        default=None, description="TTL of outer packets; default: the machine's."
    )


class GreCreate(Section):
    """GRE (RFC 2784) over IPv4 or IPv6; the family is that of the two addresses."""

    local: AddressField = Field(description="Our outer address.")
    remote: AddressField = Field(description="The far end's outer address.")
    key: Annotated[int | None, whole(0, 4294967295)] = Field(
        default=None, description="Key (RFC 2890), the same on both ends; it tells tunnels between two addresses apart."
    )
    ttl: Ttl = Field(default=64, description="TTL of outer packets.")


class GretapCreate(GreCreate):
    """Ethernet in GRE, over IPv4 or IPv6."""


class IpipCreate(Section):
    """IPv4 in IPv4 (RFC 2003); it carries no IPv6."""

    local: Ipv4Field = Field(description="Our outer address.")
    remote: Ipv4Field = Field(description="The far end's outer address.")
    ttl: Ttl = Field(default=64, description="TTL of outer packets.")


class Ip6tnlCreate(Section):
    """IPv4 and IPv6 in IPv6 (RFC 2473), without the encapsulation limit option, which many networks drop."""

    local: Ipv6Field = Field(description="Our outer address.")
    remote: Ipv6Field = Field(description="The far end's outer address.")
    ttl: Ttl = Field(default=64, description="Hop limit of outer packets.")


class WireguardCreate(Section):
    """WireGuard with one peer."""

    private_key_file: FileName = Field(
        description="File with our private key as `wg genkey` prints it; mode 0600. A relative name begins at the "
        "directory of the configuration file."
    )
    public_key: PublicKey = Field(description="The peer's public key.")
    endpoint: EndpointField | None = Field(
        default=None, description="The peer's outer address and port; without it the peer must speak first."
    )
    listen_port: Annotated[int | None, whole(1, 65535)] = Field(
        default=None, description="Our UDP port; default: the kernel's choice."
    )
    allowed_ips: tuple[NetworkField, ...] = Field(
        default=(ip_network("0.0.0.0/0"), ip_network("::/0")),
        description="Source addresses taken from the peer. Clients are behind it: leave it at everything.",
    )
    keepalive: Annotated[int, whole_seconds(0, 65535)] = Field(
        default=0, description="An empty packet at this interval, for NAT on the way; 0 = none."
    )


class CreateSection(Section):
    """Exactly one kind. All but vxlan were only tested up to the message to the kernel, never run."""

    vxlan: VxlanCreate | None = Field(default=None, description="VXLAN.")
    geneve: GeneveCreate | None = Field(default=None, description="Geneve.")
    gre: GreCreate | None = Field(default=None, description="GRE.")
    gretap: GretapCreate | None = Field(default=None, description="Ethernet in GRE.")
    ipip: IpipCreate | None = Field(default=None, description="IPv4 in IPv4.")
    ip6tnl: Ip6tnlCreate | None = Field(default=None, description="IPv4 and IPv6 in IPv6.")
    wireguard: WireguardCreate | None = Field(default=None, description="WireGuard.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that were written; one in a valid section."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


CreateKind = VxlanCreate | GeneveCreate | GreCreate | IpipCreate | Ip6tnlCreate | WireguardCreate
