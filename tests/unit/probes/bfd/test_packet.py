"""The codec: all there is comes back, and no bytes whatever raise anything but PacketError."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.probes.bfd.auth import Seal
from anycastd.probes.bfd.packet import (
    MAX_U32,
    SECTION_BYTES,
    Auth,
    AuthType,
    Discard,
    Packet,
    PacketError,
    State,
    decode,
    diag_words,
    encode,
)

U32 = st.integers(0, MAX_U32)
DIGESTS = tuple(SECTION_BYTES)
AUTHS = st.builds(Auth, st.sampled_from(DIGESTS), st.integers(0, 255), U32)
PACKETS = st.builds(
    Packet,
    st.sampled_from(State),
    mine=st.integers(1, MAX_U32),
    yours=st.integers(1, MAX_U32),
    multiplier=st.integers(1, 255),
    desired_tx_us=U32,
    min_rx_us=U32,
    min_echo_us=U32,
    diag=st.integers(0, 31),
    poll=st.booleans(),
    final=st.booleans(),
    demand=st.booleans(),
    auth=st.none() | AUTHS,
)
PLAIN = encode(Packet(State.UP, mine=1, yours=2))


@given(PACKETS)
def test_what_is_encoded_is_decoded(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=80) | st.builds(lambda head, tail: PLAIN[:4] + head + tail, st.binary(), st.binary()))
def test_any_bytes_are_a_packet_or_a_packet_error(data: bytes) -> None:
    try:
        packet = decode(data)
    except PacketError as error:
        assert error.why in Discard
    else:
        assert packet.mine
        assert packet.multiplier


@settings(max_examples=60)
@given(PACKETS, st.integers(0, 51), st.integers(1, 255))
def test_a_packet_with_a_changed_byte_is_another_or_none(packet: Packet, place: int, change: int) -> None:
    data = bytearray(encode(packet))
    data[place % len(data)] ^= change
    try:
        decode(bytes(data))
    except PacketError as error:
        assert error.why in Discard


def changed(at: int, value: int, data: bytes = PLAIN) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", Discard.SHORT),
        (PLAIN[:23], Discard.SHORT),
        (changed(0, 0x40), Discard.VERSION),
        (changed(3, 23), Discard.LENGTH),
        (changed(3, 25), Discard.LENGTH),
        (changed(2, 0), Discard.MULTIPLIER),
        (changed(1, PLAIN[1] | 1), Discard.MULTIPOINT),
        (changed(7, 0), Discard.DISCRIMINATOR),
        (changed(11, 0), Discard.DISCRIMINATOR),
        (changed(1, PLAIN[1] | 4), Discard.AUTH_LENGTH),
        (changed(1, PLAIN[1] | 4, changed(3, 26)) + b"\x09\x02", Discard.AUTH_TYPE),
        (changed(1, PLAIN[1] | 4, changed(3, 26)) + b"\x05\x02", Discard.AUTH_LENGTH),
        (changed(1, PLAIN[1] | 4, changed(3, 27)) + b"\x01\x03\x01", Discard.AUTH_LENGTH),
    ],
)
def test_what_section_6_8_6_discards(data: bytes, why: Discard) -> None:
    with pytest.raises(PacketError) as raised:
        decode(data)
    assert raised.value.why is why


def test_a_password_in_the_clear_is_understood_as_one() -> None:
    data = changed(1, PLAIN[1] | 4, changed(3, 24 + 9)) + b"\x01\x09\x07secret"
    assert decode(data).auth == Auth(AuthType.SIMPLE, 7, 0)


def test_what_follows_the_packet_is_not_looked_at() -> None:
    assert decode(PLAIN + b"more") == decode(PLAIN)


def test_a_diagnostic_that_nobody_assigned_is_shown_by_its_number() -> None:
    assert diag_words(1) == "control detection time expired"
    assert diag_words(31) == "diagnostic 31"


def sealed(seal: Seal) -> bytes:
    packet = Packet(State.UP, mine=1, yours=2, multiplier=3)
    packet.auth = seal.next_section()
    return seal.signed(encode(packet))


@pytest.mark.parametrize("kind", DIGESTS)
def test_the_digest_proves_the_key_and_every_byte(kind: AuthType) -> None:
    ours, theirs = Seal(kind, 3, b"key", 0xFFFFFFFE), Seal(kind, 3, b"key", 0)
    data = sealed(ours)
    theirs.check(decode(data), data)
    # over the end of the sequence numbers
    for _ in range(4):
        data = sealed(ours)
        theirs.check(decode(data), data)
    for place in (4, 30, len(data) - 1):
        forged = changed(place, data[place] ^ 1, sealed(ours))
        with pytest.raises(PacketError):
            theirs.check(decode(forged), forged)
    with pytest.raises(PacketError, match="auth_digest"):
        Seal(kind, 3, b"other", 0).check(decode(data), data)
    with pytest.raises(PacketError, match="auth_key"):
        Seal(kind, 4, b"key", 0).check(decode(data), data)


@pytest.mark.parametrize("kind", DIGESTS)
def test_a_packet_that_is_sent_again_is_taken_once_where_that_is_meticulous(kind: AuthType) -> None:
    ours, theirs = Seal(kind, 1, b"key", 7), Seal(kind, 1, b"key", 0)
    data = sealed(ours)
    theirs.check(decode(data), data)
    if kind.is_meticulous:
        with pytest.raises(PacketError, match="auth_sequence"):
            theirs.check(decode(data), data)
    else:
        theirs.check(decode(data), data)
    for _ in range(9):
        far = sealed(ours)
    theirs.check(decode(far), far)
    for _ in range(10):
        far = sealed(ours)
    with pytest.raises(PacketError, match="auth_sequence"):
        theirs.check(decode(far), far)
    # after twice the detection time any number is the first
    theirs.forget()
    theirs.check(decode(far), far)


@pytest.mark.parametrize("kind", DIGESTS)
@pytest.mark.parametrize("size", [0, 21])
def test_a_key_that_does_not_fit_is_refused(kind: AuthType, size: int) -> None:
    with pytest.raises(ValueError, match="are wanted"):
        Seal(kind, 1, b"k" * size, 0)


def test_an_unsealed_packet_is_not_taken_where_a_seal_is_wanted() -> None:
    with pytest.raises(PacketError, match="auth_type"):
        Seal(AuthType.SHA1, 1, b"key", 0).check(decode(PLAIN), PLAIN)
