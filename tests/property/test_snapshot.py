"""Whatever is decided, it can be written down, read back, and decided again: exactly."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.decision import Memory
from anycastd.model.topology import PrefixSpec, PrefixTimers
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide
from anycastd.policy.snapshot import Snapshot, decode, differences, encode, replay
from tests.property.histories import ANY_TIMERS, CHANGES, CONDITIONS, MEMORIES, SPECS, Change, play

SOME = settings(max_examples=60, deadline=None)


def comes_back(snapshot: Snapshot) -> None:
    again = decode(json.loads(json.dumps(encode(snapshot))))
    assert again == snapshot
    now = replay(again)
    assert now == snapshot.decision
    assert differences(snapshot.decision, now) == ()


@given(SPECS, CHANGES, MEMORIES, ANY_TIMERS)
@SOME
def test_every_decision_of_any_history_is_decided_again_from_its_text(
    spec: PrefixSpec, changes: list[Change], memory: Memory, timers: PrefixTimers
) -> None:
    for moment in play(replace(spec, timers=timers), changes[:6], memory)[:40]:
        comes_back(Snapshot(moment.facts, moment.before, moment.decision))


@given(
    st.builds(
        Facts,
        now_s=st.floats(1e6, 1e9),
        spec=SPECS,
        condition=CONDITIONS,
        detail=st.text(max_size=30),
        first_checks=st.booleans(),
        data_plane_ready=st.booleans(),
        blackhole_ready=st.booleans(),
        bgp_observed=st.booleans(),
        checker_suspect=st.booleans(),
        suspect_detail=st.text(max_size=30),
        stopping=st.booleans(),
    ),
    MEMORIES,
    st.booleans(),
)
@SOME
def test_any_facts_and_any_memory_come_back(facts: Facts, memory: Memory, was_lost: bool) -> None:
    memory = replace(memory, was_lost=was_lost)
    comes_back(Snapshot(facts, memory, decide(facts, memory)[0]))
