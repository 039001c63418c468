"""Replayed beacons, and prefixes that move from part to part: neither makes a POP counted, or absent."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.fleet.codec import parts_of, place_of
from anycastd.fleet.own import Entered, Own
from anycastd.fleet.seen import lost
from anycastd.fleet.standing import tells_news
from anycastd.model.address import Prefix
from anycastd.model.fleet import Beacon, Claim, FleetFault, NotCounted, Part
from tests.unit.fleet.test_seen import AMS, AMS_BOOT, BOOT, SPEC, Fra, P, echoing


@pytest.fixture
def fra() -> Fra:
    return Fra().up("rr1", "rr2")


STALE_S = SPEC.stale_s


def faults(fra: Fra) -> set[tuple[FleetFault, str]]:
    return {(fault.kind, fault.subject) for fault in fra.view().faults()}


REPLAYED = {(FleetFault.BEACON_REPLAYED, "ams")}


def live(fra: Fra, beacon: Beacon, beats: int, *channels: str) -> Beacon:
    """Hear so many heartbeats; return the last."""
    for _ in range(beats):
        beacon = replace(beacon, seq=beacon.seq + 1)
        fra.hear(beacon, *channels)
        fra.now_s += SPEC.heartbeat_s
    return beacon


def test_what_was_said_long_ago_and_comes_again_changes_nothing_and_is_told(fra: Fra) -> None:
    gone = replace(echoing(AMS, 7), claims={P: Claim.GONE})
    last = live(fra, gone, 20)
    for said in (echoing(AMS, 7), replace(echoing(AMS, 7), claims={P: Claim.DEPREF})):
        before = fra.others()
        fra.hear(replace(said, seq=2))
        assert fra.others() == before
        assert (fra.why(), fra.others().present) == (NotCounted.GONE, ())
        assert faults(fra) == REPLAYED
    live(fra, last, 7)
    assert not faults(fra)


def test_what_is_only_late_is_not_told(fra: Fra) -> None:
    """An observer that was cut off silently from a POP holds what that said last for its hold time."""
    last = live(fra, echoing(AMS, 7), 20, "rr1")
    fra.hear(replace(last, seq=last.seq - 3), "rr2")
    assert not faults(fra)
    assert fra.others().counted == ("ams",)


def test_a_channel_keeps_the_newest_that_it_brought(fra: Fra) -> None:
    """Else who can speak to the observer would have a POP that left be seen as there."""
    fra.hear(replace(echoing(AMS, 7), seq=9, claims={P: Claim.GONE}))
    fra.hear(replace(echoing(AMS, 7), seq=8))
    assert (fra.why(), fra.others().present) == (NotCounted.GONE, ())


def test_a_former_life_that_is_played_again_neither_counts_nor_takes_the_place_of_the_present_one(fra: Fra) -> None:
    reborn = replace(echoing(AMS, 7), boot=AMS_BOOT + 9)
    live(fra, reborn, 20)
    old = replace(AMS, seq=400, claims={P: Claim.DEPREF})
    fra.hear(old)
    assert fra.others().counted == ("ams",)
    assert faults(fra) == REPLAYED
    # a whole recording of it looks as a second POP does
    for seq in range(401, 410):
        fra.hear(replace(old, seq=seq))
        reborn = replace(reborn, seq=reborn.seq + 1)
        fra.hear(replace(reborn, seq=reborn.seq + 20))
    assert (FleetFault.POP_TWICE, "ams") in faults(fra)
    assert fra.others().counted == ()


def test_two_pops_of_one_number_that_take_turns_after_a_silence_are_told(fra: Fra) -> None:
    """Neither of them ever goes on as the one that was heard last."""
    live(fra, echoing(AMS, 7), 3)
    fra.now_s += 2 * STALE_S
    for turn in range(1, 6):
        for boot in (AMS_BOOT + 9, AMS_BOOT + 5):
            fra.hear(replace(echoing(AMS, 7), boot=boot, seq=turn))
            fra.now_s += 1.0
            assert (fra.others().counted, fra.others().present) == ((), ())
    assert (FleetFault.POP_TWICE, "ams") in faults(fra)


def test_a_former_life_of_a_pop_that_died_does_not_keep_it_alive(fra: Fra) -> None:
    """Recorded while it had seen an earlier epoch of ours: the later life had seen a later one."""
    live(fra, echoing(AMS, 5), 3)
    live(fra, replace(echoing(AMS, 7), boot=AMS_BOOT + 9), 3)
    fra.now_s += STALE_S
    assert (fra.why(), fra.others().present) == (NotCounted.STALE, ())
    for seq in range(4, 30):
        fra.hear(replace(echoing(AMS, 5), seq=seq))
        fra.now_s += 1.0
        assert (fra.why(), fra.others().present) == (NotCounted.STALE, ())
    assert faults(fra) == REPLAYED


@given(st.lists(st.tuples(st.integers(0, 29), st.sampled_from(["rr1", "rr2"]), st.floats(0.0, 5.0)), max_size=25))
@settings(max_examples=60, deadline=None)
def test_no_recording_whatever_its_order_makes_a_pop_counted_or_there(played: list[tuple[int, str, float]]) -> None:
    """ams was NORMAL, then left; we went to DEPREF after that. All that it ever said is played again, as it went on."""
    fra = Fra().up("rr1", "rr2")
    fra.own = Own(BOOT, 6, {P: Entered(2, 6)})
    past = [
        replace(echoing(AMS, 6), seq=seq, claims={P: Claim.NORMAL if seq < 25 else Claim.GONE}) for seq in range(30)
    ]
    for beacon in past:
        fra.hear(beacon, "rr1", "rr2")
        fra.now_s += SPEC.heartbeat_s
    fra.own = Own(BOOT, 7, {P: Entered(3, 7)})
    seq = 30
    for at, channel, after_s in played:
        fra.hear(past[at], channel)
        assert (fra.others().counted, fra.others().present) == ((), ())
        fra.now_s += after_s
        if after_s > 2.0:
            fra.hear(replace(past[-1], seq=seq), "rr1", "rr2")
            seq += 1


def test_a_recording_is_not_present_after_our_restart_and_who_answers_is_at_once(fra: Fra) -> None:
    """Of a POP that died while we were away nothing can echo our present start."""
    for seq in range(2, 40):
        fra.hear(echoing(replace(AMS, seq=seq), 9, boot=BOOT - 1))
        fra.now_s += 1.0
        assert (fra.why(), fra.others().present, fra.others().normal) == (NotCounted.NOT_ANSWERED, (), ())
    before, answer = fra.seen, echoing(replace(AMS, seq=40), 0)
    fra.hear(answer)
    assert fra.others().present == ("ams",)
    assert tells_news(before, fra.seen, SPEC, 2, fra.now_s), "who is withdrawn must look again"


def test_a_pop_that_answered_stays_present_over_its_own_restart_and_when_our_epochs_begin_anew(fra: Fra) -> None:
    fra.hear(echoing(AMS, 7))
    reborn = replace(AMS, boot=AMS_BOOT + 9, echoes={})
    fra.hear(reborn)
    assert fra.others().present == ("ams",), "it began after it had heard of our start"
    fra.own = replace(fra.own, boot=BOOT + 1, counter=1)
    fra.hear(replace(reborn, seq=2))
    assert fra.others().present == ("ams",)
    # an earlier life of it may be a recording, whoever was heard before
    fra.now_s += STALE_S
    for seq in range(1, 5):
        fra.hear(replace(reborn, boot=AMS_BOOT - 50, seq=seq))
        assert fra.others().present == ()


@given(st.lists(st.tuples(st.integers(0, 59), st.floats(0.0, 5.0)), max_size=25))
@settings(max_examples=60, deadline=None)
def test_no_recording_that_is_older_than_our_start_makes_a_pop_present(played: list[tuple[int, float]]) -> None:
    """Two lives of ams, which heard two lives of ours before this one; some of it comes in any order."""
    fra = Fra().up("rr1")
    past = [
        replace(echoing(AMS, 9, boot=BOOT - 1 - at % 2), boot=AMS_BOOT + at // 30, seq=at, claims={P: Claim.NORMAL})
        for at in range(60)
    ]
    for at, after_s in played:
        fra.hear(past[at])
        assert (fra.others().counted, fra.others().present, fra.others().normal) == ((), (), ())
        fra.now_s += after_s


PREFIXES: tuple[Prefix, ...] = tuple(ip_network((0x0A000000 + (n << 8), 24)) for n in range(420))
COUNTS = st.sampled_from([1, 63, 64, 65, 66, 190, 191, 200, 380, 381, 420])


def steps_between(before: tuple[Part, ...], after: tuple[Part, ...]) -> list[Part | int]:
    """Return what an observer passes on when a beacon changes: parts, and numbers of those that are withdrawn."""
    numbers = {part.number for part in after}
    changed: list[Part | int] = [part for part in after if part not in before]
    return changed + [part.number for part in before if part.number not in numbers]


@given(COUNTS, COUNTS, st.integers(0, 300), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_while_the_number_of_parts_changes_nothing_that_stays_is_absent_or_falsely_counted(
    first: int, second: int, shift: int, random: object
) -> None:
    """A reload that adds or removes prefixes: they move from part to part, which arrive in any order."""
    fra = Fra().up("rr1")
    fra.own = replace(fra.own, entered={prefix: Entered(1, 7) for prefix in PREFIXES})
    shift = min(shift, len(PREFIXES) - second)
    old, new = PREFIXES[:first], PREFIXES[shift : shift + second]
    left = {prefix for number, prefix in enumerate(new) if number % 5 == 0}
    before = fra.hear(echoing(replace(AMS, claims=dict.fromkeys(old, Claim.NORMAL)), 7))
    told = {prefix: Claim.DEPREF if prefix in left else Claim.NORMAL for prefix in new}
    after = parts_of(echoing(replace(AMS, seq=2, claims=told), 7), before)
    steps = steps_between(before, after)
    random.shuffle(steps)  # type: ignore[attr-defined]
    stays = [prefix for prefix in old if prefix in told]
    some = stays[:: max(len(stays) // 12, 1)]
    for step in steps:
        if isinstance(step, Part):
            fra.hear(step)
        else:
            fra.seen = lost(fra.seen, SPEC, "rr1", place_of(SPEC, 2, step), fra.now_s)
        fra.now_s += 0.01
        for prefix in some:
            assert fra.others(prefix).present == ("ams",), (step, prefix)
    for prefix in some:
        assert fra.why(prefix=prefix) is (NotCounted.DEPREF if prefix in left else None)
    for prefix in set(old) - told.keys():
        assert fra.why(prefix=prefix) is NotCounted.NOT_CARRIED
        assert not fra.others(prefix).present


def test_a_part_that_never_comes_is_believed_no_longer_than_a_silent_pop(fra: Fra) -> None:
    """It moved prefixes to a part that is lost on the way."""
    before = fra.hear(echoing(replace(AMS, claims=dict.fromkeys(PREFIXES[:191], Claim.NORMAL)), 7))
    after = parts_of(echoing(replace(AMS, seq=2, claims=dict.fromkeys(PREFIXES[:380], Claim.NORMAL)), 7), before)
    moved = next(prefix for prefix in PREFIXES[:191] if not _in(after[0], prefix) and _in(before[0], prefix))
    fra.hear(after[0])
    fra.hear(after[-1])
    assert (fra.why(prefix=moved), fra.others(moved).present) == (NotCounted.INCOMPLETE, ("ams",))
    next_s = fra.view().next_s()
    assert next_s is not None and next_s <= fra.now_s + STALE_S
    for seq in range(3, 8):
        fra.now_s += 2.0
        fra.hear(replace(after[-1], seq=seq))
    assert (fra.why(prefix=moved), fra.others(moved).present) == (NotCounted.INCOMPLETE, ())


def _in(part: Part, prefix: Prefix) -> bool:
    (alone,) = parts_of(replace(AMS, claims={prefix: Claim.NORMAL}))
    return alone.said.keys() <= part.said.keys()


def test_that_the_last_part_came_is_news(fra: Fra) -> None:
    """What was still taken for there is not, when the beacon is whole again: who left because of it comes back."""
    before = fra.hear(echoing(replace(AMS, claims=dict.fromkeys(PREFIXES[:100], Claim.NORMAL)), 7))
    after = parts_of(echoing(replace(AMS, seq=2, claims=dict.fromkeys(PREFIXES[1:100], Claim.NORMAL)), 7), before)
    fra.hear(after[0])
    assert fra.others(PREFIXES[0]).present == ("ams",)
    seen = fra.seen
    fra.hear(after[-1])
    assert fra.others(PREFIXES[0]).present == ()
    assert tells_news(seen, fra.seen, SPEC, 2, fra.now_s)
