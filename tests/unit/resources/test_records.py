"""The EIPs there are: found by id and address, in order, the file over the store, and the next free address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import Prefix
from anycastd.model.eip import Eip, EipId, Source
from anycastd.resources.records import Records, parsed

BASE = int(IPv4Address("203.0.113.0"))
numbers = st.integers(0, 15)
steps = st.lists(st.tuples(st.sampled_from(["put", "drop", "file", "nofile"]), numbers), max_size=40)


def eip(number: int, source: Source = Source.API, generation: int = 1) -> Eip:
    return Eip(
        id=EipId(f"{source}-{number}-{generation}"),
        address=IPv4Address(BASE + number),
        source=source,
        generation=generation,
    )


@settings(max_examples=50)
@given(steps)
def test_the_indexes_agree_with_two_plain_mappings(done: list[tuple[str, int]]) -> None:
    records, stored, file = Records(), dict[int, Eip](), dict[int, Eip]()
    for count, (what, number) in enumerate(done):
        if what == "put":
            stored[number] = eip(number, generation=count)
            records.put(stored[number])
        elif what == "drop":
            stored.pop(number, None)
            records.drop(IPv4Address(BASE + number))
        else:
            file = {number: eip(number, Source.FILE)} if what == "file" else {}
            records.set_file({one.address: one for one in file.values()})
    in_force = [(stored | file)[number] for number in sorted(stored | file)]
    assert list(records) == in_force
    assert len(records) == len(in_force)
    for one in in_force:
        assert records.find(one.id) == records.find(str(one.address)) == records.get(one.address) == one
        number = int(one.address) - BASE
        assert records.hidden(one.address) is (number in stored and number in file)
    assert records.find("eip-0") is records.find(str(IPv4Address(BASE + 99))) is None


@settings(max_examples=50)
@given(
    st.sets(numbers, max_size=16),
    st.sets(numbers, max_size=3),
    st.sampled_from(["203.0.113.0/28", "203.0.113.0/30", "203.0.113.4/31", "203.0.113.5/32", "203.0.113.8/29"]),
)
def test_the_next_free_address_is_the_lowest_that_nobody_has(taken: set[int], avoid: set[int], text: str) -> None:
    prefix = IPv4Network(text)
    records = Records(map(eip, taken))
    avoided = {IPv4Address(BASE + number) for number in avoid}
    used = {IPv4Address(BASE + number) for number in taken} | avoided
    edges = [prefix[0], prefix[-1]] if prefix.num_addresses > 2 else []
    inner = [address for address in prefix if address not in edges]
    expected = next((address for address in [*inner, *edges] if address not in used), None)
    assert records.next_free(prefix, avoided) == expected


def test_a_large_prefix_is_not_walked_through() -> None:
    records = Records(eip(number) for number in range(1, 5000))
    assert records.next_free(IPv4Network("203.0.0.0/16")) == IPv4Address("203.0.0.1")
    assert records.next_free(IPv4Network((BASE, 24))) == IPv4Address("203.0.113.0")
    assert str(records.next_free(IPv6Network("2001:db8::/32"))) == "2001:db8::1"


@pytest.mark.parametrize(("taken", "free"), [([], "2001:db8::1"), ([1], "2001:db8::2"), ([1, 2, 3], "2001:db8::")])
def test_ipv6_leaves_the_subnet_router_address_for_last(taken: list[int], free: str) -> None:
    base = int(ip_address("2001:db8::"))
    found: Prefix = ip_network("2001:db8::/126")
    records = Records(Eip(id=EipId(str(n)), address=ip_address(base + n)) for n in taken)
    assert str(records.next_free(found)) == free


def test_what_is_an_address() -> None:
    assert str(parsed("2001:DB8::0:1")) == "2001:db8::1"
    for text in ("", "eip-1", "203.0.113", "203.0.113.010", "fe80::1%eth0", "203.0.113.1/32", "1"):
        assert parsed(text) is None
