"""What holds of seeing attacks whatever traffic does: nothing is learnt too fast, no state flaps, memory is bounded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.attack.assess import EASE, Judged, Track, judge, step
from anycastd.attack.packet import sampled
from anycastd.attack.shape import CAPACITY, LISTED, Sketch
from anycastd.attack.top import Top
from anycastd.attack.usual import Pace, Usual
from anycastd.model.attack import AttackReason, AttackState, Rate
from anycastd.model.attack_config import EIP_BOUNDS, DetectConfig

CONFIG = replace(DetectConfig(), warm_up_s=0.0)
RATES = st.floats(0.0, 1e8, allow_nan=False)
SPANS = st.sampled_from([0.75, 1.0, 5.0, 60.0])
STATES = st.sampled_from(list(AttackState))
EXAMPLES = 60


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(RATES, SPANS, st.booleans()), max_size=60), RATES)
def test_what_is_usual_is_never_above_what_was_seen_and_rises_no_faster_than_it_may(
    readings: list[tuple[float, float, bool]], known: float
) -> None:
    usual, most, ceiling = Usual(packets=known), known, max(known, EIP_BOUNDS.floor_packets / CONFIG.attack_times)
    for seen, span_s, alarmed in readings:
        before = usual.packets
        usual.learn(seen, 0.0, None, Pace.of(CONFIG, span_s), EIP_BOUNDS, CONFIG, alarmed=alarmed)
        most, ceiling = max(most, seen), ceiling * 2.0 ** (span_s / CONFIG.doubles_s)
        assert 0.0 <= usual.packets <= most
        assert usual.packets <= ceiling * (1 + 1e-9)
        assert usual.packets <= before or seen > before
        if alarmed:
            assert usual.packets <= before * 2.0 ** (span_s / CONFIG.doubles_s / 24.0) * (1 + 1e-9)


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(STATES, STATES, SPANS), max_size=200))
def test_a_state_goes_down_one_step_and_only_after_it_was_calm(
    readings: list[tuple[AttackState, AttackState, float]],
) -> None:
    track, at_s, restless_s, changes = Track(), 0.0, 0.0, []
    for says, holds, span_s in readings:
        at_s += span_s
        before, stays = track, max(says, holds)
        track = step(
            track, Judged(says, (AttackReason.PACKETS_ABOVE_USUAL,) if says else ()), stays, at_s, span_s, CONFIG
        )
        if track.state < before.state:
            assert track.state == before.state - 1
            assert at_s - restless_s >= CONFIG.calm_s
        if track.state > before.state:
            assert says >= track.state
        if track.state is not before.state:
            changes.append((at_s, before.state, track.state))
        if max(stays, says) >= track.state or track.state is not before.state:
            restless_s = at_s
        assert bool(track.reasons) is (track.state is not AttackState.NORMAL)
    for (first_s, _, to), (next_s, came, left) in pairwise(changes):
        assert came is to
        assert left > came or next_s - first_s >= CONFIG.calm_s


@settings(max_examples=EXAMPLES)
@given(RATES, RATES, RATES, RATES, st.booleans(), st.sets(st.sampled_from(list(AttackReason)), max_size=3))
def test_a_judgement_has_reasons_and_more_traffic_never_makes_it_milder(
    packets: float, bits: float, usual: float, more: float, known: bool, hurts: set[AttackReason]
) -> None:
    normal, ordered = Rate(usual, usual * 100.0), sorted(hurts)
    now = judge(Rate(packets, bits), normal, EIP_BOUNDS, CONFIG, ordered, known=known)
    worse = judge(Rate(packets + more, bits + more), normal, EIP_BOUNDS, CONFIG, ordered, known=known)
    eased = judge(Rate(packets, bits), normal, EIP_BOUNDS, CONFIG, ordered, known=known, ease=EASE)
    assert bool(now.reasons) is (now.state is not AttackState.NORMAL)
    assert worse.state >= now.state
    assert eased.state >= now.state
    if not known and not hurts:
        assert now.state is AttackState.NORMAL


@settings(max_examples=EXAMPLES)
@given(st.lists(st.integers(0, 300), max_size=600))
def test_the_most_frequent_are_never_overrated_nor_forgotten(values: list[int]) -> None:
    top = Top[int](CAPACITY)
    for value in values:
        top.add(value)
    certain = top.certain()
    assert len(top) <= CAPACITY
    assert all(0 < count <= values.count(value) for value, count in certain.items())
    # Metwally et al.: who has more than its share of the places is among them
    assert all(value in certain for value in set(values) if values.count(value) > len(values) / CAPACITY)


@settings(max_examples=EXAMPLES)
@given(st.lists(st.binary(max_size=64), max_size=80), st.floats(0.0, 40.0))
def test_any_bytes_make_a_shape_that_is_bounded(packets: list[bytes], each_s: float) -> None:
    sketch, now_s = Sketch(0.0), 0.0
    for head in (b"", b"\x45", b"\x60"):
        for data in packets:
            now_s += each_s
            packet = sampled((head + data)[:64])
            if packet is not None:
                sketch.add(packet, now_s)
    shape = sketch.shape()
    if shape is not None:
        lists = (shape.protocols, shape.ports, shape.source_ports, shape.sources)
        assert all(len(one) <= LISTED for one in lists)
        assert all(sum(share.percent for share in one) <= 100.5 for one in lists)
