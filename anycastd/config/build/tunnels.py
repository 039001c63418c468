"""From the checked section of a tunnel to its device in the model. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import Any

from anycastd.config.build.check_options import absolute
from anycastd.config.schema.create import (
    CreateKind,
    CreateSection,
    GeneveCreate,
    GreCreate,
    GretapCreate,
    Ip6tnlCreate,
    VxlanCreate,
    WireguardCreate,
)
from anycastd.config.schema.regions import TunnelSection
from anycastd.config.values.tunnel import show_own
from anycastd.model.tunnel_device import (
    Geneve,
    Interface,
    IpTunnel,
    Shape,
    TunnelKind,
    Vxlan,
    WireGuard,
    default_mtu_bytes,
)


def shape_of(create: CreateSection, directory: str) -> Shape:
    """Return what a device is made of; `directory` is where relative file names begin."""
    section: CreateKind = getattr(create, create.kinds[0])
    if isinstance(section, VxlanCreate):
        return Vxlan(
            vni=section.vni,
            remote=section.remote,
            local=section.local,
            port=section.port,
            lower=section.lower,
            ttl=section.ttl or 0,
        )
    if isinstance(section, GeneveCreate):
        return Geneve(vni=section.vni, remote=section.remote, port=section.port, ttl=section.ttl or 0)
    if isinstance(section, WireguardCreate):
        return WireGuard(
            private_key_file=absolute(section.private_key_file, directory) or "",
            public_key=section.public_key,
            listen_port=section.listen_port or 0,
            endpoint=section.endpoint,
            allowed=frozenset(section.allowed_ips),
            keepalive_s=section.keepalive,
        )
    key = section.key if isinstance(section, GreCreate) else None
    return IpTunnel(kind=_ip_kind(section), local=section.local, remote=section.remote, key=key, ttl=section.ttl)


def _ip_kind(section: CreateKind) -> TunnelKind:
    if isinstance(section, GreCreate):
        over_v6, tap = section.remote.version == 6, isinstance(section, GretapCreate)
        if tap:
            return TunnelKind.IP6GRETAP if over_v6 else TunnelKind.GRETAP
        return TunnelKind.IP6GRE if over_v6 else TunnelKind.GRE
    return TunnelKind.IP6TNL if isinstance(section, Ip6tnlCreate) else TunnelKind.IPIP


def networks_of(section: TunnelSection) -> tuple[Interface, ...]:
    """Return our addresses of a tunnel that have the length of their network."""
    written = (section.local, section.local6)
    return tuple(ip_interface(show_own(own)) for own in written if own is not None and own.length is not None)


def device_of(section: TunnelSection, directory: str) -> dict[str, Any]:
    """Return the fields of `model.topology.Tunnel` that are about its device and our addresses."""
    shape = shape_of(section.create, directory) if section.create is not None else None
    return {
        "device": section.device,
        "local_ipv4": None if section.local is None else IPv4Address(int(section.local)),
        "far_end_ipv4": section.far_end,
        "local_ipv6": None if section.local6 is None else IPv6Address(int(section.local6)),
        "far_end_ipv6": section.far_end6,
        "shape": shape,
        "mtu_bytes": section.mtu or (default_mtu_bytes(shape) if shape is not None else None),
        "addresses": networks_of(section) if shape is not None else (),
        "tune": section.tune,
    }
