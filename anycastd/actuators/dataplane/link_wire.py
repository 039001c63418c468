"""Tunnel devices and their addresses as the kernel's bytes (rtnetlink(7), linux/if_link.h, if_tunnel.h), and back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface

from anycastd.actuators.dataplane import attributes as a
from anycastd.model.address import Address
from anycastd.model.tunnel_device import (
    DeviceView,
    Geneve,
    Interface,
    IpTunnel,
    Shape,
    TunnelKind,
    Vxlan,
    WantedDevice,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
IFF_UP = 1
IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_IFALIAS = 3, 4, 18, 20
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
_SCOPE_LINK = 253

VXLAN_ID, VXLAN_GROUP, VXLAN_LINK, VXLAN_LOCAL, VXLAN_TTL, VXLAN_LEARNING = 1, 2, 3, 4, 5, 7
VXLAN_PORT, VXLAN_GROUP6, VXLAN_LOCAL6 = 15, 16, 17
GENEVE_ID, GENEVE_REMOTE, GENEVE_TTL, GENEVE_PORT, GENEVE_REMOTE6 = 1, 2, 3, 5, 7
GRE_IFLAGS, GRE_OFLAGS, GRE_IKEY, GRE_OKEY, GRE_LOCAL, GRE_REMOTE, GRE_TTL, GRE_PMTUDISC, GRE_FLAGS = (
    2, 3, 4, 5, 6, 7, 8, 10, 13,
)  # fmt: skip
IPTUN_LOCAL, IPTUN_REMOTE, IPTUN_TTL, IPTUN_FLAGS, IPTUN_PROTO, IPTUN_PMTUDISC = 2, 3, 4, 8, 9, 10
GRE_KEY = 0x2000
IP6_TNL_F_IGN_ENCAP_LIMIT = 1
IPPROTO_IPIP, ANY_PROTO = 4, 0
_GRE_KINDS = (TunnelKind.GRE, TunnelKind.GRETAP, TunnelKind.IP6GRE, TunnelKind.IP6GRETAP)
_OVER_V6 = (TunnelKind.IP6GRE, TunnelKind.IP6GRETAP, TunnelKind.IP6TNL)

_LINK = struct.Struct("=BBHiII")
_ADDRESS = struct.Struct("=BBBBI")
_DO = a.NLM_F_REQUEST | a.NLM_F_ACK


def encode_create(device: WantedDevice, index: int, alias: str, links: Mapping[str, int], sequence: int) -> bytes:
    """Return two requests: make a device with this index, and note by its alias whose it is; a KeyError names a device
    below it that does not exist.

    Sent at once they cannot be told apart by our death. By the index, because the alias goes nowhere when the name is
    taken: it must never come to a device that is not ours.
    """
    shape = device.shape
    if shape is None:
        message = f"{device.name} is not a device that we make"
        raise ValueError(message)
    info = a.nested(
        IFLA_LINKINFO, a.text(IFLA_INFO_KIND, shape.kind), a.nested(IFLA_INFO_DATA, *_parameters(shape, links))
    )
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, index, 0, 0) + a.text(IFLA_IFNAME, device.name)
    if device.mtu_bytes is not None:
        body += a.u32(IFLA_MTU, device.mtu_bytes)
    make = a.message(RTM_NEWLINK, _DO | a.NLM_F_CREATE | a.NLM_F_EXCL, sequence, body + info)
    return make + encode_alias(index, alias, sequence + 1)


def _parameters(shape: Shape, links: Mapping[str, int]) -> tuple[bytes, ...]:
    if isinstance(shape, Vxlan):
        return tuple(_vxlan(shape, links))
    if isinstance(shape, Geneve):
        remote = a.attribute(GENEVE_REMOTE if shape.remote.version == 4 else GENEVE_REMOTE6, shape.remote.packed)
        return a.u32(GENEVE_ID, shape.vni), remote, a.be16(GENEVE_PORT, shape.port), a.u8(GENEVE_TTL, shape.ttl)
    if isinstance(shape, IpTunnel):
        return tuple(_gre(shape) if shape.kind in _GRE_KINDS else _ip_in_ip(shape))
    # WireGuard takes its parameters by a protocol of its own
    return ()


def _vxlan(shape: Vxlan, links: Mapping[str, int]) -> list[bytes]:
    found = [
        a.u32(VXLAN_ID, shape.vni),
        a.attribute(VXLAN_GROUP if shape.remote.version == 4 else VXLAN_GROUP6, shape.remote.packed),
        a.be16(VXLAN_PORT, shape.port),
        a.u8(VXLAN_TTL, shape.ttl),
        a.u8(VXLAN_LEARNING, 0),
    ]
    if shape.local is not None:
        found.append(a.attribute(VXLAN_LOCAL if shape.local.version == 4 else VXLAN_LOCAL6, shape.local.packed))
    if shape.lower is not None:
        found.append(a.u32(VXLAN_LINK, links[shape.lower]))
    return found


def _gre(shape: IpTunnel) -> list[bytes]:
    found = [
        a.attribute(GRE_LOCAL, shape.local.packed),
        a.attribute(GRE_REMOTE, shape.remote.packed),
        a.u8(GRE_TTL, shape.ttl),
    ]
    if shape.key is not None:
        found += [a.be16(GRE_IFLAGS, GRE_KEY), a.be16(GRE_OFLAGS, GRE_KEY)]
        found += [a.be32(GRE_IKEY, shape.key), a.be32(GRE_OKEY, shape.key)]
    if shape.kind in _OVER_V6:
        found.append(a.u32(GRE_FLAGS, IP6_TNL_F_IGN_ENCAP_LIMIT))
    else:
        found.append(a.u8(GRE_PMTUDISC, 1))
    return found


def _ip_in_ip(shape: IpTunnel) -> list[bytes]:
    found = [
        a.attribute(IPTUN_LOCAL, shape.local.packed),
        a.attribute(IPTUN_REMOTE, shape.remote.packed),
        a.u8(IPTUN_TTL, shape.ttl),
    ]
    if shape.kind in _OVER_V6:
        return [*found, a.u32(IPTUN_FLAGS, IP6_TNL_F_IGN_ENCAP_LIMIT), a.u8(IPTUN_PROTO, ANY_PROTO)]
    return [*found, a.u8(IPTUN_PMTUDISC, 1), a.u8(IPTUN_PROTO, IPPROTO_IPIP)]


def _set(index: int, sequence: int, attribute: bytes = b"", *, up: bool = False) -> bytes:
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, index, IFF_UP if up else 0, IFF_UP if up else 0)
    return a.message(RTM_SETLINK, _DO, sequence, body + attribute)


def encode_alias(index: int, alias: str, sequence: int) -> bytes:
    """Return a request that sets a device's alias."""
    # not zero-terminated: the kernel takes every byte for text
    return _set(index, sequence, a.attribute(IFLA_IFALIAS, alias.encode()))


