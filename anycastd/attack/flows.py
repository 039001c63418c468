"""Where traffic lands under an announcement. Traffic only moves here: none is made, none is lost. Pure.

What is not known has three values (likely, low, high), and may go to any neighbor: a `Guess` says which is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from anycastd.attack.measured import COMMUNITY, JOIN, NEIGHBOR, ONE_TAKES, PREPEND, Range
from anycastd.attack.plan import Announcement, Plan, PlannedPop


@dataclass(frozen=True, slots=True)
class Flow:
    """What reaches a POP: the share of all clients, their traffic and the attack's, in bits and packets per second."""

    clients: float = 0.0
    usual_bps: float = 0.0
    usual_pps: float = 0.0
    attack_bps: float = 0.0
    attack_pps: float = 0.0

    @property
    def bps(self) -> float:
        """Return all bits per second."""
        return self.usual_bps + self.attack_bps

    @property
    def pps(self) -> float:
        """Return all packets per second."""
        return self.usual_pps + self.attack_pps

    def plus(self, other: Flow) -> Flow:
        """Return both together."""
        return Flow(
            self.clients + other.clients,
            self.usual_bps + other.usual_bps,
            self.usual_pps + other.usual_pps,
            self.attack_bps + other.attack_bps,
            self.attack_pps + other.attack_pps,
        )

    def times(self, share: float) -> Flow:
        """Return a share of it."""
        return Flow(
            self.clients * share,
            self.usual_bps * share,
            self.usual_pps * share,
            self.attack_bps * share,
            self.attack_pps * share,
        )


Flows = dict[str, Flow]
NOTHING = Flow()


class Amount(Enum):
    """Which value of a range is taken."""

    LIKELY = "likely"
    LOW = "low"
    HIGH = "high"

    def of(self, range_: Range) -> float:
        """Return that value."""
        return {Amount.LIKELY: range_.likely, Amount.LOW: range_.low, Amount.HIGH: range_.high}[self]


@dataclass(frozen=True, slots=True)
class Guess:
    """What is assumed of what is not known: how much moves, and a POP that gets most of it, or one that gets none."""

    amount: Amount = Amount.LIKELY
    toward: str | None = None
    past: str | None = None


LIKELY = Guess()


def guesses(plan: Plan, announcement: Announcement) -> Iterator[Guess]:
    """Return every combination that is tried of an announcement, the likely one first.

    Where nothing but a withdrawal is announced no amount is in doubt.
    """
    yield LIKELY
    if announcement == Announcement():
        return
    plain = announcement == Announcement(withdrawn=announcement.withdrawn)
    amounts = (Amount.LIKELY,) if plain else tuple(Amount)
    for amount in amounts[1:]:
        yield Guess(amount)
    for name in plan.pops:
        if name in announcement.joined or not plan.pops[name].standby:
            yield from (Guess(amount, toward=name) for amount in amounts)
            yield from (Guess(amount, past=name) for amount in amounts)


def at_first(plan: Plan) -> Flows:
    """Return what reaches each announcing POP before anything is done."""
    attack = plan.attack
    flows = {}
    for name in plan.announcing:
        pop, share = plan.pops[name], attack.sources.get(name, 0.0)
        flows[name] = Flow(pop.catchment, pop.usual_bps, pop.usual_pps, attack.bps * share, attack.pps * share)
    return flows


def placed(plan: Plan, announcement: Announcement, guess: Guess) -> Flows:
    """Return what reaches each POP that announces; nothing when none does: then all of it is lost."""
    flows = at_first(plan)
    for name in announcement.joined:
        flows = _joined(plan.pops[name], flows, guess)
    standing = [name for name in flows if name not in announcement.withdrawn]
    # prepends that all announcers have in common change no choice between them
    common = min((announcement.prepends.get(name, 0) for name in standing), default=0)
    sheds = {name: _shed(plan.pops[name], announcement, common, guess) for name in standing}
    flows = moved(plan, flows, sheds, guess)
    return without(plan, flows, announcement.withdrawn, guess)


