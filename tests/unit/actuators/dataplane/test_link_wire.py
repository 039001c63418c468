"""Messages about tunnel devices: another implementation (pyroute2) reads in them what was meant, and so do we."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.wireguard import wgmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from anycastd.actuators.dataplane import attributes, link_wire, wireguard_wire
from anycastd.actuators.dataplane.requests import RefusedError, Requests
from anycastd.model.address import TunnelId
from anycastd.model.tunnel_device import (
    Endpoint,
    Geneve,
    IpTunnel,
    Shape,
    TunnelKind,
    Vxlan,
    WantedDevice,
    WireGuard,
)

HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")
HERE6, THERE6 = ip_address("2001:db8::1"), ip_address("2001:db8::2")
KEY = "B" * 42 + "A="
LINKS = {"eth1": 5}
CREATE_EXCL_ACK = 0x605
PAIR6 = [("LOCAL", "2001:db8::1"), ("REMOTE", "2001:db8::2"), ("TTL", 64)]
PAIR4 = [("LOCAL", "192.0.2.1"), ("REMOTE", "192.0.2.2"), ("TTL", 64)]


def ip(kind: TunnelKind, key: int | None = None) -> IpTunnel:
    six = kind in (TunnelKind.IP6GRE, TunnelKind.IP6GRETAP, TunnelKind.IP6TNL)
    return IpTunnel(kind=kind, local=HERE6 if six else HERE, remote=THERE6 if six else THERE, key=key)


SHAPES: list[tuple[Shape, str, list[tuple[str, object]]]] = [
    (
        Vxlan(vni=7, local=HERE, remote=THERE, lower="eth1", ttl=9),
        "VXLAN",
        [("ID", 7), ("GROUP", "192.0.2.2"), ("PORT", 4789), ("TTL", 9), ("LEARNING", 0), ("LOCAL", "192.0.2.1"),
         ("LINK", 5)],
    ),
    (
        Vxlan(vni=7, local=HERE6, remote=THERE6, port=8472),
        "VXLAN",
        [("ID", 7), ("GROUP6", "2001:db8::2"), ("PORT", 8472), ("TTL", 0), ("LEARNING", 0), ("LOCAL6", "2001:db8::1")],
    ),
    (Geneve(vni=3, remote=THERE), "GENEVE", [("ID", 3), ("REMOTE", "192.0.2.2"), ("PORT", 6081), ("TTL", 0)]),
    (Geneve(vni=3, remote=THERE6), "GENEVE", [("ID", 3), ("REMOTE6", "2001:db8::2"), ("PORT", 6081), ("TTL", 0)]),
    (ip(TunnelKind.GRE), "GRE", [*PAIR4, ("PMTUDISC", 1)]),
    (
        ip(TunnelKind.GRE, key=4026531841),
        "GRE",
        [*PAIR4, ("IFLAGS", 0x2000), ("OFLAGS", 0x2000), ("IKEY", 4026531841), ("OKEY", 4026531841), ("PMTUDISC", 1)],
    ),
    (ip(TunnelKind.GRETAP), "GRE", [*PAIR4, ("PMTUDISC", 1)]),
    (ip(TunnelKind.IP6GRE), "IP6GRE", [*PAIR6, ("FLAGS", 1)]),
    (ip(TunnelKind.IP6GRETAP), "IP6GRE", [*PAIR6, ("FLAGS", 1)]),
    (ip(TunnelKind.IPIP), "IPIP", [*PAIR4, ("PMTUDISC", 1), ("PROTO", 4)]),
    (ip(TunnelKind.IP6TNL), "IP6TNL", [*PAIR6, ("FLAGS", 1), ("PROTO", 0)]),
]  # fmt: skip


def decoded(kind: type, data: bytes) -> Any:
    message = kind(data)
    message.decode()
    return message


def created(shape: Shape) -> tuple[Any, Any]:
    """Return both messages of a creation, read by pyroute2."""
    wanted = WantedDevice(tunnel=TunnelId("eu/t1"), name="vx1", shape=shape, mtu_bytes=1450)
    data = link_wire.encode_create(wanted, 77, "anycastd:tunnel/eu/t1", LINKS, 9)
    size = attributes.HEADER.unpack_from(data)[0]
    return decoded(ifinfmsg, data[:size]), decoded(ifinfmsg, data[size:])


@pytest.mark.parametrize(("shape", "label", "wanted"), SHAPES, ids=lambda one: getattr(one, "kind", ""))
def test_each_kind_is_made_with_its_parameters(shape: Shape, label: str, wanted: list[tuple[str, object]]) -> None:
    make, name = created(shape)
    assert (make["header"]["type"], make["header"]["flags"], make["index"]) == (16, CREATE_EXCL_ACK, 77)
    assert (make.get("ifname"), make.get("mtu")) == ("vx1", 1450)
    info = dict(make.get("linkinfo")["attrs"])
    assert info["IFLA_INFO_KIND"] == shape.kind
    data = [(key, value) for key, value, *_ in info["IFLA_INFO_DATA"]["attrs"]]
    assert data == [(f"IFLA_{label}_{key}", value) for key, value in wanted]
    assert (name["header"]["type"], name["header"]["sequence_number"], name["index"]) == (19, 10, 77)
    assert (name.get("ifalias"), name.get("ifname")) == ("anycastd:tunnel/eu/t1", None)


@pytest.mark.parametrize("shape", [row[0] for row in SHAPES], ids=lambda shape: str(shape.kind))
def test_what_was_made_is_read_back_equal(shape: Shape) -> None:
    wanted = WantedDevice(tunnel=TunnelId("eu/t1"), name="vx1", shape=shape, mtu_bytes=1450)
    data = link_wire.encode_create(wanted, 77, "a", LINKS, 9)
    size = attributes.HEADER.unpack_from(data)[0]
    view, have = link_wire.parse_link(data[attributes.HEADER.size : size])
    assert (view.name, view.index, view.kind, view.mtu_bytes, view.admin_up) == ("vx1", 77, shape.kind, 1450, False)
    assert link_wire.shape_of(view.kind, have, {5: "eth1"}) == shape


def test_a_lower_device_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="eth9"):
        created(Vxlan(vni=1, remote=THERE, lower="eth9"))


def test_wireguard_gets_its_device_first_and_its_parameters_then() -> None:
    make, _ = created(WireGuard(private_key_file="/x", public_key=KEY))
    assert dict(make.get("linkinfo")["attrs"][:1]) == {"IFLA_INFO_KIND": "wireguard"}


WIREGUARD = WireGuard(
    private_key_file="/x",
    public_key=KEY,
    listen_port=51820,
    endpoint=Endpoint(THERE6, 4500),
    allowed=frozenset({ip_network("0.0.0.0/0"), ip_network("2001:db8::/32")}),
    keepalive_s=25,
)


@pytest.mark.parametrize("endpoint", [Endpoint(THERE6, 4500), Endpoint(THERE, 4500), None])
def test_wireguard_parameters(endpoint: Endpoint | None) -> None:
    shape = replace(WIREGUARD, endpoint=endpoint)
    data = wireguard_wire.encode_set(33, 4, shape, b"k" * 32, 9)
    message = decoded(wgmsg, data)
    assert (message["header"]["type"], message["cmd"], message["version"]) == (33, 1, 1)
    assert (message.get("ifindex"), message.get("listen_port"), message.get("flags")) == (4, 51820, 1)
    (peer,) = message.get("peers")
    assert (peer.get("public_key"), peer.get("persistent_keepalive_interval")) == (KEY.encode(), 25)
    assert [one["addr"] for one in peer.get("allowedips")] == ["0.0.0.0/0", "2001:db8::/32"]
    reached = peer.get("endpoint")
    assert (reached and Endpoint(ip_address(reached["addr"]), reached["port"])) == endpoint
    digest = wireguard_wire.digest_of(b"k" * 32)
    running = wireguard_wire.parse_device([data[attributes.HEADER.size :]])
    assert running == replace(shape, private_key_file="", key_digest=digest)
    assert "kkk" not in repr(running)


def test_a_wireguard_device_without_a_key_or_with_two_peers_is_not_ours() -> None:
    assert wireguard_wire.parse_device([]) is None
    one = wireguard_wire.encode_set(33, 4, WIREGUARD, b"k" * 32, 9)[attributes.HEADER.size :]
    other = wireguard_wire.encode_set(33, 4, replace(WIREGUARD, public_key="C" * 42 + "A="), b"k" * 32, 9)
    assert wireguard_wire.parse_device([one, other[attributes.HEADER.size :]]) is None
    more = replace(WIREGUARD, allowed=frozenset({ip_network("198.51.100.0/24")}))
    continued = wireguard_wire.encode_set(33, 4, more, b"k" * 32, 9)[attributes.HEADER.size :]
    both = wireguard_wire.parse_device([one, continued])
    assert both is not None
    assert both.allowed == WIREGUARD.allowed | more.allowed


@pytest.mark.parametrize("text", ["10.255.2.1/30", "fd00::1/64"])
@pytest.mark.parametrize("add", [True, False])
def test_addresses(text: str, add: bool) -> None:
    interface = ip_interface(text)
    data = link_wire.encode_address(77, interface, 9, add=add)
    message = decoded(ifaddrmsg, data)
    assert (message["header"]["type"], message["index"]) == (20 if add else 21, 77)
    assert f"{message.get('local')}/{message['prefixlen']}" == text
    assert message.get("address") == str(interface.ip)
    assert dict(message["attrs"]).get("IFA_FLAGS") == (2 if add and interface.version == 6 else None), (
        "without duplicate detection"
    )


def test_addresses_that_do_not_last_and_link_local_ones_are_not_looked_at() -> None:
    def seen(family: int, flags: int, scope: int, packed: bytes) -> object:
        head = bytes([family, 64, flags, scope]) + (77).to_bytes(4, sys.byteorder)
        return link_wire.parse_address(head + attributes.attribute(1, packed))

    packed = ip_address("fd00::1").packed
    assert seen(socket.AF_INET6, 0x80, 0, packed) == (77, ip_interface("fd00::1/64"))
    assert seen(socket.AF_INET6, 0, 0, packed) is None
    assert seen(socket.AF_INET6, 0x80, 253, ip_address("fe80::1").packed) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_attributes_or_left(data: bytes) -> None:
    for kind, payload in attributes.each(data):
        assert kind >= 0
        assert payload in data


def test_the_kernel_answers_a_dump_and_a_refusal_in_its_words() -> None:
    links = Requests(socket.NETLINK_ROUTE)
    names = {link_wire.parse_link(body)[0].name for body in links.dump(link_wire.encode_dump_links)}
    assert "lo" in names
    assert any(link_wire.parse_address(body) for body in links.dump(link_wire.encode_dump_addresses))
    with pytest.raises(RefusedError) as refused:
        links.ask(lambda sequence: link_wire.encode_delete(0x3FFFFFFF, sequence))
    assert refused.value.code in (1, 19)
    links.close()
    assert links.dump(link_wire.encode_dump_links), "opened anew"
    links.close()
