"""What comes of withdrawing every overloaded POP, round by round: what health checks that know no attack do. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.attack.flows import LIKELY, Amount, Flows, Guess, at_first, without
from anycastd.attack.forecast import Loads, clients_lost, loads_of
from anycastd.attack.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How things stand before a round's withdrawals, and who is withdrawn because of it; nobody: it is over."""

    loads: Loads
    clients_lost: float
    withdrawn: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """The rounds until no POP is overloaded, or none is left (`dark`)."""

    rounds: tuple[Round, ...]

    @property
    def dark(self) -> bool:
        """Return whether it ends with no POP that announces."""
        return not any(load.announces for load in self.rounds[-1].loads.values())

    @property
    def withdrawn(self) -> tuple[str, ...]:
        """Return the POPs that went, in their order."""
        return tuple(name for one in self.rounds for name in one.withdrawn)


def cascade(plan: Plan, *, worst: bool = False) -> Cascade:
    """Return how it goes; `worst`: each time most of the traffic goes to the POP that is hurt most by it."""
    flows, rounds = at_first(plan), []
    while True:
        loads = loads_of(plan, flows)
        over = tuple(name for name, load in loads.items() if load.full > 1)
        rounds.append(Round(loads=loads, clients_lost=clients_lost(loads), withdrawn=over))
        if not over:
            return Cascade(rounds=tuple(rounds))
        flows = _worst(plan, flows, over) if worst else without(plan, flows, over, LIKELY)


def _worst(plan: Plan, flows: Flows, over: tuple[str, ...]) -> Flows:
    """Return the flows by the guess after which most POPs are over, or the fullest is fullest."""
    tried = [without(plan, flows, over, Guess(Amount.HIGH, name)) for name in flows if name not in over]
    tried.append(without(plan, flows, over, LIKELY))

    def harm(after: Flows) -> tuple[int, float]:
        full = [load.full for load in loads_of(plan, after).values()]
        return sum(one > 1 for one in full), max(full)

    return max(tried, key=harm)
