"""From a command to the EIP as it shall be, or to every rule that it breaks. Pure: the time and a new id are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from anycastd.config.binding_rules import BindingFacts, problems_of
from anycastd.config.near import did_you_mean
from anycastd.config.values.eip import rate_text
from anycastd.model.address import Address, Prefix, RegionName
from anycastd.model.eip import Bandwidth, Eip, EipId, Source
from anycastd.model.topology import Config
from anycastd.resources.commands import (
    Allocate,
    Associate,
    Dial,
    Disassociate,
    EipCommand,
    Keep,
    Modify,
    Release,
    Restore,
)
from anycastd.resources.records import Records
from anycastd.resources.refusal import Code, Refusal, Refused, of_breaches, refused

MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class World:
    """What a command is judged by: the EIPs there are, the configuration, and its facts for the binding rules."""

    records: Records
    config: Config
    facts: BindingFacts


@dataclass(frozen=True, slots=True)
class Stamp:
    """The moment of a command, and the id that a new EIP would get."""

    now_unix_s: float
    new_id: EipId


@dataclass(frozen=True, slots=True)
class Planned:
    """An EIP before (None: it is new) and after a command; `changes` says it in words, empty = nothing."""

    before: Eip | None
    after: Eip
    changes: tuple[str, ...]


def plan(command: EipCommand, world: World, stamp: Stamp, expected: int | None = None) -> Planned | Refused:
    """Return what a command makes of an EIP; refused if its generation is not the `expected` one."""
    if isinstance(command, Allocate):
        return _allocate(command, world, stamp)
    eip = world.records.find(command.eip)
    if eip is None:
        return refused(Code.EIP_NOT_FOUND, 404, f"no EIP has the id or address {command.eip[:64]!r}")
    if expected is not None and expected != eip.generation:
        message = (
            f"{eip.address} is at generation {eip.generation}, not at {expected}: somebody changed it; read it again"
        )
        return refused(Code.GENERATION, 412, message)
    if eip.source is Source.FILE:
        message = f"{eip.address} stands in {world.config.path or 'the configuration file'}: change it there and reload"
        return refused(Code.FILE, 409, message)
    if eip.released_unix_s is not None and not isinstance(command, Restore):
        until = _moment(eip.released_unix_s + world.config.eip.keep_released_s)
        return _not_permitted(eip, f"is released, and can be restored until {until}")
    return _changed(command, eip, world, stamp)


def _changed(command: EipCommand, eip: Eip, world: World, stamp: Stamp) -> Planned | Refused:
    match command:
        case Associate():
            outcome = _associate(command, eip, world)
        case Disassociate():
            outcome = _disassociate(eip)
        case Release():
            outcome = _release(eip, stamp)
        case Restore():
            outcome = _restore(eip, world)
        case Modify():
            outcome = _modify(command, eip, world)
        case Allocate():
            outcome = refused(Code.SHAPE, 400, "an EIP that exists cannot be allocated")
    if isinstance(outcome, Refused):
        return outcome
    if outcome == eip:
        return Planned(eip, eip, ())
    after = replace(outcome, generation=eip.generation + 1, changed_unix_s=stamp.now_unix_s)
    return Planned(eip, after, tuple(_sentences(eip, after)))


def _not_permitted(eip: Eip, why: str) -> Refused:
    return refused(Code.STATUS, 409, f"{eip.address} {why}")


def _allocate(command: Allocate, world: World, stamp: Stamp) -> Planned | Refused:
    found: list[Refusal] = []
    limit = world.config.eip.max_eips
    if len(world.records) >= limit:
        found.append(Refusal(Code.EIP_QUOTA, 409, f"there are {len(world.records)} EIPs, eip.max_eips allows {limit}"))
    address = _address_for(command, world)
    if isinstance(address, Refused):
        return Refused((*found, *address.refusals, *_texts(command.description)))
    after = Eip(
        id=stamp.new_id,
        address=address,
        bandwidth=command.bandwidth,
        ping=command.ping,
        tracking=command.tracking,
        description=command.description,
        created_unix_s=stamp.now_unix_s,
        changed_unix_s=stamp.now_unix_s,
    )
    found += [*of_breaches(problems_of(after, world.facts)), *_texts(command.description)]
    return Refused(tuple(found)) if found else Planned(None, after, (f"{address} allocated",))


def _address_for(command: Allocate, world: World) -> Address | Refused:
    if (command.address is None) == (command.prefix is None):
        return refused(Code.SHAPE, 400, "give either an address, or a prefix to take the next free one of")
    if command.prefix is not None:
        return _free_in(command.prefix, world)
    assert command.address is not None
    taken = world.records.get(command.address)
    if taken is None:
        return command.address
    if taken.source is Source.FILE:
        why = f"{taken.address} stands in {world.config.path or 'the configuration file'}"
    elif taken.released_unix_s is not None:
        why = f"{taken.address} is released but kept: restore {taken.id}, or wait until it is gone"
    else:
        why = f"{taken.address} is allocated already: it is {taken.id}"
    return refused(Code.IN_USE, 409, why, "address")


def _free_in(prefix: Prefix, world: World) -> Address | Refused:
    # supernet_of() takes one family only, which the comparison before it makes sure of
    inside = any(known.version == prefix.version and known.supernet_of(prefix) for known in world.config.prefixes)  # type: ignore[arg-type]
    if not inside:
        known = ", ".join(map(str, list(world.config.prefixes)[:5])) or "none"
        return refused(Code.PREFIX_NOT_FOUND, 422, f"{prefix} is not in a configured prefix; known: {known}", "prefix")
    free = world.records.next_free(prefix, world.facts.ours)
    return free or refused(Code.PREFIX_FULL, 409, f"every address of {prefix} is an EIP", "prefix")


def _associate(command: Associate, eip: Eip, world: World) -> Eip | Refused:
    if eip.blocked:
        return refused(Code.BLOCKED, 409, f"{eip.address} is blocked: {eip.blocked_reason}")
    after = replace(eip, binding=command.binding, last_error="")
    found = of_breaches(problems_of(after, world.facts))
    if eip.binding not in (None, command.binding) and not command.replace:
        why = f"{eip.address} is bound to {_targets(eip)}; --replace (replace=true) binds it anew, make before break"
        found = (Refusal(Code.STATUS, 409, why), *found)
    return Refused(found) if found else after


def _disassociate(eip: Eip) -> Eip | Refused:
    return replace(eip, binding=None) if eip.binding is not None else _not_permitted(eip, "is not bound")


def _release(eip: Eip, stamp: Stamp) -> Eip | Refused:
    if eip.binding is not None:
        return _not_permitted(eip, f"is bound to {_targets(eip)}: disassociate it first")
    return replace(eip, released_unix_s=stamp.now_unix_s)


def _restore(eip: Eip, world: World) -> Eip | Refused:
    if eip.released_unix_s is None:
        return _not_permitted(eip, "is not released")
    after = replace(eip, released_unix_s=None)
    found = of_breaches(problems_of(after, world.facts))
    return Refused(found) if found else after


def _modify(command: Modify, eip: Eip, world: World) -> Eip | Refused:
    limits = Bandwidth(
        in_bps=eip.bandwidth.in_bps if isinstance(command.in_bps, Keep) else command.in_bps,
        out_bps=eip.bandwidth.out_bps if isinstance(command.out_bps, Keep) else command.out_bps,
        shaping=command.shaping or eip.bandwidth.shaping,
    )
    blocked = eip.blocked if command.blocked is None else command.blocked
    reason = eip.blocked_reason if command.blocked_reason is None else command.blocked_reason
    after = replace(
        eip,
        bandwidth=limits,
        ping=command.ping or eip.ping,
        tracking=command.tracking or eip.tracking,
        description=eip.description if command.description is None else command.description,
        blocked=blocked,
        blocked_reason=reason if blocked else "",
    )
    # what was wrong before (a prefix that a reload took away) is no reason to refuse another change
    before = set(problems_of(eip, world.facts))
    found = [*of_breaches(breach for breach in problems_of(after, world.facts) if breach not in before)]
    found += _texts(after.description, after.blocked_reason)
    if blocked and not reason:
        found.append(Refusal(Code.VALUE, 422, "say why it is blocked", "blocked_reason"))
    if not blocked and command.blocked_reason:
        found.append(Refusal(Code.VALUE, 422, "belongs to blocked: true", "blocked_reason"))
    return Refused(tuple(found)) if found else after


def _texts(description: str = "", blocked_reason: str = "") -> Iterator[Refusal]:
    for field, text in (("description", description), ("blocked_reason", blocked_reason)):
        if len(text) > MAX_TEXT:
            yield Refusal(Code.VALUE, 422, f"has {len(text)} characters, {MAX_TEXT} are allowed", field)
        if not text.isprintable():
            yield Refusal(Code.VALUE, 422, "has characters that cannot be printed", field)


def _sentences(before: Eip, after: Eip) -> Iterator[str]:
    """Yield what changes between two states of an EIP, in words."""
    name = after.address
    if before.binding != after.binding:
        was = "" if before.binding is None else f" instead of {_targets(before)}"
        yield f"{name} bound to {_targets(after)}{was}" if after.binding else f"{name} unbound"
    if before.released_unix_s != after.released_unix_s:
        yield f"{name} {'restored' if after.released_unix_s is None else 'released'}"
    fields: tuple[tuple[str, Callable[[Eip], object]], ...] = (
        ("limit in", lambda eip: _rate(eip.bandwidth.in_bps)),
        ("limit out", lambda eip: _rate(eip.bandwidth.out_bps)),
        ("shaping", lambda eip: eip.bandwidth.shaping.value),
        ("ping", lambda eip: eip.ping.value),
        ("tracking", lambda eip: eip.tracking.value),
        ("blocked", lambda eip: "yes" if eip.blocked else "no"),
        ("reason of the block", lambda eip: repr(eip.blocked_reason)),
        ("description", lambda eip: repr(eip.description)),
    )
    for field, value in fields:
        if (was_value := value(before)) != (value_now := value(after)):
            yield f"{name}: {field} changed from {was_value} to {value_now}"


def _rate(bps: int | None) -> str:
    return "none" if bps is None else rate_text(bps)


def _targets(eip: Eip) -> str:
    targets = eip.binding.targets if eip.binding else ()
    return ", ".join(target.backend for target in targets[:4]) + (", ..." if len(targets) > 4 else "")


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def region_unknown(name: str, config: Config) -> Refused:
    """Return the refusal of a name that no region has."""
    hint = did_you_mean(name, config.regions) or f"; known: {', '.join(config.regions)}"
    return refused(Code.REGION_NOT_FOUND, 404, f"no region is called {name[:64]!r}{hint}")


def plan_dial(
    command: Dial,
    dials: Mapping[RegionName, int],
    config: Config,
    *,
    expected: int | None = None,
    generation: int = 0,
) -> tuple[dict[RegionName, int], tuple[str, ...]] | Refused:
    """Return the operator's dials after a command and what it changes in words.

    Refused if the dial is at another `generation` than the `expected` one.
    """
    region = config.regions.get(command.region)
    if region is None:
        return region_unknown(command.region, config)
    if expected not in (None, generation):
        message = f"the dial of {command.region} is at generation {generation}, not at {expected}"
        return refused(Code.GENERATION, 412, f"{message}: somebody changed it; read it again")
    if command.percentage is not None and not 0 <= command.percentage <= 100:
        message = f"{command.percentage} is not between 0 and 100"
        return refused(Code.VALUE, 422, message, "traffic_dial_percentage")
    after = {name: value for name, value in dials.items() if name != command.region}
    if command.percentage is not None:
        after[command.region] = command.percentage
    was, becomes = (each.get(command.region, region.traffic_dial_percentage) for each in (dials, after))
    if after == dials:
        return after, ()
    return after, (f"the dial of {command.region} changed from {was} % to {becomes} %",)


def expired(records: Records, keep_s: float, now_unix_s: float) -> list[Eip]:
    """Return the released EIPs that were kept long enough."""
    return [
        eip
        for eip in records.stored.values()
        if eip.released_unix_s is not None and eip.released_unix_s + keep_s <= now_unix_s
    ]
