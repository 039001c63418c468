"""A playbook at work: what takes a step, what holds it, and how it goes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.attack.playbook import Doing, Run, Sight, advance, approved, calm_needed_s, may_begin, shed_of, stopped
from anycastd.model.address import NeighborName
from anycastd.model.attack import AttackState
from anycastd.model.decision import Truth
from anycastd.model.effect import Effect
from anycastd.model.spread import Playbook, PlayMode, PlayStep, SpreadConfig, StepKind, When

A, B, C = (NeighborName(name) for name in ("transit-a", "transit-b", "ix"))
CARRIERS = (A, B, C)
SPEC = SpreadConfig()
CALL = PlayStep(kind=StepKind.MORE_ANNOUNCERS, mode=PlayMode.AUTO)
DOWN = PlayStep(kind=StepKind.SELECTIVE_NEIGHBORS, neighbors=(B,), mode=PlayMode.AUTO)
TAG = PlayStep(kind=StepKind.COMMUNITIES, neighbors=(A,), communities=("64496:3",), mode=PlayMode.AUTO)
LONGER = tuple(PlayStep(kind=StepKind.PREPEND, prepend=times, mode=PlayMode.AUTO) for times in (1, 2, 3))
BOOK = Playbook(
    name="spread", when=(When(load_percent=80, for_s=10.0),), steps=(CALL, DOWN, TAG, *LONGER), calm_s=100.0
)
HIGH = Sight(load_percent=95.0, back_percent=95.0, prefix_bps=9e8, room=Truth.TRUE)
LOW = replace(HIGH, load_percent=20.0, back_percent=20.0)
BETWEEN = replace(HIGH, load_percent=70.0, back_percent=70.0)


def played(book: Playbook, *sights: tuple[Sight, float], run: Run | None = None, from_s: float = 0.0) -> Run:
    """Show each sight for so many seconds, looked at each second."""
    run, now_s = run or Run(), from_s
    for sight, seconds in sights:
        for _ in range(int(seconds)):
            run = advance(book, run, sight, SPEC, now_s)
            now_s += 1.0
    return run


def steps(run: Run) -> list[int]:
    return [taken.step for taken in run.taken]


def test_a_condition_must_hold_without_a_break() -> None:
    assert played(BOOK, (HIGH, 10)).doing is Doing.CONDITION_NEW
    assert steps(played(BOOK, (HIGH, 11))) == [0]
    assert steps(played(BOOK, (HIGH, 9), (BETWEEN, 1), (HIGH, 10))) == []


@pytest.mark.parametrize(
    ("when", "sight", "begins"),
    [
        (When(state=AttackState.ATTACK, for_s=0), {"state": AttackState.ELEVATED}, False),
        (When(state=AttackState.ELEVATED, for_s=0), {"state": AttackState.ATTACK}, True),
        (When(state=AttackState.ATTACK, load_percent=80, for_s=0), {"state": AttackState.ATTACK}, False),
        (When(state=AttackState.ATTACK, load_percent=20, for_s=0), {"state": AttackState.ATTACK}, True),
        (When(load_percent=20, for_s=0), {"load_percent": None}, False),
        (When(load_percent=20, for_s=0), {"announced": False}, False),
        (When(load_percent=20, for_s=0), {"frozen": "frozen by ops"}, False),
    ],
)
def test_what_begins_a_playbook(when: When, sight: dict[str, Any], begins: bool) -> None:
    book = replace(BOOK, when=(when,))
    assert bool(played(book, (replace(BETWEEN, **sight), 1)).taken) is begins


def test_what_is_not_known_is_said() -> None:
    assert played(BOOK, (replace(HIGH, load_percent=None), 30)).doing is Doing.NOT_KNOWN


def test_the_next_step_waits_for_the_last_look_while_it_holds() -> None:
    seen = replace(HIGH, effect=Effect.EFFECT_SEEN)
    run = played(BOOK, (seen, 10 + 300))
    assert steps(run) == [0]
    assert run.taken[0].looks == 3 - 1
    assert steps(played(BOOK, (seen, 11 + 301))) == [0, 1]


def test_nothing_followed_so_the_next_step_is_due_at_once() -> None:
    stayed = replace(HIGH, effect=Effect.TRAFFIC_STAYED)
    run = played(BOOK, (stayed, 11 + 11))
    assert steps(run) == [0, 1]
    assert run.taken[0].outcome is Effect.TRAFFIC_STAYED


def test_what_helped_enough_is_kept_and_no_step_follows() -> None:
    run = played(BOOK, (HIGH, 11), (replace(BETWEEN, effect=Effect.EFFECT_SEEN), 2000))
    assert steps(run) == [0]
    assert run.doing is Doing.HOLDING
    assert run.taken[0].outcome is Effect.EFFECT_SEEN


@pytest.mark.parametrize(
    ("sight", "doing"),
    [
        ({"room": Truth.UNKNOWN, "room_detail": "lon does not say"}, Doing.NO_ROOM_KNOWN),
        ({"room": Truth.FALSE, "room_detail": "lon is full"}, Doing.NO_ROOM_KNOWN),
        ({"sheds_elsewhere": "lon"}, Doing.OTHER_POP_SHEDS),
        ({"budget_wait_s": 30.0}, Doing.BUDGET),
    ],
)
def test_what_sends_traffic_away_is_held_and_says_why(sight: dict[str, Any], doing: Doing) -> None:
    book = replace(BOOK, steps=(DOWN,))
    run = played(book, (replace(HIGH, **sight), 60))
    assert (run.taken, run.doing) == ((), doing)
    assert steps(played(replace(BOOK, steps=(CALL,)), (replace(HIGH, **sight), 60))) == [0], "a call needs none of it"


def test_a_step_that_asks_waits_for_an_operator_and_one_that_is_off_is_left_out() -> None:
    book = replace(BOOK, steps=(replace(DOWN, mode=PlayMode.OFF), replace(TAG, mode=PlayMode.ASK), LONGER[0]))
    run = played(book, (HIGH, 60))
    assert (run.taken, run.doing) == ((), Doing.WAITS_FOR_APPROVAL)
    assert "anycastd attack playbook run spread" in run.detail
    run = approved(book, run, 60.0)
    assert steps(played(book, (HIGH, 1), run=run, from_s=60.0)) == [1]


def test_an_operators_word_is_worth_something_for_a_while() -> None:
    held = replace(HIGH, room=Truth.UNKNOWN)
    book = replace(BOOK, steps=(replace(DOWN, mode=PlayMode.ASK),))
    run = approved(book, played(book, (held, 20)), 20.0)
    run = played(book, (held, 599), run=run, from_s=20.0)
    assert steps(played(book, (HIGH, 1), run=run, from_s=619.0)) == [0]
    assert steps(played(book, (held, 2), (HIGH, 1), run=run, from_s=619.0)) == []


def test_a_step_that_can_do_nothing_is_passed_over_and_the_end_is_said() -> None:
    book = replace(BOOK, steps=(CALL, DOWN))
    run = played(book, (replace(HIGH, useless={0: "no standby is known"}), 11))
    assert steps(run) == [1]
    run = played(book, (replace(HIGH, useless={0: "no standby is known", 1: "no session"}), 11))
    assert (run.doing, run.detail) == (Doing.NO_STEP_LEFT, "step 1: no standby is known; step 2: no session")


def test_the_way_back_is_in_reverse_each_after_its_calm() -> None:
    run = played(BOOK, (replace(HIGH, effect=Effect.TRAFFIC_STAYED), 11 + 11 + 10))
    assert steps(run) == [0, 1, 2]
    seen: list[tuple[int, list[int]]] = []
    for second in range(700):
        run = advance(BOOK, run, LOW, SPEC, 32.0 + second)
        if not seen or seen[-1][1] != steps(run):
            seen.append((second, steps(run)))
    assert seen == [(0, [0, 1, 2]), (100, [0, 1]), (201, [0]), (302, [])]


@pytest.mark.parametrize(
    "sight",
    [
        {"pressed_elsewhere": True},
        {"pressed_elsewhere": None},
        {"load_percent": None},
        {"back_percent": None},
        {"back_percent": 81.0},
        {"load_percent": 57.0, "back_percent": 57.0},
        {"frozen": "by ops"},
    ],
)
def test_nothing_goes_back_while_it_is_not_known_to_be_calm(sight: dict[str, Any]) -> None:
    run = played(BOOK, (HIGH, 11), (replace(LOW, **sight), 5000))
    assert steps(run) == [0]


def test_each_time_a_step_is_taken_again_it_must_be_calm_for_twice_as_long() -> None:
    run = played(BOOK, (HIGH, 11), (LOW, 101))
    assert steps(run) == []
    run = played(BOOK, (HIGH, 11), run=run, from_s=112.0)
    assert (steps(run), calm_needed_s(BOOK, run)) == ([0], 200.0)
    run = played(BOOK, (LOW, 201), run=run, from_s=123.0)
    assert steps(run) == []
    run = played(BOOK, (LOW, 801), (HIGH, 11), run=run, from_s=324.0)
    assert calm_needed_s(BOOK, run) == 100.0, "long ago is forgotten"


def test_of_two_pops_that_shed_at_once_one_takes_it_back() -> None:
    book = replace(BOOK, steps=(DOWN,))
    run = played(book, (HIGH, 11))
    assert steps(advance(book, run, replace(HIGH, sheds_elsewhere="ams", yields=True), SPEC, 12.0)) == []
    assert steps(advance(book, run, replace(HIGH, sheds_elsewhere="zrh", yields=False), SPEC, 12.0)) == [0]


def test_an_operator_ends_it_in_stages_and_it_does_not_begin_again_at_once() -> None:
    run = played(BOOK, (replace(HIGH, effect=Effect.TRAFFIC_STAYED), 11 + 11))
    assert steps(run) == [0, 1]
    run = played(BOOK, (HIGH, 1), run=stopped(run), from_s=22.0)
    assert steps(run) == [0]
    run = played(BOOK, (HIGH, 99), run=run, from_s=23.0)
    assert steps(run) == [0]
    run = played(BOOK, (HIGH, 1000), run=run, from_s=122.0)
    assert steps(run) == []
    assert "by hand" in run.detail
    run = played(BOOK, (LOW, 2), (HIGH, 11), run=run, from_s=1122.0)
    assert steps(run) == [0]


def test_what_the_steps_come_to_for_a_prefix() -> None:
    run = played(BOOK, (replace(HIGH, effect=Effect.TRAFFIC_STAYED), 11 + 11 + 10 * 4))
    assert steps(run) == [0, 1, 2, 3, 4, 5]
    shed = shed_of([(BOOK, run)], CARRIERS)
    assert shed.calls
    assert shed.down == {B: False}
    assert [(one.neighbor, one.prepend, one.communities) for one in shed.extras] == [
        (A, 3, ("64496:3",)), (B, 3, ()), (C, 3, ())
    ]  # fmt: skip


# what holds whatever comes

KINDS = st.one_of(
    st.just(CALL),
    st.builds(
        PlayStep,
        kind=st.just(StepKind.SELECTIVE_NEIGHBORS),
        neighbors=st.lists(st.sampled_from(CARRIERS), min_size=1, max_size=3, unique=True).map(tuple),
        out=st.booleans(),
        mode=st.sampled_from(PlayMode),
        verify_after_s=st.just((10.0, 60.0)),
    ),
    st.builds(
        PlayStep,
        kind=st.just(StepKind.PREPEND),
        prepend=st.integers(1, 3),
        mode=st.sampled_from(PlayMode),
        verify_after_s=st.just((10.0,)),
    ),
)
BOOKS = st.builds(
    Playbook,
    name=st.just("any"),
    when=st.lists(
        st.builds(When, state=st.none() | st.just(AttackState.ATTACK), load_percent=st.just(80), for_s=st.just(5.0)),
        min_size=1,
        max_size=2,
    ).map(tuple),
    steps=st.lists(KINDS, min_size=1, max_size=5).map(tuple),
    calm_s=st.sampled_from((20.0, 60.0)),
)
LOADS = st.none() | st.sampled_from((10.0, 60.0, 90.0))
SIGHTS = st.builds(
    Sight,
    state=st.sampled_from(AttackState),
    load_percent=LOADS,
    back_percent=LOADS,
    prefix_bps=st.none() | st.just(5e8),
    announced=st.booleans(),
    pressed_elsewhere=st.none() | st.booleans(),
    room=st.sampled_from(Truth),
    sheds_elsewhere=st.sampled_from(("", "lon")),
    yields=st.booleans(),
    budget_wait_s=st.sampled_from((0.0, 30.0)),
    frozen=st.sampled_from(("", "by ops")),
    useless=st.sampled_from(({}, {0: "no"})),
    effect=st.sampled_from(Effect),
)
TIMES = st.sampled_from((1.0, 5.0, 15.0, 70.0, 400.0))
EVENTS = st.lists(st.tuples(SIGHTS, TIMES, st.sampled_from(("", "", "", "run", "stop"))), max_size=40)
IDLE = Sight(load_percent=10.0, back_percent=10.0, room=Truth.TRUE)


@settings(max_examples=100, deadline=None)
@given(BOOKS, SIGHTS, st.sampled_from(AttackState))
def test_what_cannot_begin_need_not_be_looked_at(book: Playbook, sight: Sight, worst: AttackState) -> None:
    worst = max(worst, sight.state)
    if not may_begin(book, worst, sight.load_percent) and not sight.frozen:
        assert advance(book, Run(), sight, SPEC, 0.0).is_idle


@settings(max_examples=150, deadline=None)
@given(BOOKS, EVENTS)
def test_whatever_is_seen(book: Playbook, events: list[tuple[Sight, float, str]]) -> None:
    run, now_s = Run(), 0.0
    for sight, seconds, word in events:
        if word:
            run = approved(book, run, now_s) if word == "run" else stopped(run)
        before, run = run, advance(book, run, sight, SPEC, now_s)
        was, now = steps(before), steps(run)
        assert now in (was, was[:-1], [*was, now[-1] if now else -1]), "one at a time, and back in reverse"
        assert now == sorted(set(now)), "each step once, in order"
        if len(now) > len(was):
            step = book.steps[now[-1]]
            assert step.mode is not PlayMode.OFF
            assert not sight.frozen
            assert step.mode is PlayMode.AUTO or before.approved == now[-1]
            if step.kind.sheds:
                assert sight.room is Truth.TRUE
                assert not sight.sheds_elsewhere
                assert not sight.budget_wait_s
        if len(now) < len(was) and not before.stopping:
            known = sight.pressed_elsewhere is False and not sight.frozen
            assert known or (sight.yields and not sight.frozen)
        shed = shed_of([(book, run)], CARRIERS)
        assert len(shed.down) < len(CARRIERS), "one neighbor keeps it whole"
        now_s += seconds
    for _ in range(10 * 17 * (len(run.taken) + 1)):
        run = advance(book, run, IDLE, SPEC, now_s)
        now_s += 10.0
    assert run.taken == (), "whatever was taken ends when it is calm"
