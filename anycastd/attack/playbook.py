"""One playbook at work on one prefix: steps taken in order, each verified, undone one by one when it is calm. Pure.

A step is taken when the condition has held long enough and the step before was verified: nothing followed (S22), or it
did not do. One that sends traffic away needs room that is known elsewhere (S7), a budget of changes (I7), and nobody
else who sheds the same prefix (S23). What is not known takes no step and undoes none. The way back takes the steps in
reverse, each after `calm_s` of calm (S29); that doubles each time a step had to be taken again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from anycastd.model.address import NeighborName
from anycastd.model.attack import AttackState
from anycastd.model.decision import Truth
from anycastd.model.effect import Effect
from anycastd.model.spread import Extra, Playbook, PlayMode, PlayStep, Shed, SpreadConfig, StepKind, When

APPROVAL_S = 600.0
"""How long an operator's word waits for what holds the step."""
MAX_DOUBLINGS = 4
RELAPSE_CALMS = 8
"""A step that is taken again within so many times `calm_s` after one was undone is a relapse."""


class Doing(StrEnum):
    """What a run does, or waits for. The API string, the journal's reason, and the heading in the docs."""

    WATCHING = "watching"
    CONDITION_NEW = "condition_new"
    VERIFYING = "verifying"
    HOLDING = "holding"
    WAITS_FOR_APPROVAL = "waits_for_approval"
    NO_ROOM_KNOWN = "no_room_known"
    OTHER_POP_SHEDS = "other_pop_sheds"
    BUDGET = "budget"
    NOT_KNOWN = "not_known"
    HELD_FROZEN = "held_frozen"
    NO_STEP_LEFT = "no_step_left"
    SWITCHED_OFF = "switched_off"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class Taken:
    """A step in force: its number, since when, what came in for the prefix before, how many looks were had."""

    step: int
    at_s: float
    before_bps: float | None = None
    looks: int = 0
    outcome: Effect | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A playbook's state for one prefix; it outlives the daemon. `met_since_s` has a time for each condition.

    `approved`: the step that an operator wants, since `approved_s`. `stopping`: an operator ended it. `undone_s`: when
    the last step was undone.
    """

    met_since_s: tuple[float | None, ...] = ()
    calm_since_s: float | None = None
    taken: tuple[Taken, ...] = ()
    approved: int | None = None
    approved_s: float = 0.0
    stopping: bool = False
    relapses: int = 0
    undone_s: float | None = None
    doing: Doing = Doing.WATCHING
    detail: str = ""

    @property
    def last(self) -> Taken | None:
        """Return the step taken last of those in force."""
        return self.taken[-1] if self.taken else None

    @property
    def is_idle(self) -> bool:
        """Return whether it neither does nor waits for anything, so that it need not be kept."""
        words = self.taken, self.approved, self.stopping, self.undone_s
        return words == ((), None, False, None) and self.doing is Doing.WATCHING and not any(_given(self.met_since_s))

    @property
    def next(self) -> int:
        """Return the number of the step after it."""
        return self.taken[-1].step + 1 if self.taken else 0


def _given(times_s: Iterable[float | None]) -> Iterable[bool]:
    return (at_s is not None for at_s in times_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All that a run may know at one moment.

    `load_percent`: this POP's load, of its capacity; `back_percent`: what it would be if all that standbys carry came
    back. None: it cannot be told. `pressed_elsewhere`: another POP is under pressure for the prefix. `room`: whether
    the others could take what would be sent away. `sheds_elsewhere`: another POP that sheds it; `yields`: and it goes
    before us. `budget_wait_s`: until one more change fits. `useless`: steps that can do nothing here, and why.
    `effect`: what is seen now of the step taken last.
    """

    state: AttackState = AttackState.NORMAL
    load_percent: float | None = None
    back_percent: float | None = None
    prefix_bps: float | None = None
    announced: bool = True
    pressed_elsewhere: bool | None = False
    room: Truth = Truth.UNKNOWN
    room_detail: str = "nothing is known of other POPs"
    sheds_elsewhere: str = ""
    yields: bool = False
    budget_wait_s: float = 0.0
    frozen: str = ""
    useless: Mapping[int, str] = field(default_factory=dict)
    effect: Effect = Effect.EFFECT_NOT_MEASURED
    effect_detail: str = ""


