"""What playbooks are given to see, gathered from the control loop, the counters and the fleet's store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anycastd.attack.playbook import Run, Sight
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.attack import AttackView
from anycastd.model.bgp import SessionState
from anycastd.model.decision import Level, Memory
from anycastd.model.effect import Effect, Look
from anycastd.model.spread import Announce, Playbook, StepKind
from anycastd.policy.budget import return_fits_in_s
from anycastd.policy.effect import judge_fall
from anycastd.resources.fleet import Presence
from anycastd.resources.room import room
from anycastd.runtime.control import Control
from anycastd.runtime.followed.drain_progress import is_said

Present = Mapping[str, Presence]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is the same for all prefixes at one look. `present` None: the fleet's store does not say; {}: no store."""

    attack: AttackView
    load_bps: float | None
    present: Present | None


class Sights:
    """Makes a sight for each run. `frozen` says why nothing may change; `silent` who of the others carries a prefix and
    does not announce it, by what beacons say.
    """

    def __init__(
        self, control: Control, frozen: Callable[[], str], silent: Callable[[Prefix], tuple[str, ...]]
    ) -> None:
        self._control, self._frozen, self._silent = control, frozen, silent

    @property
    def me(self) -> str:
        """Return our name."""
        return self._control.config.pop.name

    def sight(
        self, book: Playbook, prefix: Prefix, run: Run, seen: Seen, prefix_bps: float | None, now_s: float
    ) -> Sight:
        """Return what a run may know now."""
        control, config = self._control, self._control.config
        decision, memory = control.decisions.get(prefix), control.memories.get(prefix, Memory())
        half_life_s = config.prefixes[prefix].timers.half_life_s
        others = {} if seen.present is None else {n: one for n, one in seen.present.items() if n != self.me}
        shedding = sorted(name for name, one in others.items() if str(prefix) in one.sheds)
        found, words = room(self.me, str(prefix), seen.present, config.safety.capacity, prefix_bps)
        effect, effect_words = self._effect(book, prefix, run, prefix_bps, now_s)
        return Sight(
            state=seen.attack.of(prefix).state,
            load_percent=self.percent(seen.load_bps),
            back_percent=self.percent(self._back_bps(book, prefix, run, seen)),
            prefix_bps=prefix_bps,
            announced=decision is not None and decision.level is Level.NORMAL,
            pressed_elsewhere=_pressed(prefix, seen.present, others),
            room=found,
            room_detail=words,
            sheds_elsewhere=shedding[0] if shedding else "",
            yields=bool(shedding) and shedding[0] < self.me,
            budget_wait_s=return_fits_in_s(memory.penalty, now_s, half_life_s),
            frozen=self._frozen(),
            useless=self._useless(book, prefix, seen.present),
            effect=effect,
            effect_detail=effect_words,
        )

    def percent(self, bps: float | None) -> float | None:
        """Return a load, of this POP's capacity; None: it cannot be told."""
        capacity_bps = self._control.config.attack.spread.capacity_bps
        return None if bps is None or not capacity_bps else bps * 100 / capacity_bps

    def _back_bps(self, book: Playbook, prefix: Prefix, run: Run, seen: Seen) -> float | None:
        """Return what this POP would have at most if the standbys went away."""
        called = any(book.steps[taken.step].kind is StepKind.MORE_ANNOUNCERS for taken in run.taken)
        if seen.load_bps is None or not called:
            return seen.load_bps
        if seen.present is None:
            return None
        name = str(prefix)
        return seen.load_bps + sum(
            one.in_bps
            for pop, one in seen.present.items()
            if pop != self.me and name in one.standby and one.announces(name)
        )

    def _useless(self, book: Playbook, prefix: Prefix, present: Present | None) -> dict[int, str]:
        carriers = self._control.config.prefixes[prefix].neighbors
        found = {}
        for number, step in enumerate(book.steps):
            if step.kind is StepKind.MORE_ANNOUNCERS:
                if not self.standbys(prefix, present or {}):
                    found[number] = (
                        "no standby is known" if present is not None else "the fleet's store does not answer"
                    )
            elif step.neighbors and not set(step.neighbors) & set(self._established(carriers)):
                found[number] = f"no session with {', '.join(step.neighbors)} carries it"
        return found

    def standbys(self, prefix: Prefix, present: Present) -> list[str]:
        """Return the standby POPs and our own standby neighbors for a prefix.

        The store says who is one. Beacons do not: of whom the store does not know, whoever does not announce it may be.
        """
        config, name = self._control.config, str(prefix)
        own = [n for n in config.prefixes[prefix].neighbors if config.neighbors[n].announce is Announce.STANDBY]
        stored = {pop for pop, one in present.items() if pop != self.me and name in one.standby}
        return [*own, *sorted(stored.union(pop for pop in self._silent(prefix) if pop not in present))]

    def _established(self, names: tuple[NeighborName, ...]) -> list[NeighborName]:
        sessions = self._control.announcer.observed.sessions
        return [name for name in names if name in sessions and sessions[name].state is SessionState.ESTABLISHED]

    def _effect(
        self, book: Playbook, prefix: Prefix, run: Run, prefix_bps: float | None, now_s: float
    ) -> tuple[Effect, str]:
        last, decision = run.last, self._control.decisions.get(prefix)
        if last is None or decision is None:
            return Effect.EFFECT_NOT_MEASURED, ""
        step, config = book.steps[last.step], self._control.config
        established = len(self._established(config.prefixes[prefix].neighbors))
        look = Look(now_s - last.at_s, is_said(self._control, decision), established, prefix_bps)
        return judge_fall(str(step), look, last.before_bps, step.falls_percent, config.safety.effect)


def _pressed(prefix: Prefix, present: Present | None, others: Present) -> bool | None:
    if present is None:
        return None
    return any(str(prefix) in one.pressed for one in others.values())
