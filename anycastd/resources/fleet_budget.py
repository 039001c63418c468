"""Whether one more POP may leave by order (S3, S23): by what every POP of the fleet says, and by who left last. Pure.

It limits voluntary drains only. Health and the guard decide of everything else, and never ask here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anycastd.resources.fleet import Ledger, Member, Presence

NAMED = 5


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """What the store had at one moment. `ledger_revision` is what a commit of the ledger must expect."""

    members: Mapping[str, Member] = field(default_factory=dict)
    present: Mapping[str, Presence] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    ledger_revision: int = 0
    unread: str = ""
    """Which record cannot be read, and why: nobody leaves by order on the strength of half of what is there."""

    def carriers(self, prefix: str) -> frozenset[str]:
        """Return the POPs that may announce a prefix; a standby that is silent is none of them."""
        return frozenset(
            pop
            for pop, member in self.members.items()
            if prefix in member.prefixes and not self._is_silent_standby(pop, prefix)
        )

    def _is_silent_standby(self, pop: str, prefix: str) -> bool:
        here = self.present.get(pop)
        return here is not None and prefix in here.standby and not here.announces(prefix)

    def why_away(self, pop: str, prefix: str) -> str:
        """Return why a POP does not count for a prefix, in words; "" = it does."""
        if pop in self.ledger.entries:
            return f"{pop} is drained"
        here = self.present.get(pop)
        if here is None:
            return f"{pop} is not seen by the store"
        return f"{pop} does not announce it" if here.away_all or prefix in here.away else ""


def most_away(carriers: int, percent: int) -> int:
    """Return how many of so many POPs may be away: the percentage, and one in any case while two others remain."""
    return max(carriers * percent // 100, 1 if carriers >= 3 else 0)


def budget_refusal(pop: str, seen: FleetSeen, percent: int) -> str:
    """Return why a POP may not leave too; "" = it may."""
    if seen.unread:
        return f"what the POPs say cannot be read: {seen.unread}"
    mine = seen.members.get(pop)
    for prefix in sorted(mine.prefixes if mine else ()):
        carriers = seen.carriers(prefix)
        if pop not in carriers:
            continue
        away = [why for other in sorted(carriers - {pop}) if (why := seen.why_away(other, prefix))]
        most = most_away(len(carriers), percent)
        if len(away) + 1 > most:
            told = "; ".join(away[:NAMED]) + (f" and {len(away) - NAMED} more" if len(away) > NAMED else "")
            count = f"{len(carriers)} POP{'s announce' if len(carriers) > 1 else ' announces'}"
            return f"{prefix}: {count} it, {most} may be away at once{f': {told}' if told else ''}"
    return ""


class Flights:
    """When the moves of POPs were first seen here, by our own monotonic clock: clocks of POPs need not agree."""

    def __init__(self) -> None:
        self._seen_s: dict[int, float] = {}
        self._has_read = False

    def note(self, ledger: Ledger, now_s: float, wall_s: float) -> None:
        """Take note of what was read. Only of moves before our first reading the wall clock says how old they are."""
        known = self._seen_s
        self._seen_s = {}
        for move in ledger.moves.values():
            age_s = 0.0 if self._has_read else max(wall_s - move.unix_s, 0.0)
            self._seen_s[move.number] = known.get(move.number, now_s - age_s)
        self._has_read = True

    def refusal(self, pop: str, seen: FleetSeen, spacing_s: float, now_s: float) -> str:
        """Return which POP with a prefix of ours moved too short a time ago; "" = none did."""
        mine = seen.members.get(pop)
        for move in seen.ledger.moves.values():
            other = seen.members.get(move.pop)
            age_s = now_s - self._seen_s.get(move.number, now_s)
            shares = mine is not None and other is not None and not mine.prefixes.isdisjoint(other.prefixes)
            if move.pop != pop and shares and age_s < spacing_s:
                did = "began to leave" if move.what == "drain" else "came back"
                left_s = max(round(spacing_s - age_s), 1)
                return f"{move.pop} {did} {max(round(age_s), 0)} s ago: one POP at a time; try again in {left_s} s"
        return ""