def advance(book: Playbook, run: Run, sight: Sight, spec: SpreadConfig, now_s: float) -> Run:
    """Return the run after a look: at most one step was taken, or undone."""
    run = _timed(book, run, sight, spec, now_s)
    if sight.frozen:
        return replace(run, doing=Doing.HELD_FROZEN, detail=sight.frozen)
    run = _looked(book, run, sight, now_s)
    last = run.last
    if last is not None and sight.yields and book.steps[last.step].kind.sheds and not last.looks:
        return _undone(run, now_s, f"{sight.sheds_elsewhere} sheds it too, and goes first")
    if run.stopping:
        return _stopped(book, run, sight, now_s)
    if _wants_next(book, run, now_s):
        return _taken(book, run, sight, spec, now_s)
    if run.taken:
        return _back(book, run, sight, now_s)
    if any(_given(run.met_since_s)):
        return replace(run, doing=Doing.CONDITION_NEW, detail="the condition does not hold for long enough yet")
    unknown = any(_holds(when, sight) is Truth.UNKNOWN for when in book.when)
    if unknown:
        return replace(run, doing=Doing.NOT_KNOWN, detail="this POP's load or capacity is not known")
    return replace(run, doing=Doing.WATCHING, detail="")


def may_begin(book: Playbook, worst: AttackState, load_percent: float | None) -> bool:
    """Return whether one of the conditions may hold, or cannot be told, for any prefix; `worst` of all their states."""
    sight = Sight(state=worst, load_percent=load_percent)
    return any(_holds(when, sight) is not Truth.FALSE for when in book.when)


def is_met(book: Playbook, run: Run, now_s: float) -> bool:
    """Return whether one of the conditions has held for as long as it must."""
    pairs = zip(book.when, run.met_since_s, strict=False)
    return any(since_s is not None and now_s >= since_s + when.for_s for when, since_s in pairs)


def _holds(when: When, sight: Sight) -> Truth:
    parts = []
    if when.state is not None:
        parts.append(Truth.TRUE if sight.state >= when.state else Truth.FALSE)
    if when.load_percent is not None:
        load = sight.load_percent
        parts.append(Truth.UNKNOWN if load is None else Truth.TRUE if load > when.load_percent else Truth.FALSE)
    if Truth.FALSE in parts or not parts:
        return Truth.FALSE
    return Truth.UNKNOWN if Truth.UNKNOWN in parts else Truth.TRUE


def _is_calm(book: Playbook, sight: Sight, spec: SpreadConfig) -> bool:
    """Return whether nothing speaks against a step back: not here, not elsewhere, and what comes back has room."""
    if sight.pressed_elsewhere is not False:
        return False
    for when in book.when:
        if when.state is not None and sight.state >= when.state:
            return False
        if when.load_percent is not None:
            load, back = sight.load_percent, sight.back_percent
            if load is None or back is None or back > when.load_percent:
                return False
            if load > when.load_percent * spec.calm_percent / 100:
                return False
    return True


def _timed(book: Playbook, run: Run, sight: Sight, spec: SpreadConfig, now_s: float) -> Run:
    """Note since when each condition holds, and since when it is calm; what is unknown is neither."""
    known = run.met_since_s if len(run.met_since_s) == len(book.when) else (None,) * len(book.when)
    holds = [_holds(when, sight) is Truth.TRUE and sight.announced and not sight.frozen for when in book.when]
    met = tuple((now_s if was is None else was) if held else None for was, held in zip(known, holds, strict=True))
    calm = not any(holds) and not sight.frozen and _is_calm(book, sight, spec)
    calm_since_s = (now_s if run.calm_since_s is None else run.calm_since_s) if calm and run.taken else None
    if run.approved is not None and now_s >= run.approved_s + APPROVAL_S:
        run = replace(run, approved=None)
    if not run.taken and run.undone_s is not None and now_s >= run.undone_s + RELAPSE_CALMS * book.calm_s:
        run = replace(run, undone_s=None, relapses=0)
    return replace(run, met_since_s=met, calm_since_s=calm_since_s)


