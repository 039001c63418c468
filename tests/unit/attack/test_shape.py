"""What sampled packets look like, and that nothing makes the sketch large."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from random import Random

import pytest

from anycastd.attack.packet import sampled
from anycastd.attack.shape import CAPACITY, WINDOW_S, Sketch
from anycastd.attack.top import Top, shares
from anycastd.model.attack import Shape, Share
from tests.unit.attack.packets import ip, tcp, udp

EIP, EIP6 = "203.0.113.7", "2001:db8:113::7"


@pytest.mark.parametrize(
    ("data", "protocol", "port", "size"),
    [
        (udp("198.51.100.1", EIP, 53), "udp", 53, 28),
        (udp("2001:db8:1::1", EIP6, 53, size=1400), "udp", 53, 1400),
        (tcp("198.51.100.1", EIP, 80, 0x02), "tcp syn", 80, 40),
        (tcp("198.51.100.1", EIP, 80, 0x12), "tcp syn-ack", 80, 40),
        (tcp("198.51.100.1", EIP, 80, 0x10), "tcp ack", 80, 40),
        (tcp("198.51.100.1", EIP, 80, 0x14), "tcp rst", 80, 40),
        (tcp("198.51.100.1", EIP, 80, 0x11), "tcp fin", 80, 40),
        (tcp("198.51.100.1", EIP, 80, 0x00), "tcp null", 80, 40),
        (ip("198.51.100.1", EIP, 1, b"\x08\0\0\0"), "icmp", None, 24),
        (ip("2001:db8:1::1", EIP6, 58, b"\x80\0\0\0"), "icmpv6", None, 44),
        (ip("198.51.100.1", EIP, 47, b""), "gre", None, 20),
        (ip("198.51.100.1", EIP, 199, b""), "199", None, 20),
        (ip("198.51.100.1", EIP, 17, b"\0\0\0\x35", fragment=9), "fragment", None, 24),
        (ip("198.51.100.1", EIP, 17, b""), "udp", None, 20),
        (ip("198.51.100.1", EIP, 6, b"\0\0\0\x50"), "tcp", 80, 24),
    ],
)
def test_what_a_packet_is(data: bytes, protocol: str, port: int | None, size: int) -> None:
    packet = sampled(data)
    assert packet is not None
    assert (packet.protocol, packet.port, packet.bytes) == (protocol, port, size)
    assert str(packet.destination) in (EIP, EIP6)


@pytest.mark.parametrize("data", [b"", b"\x45", b"\x60" + bytes(38), b"\x00" * 64, b"\xff" * 64])
def test_what_is_no_packet(data: bytes) -> None:
    assert sampled(data) is None


def sketch(packets: Iterable[bytes], each_s: float = 0.0) -> tuple[Sketch, Shape]:
    made, now_s = Sketch(0.0), 0.0
    for data in packets:
        now_s += each_s
        packet = sampled(data)
        assert packet is not None
        made.add(packet, now_s)
    shape = made.shape()
    assert shape is not None
    return made, shape


def test_the_shape_of_a_reflected_flood() -> None:
    luck = Random(7)
    flood = [
        udp(f"198.51.100.{luck.randrange(200)}", EIP, luck.randrange(1024, 65536), source_port=53, size=1200)
        for _ in range(300)
    ]
    rest = [tcp("192.0.2.9", EIP, 443, 0x10) for _ in range(100)]
    _, shape = sketch(flood + rest)
    assert shape.protocols == (Share("udp", 75.0), Share("tcp ack", 25.0))
    assert shape.source_ports[0] == Share("53", 75.0)
    assert shape.ports == (Share("443", 25.0),)
    assert shape.sources == (Share("198.51.100.0/24", 75.0), Share("192.0.2.0/24", 25.0))
    assert (shape.sampled, shape.mean_bytes, shape.spoofed) == (400, 910.0, False)


@pytest.mark.parametrize("to", [EIP, EIP6])
def test_random_sources_look_random_and_take_no_memory(to: str) -> None:
    luck = Random(3)

    def source() -> str:
        if to == EIP:
            return ".".join(str(luck.randrange(1, 255)) for _ in range(4))
        return ":".join(f"{luck.randrange(1, 65536):x}" for _ in range(8))

    small, _ = sketch(udp(source(), to, 53) for _ in range(CAPACITY * 4))
    made, shape = sketch(udp(source(), to, 53) for _ in range(5000))
    assert shape.spoofed
    assert shape.sources == ()
    assert (shape.ports, shape.protocols) == ((Share("53", 100.0),), (Share("udp", 100.0),))
    assert footprint(made) <= footprint(small) * 1.5


def footprint(made: Sketch) -> int:
    """Return the bytes of what a sketch holds, its values counted once."""
    total = 0
    for window in made._windows:
        tops = (window.protocols, window.sources, window.ports, window.origins)
        total += sum(sys.getsizeof(top._counts) + sys.getsizeof(top._errors) for top in tops) + sys.getsizeof(
            window.bitmap
        )
    return total


def test_what_is_old_is_forgotten() -> None:
    made, _ = sketch([udp("198.51.100.1", EIP, 53)] * 10)
    for number in range(2):
        packet = sampled(tcp("192.0.2.9", EIP, 443, 0x02))
        assert packet is not None
        made.add(packet, WINDOW_S * (number + 1))
    shape = made.shape()
    assert shape is not None
    assert shape.protocols == (Share("tcp syn", 100.0),)


def test_nothing_sampled_has_no_shape() -> None:
    assert Sketch(0.0).shape() is None


def test_the_most_frequent_are_found_among_many() -> None:
    luck, top = Random(11), Top[int](CAPACITY)
    values = [7] * 4000 + [8] * 2000 + [luck.randrange(1000, 10**6) for _ in range(4000)]
    luck.shuffle(values)
    for value in values:
        top.add(value)
    assert len(top) <= CAPACITY
    found = shares([top], 2, 5.0)
    assert [one.value for one in found] == ["7", "8"]
    assert found[0].percent == pytest.approx(40.0, abs=1.0)
    assert all(count <= (4000 if value == 7 else 2000 if value == 8 else 50) for value, count in top.certain().items())
