"""What a command makes of the blackholes and flow rules in force, or which rule refuses it (S25). Pure.

A second order for the same address, or the same packets, renews the first: that is how one is extended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from anycastd.config.near import did_you_mean
from anycastd.config.values.fields import duration_text
from anycastd.model.address import Address, NeighborName, Prefix
from anycastd.model.filter_config import FilterConfig
from anycastd.model.filters import Blackhole, Filter, FilterKind, Filters, FlowRule, lies_in
from anycastd.model.flow import TCP, WITH_PORTS, FlowMatch, Ranges
from anycastd.model.topology import Config
from anycastd.policy.filters import takers
from anycastd.resources.refusal import Code, Refusal, Refused, refused

MIN_RATE_BYTES_S, MAX_RATE_BYTES_S = 9_600, 10**12
"""Below the first routers may not do it, above the second ExaBGP does not say it."""
MAX_VALUES = 8
MAX_PORT, MAX_LENGTH, MAX_PROTOCOL, MAX_FLAGS = 65535, 65535, 255, 63


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterCommand:
    """Blackhole an address, or (`match`) drop packets or limit them to `rate_bytes_s`; `ttl_s` None = as configured."""

    owner: str
    reason: str
    ttl_s: float | None = None
    neighbors: tuple[str, ...] = ()
    address: Address | None = None
    match: FlowMatch | None = None
    rate_bytes_s: int = 0

    @property
    def kind(self) -> FilterKind:
        """Return which of the two."""
        return FilterKind.BLACKHOLE if self.address is not None else FilterKind.FLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """End the one of a kind with an id."""

    id: str
    kind: FilterKind
    owner: str


@dataclass(frozen=True, slots=True)
class PlannedFilter:
    """Those that would be in force, the one that is meant (None: it ended), and what changes, in words."""

    after: Filters
    order: Filter | None
    changes: tuple[str, ...]


def plan_filter(
    command: FilterCommand | Release,
    filters: Filters,
    config: Config,
    pace: FilterConfig,
    now_s: float,
    new_id: str,
    last_end_s: float = float("-inf"),
) -> PlannedFilter | Refused:
    """Return what the command makes of those in force, or every rule that it breaks.

    What is released so soon after the last one that ended (`last_end_s`) is over, and waits for its turn.
    """
    if isinstance(command, Release):
        turns = [
            at_s for at_s, one in ends_of(filters.standing, pace.release_each_s, last_end_s) if one.expires_s <= now_s
        ]
        return _released(command, filters, now_s, max([last_end_s, *turns]) + pace.release_each_s)
    broken = (*_lasting(command, pace), *_neighbors(command, config), *_target(command, config))
    if broken:
        return Refused(tuple(broken))
    known = next((one for one in filters.standing if _same_target(one, command)), None)
    if known is None and (no := _no_room(command.kind, filters, pace)):
        return no
    order = _order(command, known, pace, now_s, new_id)
    others = tuple(one for one in filters.standing if one is not known)
    at = [neighbor.name for neighbor in takers(config, order)]
    where = f"here and at {', '.join(at)}" if at else "here only: no neighbor takes it"
    verb = "is set" if known is None else "is renewed"
    words = f"{order.what} {verb}, for {duration_text(round(order.expires_s - now_s))}, {where}"
    return PlannedFilter(replace(filters, standing=(*others, order)), order, (words,))


def _order(command: FilterCommand, known: Filter | None, pace: FilterConfig, now_s: float, new_id: str) -> Filter:
    default_s = pace.blackhole_ttl_s if command.kind is FilterKind.BLACKHOLE else pace.flow_ttl_s
    expires_s = now_s + (default_s if command.ttl_s is None else command.ttl_s)
    id_, began_s = (known.id, known.began_s) if known is not None else (new_id, now_s)
    names = tuple(NeighborName(name) for name in sorted(set(command.neighbors)))
    if command.match is not None:
        return FlowRule(
            id=id_,
            match=command.match,
            rate_bytes_s=command.rate_bytes_s,
            neighbors=names,
            owner=command.owner,
            reason=command.reason,
            began_s=began_s,
            expires_s=expires_s,
        )
    assert command.address is not None
    return Blackhole(
        id=id_,
        address=command.address,
        neighbors=names,
        owner=command.owner,
        reason=command.reason,
        began_s=began_s,
        expires_s=expires_s,
    )


def _released(command: Release, filters: Filters, now_s: float, turn_s: float) -> PlannedFilter | Refused:
    known = next((one for one in filters.standing if one.id == command.id and kind_of(one) is command.kind), None)
    if known is None:
        kind = command.kind.value if command.kind is FilterKind.BLACKHOLE else "flow rule"
        return refused(Code.ORDER_NOT_FOUND, 404, f"no {kind} has the id {command.id[:64]!r}")
    others = tuple(one for one in filters.standing if one is not known)
    if turn_s <= now_s:
        return PlannedFilter(replace(filters, standing=others), None, (f"{known.what} ends",))
    over = replace(known, expires_s=min(known.expires_s, now_s))
    words = f"{known.what} ends in {duration_text(math.ceil(turn_s - now_s))}, behind the one before it"
    return PlannedFilter(replace(filters, standing=(*others, over)), over, (words,))


def kind_of(one: Filter) -> FilterKind:
    """Return what kind it is."""
    return FilterKind.BLACKHOLE if isinstance(one, Blackhole) else FilterKind.FLOW


def _same_target(one: Filter, command: FilterCommand) -> bool:
    if isinstance(one, Blackhole):
        return one.address == command.address
    return one.match == command.match


def _no_room(kind: FilterKind, filters: Filters, pace: FilterConfig) -> Refused | None:
    if kind is FilterKind.BLACKHOLE and len(filters.blackholes) >= pace.max_blackholes:
        message = f"{pace.max_blackholes} blackholes stand, and attack.filter.max_blackholes is as many: release one"
        return refused(Code.BLACKHOLE_QUOTA, 409, message)
    if kind is FilterKind.FLOW and len(filters.rules) >= pace.max_flow_rules:
        message = f"{pace.max_flow_rules} flow rules stand, and attack.filter.max_flow_rules is as many: release one"
        return refused(Code.FLOW_QUOTA, 409, message)
    return None


def _lasting(command: FilterCommand, pace: FilterConfig) -> Iterator[Refusal]:
    blackhole = command.kind is FilterKind.BLACKHOLE
    most_s = pace.blackhole_ttl_s if blackhole else pace.flow_ttl_s
    if not command.reason.strip():
        yield Refusal(Code.VALUE, 422, "is needed: whoever finds it must know why", "reason")
    if command.ttl_s is not None and not 0 < command.ttl_s <= most_s:
        name = "attack.filter.blackhole_ttl" if blackhole else "attack.filter.flow_ttl"
        message = f"{duration_text(command.ttl_s)} is not within {name}, {duration_text(most_s)}"
        yield Refusal(Code.VALUE, 422, message, "ttl_s")


def _neighbors(command: FilterCommand, config: Config) -> Iterator[Refusal]:
    flag = "blackhole" if command.kind is FilterKind.BLACKHOLE else "flowspec"
    for at, name in enumerate(command.neighbors):
        neighbor = config.neighbors.get(NeighborName(name))
        if neighbor is None:
            hint = did_you_mean(name, list(config.neighbors))
            yield Refusal(Code.ORDER_TARGET, 404, f"no neighbor is called {name[:64]!r}{hint}", f"neighbors[{at}]")
        elif not getattr(neighbor, flag):
            message = f"neighbor {name} has no `{flag}: true`: it is not known to take it"
            yield Refusal(Code.FILTER_NEIGHBOR, 409, message, f"neighbors[{at}]")


def _target(command: FilterCommand, config: Config) -> Iterator[Refusal]:
    if command.address is not None:
        yield from _own("address", command.address, config)
        if ip_network(command.address) in config.prefixes:
            message = f"{command.address} is announced as a prefix of its own: to drop all of it, withdraw it"
            yield Refusal(Code.ANNOUNCED, 409, message, "address")
        return
    match = command.match
    if match is None:
        yield Refusal(Code.VALUE, 422, "neither an address nor packets are named")
        return
    yield from _own("destination", match.destination, config)
    yield from _shape(match)
    rate = command.rate_bytes_s
    if rate and not MIN_RATE_BYTES_S <= rate <= MAX_RATE_BYTES_S:
        low, high = (f"{bytes_s * 8} bit/s" for bytes_s in (MIN_RATE_BYTES_S, MAX_RATE_BYTES_S))
        message = f"{rate * 8} bit/s is neither 0 (drop) nor between {low} and {high}"
        yield Refusal(Code.VALUE, 422, message, "rate_bps")
    if not rate and match.is_plain:
        single = match.destination.prefixlen == match.destination.max_prefixlen
        message = "drops every packet: that is a blackhole" if single else "drops a whole prefix: withdraw it instead"
        yield Refusal(Code.FLOW_WIDE, 409, message, "destination")


def _own(field: str, what: Address | Prefix, config: Config) -> Iterator[Refusal]:
    if not any(lies_in(what, prefix) for prefix in config.prefixes):
        known = ", ".join(map(str, list(config.prefixes)[:10]))
        yield Refusal(Code.OUTSIDE_PREFIXES, 422, f"{what} is in none of this POP's prefixes: {known}", field)


def _shape(match: FlowMatch) -> Iterator[Refusal]:
    if match.source is not None and match.source.version != match.destination.version:
        yield Refusal(Code.VALUE, 422, f"{match.source} is of another family than the destination", "source")
    if len(match.protocols) > MAX_VALUES or not all(0 <= one <= MAX_PROTOCOL for one in match.protocols):
        yield Refusal(Code.VALUE, 422, f"at most {MAX_VALUES} numbers from 0 to {MAX_PROTOCOL}", "protocols")
    for name, ranges, most in (
        ("destination_ports", match.destination_ports, MAX_PORT),
        ("source_ports", match.source_ports, MAX_PORT),
        ("lengths", match.lengths, MAX_LENGTH),
    ):
        if not _in_order(ranges, most):
            yield Refusal(Code.VALUE, 422, f"at most {MAX_VALUES} values or ranges low-high up to {most}", name)
        elif ranges and most == MAX_PORT and name != "lengths" and not _only(match.protocols, WITH_PORTS):
            yield Refusal(Code.VALUE, 422, "ports are of TCP, UDP or SCTP: name the protocol", name)
    bits = match.tcp_set | match.tcp_unset
    if bits and (match.protocols != (TCP,) or bits > MAX_FLAGS or match.tcp_set & match.tcp_unset):
        yield Refusal(Code.VALUE, 422, "flags are of protocol tcp alone, each on or off, not both", "tcp_flags")


def _only(protocols: Sequence[int], allowed: Iterable[int]) -> bool:
    return bool(protocols) and set(protocols) <= set(allowed)


def _in_order(ranges: Ranges, most: int) -> bool:
    return len(ranges) <= MAX_VALUES and all(0 <= low <= high <= most for low, high in ranges)


def ends_of(
    standing: Iterable[Filter], each_s: float, last_end_s: float = float("-inf")
) -> tuple[tuple[float, Filter], ...]:
    """Return when each one ends, soonest first: not two at once, so that not all of the traffic is back at once (S29).

    `last_end_s`: when one ended last.
    """
    found: list[tuple[float, Filter]] = []
    for one in sorted(standing, key=lambda one: one.expires_s):
        last_end_s = max(one.expires_s, last_end_s + each_s)
        found.append((last_end_s, one))
    return tuple(found)


def without_strangers(filters: Filters, config: Config) -> tuple[Filters, tuple[Filter, ...]]:
    """Return those whose destination is still in a prefix of ours and no prefix of its own, and the others."""

    def stays(one: Filter) -> bool:
        what = one.address if isinstance(one, Blackhole) else one.match.destination
        if isinstance(one, Blackhole) and ip_network(one.address) in config.prefixes:
            return False
        return any(lies_in(what, prefix) for prefix in config.prefixes)

    gone = tuple(one for one in filters.standing if not stays(one))
    return (replace(filters, standing=tuple(filter(stays, filters.standing))) if gone else filters), gone