def _looked(book: Playbook, run: Run, sight: Sight, now_s: float) -> Run:
    """Note what is seen of the last step, if one of its looks is due."""
    last = run.last
    if last is None:
        return run
    looks_s = book.steps[last.step].verify_after_s
    if last.looks >= len(looks_s) or now_s < last.at_s + looks_s[last.looks]:
        return run
    return replace(run, taken=(*run.taken[:-1], replace(last, looks=last.looks + 1, outcome=sight.effect)))


def _wants_next(book: Playbook, run: Run, now_s: float) -> bool:
    if run.approved == _next_of(book, run, {}) and run.approved is not None:
        return True
    if not is_met(book, run, now_s):
        return False
    last = run.last
    if last is None or last.looks >= len(book.steps[last.step].verify_after_s):
        return True
    return last.outcome is not None and last.outcome.is_missing


def _next_of(book: Playbook, run: Run, useless: Mapping[int, str]) -> int:
    """Return the number of the next step that can do something and is not switched off; their count if none is left."""
    for number in range(run.next, len(book.steps)):
        if number not in useless and book.steps[number].mode is not PlayMode.OFF:
            return number
    return len(book.steps)


def _taken(book: Playbook, run: Run, sight: Sight, spec: SpreadConfig, now_s: float) -> Run:
    """Return the run with its next step taken, or with what holds it."""
    if spec.mode is PlayMode.OFF:
        return replace(run, approved=None, doing=Doing.SWITCHED_OFF, detail="attack.spread.mode is off")
    number = _next_of(book, run, sight.useless)
    if number == len(book.steps):
        told = "; ".join(f"step {n + 1}: {why}" for n, why in sorted(sight.useless.items()) if n >= run.next)
        return replace(run, approved=None, doing=Doing.NO_STEP_LEFT, detail=told or "every step is taken")
    step = book.steps[number]
    mode = min(step.mode, spec.mode)
    if held := _held(step, sight):
        return replace(run, doing=held[0], detail=f"step {number + 1}, {step}: {held[1]}")
    if mode is PlayMode.ASK and run.approved != number:
        hint = f"step {number + 1}, {step}: anycastd attack playbook run {book.name}"
        return replace(run, doing=Doing.WAITS_FOR_APPROVAL, detail=hint)
    reset_s = RELAPSE_CALMS * book.calm_s
    relapse = run.undone_s is not None and now_s < run.undone_s + reset_s
    return replace(
        run,
        taken=(*run.taken, Taken(number, now_s, sight.prefix_bps)),
        approved=None,
        calm_since_s=None,
        relapses=min(run.relapses + relapse, MAX_DOUBLINGS),
        undone_s=None if relapse else run.undone_s,
        doing=Doing.VERIFYING,
        detail=f"step {number + 1}, {step}",
    )


def _held(step: PlayStep, sight: Sight) -> tuple[Doing, str] | None:
    if not step.kind.sheds:
        return None
    if sight.sheds_elsewhere:
        return Doing.OTHER_POP_SHEDS, f"{sight.sheds_elsewhere} sheds it; one POP at a time"
    if sight.room is not Truth.TRUE:
        return Doing.NO_ROOM_KNOWN, sight.room_detail
    if sight.budget_wait_s > 0:
        return Doing.BUDGET, f"one more change fits in {sight.budget_wait_s:.0f} s"
    return None


def calm_needed_s(book: Playbook, run: Run) -> float:
    """Return how long it must be calm before a step is undone."""
    return book.calm_s * 2.0**run.relapses


