"""Keyed MD5 and SHA1 (RFC 5880 sections 6.7.3 and 6.7.4): digests, and sequence numbers that guard against replays.

Pure. It is loaded with the first session that is authenticated: OpenSSL alone is 4 MB.
"""

from __future__ import annotations

import hashlib
import hmac

from anycastd.probes.bfd.packet import (
    BEFORE_DIGEST_BYTES,
    MAX_U32,
    PLAIN_BYTES,
    SECTION_BYTES,
    Auth,
    AuthType,
    Discard,
    Packet,
    PacketError,
)

MAX_KEY_BYTES = {AuthType.MD5: 16, AuthType.METICULOUS_MD5: 16, AuthType.SHA1: 20, AuthType.METICULOUS_SHA1: 20}
_AT = PLAIN_BYTES + BEFORE_DIGEST_BYTES


class Seal:
    """The key and the sequence numbers of one session; `sequence` is where our own begin (any 32-bit number)."""

    def __init__(self, kind: AuthType, key_id: int, key: bytes, sequence: int) -> None:
        if not 1 <= len(key) <= MAX_KEY_BYTES[kind]:
            message = f"a key of {len(key)} bytes; 1 to {MAX_KEY_BYTES[kind]} are wanted"
            raise ValueError(message)
        self.kind, self.key_id, self._sequence = kind, key_id, sequence & MAX_U32
        self._key = key.ljust(SECTION_BYTES[kind] - BEFORE_DIGEST_BYTES, b"\0")
        self._heard: int | None = None

    def next_section(self) -> Auth:
        """Return the section of the next packet. Each has a number of its own, whether or not the type asks for it."""
        self._sequence = (self._sequence + 1) & MAX_U32
        return Auth(self.kind, self.key_id, self._sequence)

    def signed(self, data: bytes) -> bytes:
        """Return an encoded packet with its digest."""
        return data[:_AT] + self._digest(data)

    def check(self, packet: Packet, data: bytes) -> None:
        """Take a packet's section in; raise PacketError if it does not prove that the packet is the peer's and new."""
        section = packet.auth
        if section is None or section.type is not self.kind:
            raise PacketError(Discard.AUTH_TYPE)
        if section.key_id != self.key_id:
            raise PacketError(Discard.AUTH_KEY)
        if self._heard is not None:
            ahead = (section.sequence - self._heard) & MAX_U32
            if not (1 if self.kind.is_meticulous else 0) <= ahead <= 3 * packet.multiplier:
                raise PacketError(Discard.AUTH_SEQUENCE)
        size = SECTION_BYTES[self.kind]
        if not hmac.compare_digest(data[_AT : PLAIN_BYTES + size], self._digest(data)):
            raise PacketError(Discard.AUTH_DIGEST)
        self._heard = section.sequence

    def forget(self) -> None:
        """Take any sequence number next: nothing was heard for twice the detection time (section 6.8.1)."""
        self._heard = None

    def _digest(self, data: bytes) -> bytes:
        hashed = hashlib.sha1 if SECTION_BYTES[self.kind] == 28 else hashlib.md5
        return hashed(data[:_AT] + self._key, usedforsecurity=False).digest()
