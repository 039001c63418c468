"""Where blackholes and flow rules outlive the daemon: one small file that is replaced whole, as `orders_file` does.

Each ends when it would have ended: on another boot by what the wall clock says, whatever was off meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from anycastd.model.address import NeighborName
from anycastd.model.filters import Blackhole, Filter, FlowRule
from anycastd.model.flow import FlowMatch, Ranges
from anycastd.model.plain import known_of
from anycastd.runtime.kept.document import loaded, made_of
from anycastd.runtime.kept.memory_file import Clocks, SavedTimes
from anycastd.runtime.kept.orders_file import KEPT_S, Kept, answers_of

FORMAT = 1
_HOLE_FIELDS, _RULE_FIELDS, _MATCH_FIELDS = (
    tuple(one.name for one in fields(kind)) for kind in (Blackhole, FlowRule, FlowMatch)
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is in the file."""

    standing: tuple[Filter, ...] = ()
    answers: Mapping[str, Kept] = field(default_factory=dict)


def encode(found: Found, at: Clocks) -> str:
    """Return the file's text."""
    answers = {key: asdict(kept) for key, kept in found.answers.items() if at.monotonic_s - kept.at_s < KEPT_S}
    document = {
        "format": FORMAT,
        "clocks": asdict(at),
        "filters": [_plain(one) for one in found.standing],
        "answers": answers,
    }
    return json.dumps(document, indent=1) + "\n"


def _plain(one: Filter) -> dict[str, Any]:
    said = {
        "id": one.id,
        "neighbors": list(one.neighbors),
        "owner": one.owner,
        "reason": one.reason,
        "began_s": one.began_s,
        "expires_s": one.expires_s,
    }
    if isinstance(one, Blackhole):
        return said | {"address": str(one.address)}
    match = asdict(one.match) | {"destination": str(one.match.destination)}
    match["source"] = None if one.match.source is None else str(one.match.source)
    return said | {"match": match, "rate_bytes_s": one.rate_bytes_s}


def decode(text: str, now: Clocks) -> Found:
    """Return what stands, with times on the present clock; ValueError if the text is not what `encode` writes."""

    def made(document: dict[str, Any]) -> Found:
        times = SavedTimes.of(document["clocks"], now)
        standing = tuple(_filter(one, times) for one in document["filters"])
        return Found(standing, answers_of(document["answers"], times))

    return made_of(text, FORMAT, "a file of filters", ("clocks", "filters", "answers"), made)


def _filter(value: dict[str, Any], times: SavedTimes) -> Filter:
    id_, owner, reason = str(value["id"]), str(value["owner"]), str(value["reason"])
    neighbors = tuple(NeighborName(name) for name in value["neighbors"])
    # a rule that is understood in part would drop what it was not made for
    known_of(value, _HOLE_FIELDS if "address" in value else _RULE_FIELDS, id_)
    began_s, expires_s = (times.now(value[name], f"{id_}.{name}") for name in ("began_s", "expires_s"))
    if "address" in value:
        return Blackhole(
            id=id_,
            address=ip_address(value["address"]),
            neighbors=neighbors,
            owner=owner,
            reason=reason,
            began_s=began_s,
            expires_s=expires_s,
        )
    return FlowRule(
        id=id_,
        match=_match(value["match"], f"{id_}.match"),
        rate_bytes_s=int(value["rate_bytes_s"]),
        neighbors=neighbors,
        owner=owner,
        reason=reason,
        began_s=began_s,
        expires_s=expires_s,
    )


def _match(value: dict[str, Any], where: str) -> FlowMatch:
    value = known_of(value, _MATCH_FIELDS, where)
    return FlowMatch(
        destination=ip_network(value["destination"]),
        source=None if value["source"] is None else ip_network(value["source"]),
        protocols=tuple(map(int, value["protocols"])),
        destination_ports=_ranges(value["destination_ports"]),
        source_ports=_ranges(value["source_ports"]),
        lengths=_ranges(value["lengths"]),
        tcp_set=int(value["tcp_set"]),
        tcp_unset=int(value["tcp_unset"]),
    )


def _ranges(value: list[list[int]]) -> Ranges:
    return tuple((int(low), int(high)) for low, high in value)


def load(path: Path, now: Clocks) -> tuple[Found, str]:
    """Return what stands, and why the file cannot be read (empty = it can; one that is not there holds none)."""
    return loaded(path, lambda text: decode(text, now), Found)
