"""Routes as bytes: what we would ask for reads back as the same; foreign and odd ones are told apart."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.dataplane import wire
from anycastd.model.address import Prefix
from anycastd.model.kernel import KernelRoute, RouteKind

NAMES = {2: "t1", 3: "t2"}
INDEXES = {name: index for index, name in NAMES.items()}
OURS = 201


@st.composite
def routes(draw: st.DrawFn) -> KernelRoute:
    four = draw(st.booleans())
    length = draw(st.integers(0, 32 if four else 128))
    start = draw(st.integers(0, (1 << (32 if four else 128)) - 1))
    prefix: Prefix = IPv4Network((start, length), strict=False) if four else IPv6Network((start, length), strict=False)
    metric, table = draw(st.integers(1, 0xFFFFFFFF)), draw(st.sampled_from((254, 1300, 0xFFFFFFFE)))
    if draw(st.booleans()):
        return KernelRoute(prefix, RouteKind.BLACKHOLE, metric, table)
    via = draw(st.sampled_from((None, ip_address("10.0.0.2" if four else "fd00::2"))))
    return KernelRoute(prefix, RouteKind.UNICAST, metric, table, via, draw(st.sampled_from(tuple(INDEXES))))


@given(routes(), st.booleans(), st.integers(0, 40))
def test_what_is_asked_for_is_read_back_equal(route: KernelRoute, replace: bool, before: int) -> None:
    asked = wire.from_model(route, INDEXES)
    data = bytes(before) + wire.encode_put(asked, OURS, 7, replace=replace)
    read = wire.parse_route(data, before, OURS)
    assert read == asked
    assert read is not None
    assert wire.to_model(read, NAMES) == route


def test_flags_make_or_replace_and_the_kernel_filters_dumps() -> None:
    route = wire.from_model(KernelRoute(ip_network("203.0.113.0/24"), RouteKind.BLACKHOLE, 100), {})
    assert struct.unpack_from("=IHHI", wire.encode_put(route, OURS, 9, replace=False))[1:] == (24, 0x605, 9)
    assert struct.unpack_from("=IHHI", wire.encode_put(route, OURS, 9, replace=True))[1:] == (24, 0x505, 9)
    assert struct.unpack_from("=IHHI", wire.encode_delete(route, OURS, 9))[1:] == (25, 0x005, 9)
    dump = wire.encode_dump(2, OURS, 9)
    assert struct.unpack_from("=IHHI", dump) == (28, 26, 0x301, 9)
    assert dump[16 + 5] == OURS


def message(*attributes: tuple[int, bytes], kind: int = 1, protocol: int = OURS, tos: int = 0, flags: int = 0) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, 24, 0, tos, 254, protocol, 0, kind, flags)
    for what, value in attributes:
        body += struct.pack("=HH", 4 + len(value), what) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), 24, 0, 0, 0) + body


DESTINATION = (wire.RTA_DST, bytes((203, 0, 113, 0)))


@pytest.mark.parametrize(
    "data",
    [
        message(DESTINATION, protocol=12),
        message(DESTINATION, flags=wire.RTM_F_CLONED),
        message(DESTINATION, tos=8),
    ],
    ids=["foreign", "cached", "with a type of service"],
)
def test_what_is_not_ours_is_left_out(data: bytes) -> None:
    assert wire.parse_route(data, 0, OURS) is None


@pytest.mark.parametrize(
    "data",
    [
        message(DESTINATION, (wire.RTA_MULTIPATH, bytes(16))),
        message(DESTINATION, (wire.RTA_VIA, bytes(18)), (wire.RTA_OIF, bytes((2, 0, 0, 0)))),
        message(DESTINATION, kind=7),
    ],
    ids=["multipath", "via the other family", "unreachable"],
)
def test_a_shape_we_never_make_equals_nothing_wanted_but_has_its_place(data: bytes) -> None:
    odd = wire.parse_route(data, 0, OURS)
    assert odd is not None
    assert odd.odd
    route = wire.to_model(odd, NAMES)
    assert (route.kind, route.via, route.device) == (RouteKind.UNICAST, None, None)
    assert wire.from_model(route, INDEXES).key == odd.key


def test_truncated_attributes_end_the_reading() -> None:
    data = bytearray(message(DESTINATION, (wire.RTA_PRIORITY, bytes((9, 0, 0, 0)))))
    data[36:38] = (0).to_bytes(2, "little")
    read = wire.parse_route(bytes(data), 0, OURS)
    assert read is not None
    assert read.metric == 0


def test_a_device_that_does_not_exist_is_named() -> None:
    route = KernelRoute(ip_network("203.0.113.0/24"), RouteKind.UNICAST, 100, via=ip_address("10.0.0.2"), device="t9")
    with pytest.raises(KeyError, match="t9"):
        wire.from_model(route, INDEXES)


def test_an_error_is_told_from_an_acknowledgement() -> None:
    assert not wire.error_in(bytes(40), 0)
    assert wire.error_in(bytes(16) + struct.pack("=i", -17) + bytes(20), 0)
