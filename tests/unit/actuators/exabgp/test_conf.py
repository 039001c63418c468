"""The rendered file, read by ExaBGP itself."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from anycastd.actuators.exabgp import conf
from anycastd.model.address import Family, NeighborName
from anycastd.model.topology import Neighbor, Pop, Role

POP = Pop(name="fra", asn=65000, router_id=IPv4Address("10.9.0.1"))
BRIDGE = ("/usr/bin/python3", "-SE", "/run/anycastd/bgp/bridge.py", "/run/s.sock", "/run/anycastd/bgp")
ONE = Neighbor(
    name=NeighborName("one"),
    address=ip_address("10.9.0.2"),
    asn=65001,
    local_address=ip_address("10.9.0.1"),
    local_asn=65000,
)
SIX = Neighbor(
    name=NeighborName("six"),
    address=ip_address("fd09::2"),
    asn=4200000000,
    local_address=ip_address("fd09::1"),
    local_asn=65000,
    families=(Family.IPV4_UNICAST, Family.IPV6_UNICAST),
    hold_time_s=30,
    graceful_restart_s=0,
    ttl_security=2,
)
RR = Neighbor(
    name=NeighborName("rr"),
    address=ip_address("10.9.0.9"),
    asn=65000,
    local_address=ip_address("10.9.0.1"),
    local_asn=65000,
    graceful_restart_s=0,
    role=Role.OBSERVER,
)


def text(*neighbors: Neighbor, **passwords: bytes) -> str:
    known = {NeighborName(name): password for name, password in passwords.items()}
    return conf.render(POP, neighbors, known, BRIDGE).decode()


def test_what_the_file_says() -> None:
    said = text(SIX, ONE, one=b'pa"ss;{}#\\')
    assert said.index("neighbor 10.9.0.2") < said.index("neighbor fd09::2")
    one, six = said.split("neighbor fd09::2")
    assert "manual-eor true;" in one
    assert "hold-time 9;" in one
    assert "graceful-restart 120;" in one
    assert "family { ipv4 unicast; }" in one
    assert "pa" not in one.split("md5-password")[1].split(";")[0]
    assert "graceful-restart disable;" in six
    assert "hold-time 30;" in six
    assert "incoming-ttl 254;" in six
    assert "outgoing-ttl 255;" in six
    assert "md5" not in six
    assert "ipv4 unicast; ipv6 unicast;" in six
    assert "route " not in said.replace("route-refresh", "")


def test_only_what_observers_say_is_printed() -> None:
    one, rr = text(ONE, RR).split("neighbor 10.9.0.9")
    assert "receive" not in one
    assert "receive { parsed; update; }" in rr


def test_exabgp_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "exabgp.conf"
    multihop = Neighbor(
        name=NeighborName("far"),
        address=ip_address("10.9.9.9"),
        asn=65000,
        local_address=ip_address("10.9.0.1"),
        local_asn=65000,
        multihop=5,
    )
    path.write_bytes(conf.render(POP, [ONE, SIX, multihop, RR], {ONE.name: b'pa"ss;{}#\\'}, BRIDGE))
    argv = [str(Path(sys.executable).with_name("exabgp")), "validate", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("changed", ["conf", "environment"])
def test_the_digest_tells_the_two_apart(changed: str) -> None:
    before = conf.digest(b"one", {"a": "1"}).split("-")
    after = conf.digest(b"two" if changed == "conf" else b"one", {"a": "1" if changed == "conf" else "2"}).split("-")
    assert [x == y for x, y in zip(before, after, strict=True)] == [changed != "conf", changed == "conf"]
