"""What outlives a daemon or a configuration: levels taken over from ExaBGP, penalties of prefixes that left. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from anycastd.model.address import Prefix
from anycastd.model.bgp import BgpObserved
from anycastd.model.decision import Level, Memory, Penalty
from anycastd.model.spread import NOT_SHED, Shed
from anycastd.model.topology import Config
from anycastd.policy.budget import charged
from anycastd.policy.desired import level_of
from anycastd.reconcile.overlap import overlapping
from anycastd.runtime.loop.replaced import gone_of

HALF_LIFE_S = 900.0
"""Of a removed prefix, whose own timers are gone with it: what routers use by default (RFC 2439 section 4.2)."""
FORGOTTEN_AFTER_S = 4 * 3600.0
"""16 half-lives: nothing of a penalty is left."""


def retired(
    memories: Mapping[Prefix, Memory], gone: Collection[Prefix], config: Config, now_s: float
) -> dict[Prefix, Memory]:
    """Return the memories without the removed prefixes, but with what those cost their neighbors' patience (I7)."""
    kept = {p: m for p, m in memories.items() if p in config.prefixes or now_s - m.level_since_s < FORGOTTEN_AFTER_S}
    for prefix in gone:
        memory = kept.pop(prefix, Memory())
        if memory.level is not Level.WITHDRAWN:
            spent = charged(
                memory.penalty, memory.level, Level.WITHDRAWN, was_announced=True, now_s=now_s, half_life_s=HALF_LIFE_S
            )
            kept[prefix] = Memory(penalty=spent, level_since_s=now_s)
    return kept


def missing_too_many(config: Config, observed: BgpObserved) -> frozenset[Prefix]:
    """Return the prefixes that ExaBGP holds and the file lacks, if they are too many to have been dropped on purpose.

    The measure is that of a reload: more than 10 % of them (more than one of fewer than ten), or all.
    """
    observers = {name for name, neighbor in config.neighbors.items() if neighbor.is_observer}
    held = {prefix for name, have in (observed.routes or {}).items() if name not in observers for prefix in have}
    gone = held - set(config.prefixes)
    return frozenset(gone) if gone and (gone == held or len(gone) > max(len(held) / 10, 1)) else frozenset()


def adopted(
    config: Config,
    observed: BgpObserved,
    saved: Mapping[Prefix, Memory],
    now_s: float,
    sheds: Mapping[Prefix, Shed] = MappingProxyType({}),
    only: Collection[Prefix] | None = None,
) -> dict[Prefix, Memory]:
    """Return the memories with the level that ExaBGP holds, which outranks what was saved.

    A prefix that is absent although it was last decided NORMAL was lost with ExaBGP, not taken down by health: it
    begins afresh, so that a peer that kept the route over our restart sees it come back unchanged. Lost while it was
    announced at all, it is not left dark when it cannot serve either, unless it may be withdrawn (I1); nor is one whose
    addresses are announced by a prefix that it takes the place of. `sheds`: what playbooks' steps in force add, which
    does not count as DEPREF.
    """
    memories: dict[Prefix, Memory] = {}
    those = config.prefixes.keys() if only is None else only
    heirs = overlapping(those, gone_of(config, observed.routes or {}))
    for prefix in those:
        spec = config.prefixes[prefix]
        old = saved.get(prefix, Memory())
        routes = {n: (observed.routes or {}).get(n, {}).get(prefix) for n in spec.neighbors}
        more = {one.neighbor: one for one in sheds.get(prefix, NOT_SHED).extras}
        sent = {name: route for name, route in routes.items() if route is not None}
        levels = [level_of(config.neighbors[name], spec, route, more.get(name)) for name, route in sent.items()]
        if levels:
            # what was decided, if a neighbor has it: another that has not was not told yet, or refused to be
            level = old.level if old.level in levels else max(levels)
            since_s = old.level_since_s if level is old.level else now_s
            penalty = _charged(old, level, spec.timers.half_life_s, now_s)
            memories[prefix] = replace(
                old,
                level=level,
                level_since_s=since_s,
                was_announced=True,
                penalty=penalty,
                # nobody has seen this entry into a level yet, should it be one into DEPREF
                epoch=old.epoch + (level is not old.level),
            )
        else:
            by_health = old.was_announced and old.level is not Level.NORMAL
            penalty = _charged(old, Level.WITHDRAWN, spec.timers.half_life_s, now_s) if by_health else old.penalty
            memories[prefix] = replace(
                old,
                level=Level.WITHDRAWN,
                level_since_s=now_s,
                was_announced=by_health,
                was_lost=old.was_lost or old.level is not Level.WITHDRAWN or prefix in heirs,
                penalty=penalty,
            )
    return memories


def _charged(old: Memory, level: Level, half_life_s: float, now_s: float) -> Penalty:
    """Return the penalty with a change that neighbors saw and the memory does not know: the dead man's, or the last.

    The memory is saved each second, so a daemon that was killed may have said more than its memory holds (I7).
    """
    if not old.was_announced:
        return old.penalty
    return charged(old.penalty, old.level, level, was_announced=True, now_s=now_s, half_life_s=half_life_s)
