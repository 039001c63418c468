"""Beacons to and from routes with large communities. The seam between what POPs say and how it travels.

`parts_of(beacon, before)` splits a beacon into parts, `route_of(spec, part)` makes each a route: an address below
`FleetSpec.base` as /32 or /128, and large communities `asn:a:b` (RFC 8092), fewer than 200 of them. Announce each to
every neighbor of role `observer`, to nobody else, with NO_EXPORT; send the parts in the order given; a route of ours
that is no longer among them is withdrawn. What comes back is read by `read(spec, prefix, communities)`, whose only
error is `BeaconError`; the order of the communities does not matter.

Part 0, the head, is at `base + POP`; part N at `base + 256 N + POP`. Up to HEAD_PREFIXES prefixes ride in the head
itself. More of them ride in parts of their own, each up to PART_PREFIXES, which are said again only if their content
changed: the head has the seq of each, so that a small head alone is enough for a heartbeat. So a /24 has room for 64
prefixes of each POP, a /20 for 15 times 190.

A prefix is named by 57 bits of its blake2b digest, so that POPs with other sets of prefixes understand each other.
A name that two prefixes of one POP share is not said and not read. Layout of (a, b), with the kind in b's top 4 bits:

    kind       a                  b, below the kind
    SEAL       digest of others   POP (12), number of communities (16)
    BOOT       boot               upstream sessions (12), epoch (16)
    SEQ        seq                format (4), part (12), number of parts (12)
    ECHO       boot               POP (12), epoch (16)
    VERSION    seq                part (12), nothing (16)
    CLAIM      name, high 32 bits name, low 25 bits; claim (2), intent (1)
    MAC        signature          which half (1), signature (27)
    a call     name, high 32 bits 2048 + n (12), next 16 bits of the name; n counts from 0, the kind is ECHO

A call on standbys stands in the place of an echo of a POP that cannot be (there are 254), so that a release that knows
of no calls reads the beacon, keeps an echo that it never looks for, and is none the worse.

The seal finds what was stripped or added on the way; it proves nothing of who sent it. With a key of the fleet two more
communities do (`signing.py`); the seal does not count them, so that who has no key reads the beacon as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_network
from typing import TypeVar

from anycastd.errors import PacketError
from anycastd.fleet.signing import UNSIGNED, Signing, mac_of, refusal
from anycastd.model.address import Prefix
from anycastd.model.fleet import MAX_POP, Beacon, Claim, Epoch, FleetSpec, Part, Said

FORMAT = 1
HEAD_PREFIXES = 64
PART_PREFIXES = 190
MAX_COMMUNITIES = 196
"""Beside a signature. BIRD sends no route with more than about 250 on, and withdraws it instead (measured)."""
PLACES = 256
NAME_BITS = 57
CALL_FROM = 2048
"""An ECHO of a POP of this number or above is a call."""
CALL_BITS = 48
MAX_CALLS = 32
ALL_CALLED = 0
"""The name in a call for every prefix that the POP carries: in the place of more calls than there is room for."""
_LOW_BITS = 25
_WORD = (1 << 32) - 1

Pair = tuple[int, int]
T = TypeVar("T")
BeaconRoute = tuple[Prefix, tuple[str, ...]]
"""The address of a part as a prefix, and its large communities in text."""


class BeaconError(PacketError):
    """A route that is no beacon part as this fleet writes them: stripped, changed, foreign, or of another release."""


class NotSignedError(BeaconError):
    """A beacon without the signature that this POP asks for, or with a wrong one."""


class Kind(IntEnum):
    """What a community says."""

    SEAL = 1
    BOOT = 2
    SEQ = 3
    ECHO = 4
    VERSION = 5
    CLAIM = 6
    MAC = 7


@lru_cache(maxsize=1 << 16)
def name_of(prefix: Prefix) -> int:
    """Return the name by which a prefix is spoken of, of NAME_BITS bits."""
    digest = blake2b(str(prefix).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - NAME_BITS)


def call_of(prefix: Prefix) -> int:
    """Return the name by which standbys of a prefix are called: the first CALL_BITS bits of its name."""
    return name_of(prefix) >> (NAME_BITS - CALL_BITS)


def names_of(prefixes: Iterable[Prefix]) -> tuple[dict[int, Prefix], frozenset[Prefix]]:
    """Return the prefixes by name, and those that share a name: they can be neither said nor read."""
    named: dict[int, list[Prefix]] = {}
    for prefix in prefixes:
        named.setdefault(name_of(prefix), []).append(prefix)
    shared = frozenset(prefix for several in named.values() if len(several) > 1 for prefix in several)
    return {name: several[0] for name, several in named.items() if len(several) == 1}, shared


def parts_of(beacon: Beacon, before: Sequence[Part] = ()) -> tuple[Part, ...]:
    """Return the parts that say a beacon, in the order in which they must be sent: the head comes last.

    A part whose content is that of its predecessor in `before` (what was returned for the last beacon) is returned as
    it was. ValueError: there are more POPs and parts than a head has room for.
    """
    named, _ = names_of(beacon.claims)
    said = {name: Said(beacon.claims[named[name]], named[name] in beacon.intents) for name in sorted(named)}
    last = {part.number: part for part in before if (part.pop, part.boot) == (beacon.pop, beacon.boot)}
    others: list[Part] = []
    if len(said) > HEAD_PREFIXES:
        names = list(said)
        for number, first in enumerate(range(0, len(names), PART_PREFIXES), start=1):
            some = {name: said[name] for name in names[first : first + PART_PREFIXES]}
            known = last.get(number)
            same = known is not None and known.said == some
            others.append(known if known is not None and same else _part(beacon, number, some))
        said = {}
    versions = {part.number: part.seq for part in others}
    room = MAX_COMMUNITIES - 3 - len(said) - len(beacon.echoes) - len(versions)
    if room < 0:
        message = f"a beacon cannot speak of {len(beacon.echoes)} POPs and {len(beacon.claims)} prefixes"
        raise ValueError(message)
    head = Part(
        pop=beacon.pop, boot=beacon.boot, seq=beacon.seq, epoch=beacon.epoch, upstreams=min(beacon.upstreams, 4095),
        said=said, echoes=beacon.echoes, versions=versions, calls=_called(beacon.calls, room),
    )  # fmt: skip
    return (*others, head)


def _called(calls: frozenset[Prefix], room: int) -> frozenset[int]:
    """Return the names that are called, no more than there is room for; in the place of more one that means all."""
    names = frozenset(map(call_of, calls))
    if len(names) <= min(room, MAX_CALLS):
        return names
    return frozenset({ALL_CALLED} if room else ())


def _part(beacon: Beacon, number: int, said: Mapping[int, Said]) -> Part:
    return Part(pop=beacon.pop, boot=beacon.boot, seq=beacon.seq, number=number, said=said)


def route_of(spec: FleetSpec, part: Part, key: bytes = b"") -> BeaconRoute:
    """Return the route that carries a part, signed if there is a key. ValueError: `spec.base` has no room for it."""
    pairs = [
        (part.boot, _word(Kind.BOOT, part.upstreams << 16 | part.epoch)),
        (part.seq, _word(Kind.SEQ, FORMAT << 24 | part.number << 12 | len(part.versions))),
        *((echo.boot, _word(Kind.ECHO, pop << 16 | echo.counter)) for pop, echo in part.echoes.items()),
        *(
            (name >> 16, _word(Kind.ECHO, CALL_FROM + n << 16 | name & 0xFFFF))
            for n, name in enumerate(sorted(part.calls))
        ),
        *((seq, _word(Kind.VERSION, number << 16)) for number, seq in part.versions.items()),
        *(_claimed(name, said) for name, said in part.said.items()),
    ]
    pairs.append(_seal(pairs, part.pop))
    if key:
        macs = mac_of(key, spec.asn, (part.pop, part.number), pairs)
        pairs += ((high, _word(Kind.MAC, low)) for high, low in macs)
    return place_of(spec, part.pop, part.number), tuple(f"{spec.asn}:{a}:{b}" for a, b in pairs)


def place_of(spec: FleetSpec, pop: int, number: int) -> Prefix:
    """Return the prefix of a part. ValueError: `spec.base` has no room for it."""
    offset = number * PLACES + pop
    if not 0 < pop <= MAX_POP or offset >= spec.base.num_addresses:
        message = f"{spec.base} has no room for part {number} of POP {pop}"
        raise ValueError(message)
    return ip_network((int(spec.base.network_address) + offset, spec.base.max_prefixlen))


def said_by(spec: FleetSpec, prefix: Prefix) -> Pair:
    """Return the POP and the number of the part whose place a prefix is; BeaconError: it is none."""
    is_place = prefix.version == spec.base.version and prefix.prefixlen == prefix.max_prefixlen
    offset = int(prefix.network_address) - int(spec.base.network_address) if is_place else -1
    if not 0 <= offset < spec.base.num_addresses or not 0 < offset % PLACES <= MAX_POP:
        message = f"{prefix} is no beacon's address below {spec.base}"
        raise BeaconError(message)
    return offset % PLACES, offset // PLACES


def read(spec: FleetSpec, prefix: Prefix, communities: Collection[str], signing: Signing = UNSIGNED) -> Part:
    """Return the part that a route carries; BeaconError says why it is none, and nothing else is raised."""
    pop, number = said_by(spec, prefix)
    by_kind: dict[Kind, list[Pair]] = {kind: [] for kind in Kind}
    every = [_pair(spec, community) for community in communities]
    for a, b in every:
        by_kind[_kind(b)].append((a, b & (1 << 28) - 1))
    pairs = [pair for pair in every if pair[1] >> 28 != Kind.MAC]
    if why := refusal(signing, spec.asn, (pop, number), pairs, by_kind[Kind.MAC]):
        raise NotSignedError(why)
    seal, boot, seq = (_only(by_kind[kind], kind) for kind in (Kind.SEAL, Kind.BOOT, Kind.SEQ))
    rest = [pair for pair in pairs if pair[1] >> 28 != Kind.SEAL]
    if seal[1] & 0xFFFF != len(rest) or (seal[0], _word(Kind.SEAL, seal[1])) != _seal(rest, seal[1] >> 16):
        message = f"{prefix}: communities were stripped, added or changed"
        raise BeaconError(message)
    if (seal[1] >> 16, seq[1] >> 12 & 0xFFF, seq[1] >> 24) != (pop, number, FORMAT):
        message = f"{prefix}: it says it is part {seq[1] >> 12 & 0xFFF} of POP {seal[1] >> 16}, format {seq[1] >> 24}"
        raise BeaconError(message)
    echoes = [pair for pair in by_kind[Kind.ECHO] if pair[1] >> 16 < CALL_FROM]
    calls = [pair for pair in by_kind[Kind.ECHO] if pair[1] >> 16 >= CALL_FROM]
    part = Part(
        pop=pop, boot=boot[0], seq=seq[0], number=number, epoch=boot[1] & 0xFFFF, upstreams=boot[1] >> 16,
        said=_unique(by_kind[Kind.CLAIM], _name, _said, "prefix"),
        echoes=_unique(echoes, lambda p: p[1] >> 16, lambda p: Epoch(p[0], p[1] & 0xFFFF), "echo"),
        versions=_unique(by_kind[Kind.VERSION], lambda p: p[1] >> 16, lambda p: p[0], "version"),
        calls=frozenset(_unique(calls, lambda p: p[1] >> 16, lambda p: p[0] << 16 | p[1] & 0xFFFF, "call").values()),
    )  # fmt: skip
    if len(part.versions) != seq[1] & 0xFFF or (number and (part.echoes or part.versions or part.calls)):
        message = f"{prefix}: its communities do not go together"
        raise BeaconError(message)
    return part


def _word(kind: Kind, rest: int) -> int:
    return kind << 28 | rest


def _claimed(name: int, said: Said) -> Pair:
    low = name & (1 << _LOW_BITS) - 1
    return name >> _LOW_BITS, _word(Kind.CLAIM, low << 3 | said.claim << 1 | said.intends)


def _name(pair: Pair) -> int:
    return pair[0] << _LOW_BITS | pair[1] >> 3


def _said(pair: Pair) -> Said:
    return _SAID[pair[1] & 7]


_SAID = tuple(Said(Claim(bits >> 1), bool(bits & 1)) for bits in range(8))


def _seal(pairs: Collection[Pair], pop: int) -> Pair:
    text = " ".join(f"{a}:{b}" for a, b in sorted(pairs))
    digest = blake2b(f"{pop} {text}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big"), _word(Kind.SEAL, pop << 16 | len(pairs))


def _pair(spec: FleetSpec, community: str) -> Pair:
    numbers = community.split(":") if isinstance(community, str) else []
    if len(numbers) != 3 or not all(_is_word(number) for number in numbers):
        message = f"{community!r} is no large community"
        raise BeaconError(message)
    asn, a, b = map(int, numbers)
    if asn != spec.asn:
        message = f"{community} is not of AS {spec.asn}"
        raise BeaconError(message)
    return a, b


def _is_word(number: str) -> bool:
    return number.isascii() and number.isdigit() and len(number) <= 10 and int(number) <= _WORD


def _kind(b: int) -> Kind:
    try:
        return Kind(b >> 28)
    except ValueError:
        message = f"a community of kind {b >> 28}: another release wrote it, or somebody else"
        raise BeaconError(message) from None


def _only(found: Sequence[Pair], kind: Kind) -> Pair:
    if len(found) != 1:
        message = f"{len(found)} communities of kind {kind.name}, not one"
        raise BeaconError(message)
    return found[0]


def _unique(pairs: Collection[Pair], key: Callable[[Pair], int], value: Callable[[Pair], T], what: str) -> dict[int, T]:
    found = {key(pair): value(pair) for pair in sorted(pairs)}
    if len(found) != len(pairs):
        message = f"it says two things of one {what}"
        raise BeaconError(message)
    return found
