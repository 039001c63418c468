"""Blackholes and flow rules as JSON. Pure but for what it asks the desk."""

from __future__ import annotations

from anycastd.api.ports import FilterPort
from anycastd.api.views.moments import Json, iso
from anycastd.model.address import Address
from anycastd.model.filters import Blackhole, Filter, FlowRule, rate_words
from anycastd.model.flow import PROTOCOLS, TCP_FLAGS, FlowMatch, Ranges, short
from anycastd.model.nft import Count
from anycastd.policy.filters import wanted_filters
from anycastd.reconcile.filters import same

_NAMES = {number: name for name, number in PROTOCOLS.items()}


def blackholes(desk: FilterPort) -> Json:
    """Return every blackhole."""
    found = [_filter(desk, one) | {"address": str(one.address)} for one in desk.filters.blackholes]
    return {"blackholes": found, "limit": desk.config.attack.filter.max_blackholes}


def rules(desk: FilterPort) -> Json:
    """Return every flow rule."""
    found = [
        _filter(desk, one) | {"match": match_json(one.match), "rate_bps": one.rate_bytes_s * 8}
        for one in desk.filters.rules
    ]
    return {"rules": found, "limit": desk.config.attack.filter.max_flow_rules}


def proposals(desk: FilterPort, eip: Address) -> Json:
    """Return the flow rules that fit the attack on an EIP, the most specific first."""
    return {
        "eip": str(eip),
        "proposals": [
            {
                "match": match_json(one.match),
                "rate_bps": one.rate_bytes_s * 8,
                "covers_percent": one.covers_percent,
                "why": one.why,
                "text": f"{rate_text(one.rate_bytes_s)}: {one.match.words}",
            }
            for one in desk.proposals(eip)
        ],
    }


def rate_text(rate_bytes_s: int) -> str:
    """Return what is done to packets."""
    return f"limit to {rate_words(rate_bytes_s)}" if rate_bytes_s else "drop"


def _filter(desk: FilterPort, one: Filter) -> Json:
    clocks, dropped = desk.clocks(), desk.dropped.get(one.id, Count())
    sent, unsent = sent_to(desk, one)
    left_s = max(one.expires_s - clocks.now_s, 0.0)
    return {
        "id": one.id,
        "owner": one.owner,
        "reason": one.reason,
        "began_at": iso(clocks, one.began_s),
        "expires_at": iso(clocks, one.expires_s),
        "expires_in_s": round(left_s, 1),
        "sent": sent,
        "unsent": unsent,
        "dropped_packets": dropped.packets,
        "dropped_bytes": dropped.bytes,
        "text": one.what,
    }


def sent_to(desk: FilterPort, one: Blackhole | FlowRule) -> tuple[list[str], list[str]]:
    """Return the neighbors that ExaBGP says it sends it to, and those that should be sent it and are not."""
    have = desk.observed.filters or {}
    sent, unsent = list[str](), list[str]()
    for name, wanted in wanted_filters(desk.config, (one,)).items():
        for key, route in wanted.items():
            (sent if same(route, have.get(name, {}).get(key)) else unsent).append(name)
    return sent, unsent


def match_json(match: FlowMatch) -> Json:
    """Return which packets are meant, as a body of a request has it."""
    return {
        "destination": short(match.destination),
        "source": None if match.source is None else str(match.source),
        "protocols": [_NAMES.get(one, str(one)) for one in match.protocols],
        "destination_ports": _spans(match.destination_ports),
        "source_ports": _spans(match.source_ports),
        "lengths": _spans(match.lengths),
        "tcp_flags_set": [name for name, bit in TCP_FLAGS.items() if match.tcp_set & bit],
        "tcp_flags_unset": [name for name, bit in TCP_FLAGS.items() if match.tcp_unset & bit],
    }


def _spans(ranges: Ranges) -> list[str]:
    return [str(low) if low == high else f"{low}-{high}" for low, high in ranges]