def _back(book: Playbook, run: Run, sight: Sight, now_s: float) -> Run:
    """Return the run with its last step undone if it was calm for long enough, or with what is waited for."""
    last = run.taken[-1]
    step = book.steps[last.step]
    if run.calm_since_s is None:
        checked = last.looks >= len(step.verify_after_s)
        words = f"step {last.step + 1}: {sight.effect_detail or f'{step}, not looked at yet'}"
        return replace(run, doing=Doing.HOLDING if checked else Doing.VERIFYING, detail=words)
    left_s = run.calm_since_s + calm_needed_s(book, run) - now_s
    if left_s > 0:
        words = f"calm; step {last.step + 1}, {step}, is undone in {left_s:.0f} s"
        return replace(run, doing=Doing.RETURNING, detail=words)
    if step.kind.sheds and sight.budget_wait_s > 0:
        return replace(run, doing=Doing.BUDGET, detail=f"the way back fits in {sight.budget_wait_s:.0f} s")
    return _undone(run, now_s, f"step {last.step + 1}, {step}, was undone: calm")


def _stopped(book: Playbook, run: Run, sight: Sight, now_s: float) -> Run:
    """Return the run on its way back because an operator ended it: a step at once, the others `calm_s` apart."""
    if not run.taken:
        holds = any(_given(run.met_since_s))
        words = "ended by hand; begins anew when the condition has gone and come back" if holds else ""
        return replace(run, stopping=holds, doing=Doing.WATCHING, detail=words)
    step = book.steps[run.taken[-1].step]
    left_s = 0.0 if run.undone_s is None else run.undone_s + book.calm_s - now_s
    if left_s > 0:
        return replace(run, doing=Doing.RETURNING, detail=f"ended by hand; {step} is undone in {left_s:.0f} s")
    if step.kind.sheds and sight.budget_wait_s > 0:
        return replace(run, doing=Doing.BUDGET, detail=f"the way back fits in {sight.budget_wait_s:.0f} s")
    return _undone(run, now_s, f"{step} was undone: ended by hand")


def _undone(run: Run, now_s: float, words: str) -> Run:
    taken = run.taken[:-1]
    return replace(
        run, taken=taken, calm_since_s=None, undone_s=now_s,
        doing=Doing.RETURNING if taken else Doing.WATCHING, detail=words,
    )  # fmt: skip


def approved(book: Playbook, run: Run, now_s: float) -> Run:
    """Return the run with an operator's word for its next step."""
    return replace(run, approved=_next_of(book, run, {}), approved_s=now_s, stopping=False)


def stopped(run: Run) -> Run:
    """Return the run that an operator ended: it takes no more steps, and returns in stages."""
    return replace(run, stopping=True, approved=None, undone_s=None)


def fitted(book: Playbook, run: Run, now_s: float) -> Run:
    """Return the run with those of its steps in force that the playbook still has: another file may have fewer."""
    taken = tuple(one for one in run.taken if one.step < len(book.steps))
    if len(taken) == len(run.taken):
        return run
    return replace(run, taken=taken, approved=None, calm_since_s=None, undone_s=now_s)


def shed_of(runs: Iterable[tuple[Playbook, Run]], carriers: tuple[NeighborName, ...]) -> Shed:
    """Return what the steps in force of all playbooks do to one prefix; never are all its neighbors told less."""
    calls, words = False, []
    down: dict[NeighborName, bool] = {}
    prepends: dict[NeighborName, int] = {}
    communities: dict[NeighborName, set[str]] = {}
    for book, run in runs:
        for taken in run.taken:
            step = book.steps[taken.step]
            words.append(f"{book.name} step {taken.step + 1}: {step}")
            calls = calls or step.kind is StepKind.MORE_ANNOUNCERS
            for name in step.neighbors or carriers:
                if name not in carriers or step.kind is StepKind.MORE_ANNOUNCERS:
                    continue
                if step.kind is StepKind.SELECTIVE_NEIGHBORS:
                    down[name] = down.get(name, False) or step.out
                else:
                    prepends[name] = max(prepends.get(name, 0), step.prepend)
                    communities.setdefault(name, set()).update(step.communities)
    for name in carriers:
        if len(down) < len(carriers):
            break
        down.pop(name, None)
    extras = (Extra(n, prepends.get(n, 0), tuple(sorted(communities.get(n, ())))) for n in carriers if n in prepends)
    return Shed(calls, down, tuple(one for one in extras if one.prepend or one.communities), "; ".join(words))