def without(plan: Plan, flows: Flows, gone: Iterable[str], guess: Guess) -> Flows:
    """Return the flows once these POPs announce no more. When no other is left nothing is: the prefix is dark."""
    leaving = [name for name in flows if name in gone]
    stay = {name: flow for name, flow in flows.items() if name not in leaving}
    return _given_over(plan, {name: flows[name] for name in leaving}, stay, weights_of(stay), guess) if stay else {}


def moved(plan: Plan, flows: Flows, sheds: Mapping[str, float], guess: Guess) -> Flows:
    """Return the flows after each POP lost a share of what it had to the others; who sheds gets less of it.

    The only POP that announces keeps what it has, however it announces.
    """
    if len(flows) == 1:
        return flows
    kept = {name: flow.times(1 - sheds.get(name, 0.0)) for name, flow in flows.items()}
    shed = {name: flows[name].times(share) for name, share in sheds.items() if share > 0}
    return _given_over(plan, shed, kept, weights_of(kept), guess)


def weights_of(flows: Flows) -> dict[str, float]:
    """Return what new traffic is shared out by: the clients that each POP has."""
    return {name: flow.clients for name, flow in flows.items()}


def _given_over(plan: Plan, leaving: Flows, to: Flows, weights: Mapping[str, float], guess: Guess) -> Flows:
    after = dict(to)
    for name, flow in leaving.items():
        others = {other: weight for other, weight in weights.items() if other != name}
        for other, part in _takers(plan.pops[name], others, guess).items():
            after[other] = after[other].plus(flow.times(part))
    return after


def _takers(pop: PlannedPop, weights: Mapping[str, float], guess: Guess) -> dict[str, float]:
    """Return who gets which share of what leaves a POP: as measured, else in proportion, most of it to one if guessed.

    What was measured to go to a POP that is gone as well goes to the others that were measured.
    """
    known = {name: share for name, share in pop.effects.withdrawn.items() if name in weights and share > 0}
    if known:
        return _in_proportion(known)
    if guess.past in weights and len(weights) > 1:
        return _in_proportion({name: weight for name, weight in weights.items() if name != guess.past})
    toward = guess.toward
    if toward is None or toward not in weights or len(weights) == 1:
        return _in_proportion(weights)
    rest = _in_proportion({name: weight for name, weight in weights.items() if name != toward})
    return {toward: ONE_TAKES, **{name: share * (1 - ONE_TAKES) for name, share in rest.items()}}


def _in_proportion(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    if total <= 0:
        return dict.fromkeys(weights, 1 / len(weights))
    return {name: weight / total for name, weight in weights.items()}


def _joined(pop: PlannedPop, flows: Flows, guess: Guess) -> Flows:
    """Return the flows with one more POP: it draws what was measured, else about an even share of all.

    Guessed against a POP, it draws nothing of that one's.
    """
    if pop.effects.joins:
        draws = {name: pop.effects.joins.get(name, 0.0) for name in flows}
    else:
        wanted = guess.amount.of(JOIN) / (len(flows) + 1)
        givers = {name: flow.clients for name, flow in flows.items() if name != guess.toward}
        total = sum(givers.values())
        draws = dict.fromkeys(givers, min(wanted / total, 1.0) if total > 0 else 0.0)
    drawn = NOTHING
    after = dict(flows)
    for name, share in draws.items():
        drawn = drawn.plus(flows[name].times(share))
        after[name] = flows[name].times(1 - share)
    after[pop.name] = drawn
    return after


def _shed(pop: PlannedPop, announcement: Announcement, common: int, guess: Guess) -> float:
    """Return the share of its catchment that a POP loses by how it announces: each means takes of what is left."""
    left = 1.0
    if (times := announcement.prepends.get(pop.name, 0) - common) > 0:
        left *= 1 - _known_or(pop.effects.prepend.get(times), PREPEND[times], guess)
    for community in announcement.communities.get(pop.name, ()):
        left *= 1 - _known_or(pop.effects.communities.get(community), COMMUNITY, guess)
    if (shunned := announcement.shunned.get(pop.name)) is not None:
        share = sum(share for neighbor, share in pop.effects.neighbors.items() if neighbor in shunned)
        left *= 1 - share * guess.amount.of(NEIGHBOR)
    return 1 - left


def _known_or(known: float | None, range_: Range, guess: Guess) -> float:
    return guess.amount.of(range_) if known is None else known
