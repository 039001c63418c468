"""The kernel's filter, run by an interpreter of our own; and what the machine lost, from the kernel's texts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from anycastd.actuators.dataplane import losses, packet_sample
from anycastd.actuators.dataplane.losses import device_drops, softirq_drops, unforwarded4, unforwarded6
from anycastd.actuators.dataplane.packet_sample import PacketSample, program
from anycastd.errors import ActuatorTransient
from tests.unit.attack.packets import udp

RANDOM = 0xFFFFF000 + 56


def picked(lines: Sequence[tuple[int, int, int, int]], data: bytes, dice: int = 0) -> int:
    """Run a classic BPF program (linux/filter.h) on a packet; return how many bytes of it are taken."""
    at, accumulator = 0, 0
    while True:
        code, yes, no, value = lines[at]
        at += 1
        if code == 0x20:
            if value == RANDOM:
                accumulator = dice
                continue
            if value + 4 > len(data):
                return 0
            accumulator = int.from_bytes(data[value : value + 4], "big")
        elif code == 0x54:
            accumulator &= value
        elif code in (0x15, 0x25):
            at += yes if (accumulator == value if code == 0x15 else accumulator > value) else no
        else:
            assert code == 0x06
            return value


TARGETS = [ip_network(one) for one in ("203.0.113.7/32", "198.51.100.0/24", "2001:db8:113::7/128", "2001:db8:200::/40")]


@pytest.mark.parametrize(
    ("to", "taken"),
    [
        ("203.0.113.7", True), ("203.0.113.8", False), ("198.51.100.0", True), ("198.51.100.255", True),
        ("198.51.101.1", False), ("2001:db8:113::7", True), ("2001:db8:113::8", False), ("2001:db8:113:1::7", False),
        ("2001:db8:2ff:ffff::1", True), ("2001:db8:300::1", False), ("2002:db8:113::7", False),
    ],
)  # fmt: skip
def test_whose_packets_are_picked(to: str, taken: bool) -> None:
    version = 6 if ":" in to else 4
    data = udp("192.0.2.1" if version == 4 else "2001:db8::1", to, 53)
    lines = program(version, TARGETS, 1.0)
    assert picked(lines, data, dice=0xFFFFFFFF) == (packet_sample.SNAP_BYTES if taken else 0)
    assert all(jump < 256 for line in lines for jump in line[1:3])


def test_the_dice_decide_how_many() -> None:
    data = udp("192.0.2.1", "203.0.113.7", 53)
    lines = program(4, TARGETS, 0.25)
    assert picked(lines, data, dice=0x3FFFFFFF) > 0
    assert picked(lines, data, dice=0x40000000) == 0


def test_as_many_targets_as_there_may_be_fit_into_a_program() -> None:
    many = [ip_network(f"2001:db8::{n:x}/128") for n in range(packet_sample.MOST_TARGETS)]
    lines = program(6, many, 1.0)
    assert len(lines) < 4096
    assert picked(lines, udp("2001:db8::1", f"2001:db8::{len(many) - 1:x}", 53)) > 0


def test_without_the_right_nothing_is_picked_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refused)
    sample = PacketSample()
    with pytest.raises(ActuatorTransient, match="packets cannot be sampled"):
        sample.look_at(TARGETS, 1.0)
    assert sample.take() == []


DEVICES = """Inter-|   Receive                                        |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 1584190   17312    0    7    0     0          0         0  1584190   17312    0    0    0     0       0    0
  eth0:  903410    5210    1   40    0     0          0         0   603410    4210    0    3    0     0       0    0
eth1:903410    5210    1   2    0     0          0         0   603410    4210    0    3    0     0       0    0
"""
SOFTNET = "00004b2c 00000010 0000001a 00000000\n0000a1f0 00000001 00000000 00000000\n"


@pytest.mark.parametrize(("devices", "drops"), [(("eth0",), 40), (("eth1", "eth0"), 42), ((), 42), (("eth7",), 0)])
def test_what_devices_dropped(devices: tuple[str, ...], drops: int) -> None:
    assert device_drops(DEVICES, devices) == drops


def test_what_softirqs_dropped() -> None:
    assert softirq_drops(SOFTNET) == 17


def test_this_kernel_can_be_read() -> None:
    found = losses.read(())
    assert found.device >= 0
    assert found.softirq >= 0


def test_what_routing_did_not_pass_on_from_the_kernel_s_texts() -> None:
    head = "Ip: Forwarding DefaultTTL InHdrErrors OutNoRoutes FragFails\n"
    extended = "TcpExt: SyncookiesSent\nTcpExt: 8\nIpExt: InNoRoutes InTruncatedPkts\nIpExt: 4 9\n"
    assert unforwarded4(f"{head}Ip: 1 64 3 7 5\nIcmp: InMsgs\nIcmp: 9\n{extended}") == (3, 5, 4)
    text = "Ip6InHdrErrors \t3\nIp6InTooBigErrors\t5\nIp6InNoRoutes\t4\nIcmp6InMsgs\t9\n"
    assert unforwarded6(text) == (3, 5, 4)
    with pytest.raises(KeyError):
        unforwarded6("Ip6InHdrErrors\t3\n")
