"""BFD Control packets (RFC 5880 section 4), between bytes and values. Pure.

`decode` raises PacketError and nothing else. Only what is small is imported: the process that speaks BFD keeps its
memory small.
"""

from __future__ import annotations

import struct
from enum import IntEnum, StrEnum

VERSION = 1
PLAIN_BYTES = 24
MAX_BYTES = 24 + 28
"""The longest packet there is: a SHA1 section."""
MAX_U32 = 0xFFFFFFFF
_HEAD = struct.Struct("!BBBBIIIII")
POLL, FINAL, INDEPENDENT, AUTHENTICATED, DEMAND, MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01


class State(IntEnum):
    """Section 4.1, Sta."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def word(self) -> str:
        """Return the word that people are shown."""
        return _STATE_WORDS[self]


_STATE_WORDS = ("AdminDown", "Down", "Init", "Up")


class Diag(IntEnum):
    """Section 4.1, Diag: why a session last left Up. Numbers that are not assigned are kept as they come."""

    NONE = 0
    EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOR_DOWN = 3
    FORWARDING_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_DOWN = 6
    ADMIN_DOWN = 7
    REVERSE_DOWN = 8


_DIAG_WORDS = (
    "no diagnostic",
    "control detection time expired",
    "echo function failed",
    "neighbor signaled session down",
    "forwarding plane reset",
    "path down",
    "concatenated path down",
    "administratively down",
    "reverse concatenated path down",
)


def diag_words(number: int) -> str:
    """Return what a diagnostic number means."""
    return _DIAG_WORDS[number] if number < len(_DIAG_WORDS) else f"diagnostic {number}"


class AuthType(IntEnum):
    """Section 4.1, Auth Type."""

    SIMPLE = 1
    MD5 = 2
    METICULOUS_MD5 = 3
    SHA1 = 4
    METICULOUS_SHA1 = 5

    @property
    def is_meticulous(self) -> bool:
        """Return whether each packet has a sequence number of its own."""
        return self in (AuthType.METICULOUS_MD5, AuthType.METICULOUS_SHA1)


SECTION_BYTES = {AuthType.MD5: 24, AuthType.METICULOUS_MD5: 24, AuthType.SHA1: 28, AuthType.METICULOUS_SHA1: 28}
"""Lengths of the sections with a digest; 8 bytes stand before it (sections 4.3 and 4.4)."""
BEFORE_DIGEST_BYTES = 8


class Discard(StrEnum):
    """Why a packet is discarded (section 6.8.6): the label of a counter."""

    SHORT = "short"
    VERSION = "version"
    LENGTH = "length"
    MULTIPLIER = "multiplier"
    MULTIPOINT = "multipoint"
    DISCRIMINATOR = "discriminator"
    TTL = "ttl"
    NO_SESSION = "no_session"
    OTHER_PEER = "other_peer"
    AUTH_LENGTH = "auth_length"
    AUTH_TYPE = "auth_type"
    AUTH_KEY = "auth_key"
    AUTH_SEQUENCE = "auth_sequence"
    AUTH_DIGEST = "auth_digest"
    DEMAND = "demand"
    ADMIN_DOWN = "admin_down"


class PacketError(ValueError):
    """Bytes that are no BFD Control packet to be heard."""

    def __init__(self, why: Discard) -> None:
        super().__init__(why.value)
        self.why = why


class Auth:
    """The authentication section of a packet: its type, key number and sequence number (0 for a simple password)."""

    __slots__ = ("key_id", "sequence", "type")

    def __init__(self, kind: AuthType, key_id: int, sequence: int) -> None:
        self.type, self.key_id, self.sequence = kind, key_id, sequence

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Auth) and _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]


class Packet:
    """One control packet; intervals in microseconds."""

    __slots__ = (
        "auth", "demand", "desired_tx_us", "diag", "final", "min_echo_us", "min_rx_us", "mine", "multiplier", "poll",
        "state", "yours",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        *,
        mine: int,
        yours: int = 0,
        multiplier: int = 3,
        desired_tx_us: int = 1_000_000,
        min_rx_us: int = 1_000_000,
        min_echo_us: int = 0,
        diag: int = 0,
        poll: bool = False,
        final: bool = False,
        demand: bool = False,
        auth: Auth | None = None,
    ) -> None:
        self.state, self.diag, self.poll, self.final, self.demand = state, diag, poll, final, demand
        self.mine, self.yours, self.multiplier = mine, yours, multiplier
        self.desired_tx_us, self.min_rx_us, self.min_echo_us = desired_tx_us, min_rx_us, min_echo_us
        self.auth = auth

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        return isinstance(other, Packet) and _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return all of it, for tests."""
        return f"Packet({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def _values(one: Packet | Auth) -> list[object]:
    return [getattr(one, name) for name in one.__slots__]


