"""WireGuard's generic netlink family as bytes (linux/wireguard.h), and back. Keys are digested as they are read."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from anycastd.actuators.dataplane import attributes as a
from anycastd.model.address import Prefix
from anycastd.model.tunnel_device import Endpoint, WireGuard

GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
WG_GENL_NAME, WG_GENL_VERSION = "wireguard", 1
WG_CMD_GET_DEVICE, WG_CMD_SET_DEVICE = 0, 1
WGDEVICE_A_IFINDEX, WGDEVICE_A_PRIVATE_KEY, WGDEVICE_A_FLAGS, WGDEVICE_A_LISTEN_PORT, WGDEVICE_A_PEERS = 1, 3, 5, 6, 8
WGDEVICE_F_REPLACE_PEERS = 1
WGPEER_A_PUBLIC_KEY, WGPEER_A_FLAGS, WGPEER_A_ENDPOINT, WGPEER_A_KEEPALIVE, WGPEER_A_ALLOWEDIPS = 1, 3, 4, 5, 9
WGPEER_F_REPLACE_ALLOWEDIPS = 2
WGALLOWEDIP_A_FAMILY, WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 1, 2, 3
KEY_BYTES = 32
_DO = a.NLM_F_REQUEST | a.NLM_F_ACK


def digest_of(private_key: bytes) -> str:
    """Return what tells private keys apart and tells nothing of them."""
    return hashlib.sha256(b"anycastd wireguard" + private_key).hexdigest()[:16]


def _generic(command: int, version: int) -> bytes:
    return struct.pack("=BBH", command, version, 0)


def encode_find(sequence: int) -> bytes:
    """Return a request for the number of the family; ENOENT where there is none."""
    body = _generic(CTRL_CMD_GETFAMILY, 1) + a.text(CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME)
    return a.message(GENL_ID_CTRL, _DO, sequence, body)


def parse_found(body: bytes) -> int:
    """Return the number of the family."""
    return a.number(a.parse(body, 4).get(CTRL_ATTR_FAMILY_ID))


def encode_get(family: int, index: int, sequence: int) -> bytes:
    """Return a request for everything about a device."""
    body = _generic(WG_CMD_GET_DEVICE, WG_GENL_VERSION) + a.u32(WGDEVICE_A_IFINDEX, index)
    return a.message(family, a.NLM_F_REQUEST | a.NLM_F_DUMP, sequence, body)


def encode_set(family: int, index: int, wanted: WireGuard, private_key: bytes, sequence: int) -> bytes:
    """Return a request that gives a device its key, port and its only peer."""
    peer = [a.attribute(WGPEER_A_PUBLIC_KEY, base64.b64decode(wanted.public_key))]
    peer.append(a.u32(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS))
    if wanted.endpoint is not None:
        peer.append(a.attribute(WGPEER_A_ENDPOINT, _socket_address(wanted.endpoint)))
    peer.append(a.u16(WGPEER_A_KEEPALIVE, wanted.keepalive_s))
    peer.append(a.nested(WGPEER_A_ALLOWEDIPS, *(_allowed(prefix) for prefix in sorted(wanted.allowed, key=str))))
    body = _generic(WG_CMD_SET_DEVICE, WG_GENL_VERSION) + a.u32(WGDEVICE_A_IFINDEX, index)
    body += a.attribute(WGDEVICE_A_PRIVATE_KEY, private_key) + a.u32(WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS)
    if wanted.listen_port:
        body += a.u16(WGDEVICE_A_LISTEN_PORT, wanted.listen_port)
    body += a.nested(WGDEVICE_A_PEERS, a.nested(0, *peer))
    return a.message(family, _DO, sequence, body)


def _socket_address(endpoint: Endpoint) -> bytes:
    if endpoint.address.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H", endpoint.port) + endpoint.address.packed + bytes(8)
    head = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", endpoint.port, 0)
    return head + endpoint.address.packed + bytes(4)


def _allowed(prefix: Prefix) -> bytes:
    family = socket.AF_INET if prefix.version == 4 else socket.AF_INET6
    return a.nested(
        0,
        a.u16(WGALLOWEDIP_A_FAMILY, family),
        a.attribute(WGALLOWEDIP_A_IPADDR, prefix.network_address.packed),
        a.u8(WGALLOWEDIP_A_CIDR_MASK, prefix.prefixlen),
    )


def parse_device(bodies: Iterable[bytes]) -> WireGuard | None:
    """Return a device as it runs, None for one without a key or with other than one peer; the parts of a dump."""
    device: dict[int, bytes] = {}
    peers: dict[bytes, dict[int, bytes]] = {}
    allowed: dict[bytes, set[Prefix]] = {}
    for body in bodies:
        have = a.parse(body, 4)
        device = have | device
        for _, inside in a.each(have.get(WGDEVICE_A_PEERS, b"")):
            peer = a.parse(inside)
            key = peer.get(WGPEER_A_PUBLIC_KEY, b"")
            # a peer with many prefixes is continued in the next part, by its key alone
            peers[key] = peer | peers.get(key, {})
            allowed.setdefault(key, set()).update(_prefixes(peer.get(WGPEER_A_ALLOWEDIPS, b"")))
    private = device.get(WGDEVICE_A_PRIVATE_KEY, b"")
    if len(peers) != 1 or not any(private):
        return None
    ((key, peer),) = peers.items()
    return WireGuard(
        private_key_file="",
        public_key=base64.b64encode(key).decode(),
        listen_port=a.number(device.get(WGDEVICE_A_LISTEN_PORT)),
        endpoint=_endpoint(peer.get(WGPEER_A_ENDPOINT, b"")),
        allowed=frozenset(allowed[key]),
        keepalive_s=a.number(peer.get(WGPEER_A_KEEPALIVE)),
        key_digest=digest_of(private),
    )


def _prefixes(data: bytes) -> Iterable[Prefix]:
    for _, inside in a.each(data):
        have = a.parse(inside)
        length = a.number(have.get(WGALLOWEDIP_A_CIDR_MASK))
        yield ip_network((have[WGALLOWEDIP_A_IPADDR], length))


def _endpoint(data: bytes) -> Endpoint | None:
    if len(data) < 8:
        return None
    family, port = a.number(data[:2]), a.network_number(data[2:4])
    if family == socket.AF_INET:
        return Endpoint(ip_address(data[4:8]), port)
    return Endpoint(ip_address(data[8:24]), port) if family == socket.AF_INET6 and len(data) >= 24 else None
