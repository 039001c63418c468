"""Tunnels that are created: what becomes of their sections, and how keys are looked after."""

from __future__ import annotations

import pickle
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from anycastd.config.load import load
from anycastd.config.reference import types_of
from anycastd.config.values.net import Ipv4Field
from anycastd.config.values.tunnel import EndpointField, NetworkField, OwnIpv4, OwnIpv4Field, OwnIpv6, PublicKey
from anycastd.errors import ConfigError
from anycastd.model.address import TunnelId
from anycastd.model.topology import Config, Tunnel
from anycastd.model.tunnel_device import Endpoint, Geneve, IpTunnel, Shape, TunnelKind, Vxlan, WireGuard
from tests.unit.config.places import GOOD, SMALLEST, load_text

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture(scope="module")
def config() -> Config:
    return load(str(GOOD / "tunnels.yaml"))


def of(config: Config, name: str) -> Tunnel:
    return config.tunnels[TunnelId(f"eu/{name}")]


HERE, THERE = ip_address("198.51.100.2"), ip_address("198.51.100.77")
HERE6, THERE6 = ip_address("2001:db8:2::2"), ip_address("2001:db8:2::77")


@pytest.mark.parametrize(
    ("name", "shape", "mtu_bytes"),
    [
        ("old", None, None),
        ("vxlan", Vxlan(vni=102, local=HERE, remote=THERE), 1450),
        ("gre", IpTunnel(kind=TunnelKind.GRE, local=HERE, remote=THERE, key=7), 1472),
        ("six", IpTunnel(kind=TunnelKind.IP6GRETAP, local=HERE6, remote=THERE6, ttl=255), 1400),
        ("ipip", IpTunnel(kind=TunnelKind.IPIP, local=HERE, remote=THERE), 1480),
        ("ip6tnl", IpTunnel(kind=TunnelKind.IP6TNL, local=HERE6, remote=THERE6), 1452),
        ("geneve", Geneve(vni=9, remote=THERE6, ttl=9), 1430),
    ],
)
def test_shapes_and_mtus(config: Config, name: str, shape: Shape | None, mtu_bytes: int | None) -> None:
    tunnel = of(config, name)
    assert (tunnel.shape, tunnel.mtu_bytes) == (shape, mtu_bytes)


def test_addresses_are_plain_and_only_made_for_created_devices(config: Config) -> None:
    vxlan, old = of(config, "vxlan"), of(config, "old")
    assert type(vxlan.local_ipv4) is type(ip_address("10.0.0.1"))
    assert vxlan.addresses == (ip_interface("10.255.1.1/30"), ip_interface("fd00:1::1/64"))
    assert (old.addresses, old.local_ipv4, old.tune) == ((), ip_address("10.255.0.1"), True)
    assert of(config, "gre").wanted_device.tune is False
    assert vxlan.wanted_device.addresses == frozenset(vxlan.addresses)
    sources = {probe.source for probe in config.probes}
    assert {type(source) for source in sources} == {type(ip_address("10.0.0.1")), type(ip_address("::1"))}


def test_an_own_address_is_the_address_and_keeps_its_length() -> None:
    (kind,) = types_of(OwnIpv4Field)
    own = kind.read("10.0.0.1/30")
    assert isinstance(own, OwnIpv4)
    assert own == ip_address("10.0.0.1")
    assert hash(own) == hash(ip_address("10.0.0.1"))
    assert kind.show(own) == "10.0.0.1/30"
    assert pickle.loads(pickle.dumps(own)).length == 30
    assert pickle.loads(pickle.dumps(OwnIpv6("fd00::1", 64))).length == 64
    assert next(types_of(Ipv4Field)).show(own) == "10.0.0.1"


WIREGUARD = SMALLEST.replace(
    "t1: {device: gre1, local: 10.255.1.1,",
    f't1: {{device: wg1, create: {{wireguard: {{private_key_file: wg.key, public_key: "{KEY}", '
    'endpoint: "[2001:db8::7]:51820", keepalive: 25s}}, local: 10.255.1.1/30,',
)


def test_wireguard_names_its_key_file_and_never_holds_the_key(tmp_path: Path) -> None:
    assert WIREGUARD != SMALLEST
    file = tmp_path / "wg.key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    (tunnel,) = load_text(WIREGUARD, tmp_path).tunnels.values()
    assert tunnel.shape == WireGuard(
        private_key_file=str(file),
        public_key=KEY,
        endpoint=Endpoint(ip_address("2001:db8::7"), 51820),
        allowed=frozenset({ip_network("0.0.0.0/0"), ip_network("::/0")}),
        keepalive_s=25,
    )
    assert tunnel.mtu_bytes == 1420


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [(KEY, 0o644, "can be used by others"), ("", 0o600, "holds 0 bytes"), (KEY * 2, 0o600, "88 bytes")],
)
def test_a_key_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path, text: str, mode: int, said: str) -> None:
    file = tmp_path / "wg.key"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=said) as refused:
        load_text(WIREGUARD, tmp_path)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "written"),
    [
        (OwnIpv4Field, "10.0.0.1/"), (OwnIpv4Field, "10.0.0.1/0"), (OwnIpv4Field, "fd00::1/64"), (OwnIpv4Field, 10),
        (PublicKey, KEY[:-1]), (PublicKey, KEY.replace("A=", "B=")), (PublicKey, "ä" * 44),
        (EndpointField, "2001:db8::7:51820"), (EndpointField, "[192.0.2.1]:1"), (EndpointField, "192.0.2.1:0"),
        (EndpointField, ":51820"), (NetworkField, "10.0.0.1/8"),
    ],
)  # fmt: skip
def test_refusals(field: object, written: object) -> None:
    (kind,) = types_of(field)
    with pytest.raises(ValueError):
        kind.read(written)