def encode(packet: Packet) -> bytes:
    """Return the bytes of a packet; its authentication section follows with a digest of zeros, to be filled in."""
    section = b""
    flags = packet.state << 6
    flags |= (POLL if packet.poll else 0) | (FINAL if packet.final else 0) | (DEMAND if packet.demand else 0)
    if packet.auth is not None:
        flags |= AUTHENTICATED
        size = SECTION_BYTES[packet.auth.type]
        section = struct.pack("!BBBBI", packet.auth.type, size, packet.auth.key_id, 0, packet.auth.sequence)
        section += bytes(size - BEFORE_DIGEST_BYTES)
    head = _HEAD.pack(
        VERSION << 5 | packet.diag,
        flags,
        packet.multiplier,
        PLAIN_BYTES + len(section),
        packet.mine,
        packet.yours,
        packet.desired_tx_us,
        packet.min_rx_us,
        packet.min_echo_us,
    )
    return head + section


def decode(data: bytes) -> Packet:
    """Return the packet; raise PacketError for what section 6.8.6 has discarded whatever session it is for.

    The digest of an authentication section is not looked at.
    """
    if len(data) < PLAIN_BYTES:
        raise PacketError(Discard.SHORT)
    first, flags, multiplier, length, mine, yours, desired_tx_us, min_rx_us, min_echo_us = _HEAD.unpack_from(data)
    state = State(flags >> 6)
    if first >> 5 != VERSION:
        raise PacketError(Discard.VERSION)
    if length < PLAIN_BYTES or length > len(data):
        raise PacketError(Discard.LENGTH)
    if not multiplier:
        raise PacketError(Discard.MULTIPLIER)
    if flags & MULTIPOINT:
        raise PacketError(Discard.MULTIPOINT)
    if not mine or (not yours and state in (State.INIT, State.UP)):
        raise PacketError(Discard.DISCRIMINATOR)
    return Packet(
        state,
        diag=first & 0x1F,
        poll=bool(flags & POLL),
        final=bool(flags & FINAL),
        demand=bool(flags & DEMAND),
        mine=mine,
        yours=yours,
        multiplier=multiplier,
        desired_tx_us=desired_tx_us,
        min_rx_us=min_rx_us,
        min_echo_us=min_echo_us,
        auth=_section(data[PLAIN_BYTES:length]) if flags & AUTHENTICATED else None,
    )


def _section(data: bytes) -> Auth:
    if len(data) < 2 or data[1] != len(data):
        raise PacketError(Discard.AUTH_LENGTH)
    try:
        kind = AuthType(data[0])
    except ValueError:
        raise PacketError(Discard.AUTH_TYPE) from None
    if kind is AuthType.SIMPLE:
        # type, length, key number, and 1 to 16 bytes of a password (section 4.2)
        if not 4 <= len(data) <= 19:
            raise PacketError(Discard.AUTH_LENGTH)
        return Auth(kind, data[2], 0)
    if len(data) != SECTION_BYTES[kind]:
        raise PacketError(Discard.AUTH_LENGTH)
    return Auth(kind, data[2], int.from_bytes(data[4:8], "big"))
