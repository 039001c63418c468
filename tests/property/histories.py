"""Histories for the policy engine: facts that change as an adversary likes, decided at every moment it asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_network

from hypothesis import strategies as st

from anycastd.model.decision import Decision, Level, Memory, Truth
from anycastd.model.topology import LastResort, PrefixSpec, PrefixTimers, WhenDegraded
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide

PREFIX = ip_network("203.0.113.0/24")
STAY = PrefixSpec(prefix=PREFIX)
LEAVE = PrefixSpec(prefix=PREFIX, last_resort=LastResort.WITHDRAW)
CHOOSY = PrefixSpec(prefix=PREFIX, last_resort=LastResort.WITHDRAW, when_degraded=WhenDegraded.DEPREF)
DAY_S = 86400.0
MAX_DECISIONS_AT_ONE_MOMENT = 4


@dataclass(frozen=True)
class Moment:
    """One decision: what was known, what was remembered before and after."""

    facts: Facts
    before: Memory
    decision: Decision
    after: Memory

    @property
    def moved(self) -> bool:
        return self.before.level is not self.after.level


@dataclass(frozen=True)
class Change:
    """For `for_s` the facts are these."""

    for_s: float
    condition: Truth
    data_plane_ready: bool = True
    bgp_observed: bool = True
    checker_suspect: bool = False
    well: Truth = Truth.TRUE
    attack: str = ""


Adversary = Callable[[Memory], tuple[float, Truth]]


def _moment(facts: Facts, memory: Memory) -> Moment:
    decision, after = decide(facts, memory)
    return Moment(facts, memory, decision, after)


def until(end_s: float, facts: Facts, memory: Memory) -> list[Moment]:
    """Decide at once and whenever asked for, up to `end_s`, while the facts stay as they are."""
    moments = [_moment(facts, memory)]
    while (wake_s := moments[-1].decision.wake_at_s) is not None and wake_s <= end_s:
        assert wake_s > moments[-1].facts.now_s, "asked to be woken now or in the past: a busy loop"
        moments.append(_moment(replace(facts, now_s=wake_s), moments[-1].after))
    return moments


def play(
    spec: PrefixSpec, changes: Iterable[Change], memory: Memory | None = None, start_s: float = 1e6
) -> list[Moment]:
    """Return every decision of a history."""
    moments: list[Moment] = []
    now_s, memory = start_s, memory or Memory()
    for change in changes:
        facts = Facts(
            now_s=now_s,
            spec=spec,
            condition=change.condition,
            data_plane_ready=change.data_plane_ready,
            bgp_observed=change.bgp_observed,
            checker_suspect=change.checker_suspect,
            well=change.well,
            attack=change.attack,
        )
        now_s += change.for_s
        moments += until(now_s, facts, memory)
        memory = moments[-1].after
    return moments


def play_against(spec: PrefixSpec, adversary: Adversary, for_s: float, start_s: float = 1e6) -> list[Moment]:
    """Return every decision of a history in which the facts answer to what was decided."""
    moments: list[Moment] = []
    now_s, memory = start_s, Memory()
    while now_s < start_s + for_s:
        dwell_s, condition = adversary(memory)
        moments += until(now_s + dwell_s, Facts(now_s=now_s, spec=spec, condition=condition), memory)
        now_s, memory = now_s + dwell_s, moments[-1].after
    return moments


def spiteful(bad_for_s: float, fine_for_s: float, nap_s: float) -> Adversary:
    """Fail the moment the prefix is NORMAL, recover the moment it is left: the most changes there can be."""

    def adversary(memory: Memory) -> tuple[float, Truth]:
        if memory.level is Level.NORMAL:
            return bad_for_s, Truth.FALSE
        if memory.level is Level.WITHDRAWN:
            return fine_for_s, Truth.TRUE
        return nap_s, Truth.TRUE

    return adversary


def restless(bad_for_s: float) -> Adversary:
    """Fail whenever announced, at whatever level: the most withdrawals there can be."""

    def adversary(memory: Memory) -> tuple[float, Truth]:
        return (0.5, Truth.TRUE) if memory.level is Level.WITHDRAWN else (bad_for_s, Truth.FALSE)

    return adversary


DWELL_S = st.one_of(
    st.floats(0.05, 5.0), st.floats(5.0, 400.0), st.floats(400.0, 7200.0), st.sampled_from((2.0, 300.0, 600.0, 900.0))
)
CONDITIONS = st.sampled_from(Truth)
MOSTLY_TRUE = st.sampled_from((True, True, True, False))
MOSTLY_FALSE = st.sampled_from((False, False, False, True))
CHANGES = st.lists(
    st.builds(
        Change,
        for_s=DWELL_S,
        condition=CONDITIONS,
        data_plane_ready=MOSTLY_TRUE,
        bgp_observed=MOSTLY_TRUE,
        checker_suspect=MOSTLY_FALSE,
        well=CONDITIONS,
    ),
    min_size=1,
    max_size=40,
)
HARD_CHANGES = st.lists(
    st.builds(Change, for_s=DWELL_S, condition=st.sampled_from((Truth.TRUE, Truth.FALSE)), well=CONDITIONS),
    min_size=5,
    max_size=60,
)
SPECS = st.sampled_from((STAY, LEAVE, CHOOSY))
ANY_TIMERS = st.builds(
    PrefixTimers,
    settle_s=st.sampled_from((0.0, 2.0, 60.0)),
    return_after_s=st.sampled_from((0.0, 1.0, 60.0, 300.0)),
    return_max_s=st.sampled_from((0.0, 1800.0, 86400.0)),
    backoff_reset_s=st.sampled_from((1.0, 3600.0, 86400.0)),
    half_life_s=st.sampled_from((900.0, 1.0, 3600.0)),
)
MEMORIES = st.builds(
    Memory,
    level=st.sampled_from(Level),
    level_since_s=st.floats(0.0, 2e6),
    was_announced=st.booleans(),
    bad_since_s=st.none() | st.floats(0.0, 1e6),
    fine_since_s=st.none() | st.floats(0.0, 1e6),
    relapses=st.integers(0, 5000),
    last_relapse_s=st.none() | st.floats(0.0, 1e6),
)
