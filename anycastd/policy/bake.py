"""Whether a new configuration does harm: what was announced before, and after. Pure (S10).

What somebody ordered meanwhile is no harm of the file: a drain, an override, a step of a playbook. It excuses that a
neighbor is sent less, down to the level that the order asks for, and until the prefix is back where it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.decision import Decision, Level

NAMED = 3
Announced = Mapping[Prefix, Mapping[NeighborName, Level]]
"""The level that each neighbor has of each prefix, as ExaBGP says that it sends it."""
Excused = Mapping[tuple[Prefix, NeighborName], Level]
"""Down to which level a neighbor may be sent less of a prefix, because somebody ordered it."""


def gone(
    before: Announced, decided: Mapping[Prefix, Level], kept: Collection[Prefix], excused: Excused
) -> tuple[Prefix, ...]:
    """Return the prefixes of the new file that somebody was sent before, and nobody is to be sent now."""
    return tuple(
        prefix
        for prefix in kept
        if decided.get(prefix, Level.WITHDRAWN) is Level.WITHDRAWN
        and any(
            min(level, excused.get((prefix, name), level)) > Level.WITHDRAWN
            for name, level in before.get(prefix, {}).items()
        )
    )


def less(
    before: Announced, after: Announced, kept: Mapping[Prefix, Collection[NeighborName]], excused: Excused
) -> tuple[Prefix, ...]:
    """Return the prefixes that one of the neighbors they keep is sent less of than before.

    What the file itself takes away was judged, or confirmed, when it was read: that is no harm.
    """
    return tuple(
        prefix
        for prefix, neighbors in kept.items()
        for was, now in [(before.get(prefix, {}), after.get(prefix, {}))]
        if any(
            now.get(name, Level.WITHDRAWN) < min(level, excused.get((prefix, name), level))
            for name, level in was.items()
            if name in neighbors
        )
    )


def excuses(
    prefix: Prefix, was: Mapping[NeighborName, Level], decision: Decision, known: Excused, *, helpless: bool
) -> Iterable[tuple[NeighborName, Level]]:
    """Yield the neighbors that are excused for a prefix, and the level, `known` being what was excused so far.

    `helpless`: it cannot be served as well as without what operators ordered of regions, tunnels and backends; how much
    less is announced for that is for health to say, and nothing of it is the file's.
    """
    ordered = Level.WITHDRAWN if helpless else _ordered(decision)
    for name, level in was.items():
        now = decision.level_at(name)
        told = min((one.level for one in decision.drained if one.neighbor == name), default=Level.NORMAL)
        # the way back from a drain is slow, and as much its doing as the way down
        earlier = known.get((prefix, name), Level.NORMAL) if now < level else Level.NORMAL
        if (excused := min(ordered, told, earlier)) < level:
            yield name, excused


def _ordered(decision: Decision) -> Level:
    """Return the level to which somebody's order lowered a prefix, NORMAL if none did."""
    lowered = (step.after for step in decision.trail if step.reason.is_ordered and step.after < step.before)
    return min(lowered, default=Level.NORMAL)


def words_of(prefixes: Collection[Prefix], what: str) -> str:
    """Return what is wrong with some prefixes."""
    more = f" and {len(prefixes) - NAMED} more" if len(prefixes) > NAMED else ""
    return f"{', '.join(map(str, list(prefixes)[:NAMED]))}{more}: {what}"