def encode_mtu(index: int, mtu_bytes: int, sequence: int) -> bytes:
    """Return a request that sets a device's MTU."""
    return _set(index, sequence, a.u32(IFLA_MTU, mtu_bytes))


def encode_up(index: int, sequence: int) -> bytes:
    """Return a request that brings a device up."""
    return _set(index, sequence, up=True)


def encode_delete(index: int, sequence: int) -> bytes:
    """Return a request that removes a device."""
    return a.message(RTM_DELLINK, _DO, sequence, _LINK.pack(socket.AF_UNSPEC, 0, 0, index, 0, 0))


def encode_address(index: int, address: Interface, sequence: int, *, add: bool) -> bytes:
    """Return a request that adds an address (fails with EEXIST where it is), or takes it away."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ADDRESS.pack(family, address.network.prefixlen, 0, 0, index)
    body += a.attribute(IFA_LOCAL, address.ip.packed) + a.attribute(IFA_ADDRESS, address.ip.packed)
    if add and address.version == 6:
        body += a.u32(IFA_FLAGS, IFA_F_NODAD)
    flags = _DO | (a.NLM_F_CREATE | a.NLM_F_EXCL if add else 0)
    return a.message(RTM_NEWADDR if add else RTM_DELADDR, flags, sequence, body)


def encode_dump_links(sequence: int) -> bytes:
    """Return a request for all devices."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0)
    return a.message(RTM_GETLINK, a.NLM_F_REQUEST | a.NLM_F_DUMP, sequence, body)


