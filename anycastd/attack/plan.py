"""What a forecast is made from: POPs, what each carries, who reaches which, an attack, and steps against it. Pure.

Rates are bits and packets per second, shares run from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_PREPENDS = 3
"""The fourth moves nothing that the third did not (docs/attack-planning.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What was measured at one POP; what is empty is taken from `attack.measured`.

    `withdrawn`: which POP gets which share of its traffic once it leaves. `prepend`: share of its catchment that leaves
    with so many prepends. `communities`: the same for a community. `neighbors`: which share comes in by which neighbor.
    `joins`: which share of another POP's catchment this one draws when it begins to announce.
    """

    withdrawn: Mapping[str, float] = field(default_factory=dict)
    prepend: Mapping[int, float] = field(default_factory=dict)
    communities: Mapping[str, float] = field(default_factory=dict)
    neighbors: Mapping[str, float] = field(default_factory=dict)
    joins: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPop:
    """One POP: what it carries (`capacity_pps` 0: only bits limit it), its usual traffic, its share of all clients.

    A standby POP has no share and no usual traffic until it joins.
    """

    name: str
    capacity_bps: float
    capacity_pps: float = 0.0
    usual_bps: float = 0.0
    usual_pps: float = 0.0
    catchment: float = 0.0
    standby: bool = False
    effects: Effects = field(default_factory=Effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAttack:
    """How much comes, and from whose catchments: shares of the attack by POP, 1 in sum."""

    bps: float
    pps: float
    sources: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """How a prefix is announced: which standby POPs joined, and what is said less loudly where.

    `shunned`: neighbors at which a POP is depreferenced or withdrawn. `communities` and `prepends` are by POP as well.
    """

    joined: tuple[str, ...] = ()
    shunned: Mapping[str, frozenset[str]] = field(default_factory=dict)
    communities: Mapping[str, frozenset[str]] = field(default_factory=dict)
    prepends: Mapping[str, int] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a playbook: its kind's name in words, and what it changes; the rest stays as it was."""

    title: str
    joined: tuple[str, ...] = ()
    shunned: Mapping[str, frozenset[str]] = field(default_factory=dict)
    communities: Mapping[str, frozenset[str]] = field(default_factory=dict)
    prepends: Mapping[str, int] = field(default_factory=dict)

    def after(self, before: Announcement) -> Announcement:
        """Return the announcement with this step done."""
        return Announcement(
            joined=(*before.joined, *(one for one in self.joined if one not in before.joined)),
            shunned=_more(before.shunned, self.shunned),
            communities=_more(before.communities, self.communities),
            prepends={**before.prepends, **self.prepends},
            withdrawn=before.withdrawn,
        )


def _more(before: Mapping[str, frozenset[str]], new: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    return {**before, **{pop: before.get(pop, frozenset()) | some for pop, some in new.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole checked plan. The catchments of the POPs that are not standby are 1 in sum."""

    pops: Mapping[str, PlannedPop]
    attack: PlannedAttack
    steps: tuple[Step, ...] = ()

    @property
    def announcing(self) -> tuple[str, ...]:
        """Return the POPs that announce before any step, in the order of the file."""
        return tuple(name for name, pop in self.pops.items() if not pop.standby)
