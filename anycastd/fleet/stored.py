"""Beacons in the fleet's store: one text for each part, the same codec as on the wire, as one more channel. Pure.

A text is the large communities of the part's route, with a space between. Its place is told by the key (POP and number
of the part) and said again by the seal, so a text that was copied to another POP's key is not read.

What the store holds may be late, forged, doubled, or of an older snapshot. It is a beacon on its way, no more: what
counts is the echo of our present epoch, in a beacon that says NORMAL (`standing.py`). A deletion is no word: a POP
whose text is gone is not counted when its last one is stale by our own clock, no earlier and no later.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from hmac import compare_digest
from ipaddress import ip_network

from anycastd.fleet.codec import PLACES, BeaconError, NotSignedError, place_of, read, route_of
from anycastd.fleet.signing import UNSIGNED, Signing
from anycastd.model.fleet import FleetSpec, Part

STORE = "store"
"""The name of this channel; those of observers have a space in them."""
BASE = ip_network("fd00::/108")
"""Only numbers the parts as an observer's network does; nothing is ever announced of it."""
MAX_TEXT = 8192
MAC = "mac:"
MAX_KEY_BYTES = 64
"""Of a key more is not used (BLAKE2b)."""


def stored_spec(spec: FleetSpec) -> FleetSpec:
    """Return the fleet as the codec is to have it for texts in the store."""
    return replace(spec, base=BASE)


def text_of(spec: FleetSpec, part: Part, key: bytes = b"") -> str:
    """Return the text of a part, signed with the fleet's key if there is one; `spec` is of `stored_spec`."""
    text = " ".join(route_of(spec, part)[1])
    return f"{text} {MAC}{_mac(text, key)}" if key else text


def part_in(spec: FleetSpec, pop: int, number: int, text: str, signing: Signing = UNSIGNED) -> Part:
    """Return the part that a text of this POP and number is; BeaconError says why it is none.

    With a key a text that is not signed with it is none, unless those that are not signed at all are accepted. Without
    one a signature is not looked at, so that the POPs of a fleet may be given the key one after another.
    """
    if not 0 <= number < BASE.num_addresses // PLACES or len(text) > MAX_TEXT:
        message = f"part {number} of {len(text)} characters is none of a beacon"
        raise BeaconError(message)
    said, is_signed, mac = text.partition(f" {MAC}")
    is_right = bool(signing.key) and compare_digest(mac.encode(), _mac(said, signing.key).encode())
    if why := signing.refusal(bool(is_signed), is_right):
        raise NotSignedError(why)
    return read(spec, place_of(spec, pop, number), said.split(" "))


def _mac(text: str, key: bytes) -> str:
    return blake2b(text.encode("utf-8", "backslashreplace"), key=key, digest_size=16).hexdigest()