def encode_dump_addresses(sequence: int) -> bytes:
    """Return a request for the addresses of all devices."""
    body = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    return a.message(RTM_GETADDR, a.NLM_F_REQUEST | a.NLM_F_DUMP, sequence, body)


def parse_link(body: bytes) -> tuple[DeviceView, dict[int, bytes]]:
    """Return a device without addresses and shape, and its kind's own attributes, for `shape_of`."""
    _, _, _, index, flags, _ = _LINK.unpack_from(body)
    have = a.parse(body, _LINK.size)
    info = a.parse(have.get(IFLA_LINKINFO, b""))
    view = DeviceView(
        name=a.word(have.get(IFLA_IFNAME)),
        index=index,
        kind=a.word(info.get(IFLA_INFO_KIND)),
        alias=a.word(have.get(IFLA_IFALIAS)),
        mtu_bytes=a.number(have.get(IFLA_MTU)),
        admin_up=bool(flags & IFF_UP),
    )
    return view, a.parse(info.get(IFLA_INFO_DATA, b""))


def parse_address(body: bytes) -> tuple[int, Interface] | None:
    """Return a device's index and a lasting address of it; None for link-local ones and those that run out."""
    family, length, flags, scope, index = _ADDRESS.unpack_from(body)
    have = a.parse(body, _ADDRESS.size)
    flags = a.number(have.get(IFA_FLAGS)) or flags
    packed = have.get(IFA_LOCAL) or have.get(IFA_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or packed is None or not flags & IFA_F_PERMANENT:
        return None
    if family == socket.AF_INET6 and scope == _SCOPE_LINK:
        return None
    return index, ip_interface((packed, length))


def shape_of(kind: str, have: Mapping[int, bytes], names: Mapping[int, str]) -> Shape | None:
    """Return what a device is made of, None for a kind that we do not make or one without a peer."""
    if kind == TunnelKind.VXLAN:
        return _vxlan_shape(have, names)
    if kind == TunnelKind.GENEVE:
        return _geneve_shape(have)
    if kind in _GRE_KINDS:
        keyed = a.network_number(have.get(GRE_OFLAGS)) & GRE_KEY
        key = a.network_number(have.get(GRE_OKEY)) if keyed else None
        return _ip_tunnel(kind, have, (GRE_LOCAL, GRE_REMOTE, GRE_TTL), key)
    if kind in (TunnelKind.IPIP, TunnelKind.IP6TNL):
        return _ip_tunnel(kind, have, (IPTUN_LOCAL, IPTUN_REMOTE, IPTUN_TTL), None)
    return None


def _vxlan_shape(have: Mapping[int, bytes], names: Mapping[int, str]) -> Vxlan | None:
    remote = _any(have, VXLAN_GROUP, VXLAN_GROUP6)
    if remote is None:
        return None
    below = a.number(have.get(VXLAN_LINK))
    return Vxlan(
        vni=a.number(have.get(VXLAN_ID)),
        remote=remote,
        local=_any(have, VXLAN_LOCAL, VXLAN_LOCAL6),
        port=a.network_number(have.get(VXLAN_PORT)),
        lower=names.get(below, f"#{below}") if below else None,
        ttl=a.number(have.get(VXLAN_TTL)),
    )


def _geneve_shape(have: Mapping[int, bytes]) -> Geneve | None:
    remote = _any(have, GENEVE_REMOTE, GENEVE_REMOTE6)
    if remote is None:
        return None
    return Geneve(
        vni=a.number(have.get(GENEVE_ID)),
        remote=remote,
        port=a.network_number(have.get(GENEVE_PORT)),
        ttl=a.number(have.get(GENEVE_TTL)),
    )


def _ip_tunnel(kind: str, have: Mapping[int, bytes], keys: tuple[int, int, int], key: int | None) -> IpTunnel | None:
    local, remote = _any(have, keys[0]), _any(have, keys[1])
    if local is None or remote is None:
        return None
    return IpTunnel(kind=TunnelKind(kind), local=local, remote=remote, key=key, ttl=a.number(have.get(keys[2])))


def _any(have: Mapping[int, bytes], *keys: int) -> Address | None:
    """Return the first of these attributes that is an address; all zeros is none."""
    packed = next((have[key] for key in keys if len(have.get(key, b"")) in (4, 16)), b"")
    return ip_address(packed) if any(packed) else None
