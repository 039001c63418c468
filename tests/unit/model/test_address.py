"""Prefixes and addresses that keep their hash are the library's in every other way."""

from __future__ import annotations

import copy
import pickle
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from anycastd.model.address import known, known_address


@pytest.mark.parametrize("text", ["203.0.113.0/24", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/48", "::/0"])
def test_a_known_prefix_is_found_as_the_plain_one(text: str) -> None:
    plain, kept = ip_network(text), known(ip_network(text))
    assert (kept, hash(kept), str(kept), kept.version) == (plain, hash(plain), text, plain.version)
    assert {plain: 1}[kept] == {kept: 1}[plain] == 1
    assert sorted([kept, plain]) == [plain, kept]
    for again in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept), known(kept)):
        assert (again, hash(again)) == (plain, hash(plain))
    if plain.prefixlen < plain.max_prefixlen:
        assert list(kept.subnets()) == list(plain.subnets())


@pytest.mark.parametrize("text", ["203.0.113.7", "0.0.0.0", "2001:db8::7", "::"])
def test_a_known_address_is_found_as_the_plain_one(text: str) -> None:
    plain, kept = ip_address(text), known_address(text)
    assert (kept, hash(kept), str(kept), kept.packed) == (plain, hash(plain), text, plain.packed)
    assert isinstance(kept, IPv6Address if ":" in text else IPv4Address)
    assert {plain: 1}[kept] == {kept: 1}[plain] == 1
    assert sorted([kept, plain, kept + 1]) == [plain, kept, plain + 1]
    for again in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept), kept + 0):
        assert (again, hash(again)) == (plain, hash(plain))


@pytest.mark.parametrize("text", ["", "010.0.0.1", "1.2.3", "203.0.113.7/32", "::g", "1:2"])
def test_what_is_no_address_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        known_address(text)
