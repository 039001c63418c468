"""Keys and values as bytes and words: what goes in comes out, and what a set cannot hold is refused."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.nft import codec
from anycastd.actuators.nft.layout import LAYOUTS, Field, definition
from anycastd.model.nft import Count, Key, Limit, NftSet, Value

A4, A6 = IPv4Address("198.51.100.5"), IPv6Address("2001:db8::5")
HOST = sys.byteorder
PARTS: dict[Field, st.SearchStrategy[object]] = {
    Field.IPV4: st.ip_addresses(v=4),
    Field.IPV6: st.ip_addresses(v=6),
    Field.MARK: st.integers(0, 0xFFFFFFFF),
    Field.CLASS: st.integers(0, 63),
    Field.PROTOCOL: st.integers(0, 255),
    Field.PORT: st.integers(0, 65535),
}


@st.composite
def elements(draw: st.DrawFn) -> tuple[NftSet, Key, Value]:
    name = draw(st.sampled_from(NftSet))
    layout = LAYOUTS[name]
    if layout.interval:
        width = 32 if layout.key == (Field.IPV4,) else 128
        length = draw(st.integers(0, width))
        number = draw(st.integers(0, (1 << length) - 1)) << (width - length)
        return name, (IPv4Network if width == 32 else IPv6Network)((number, length)), None
    key = tuple(draw(PARTS[field]) for field in layout.key)
    data = tuple(draw(PARTS[field]) for field in layout.data)
    value: object = None if not data else data[0] if len(data) == 1 else data
    if layout.limit:
        value = Limit(draw(st.integers(1, 1 << 40)), draw(st.integers(1, 1 << 31)))
    return name, key[0] if len(key) == 1 else key, value  # type: ignore[return-value]


@given(elements())
def test_what_is_encoded_is_decoded_to_the_same(element: tuple[NftSet, Key, Value]) -> None:
    name, key, value = element
    raw = codec.encode_key(name, key)
    assert len(raw) == LAYOUTS[name].key_bytes + LAYOUTS[name].interval
    assert codec.decode_key(name, raw) == key
    assert codec.decode_value(name, codec.encode_value(name, value)) == value


@pytest.mark.parametrize(
    ("name", "key", "raw"),
    [
        (NftSet.EIP4, A4, A4.packed),
        (NftSet.POOL, 0x01000007, (0x01000007).to_bytes(4, HOST)),
        (NftSet.SLOT, (5, 63), (5).to_bytes(4, HOST) + (63).to_bytes(4, HOST)),
        (NftSet.PORT6, (5, 17, 53), (5).to_bytes(4, HOST) + b"\x11\0\0\0\0\x35\0\0"),
        (NftSet.OWN4, ip_network("10.0.0.0/8"), b"\x0a\0\0\0\x08"),
    ],
)
def test_keys_lie_as_the_kernel_has_them(name: NftSet, key: Key, raw: bytes) -> None:
    assert codec.encode_key(name, key) == raw


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (NftSet.EIP4, A6),
        (NftSet.EIP6, A4),
        (NftSet.EIP4, 5),
        (NftSet.POOL, A4),
        (NftSet.POOL, -1),
        (NftSet.POOL, 1 << 32),
        (NftSet.SLOT, 5),
        (NftSet.SLOT, (5, 6, 7)),
        (NftSet.PORT4, (5, 256, 80)),
        (NftSet.PORT4, (5, 6, 65536)),
        (NftSet.OWN4, A4),
        (NftSet.OWN4, ip_network("2001:db8::/32")),
        (NftSet.OWN6, ip_network("10.0.0.0/8")),
    ],
)
def test_a_key_that_a_set_cannot_hold_is_refused(name: NftSet, key: Key) -> None:
    with pytest.raises(codec.UnfitError, match=name.value):
        codec.encode_key(name, key)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (NftSet.EIP4, None),
        (NftSet.EIP4, A4),
        (NftSet.IN4, 5),
        (NftSet.NAT4, A6),
        (NftSet.PORT4, (A4, 65536)),
        (NftSet.PORT4, A4),
        (NftSet.LIMIT_IN4, None),
        (NftSet.LIMIT_IN4, Limit(-1, 5)),
        (NftSet.LIMIT_IN4, Limit(5, 1 << 32)),
        (NftSet.IN4, Limit(5, 5)),
    ],
)
def test_a_value_that_a_set_cannot_hold_is_refused(name: NftSet, value: Value) -> None:
    with pytest.raises(codec.UnfitError):
        codec.encode_value(name, value)


def test_a_limit_that_we_never_make_is_like_no_limit_of_ours() -> None:
    raw = codec.encode_value(NftSet.LIMIT_IN4, Limit(10, 20))
    hourly = raw[:8] + (3600).to_bytes(8, "big") + raw[16:]
    assert codec.decode_value(NftSet.LIMIT_IN4, hourly) == Limit(0, 0)


@pytest.mark.parametrize(
    ("prefix", "ends"),
    [
        ("10.0.0.0/8", ("10.0.0.0", "11.0.0.0")),
        ("255.255.255.0/24", ("255.255.255.0", None)),
        ("0.0.0.0/0", ("0.0.0.0", None)),
        ("2001:db8::/32", ("2001:db8::", "2001:db9::")),
        ("1.2.3.4/32", ("1.2.3.4", "1.2.3.5")),
    ],
)
def test_a_prefix_is_two_elements(prefix: str, ends: tuple[str, str | None]) -> None:
    start, behind = codec.ends(codec.encode_prefix(ip_network(prefix)))
    assert start == ip_address(ends[0]).packed
    assert behind == (ip_address(ends[1]).packed if ends[1] else None)


@given(st.sets(st.tuples(st.integers(0, 255), st.integers(24, 32)), max_size=6))
def test_prefixes_come_out_of_their_elements(chosen: set[tuple[int, int]]) -> None:
    nets = {ip_network((f"10.0.{third}.0", length)) for third, length in dict(chosen).items()}
    # nftables itself adds an end at the lowest address
    bounds = [(bytes(4), False)]
    for net in nets:
        start, behind = codec.ends(codec.encode_prefix(net))
        bounds += [(start, True), *([(behind, False)] if behind else [])]
    assert sorted(codec.intervals(bounds)) == sorted(codec.encode_prefix(net) for net in nets)


def test_a_range_that_is_no_prefix_is_told_apart() -> None:
    told = ("1.2.3.4", True), ("1.2.3.10", False), ("9.0.0.0", True)
    first, second = codec.intervals([(ip_address(one).packed, starts) for one, starts in told])
    assert first == (ip_address("1.2.3.4").packed, ip_address("1.2.3.9").packed)
    assert second == (ip_address("9.0.0.0").packed, ip_address("255.255.255.255").packed)


@pytest.mark.parametrize(("first", "behind"), [("10.0.0.128", "10.0.1.128"), ("10.0.0.0", "10.0.3.0")])
def test_a_range_of_a_fitting_size_at_an_odd_place_is_no_prefix(first: str, behind: str) -> None:
    bounds = [(ip_address(first).packed, True), (ip_address(behind).packed, False)]
    last = ip_address(int(ip_address(behind)) - 1)
    assert list(codec.intervals(bounds)) == [(ip_address(first).packed, last.packed)]


@pytest.mark.parametrize(
    ("name", "key", "value", "text"),
    [
        (NftSet.OWN4, ip_network("10.0.0.0/8"), None, "10.0.0.0/8"),
        (NftSet.EIP6, A6, 5, "2001:db8::5 : 0x5"),
        (NftSet.SLOT, (5, 63), 0x01000007, "0x5 . 0:3f : 0x1000007"),
        (NftSet.PORT4, (7, 6, 80), (A4, 8080), "0x7 . 6 . 80 : 198.51.100.5 . 8080"),
        (NftSet.CLASS4, A4, 0x12, "198.51.100.5 : a001:12"),
        (NftSet.IN4, A4, None, "198.51.100.5 counter packets 2 bytes 99"),
        (
            NftSet.LIMIT_IN4,
            A4,
            Limit(1000, 2000),
            "198.51.100.5 limit rate over 1000 bytes/second burst 2000 bytes counter packets 2 bytes 99",
        ),
    ],
)
def test_elements_in_the_words_of_nft(name: NftSet, key: Key, value: Value, text: str) -> None:
    assert codec.element_text(name, key, value, Count(2, 99)) == text


def test_a_new_limit_has_a_counter() -> None:
    assert codec.element_text(NftSet.LIMIT_IN4, A4, Limit(1, 2)).endswith("burst 2 bytes counter")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (NftSet.OWN6, "set own6 { type ipv6_addr; flags interval; }"),
        (NftSet.SLOT, "map slot { type mark . classid : mark; }"),
        (NftSet.PORT4, "map port4 { type mark . inet_proto . inet_service : ipv4_addr . inet_service; }"),
        (NftSet.IN4, "set in4 { type ipv4_addr; counter; }"),
    ],
)
def test_definitions(name: NftSet, text: str) -> None:
    assert definition(name) == text


def test_every_set_of_the_model_has_a_layout() -> None:
    assert set(LAYOUTS) == set(NftSet)
