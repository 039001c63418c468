"""Signatures of beacons: who has the fleet's key made it, and nobody changed it on the way. Pure.

On the wire a signature is two communities of kind MAC, 118 bits of a keyed BLAKE2b over the AS number, the place of the
part and all its other communities. Nobody can try keys but by sending beacons, so that is far more than enough; a
longer one would take room from prefixes. In the store it is 128 bits at the end of the text (`stored.py`).

It binds boot, seq and echoes, so what was signed once stays what it was: an old beacon, which moves nothing (`seen.py`)
and cannot echo an epoch that was not yet begun. No wall clock is in it, since POPs' clocks are never compared: who can
hold beacons up can delay the news of a death by as long as that, signed or not.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest

Pair = tuple[int, int]
MAC_PAIRS = 2
HALF_BITS, LOW_BITS = 59, 27
"""Of one community: 32 bits of its first number, 27 of the second, whose next bit tells which half it is."""
_PERSON = b"anycastd beacon"
"""So that what is signed here is no signature anywhere else, with the same key (BLAKE2b's personalization)."""


@dataclass(frozen=True, slots=True)
class Signing:
    """The fleet's key (empty = none) and what is asked of others. `refuses`: why nothing is believed now, if so."""

    key: bytes = field(default=b"", repr=False)
    accepts_unsigned: bool = False
    """Whether what has no signature is believed all the same; a wrong one never is."""
    refuses: str = ""

    def refusal(self, is_signed: bool, is_right: bool) -> str:
        """Return why a beacon with such a signature must not be believed; empty if it may be."""
        if self.refuses or not self.key or is_right:
            return self.refuses
        if is_signed:
            return "it is not signed with this fleet's key, but with another one"
        return "" if self.accepts_unsigned else "it is not signed with this fleet's key, nor with any"


UNSIGNED = Signing()
"""Without a key: signatures are not looked at, so that POPs may be given the key one after another."""


def mac_of(key: bytes, asn: int, place: Pair, pairs: Collection[Pair]) -> tuple[Pair, ...]:
    """Return the two numbers, low bits of the second one only, of both communities that sign others.

    `place` is the POP and the number of the part. The order of `pairs` does not matter.
    """
    text = " ".join(f"{a}:{b}" for a, b in sorted(pairs))
    digest = blake2b(f"{asn} {place[0]}.{place[1]} {text}".encode(), digest_size=16, key=key, person=_PERSON).digest()
    bits = int.from_bytes(digest, "big") >> (128 - MAC_PAIRS * HALF_BITS)
    halves = (bits >> HALF_BITS, bits & (1 << HALF_BITS) - 1)
    return tuple(
        (half >> LOW_BITS, number << LOW_BITS | half & (1 << LOW_BITS) - 1) for number, half in enumerate(halves)
    )


def refusal(signing: Signing, asn: int, place: Pair, pairs: Collection[Pair], macs: Collection[Pair]) -> str:
    """Return why the communities `pairs` with the signature `macs` must not be believed; empty if they may be."""
    wanted = sorted(mac_of(signing.key, asn, place, pairs)) if signing.key and macs else []
    is_right = bool(macs) and compare_digest(repr(sorted(macs)).encode(), repr(wanted).encode())
    return signing.refusal(bool(macs), is_right)
