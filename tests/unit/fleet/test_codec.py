"""Beacons as large communities: what is written is read, and anything else is a BeaconError."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.fleet import codec
from anycastd.fleet.codec import (
    ALL_CALLED,
    MAX_CALLS,
    BeaconError,
    Kind,
    call_of,
    name_of,
    names_of,
    parts_of,
    place_of,
    read,
    route_of,
    said_by,
)
from anycastd.model.address import Prefix
from anycastd.model.fleet import Beacon, Claim, Epoch, FleetSpec, Said

SPEC = FleetSpec(number=1, pops={1: "fra", 2: "ams", 3: "nyc"}, base=ip_network("10.255.0.0/20"), asn=4200000000)
SPEC6 = replace(SPEC, base=ip_network("fd00:beac::/112"))
PREFIXES: tuple[Prefix, ...] = tuple(ip_network((0x0A000000 + (n << 8), 24)) for n in range(1000))
FEW: tuple[Prefix, ...] = (*PREFIXES[:2], ip_network("2001:db8:1::/48"))
BEACON = Beacon(
    pop=7, boot=1_790_000_000, seq=12, epoch=3, upstreams=2,
    claims=dict(zip(FEW, (Claim.NORMAL, Claim.DRAINING, Claim.GONE), strict=True)),
    intents=frozenset(FEW[:1]), echoes={2: Epoch(5, 65535), 254: Epoch((1 << 32) - 1, 0)},
)  # fmt: skip

WORD = st.integers(0, (1 << 32) - 1)
BEACONS = st.builds(
    Beacon,
    pop=st.integers(1, 254),
    boot=WORD,
    seq=WORD,
    epoch=st.integers(0, 65535),
    upstreams=st.integers(0, 4095),
    claims=st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(Claim), max_size=80),
    intents=st.frozensets(st.sampled_from(PREFIXES[:5]), max_size=3),
    echoes=st.dictionaries(st.integers(1, 254), st.builds(Epoch, WORD, st.integers(0, 65535)), max_size=60),
    calls=st.frozensets(st.sampled_from(PREFIXES), max_size=MAX_CALLS + 4),
)


def many(seq: int = 1) -> Beacon:
    return replace(BEACON, seq=seq, intents=frozenset(), claims=dict.fromkeys(PREFIXES, Claim.NORMAL))


@pytest.mark.parametrize("spec", [SPEC, SPEC6], ids=["IPv4", "IPv6"])
def test_what_is_written_is_read(spec: FleetSpec) -> None:
    (part,) = parts_of(BEACON)
    prefix, communities = route_of(spec, part)
    assert str(prefix) == ("10.255.0.7/32" if spec is SPEC else "fd00:beac::7/128")
    assert read(spec, prefix, tuple(reversed(communities))) == part
    assert part.said[name_of(FEW[0])] == Said(Claim.NORMAL, intends=True)
    assert part.said[name_of(FEW[2])] == Said(Claim.GONE)
    assert (part.epoch, part.upstreams, part.echoes) == (3, 2, BEACON.echoes)


@given(BEACONS)
@settings(max_examples=60, deadline=None)
def test_any_beacon_is_read_as_it_was_written(beacon: Beacon) -> None:
    parts = parts_of(beacon)
    routes = [route_of(SPEC, part) for part in parts]
    assert [read(SPEC, *route) for route in routes] == list(parts)
    assert all(len(communities) < 200 and len(set(communities)) == len(communities) for _, communities in routes)
    told = {name: said.claim for part in parts for name, said in part.said.items()}
    assert told == {name_of(prefix): claim for prefix, claim in beacon.claims.items()}
    calls = frozenset(map(call_of, beacon.calls)) if len(beacon.calls) <= MAX_CALLS else {ALL_CALLED}
    assert parts[-1].calls == calls
    assert not any(part.calls for part in parts[:-1])
    for route in routes:
        older_release_reads(route[1])


def older_release_reads(communities: tuple[str, ...]) -> None:
    """See that nothing is in it that a release that knows of no calls refuses: kinds, and two echoes of one POP."""
    words = [int(one.split(":")[2]) for one in communities]
    assert {word >> 28 for word in words} <= set(range(1, 8))
    echoed = [word >> 16 for word in words if word >> 28 == Kind.ECHO]
    assert len(set(echoed)) == len(echoed)


def test_where_there_is_no_room_for_calls_one_stands_for_all() -> None:
    def calls(others: int, called: int) -> frozenset[int]:
        echoes = {pop: Epoch(1, 1) for pop in range(1, others + 1)}
        full = replace(BEACON, intents=frozenset(), claims=dict.fromkeys(PREFIXES[:64], Claim.NORMAL), echoes=echoes)
        (part,) = parts_of(replace(full, calls=frozenset(PREFIXES[:called])))
        prefix, communities = route_of(SPEC, part)
        assert len(communities) <= codec.MAX_COMMUNITIES
        assert read(SPEC, prefix, communities) == part
        return part.calls

    assert len(calls(10, 32)) == 32
    assert calls(10, 33) == {ALL_CALLED}
    assert len(calls(120, 9)) == 9
    assert calls(120, 10) == {ALL_CALLED}
    assert calls(129, 1) == frozenset(), "such a fleet has to leave room"


WORDS = st.one_of(WORD, st.sampled_from(Kind).map(lambda kind: kind << 28))


@given(BEACONS, st.data())
@settings(max_examples=100, deadline=None)
def test_what_was_stripped_added_or_changed_is_refused(beacon: Beacon, data: st.DataObject) -> None:
    prefix, communities = route_of(SPEC, data.draw(st.sampled_from(parts_of(beacon))))
    at = data.draw(st.integers(0, len(communities) - 1))
    word = data.draw(WORDS)
    other = f"{SPEC.asn}:{data.draw(WORD)}:{word}"
    if other in communities:
        return
    added = (*communities, other)
    if word >> 28 == Kind.MAC:
        # who has no key looks at no signature, so that a key can come POP by POP
        assert read(SPEC, prefix, added) == read(SPEC, prefix, communities)
        added = communities[1:]
    for changed in (
        communities[:at] + communities[at + 1 :],
        added,
        (*communities[:at], other, *communities[at + 1 :]),
    ):
        with pytest.raises(BeaconError):
            read(SPEC, prefix, changed)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.lists(st.text(max_size=40), max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_beacon_error(address: object, communities: list[str]) -> None:
    for prefix in (ip_network(f"{address}"), ip_network("10.255.0.7/32")):
        with pytest.raises(BeaconError):
            read(SPEC, prefix, communities)


@pytest.mark.parametrize(
    "text", ["", "1:2", "1:2:3:4", "a:b:c", "4200000000:1:4294967296", "4200000000:-1:2", "4200000000:1:٣", "65000:1:2",
             "4200000000:1:0", "4200000000:1:4294967295", "4200000000:1e3:1", f"4200000000:{'9' * 5000}:1"],
)  # fmt: skip
def test_a_foreign_community_spoils_the_beacon_and_says_why(text: str) -> None:
    prefix, communities = route_of(SPEC, parts_of(BEACON)[0])
    with pytest.raises(BeaconError, match=r"large community|of AS|of kind"):
        read(SPEC, prefix, (*communities, text))


def test_a_beacon_at_another_place_is_refused() -> None:
    _, communities = route_of(SPEC, parts_of(BEACON)[0])
    for place in ("10.255.0.8/32", "10.255.1.7/32"):
        with pytest.raises(BeaconError, match="it says it is part 0 of POP 7"):
            read(SPEC, ip_network(place), communities)
    for place in ("10.255.0.0/32", "10.255.0.255/32", "10.254.0.7/32", "10.255.0.0/24", "fd00::7/128"):
        with pytest.raises(BeaconError, match=r"no beacon's address below 10\.255\.0\.0/20"):
            read(SPEC, ip_network(place), communities)


def test_many_prefixes_ride_in_parts_that_are_said_again_only_when_they_change() -> None:
    first = parts_of(many())
    assert [part.number for part in first] == [1, 2, 3, 4, 5, 6, 0]
    assert sum(len(part.said) for part in first) == len(PREFIXES)
    assert first[-1].versions == dict.fromkeys(range(1, 7), 1)
    again = parts_of(many(seq=2), first)
    assert again[:-1] == first[:-1]
    assert (again[-1].seq, again[-1].versions) == (2, first[-1].versions)
    one_less = replace(many(seq=3), claims={**many().claims, PREFIXES[0]: Claim.DEPREF})
    third = parts_of(one_less, again)
    assert sorted(third[-1].versions.values()) == [1, 1, 1, 1, 1, 3]
    assert [part.seq for part in parts_of(replace(one_less, boot=BEACON.boot + 1), third)] == [3] * 7


def test_a_beacon_that_has_no_room_is_our_own_error() -> None:
    with pytest.raises(ValueError, match="speak of 254 POPs and 0 prefixes"):
        parts_of(replace(BEACON, claims={}, echoes={pop: Epoch(1, 1) for pop in range(1, 255)}))
    small = replace(SPEC, base=ip_network("10.255.0.0/24"))
    with pytest.raises(ValueError, match=r"10\.255\.0\.0/24 has no room for part 1 of POP 7"):
        route_of(small, parts_of(many())[0])
    with pytest.raises(ValueError, match="no room"):
        place_of(SPEC, 255, 0)
    assert said_by(SPEC, place_of(SPEC, 254, 15)) == (254, 15)


def test_prefixes_that_share_a_name_are_neither_said_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "name_of", lambda prefix: 5 if prefix in FEW[:2] else 6)
    assert names_of(FEW) == ({6: FEW[2]}, frozenset(FEW[:2]))
    (part,) = parts_of(BEACON)
    assert part.said == {6: Said(Claim.GONE)}


def test_names_are_the_same_on_every_machine() -> None:
    # written down: another digest would make POPs of two releases deaf to each other
    assert name_of(ip_network("203.0.113.0/24")) == 0x1E073611CB1870A
    assert name_of(ip_network("203.0.113.0/24")) < 1 << codec.NAME_BITS
    assert len({name_of(prefix) for prefix in PREFIXES}) == len(PREFIXES)
