"""I6 for any facts and any history: while an attack is on, health alone lowers nothing, and no router is annoyed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.absorb import AbsorbHolds, HoldDepref
from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.model.fleet import Others
from anycastd.model.topology import PrefixSpec
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide
from tests.property.histories import (
    CONDITIONS,
    DWELL_S,
    MEMORIES,
    MOSTLY_FALSE,
    MOSTLY_TRUE,
    SPECS,
    Change,
    play,
)
from tests.property.routers import routers, tell
from tests.property.test_engine import explained

SOME = settings(max_examples=80, deadline=None)
WHY = "an attack is on"
OTHERS = st.none() | st.builds(
    Others,
    pops=st.integers(1, 6),
    entry=st.integers(0, 2),
    counted=st.sampled_from(((), ("ams",), ("ams", "lon"))),
    present=st.sampled_from(((), ("ams",), ("ams", "lon"))),
    normal=st.sampled_from(((), ("ams",))),
    blind_since_s=st.none() | st.just(1e6),
)
HOLDS = st.builds(AbsorbHolds, hold_withdrawal=st.just(True), hold_depref=st.sampled_from(HoldDepref))
ANY_FACTS = st.builds(
    Facts,
    now_s=st.just(2e6),
    spec=SPECS,
    condition=CONDITIONS,
    well=CONDITIONS,
    first_checks=st.booleans(),
    data_plane_ready=st.booleans(),
    blackhole_ready=st.booleans(),
    bgp_observed=MOSTLY_TRUE,
    checker_suspect=st.booleans(),
    frozen=st.sampled_from(("", "", "by hand")),
    withdrawals_left=st.none() | st.integers(0, 2),
    fleet=OTHERS,
    attack=st.just(WHY),
    absorb=HOLDS,
    room=st.sampled_from(Truth),
)


@given(ANY_FACTS, MEMORIES, st.integers(0, 2), st.booleans())
@settings(max_examples=300, deadline=None)
def test_with_an_attack_on_and_no_order_no_level_falls_by_health(
    facts: Facts, memory: Memory, epoch: int, was_lost: bool
) -> None:
    memory = replace(memory, epoch=epoch, was_lost=was_lost)
    decision, after = decide(facts, memory)
    explained(decision, memory)
    hold = facts.absorb.hold_depref if facts.absorb else HoldDepref.NEVER
    may_depref = hold is HoldDepref.NEVER or (hold is HoldDepref.WITHOUT_ROOM and facts.room is Truth.TRUE)
    assert decision.level >= (min(memory.level, Level.DEPREF) if may_depref else memory.level)
    # what is held says so, and the calm that follows holds it as well
    if decision.hold is Reason.UNDER_ATTACK:
        calm, _ = decide(replace(facts, attack="", now_s=facts.now_s + 1.0), after)
        assert calm.level >= min(decision.level, Level.DEPREF)


CHANGES = st.lists(
    st.builds(
        Change,
        for_s=DWELL_S,
        condition=CONDITIONS,
        data_plane_ready=MOSTLY_TRUE,
        bgp_observed=MOSTLY_TRUE,
        checker_suspect=MOSTLY_FALSE,
        well=CONDITIONS,
        attack=st.sampled_from(("", WHY)),
    ),
    min_size=1,
    max_size=30,
)


@given(SPECS, CHANGES)
@SOME
def test_attacks_that_come_and_go_suppress_no_prefix(spec: PrefixSpec, changes: list[Change]) -> None:
    moments = play(spec, changes)
    for moment in moments:
        assert not moment.facts.attack or moment.after.level >= moment.before.level
    for router in routers():
        assert not tell(router, moments, 0.0).suppressed, (type(router).__name__, router.highest)
