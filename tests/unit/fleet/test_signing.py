"""Signed beacons: who has the key is believed, whatever else is changed, added, taken away or copied is not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.fleet.codec import BeaconError, Kind, NotSignedError, parts_of, read, route_of
from anycastd.fleet.signing import HALF_BITS, UNSIGNED, Signing, mac_of
from anycastd.fleet.stored import part_in, stored_spec, text_of
from anycastd.model.fleet import Epoch
from tests.unit.fleet.test_codec import BEACON, BEACONS, SPEC, WORD, many

KEY, OTHER = b"of this fleet", b"of another fleet"
ASKED, LENIENT = Signing(KEY), Signing(KEY, accepts_unsigned=True)


def kinds(communities: tuple[str, ...]) -> list[Kind]:
    return [Kind(int(one.split(":")[2]) >> 28) for one in communities]


@given(BEACONS)
@settings(max_examples=40, deadline=None)
def test_a_signed_beacon_is_read_with_the_key_and_without(beacon: object) -> None:
    for part in parts_of(beacon):  # type: ignore[arg-type]
        prefix, communities = route_of(SPEC, part, KEY)
        assert kinds(communities).count(Kind.MAC) == 2
        assert len(set(communities)) == len(communities) < 200
        for signing in (ASKED, LENIENT, UNSIGNED):
            assert read(SPEC, prefix, communities[::-1], signing) == part


def test_the_largest_parts_have_room_for_a_signature() -> None:
    assert max(len(route_of(SPEC, part, KEY)[1]) for part in parts_of(many())) == 195
    full = replace(BEACON, claims={}, echoes={pop: Epoch(1, 1) for pop in range(1, 194)})
    assert len(route_of(SPEC, parts_of(full)[0], KEY)[1]) == 198


@given(BEACONS, st.data())
@settings(max_examples=60, deadline=None)
def test_whoever_has_no_key_changes_nothing_and_signs_nothing(beacon: object, data: st.DataObject) -> None:
    """A forger sees all that is said, knows the format and seals what it makes: only the key is missing."""
    part = data.draw(st.sampled_from(parts_of(beacon)))  # type: ignore[arg-type]
    prefix, communities = route_of(SPEC, part, KEY)
    macs = tuple(one for one, kind in zip(communities, kinds(communities), strict=True) if kind is Kind.MAC)
    changed = data.draw(st.sampled_from([
        replace(part, boot=(part.boot + 1) & 0xFFFFFFFF), replace(part, seq=(part.seq + 1) & 0xFFFFFFFF),
        replace(part, upstreams=part.upstreams ^ 1), replace(part, epoch=part.epoch ^ 1),
    ]))  # fmt: skip
    forged = route_of(SPEC, changed)[1]
    guessed = f"{SPEC.asn}:{data.draw(WORD)}:{Kind.MAC << 28 | data.draw(st.integers(0, (1 << 27) - 1))}"
    for mac in (macs, macs[:1], (guessed, macs[1]), (*macs, guessed)):
        for signing in (ASKED, LENIENT):
            with pytest.raises(NotSignedError, match="with another one"):
                read(SPEC, prefix, (*forged, *mac), signing)
    # what was stripped of its signature is believed only while that is asked for
    with pytest.raises(NotSignedError, match="nor with any"):
        read(SPEC, prefix, forged, ASKED)
    assert read(SPEC, prefix, forged, LENIENT) == changed


def test_another_key_another_place_and_another_as_are_refused() -> None:
    (part,) = parts_of(BEACON)
    prefix, communities = route_of(SPEC, part, OTHER)
    for signing in (ASKED, LENIENT):
        with pytest.raises(NotSignedError, match="with another one"):
            read(SPEC, prefix, communities, signing)
    _, signed = route_of(SPEC, part, KEY)
    with pytest.raises(BeaconError):
        read(SPEC, ip_network("10.255.0.8/32"), signed, ASKED)
    pairs = [(1, 2), (3, 4)]
    halves = {mac_of(*of, pairs) for of in ((KEY, 1, (2, 0)), (KEY, 1, (3, 0)), (KEY, 1, (2, 1)), (KEY, 2, (2, 0)),
                                           (OTHER, 1, (2, 0)))}  # fmt: skip
    assert len(halves) == 5
    assert mac_of(KEY, 1, (2, 0), pairs[::-1]) == mac_of(KEY, 1, (2, 0), pairs)
    assert all(low >> 27 == number for mac in halves for number, (_, low) in enumerate(mac))
    assert HALF_BITS * 2 == 118


def test_a_key_that_cannot_be_read_makes_nobody_believed_and_is_never_shown() -> None:
    (part,) = parts_of(BEACON)
    deaf = Signing(refuses="fleet.key_file: it is gone")
    for communities in (route_of(SPEC, part)[1], route_of(SPEC, part, KEY)[1]):
        with pytest.raises(NotSignedError, match="it is gone"):
            read(SPEC, route_of(SPEC, part)[0], communities, deaf)
    assert "of this fleet" not in repr(ASKED)


@pytest.mark.parametrize(("written", "asked", "wrong"), [
    (KEY, ASKED, ""), (KEY, UNSIGNED, ""), (b"", UNSIGNED, ""), (b"", LENIENT, ""), (KEY, LENIENT, ""),
    (b"", ASKED, "nor with any"), (OTHER, ASKED, "another one"), (OTHER, LENIENT, "another one"),
    (KEY, Signing(refuses="gone"), "gone"),
])  # fmt: skip
def test_texts_in_the_store_are_asked_for_the_same(written: bytes, asked: Signing, wrong: str) -> None:
    (part,) = parts_of(BEACON)
    spec = stored_spec(SPEC)
    text = text_of(spec, part, written)
    if wrong:
        with pytest.raises(NotSignedError, match=wrong):
            part_in(spec, part.pop, 0, text, asked)
    else:
        assert part_in(spec, part.pop, 0, text, asked) == part
