"""The session machine against the words of RFC 5880, and two of them over a wire that loses, delays and reorders."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.probes.bfd.packet import Diag, Packet, PacketError, State, decode, encode
from anycastd.probes.bfd.session import NEVER, Remote, Session

A, D, I, U = State.ADMIN_DOWN, State.DOWN, State.INIT, State.UP  # noqa: E741


def session(multiplier: int = 3, jitter: float = 0.5, interval_us: int = 300_000) -> Session:
    return Session(
        1,
        desired_tx_us=interval_us,
        min_rx_us=interval_us,
        multiplier=multiplier,
        now_s=0.0,
        jitter=lambda: jitter,
    )


def said(state: State, desired_tx_us: int = 300_000, min_rx_us: int = 300_000, multiplier: int = 3) -> Packet:
    return Packet(state, mine=2, yours=1, desired_tx_us=desired_tx_us, min_rx_us=min_rx_us, multiplier=multiplier)


def up() -> Session:
    made = session()
    made.receive(said(I), 1.0, 1.0)
    made.receive(said(U, desired_tx_us=300_000), 1.1, 1.1)
    assert made.poll
    packet = said(U)
    packet.final = True
    made.receive(packet, 1.2, 1.2)
    assert made.state is U
    return made


def in_state(state: State) -> Session:
    made = session()
    if state is A:
        made.disable(0.5)
    if state in (I, U):
        made.receive(said(D), 0.5, 0.5)
    if state is U:
        made.receive(said(I), 0.6, 0.6)
    assert made.state is state
    return made


def of_the_rfc(ours: State, theirs: State) -> tuple[State, int | None]:
    """Section 6.8.6, as its pseudocode reads: the next state and a new diagnostic, if one is set."""
    if ours is A:
        return ours, None
    if theirs is A:
        return (ours, None) if ours is D else (D, 3)
    if ours is D:
        if theirs is D:
            return I, None
        return (U, None) if theirs is I else (ours, None)
    if ours is I:
        return (U, None) if theirs in (I, U) else (ours, None)
    return (D, 3) if theirs is D else (ours, None)


@pytest.mark.parametrize("theirs", State)
@pytest.mark.parametrize("ours", State)
def test_the_state_table(ours: State, theirs: State) -> None:
    made = in_state(ours)
    before = made.diag
    if ours is A:
        with pytest.raises(PacketError, match="admin_down"):
            made.receive(said(theirs), 1.0, 1.0)
    else:
        made.receive(said(theirs), 1.0, 1.0)
    state, diag = of_the_rfc(ours, theirs)
    assert made.state is state
    assert made.diag == (before if diag is None else diag)


@given(st.lists(st.tuples(st.sampled_from(State), st.booleans()), max_size=12))
def test_any_words_of_a_peer_lead_where_the_rfc_says(words: list[tuple[State, bool]]) -> None:
    made, state = session(), D
    for number, (theirs, poll) in enumerate(words):
        packet = said(theirs)
        packet.poll = poll
        now_s = 0.1 * (number + 1)
        answers = made.receive(packet, now_s, now_s)
        state = of_the_rfc(state, theirs)[0]
        assert made.state is state
        assert [one.final for one in answers].count(True) == poll
        assert not any(one.final and one.poll for one in answers)


def test_nothing_is_sent_more_often_than_once_a_second_until_it_is_up() -> None:
    made = session()
    sent = [packet for tick in range(400) for packet in made.due(tick / 100)]
    assert 4 <= len(sent) <= 6
    assert {packet.desired_tx_us for packet in sent} == {1_000_000}


def test_the_slower_of_both_sets_the_pace_and_the_peers_multiplier_the_patience() -> None:
    made = up()
    made.receive(said(U, desired_tx_us=500_000, min_rx_us=700_000, multiplier=5), 2.0, 2.0)
    assert (made.transmit_us, made.detection_us) == (700_000, 2_500_000)
    assert made.detect_s == pytest.approx(4.5)


def test_jitter_takes_up_to_a_quarter_and_at_least_a_tenth_where_one_loss_is_enough() -> None:
    for multiplier, low, high in ((3, 0.75, 1.0), (1, 0.75, 0.9)):
        for share, wanted in ((0.0, high), (1.0, low)):
            made = session(multiplier, share, 10**6)
            made.due(0.0)
            assert made.transmit_s == pytest.approx(wanted)


def test_silence_for_the_detection_time_is_down_and_forgets_the_peer() -> None:
    made = up()
    assert made.detect_s == pytest.approx(2.1)
    assert made.due(2.0999) is not None
    assert made.state is U
    packets = made.due(2.1)
    assert (made.state, made.diag, made.downs) == (D, Diag.EXPIRED, 1)
    assert [(one.state, one.yours, one.diag) for one in packets] == [(D, 0, 1)]


def test_a_packet_counts_from_when_the_kernel_had_it() -> None:
    made = up()
    made.receive(said(U), 2.0, 2.5)
    assert made.detect_s == pytest.approx(2.9)
    # and one that was overtaken does not turn it back
    made.receive(said(U), 1.5, 2.6)
    assert made.detect_s == pytest.approx(2.9)


def test_a_peer_that_wants_no_packets_gets_none_until_it_is_gone() -> None:
    made = up()
    made.receive(said(U, min_rx_us=0), 2.0, 2.0)
    assert [packet for tick in range(20, 28) for packet in made.due(tick / 10)] == []
    assert made.due(3.0)
    assert made.state is D


def test_a_poll_is_answered_at_once_with_a_final_whatever_the_timer() -> None:
    made = up()
    packet = said(U)
    packet.poll = True
    assert [(one.final, one.poll) for one in made.receive(packet, 2.0, 2.0)] == [(True, False)]


def test_slower_timers_are_kept_to_until_the_peer_has_followed() -> None:
    made = up()
    made.configure(1_000_000, 100_000, 3)
    assert (made.poll, made.transmit_us, made.detection_us) == (True, 300_000, 900_000)
    assert [(one.desired_tx_us, one.min_rx_us, one.poll) for one in made.due(1.25)] == [(1_000_000, 100_000, True)]
    # changed again while the first question is out: its answer is not the second one's
    made.configure(2_000_000, 100_000, 3)
    final = said(U)
    final.final = True
    made.receive(final, 1.3, 1.3)
    assert (made.poll, made.transmit_us) == (True, 300_000)
    made.receive(final, 1.4, 1.4)
    assert (made.poll, made.transmit_us) == (False, 2_000_000)


def test_quicker_timers_are_sent_by_at_once_and_expected_when_the_peer_has_followed() -> None:
    made = up()
    made.configure(100_000, 100_000, 3)
    made.receive(said(U, desired_tx_us=100_000, min_rx_us=100_000), 1.3, 1.3)
    assert (made.transmit_us, made.detection_us) == (100_000, 900_000)
    final = said(U, desired_tx_us=100_000, min_rx_us=100_000)
    final.final = True
    made.receive(final, 1.4, 1.4)
    assert made.detection_us == 300_000


def test_a_peer_in_demand_mode_is_not_heard() -> None:
    made = up()
    packet = said(U)
    packet.demand = True
    with pytest.raises(PacketError, match="demand"):
        made.receive(packet, 2.0, 2.0)
    assert made.demanded
    made.due(2.2)
    assert made.state is D


def test_no_echo_is_asked_for_and_none_is_taken() -> None:
    assert {packet.min_echo_us for packet in session().due(0.0)} == {0}


def test_a_peer_that_left_on_purpose_is_remembered_as_one() -> None:
    made = up()
    made.receive(said(A), 2.0, 2.0)
    assert (made.state, made.left) == (D, True)
    made.due(60.0)
    assert made.left
    made.receive(said(D), 61.0, 61.0)
    assert (made.left, made.was_up) == (False, False)


def test_a_session_that_is_taken_down_says_so_and_hears_nothing_more() -> None:
    made = up()
    packet = made.disable(2.0)
    assert (packet.state, packet.diag, packet.yours) == (A, Diag.ADMIN_DOWN, 2)
    assert made.due(100.0) == []
    with pytest.raises(PacketError, match="admin_down"):
        made.receive(said(U), 2.1, 2.1)


def test_a_resumed_session_goes_on_up_and_waits_one_detection_time() -> None:
    made, remote = session(), Remote()
    remote.take(said(U))
    made.resume(remote, 5.0)
    packets = made.due(5.0)
    assert [(one.state, one.yours, one.poll) for one in packets] == [(U, 2, False)]
    assert made.detect_s == pytest.approx(5.9)
    known = [made.was_up]
    made.receive(said(U), 5.1, 5.1)
    assert [*known, made.was_up] == [False, True]
    made.due(6.0)
    assert made.state is D


def test_a_resumed_session_whose_peer_gave_us_up_was_not_up() -> None:
    made, remote = session(), Remote()
    remote.take(said(U))
    made.resume(remote, 5.0)
    made.receive(said(D), 5.1, 5.1)
    assert (made.state, made.was_up) == (D, False)


@dataclass
class Wire:
    """Two sessions and what is under way between them, in virtual time."""

    sides: tuple[Session, Session]
    luck: random.Random
    loss: float
    delay_s: float
    now_s: float = 0.0
    flying: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    count: itertools.count[int] = field(default_factory=itertools.count)
    downs: int = 0

    def send(self, to: int, packets: list[Packet]) -> None:
        for packet in packets:
            if self.luck.random() >= self.loss:
                at_s = self.now_s + self.luck.uniform(0.0, self.delay_s)
                heapq.heappush(self.flying, (at_s, next(self.count), to, encode(packet)))

    def run(self, until_s: float) -> None:
        while True:
            next_s = min(self.sides[0].next_s, self.sides[1].next_s, self.flying[0][0] if self.flying else NEVER)
            assert next_s < NEVER, "nobody will ever say anything again"
            if next_s > until_s:
                self.now_s = until_s
                return
            self.now_s = max(next_s, self.now_s)
            while self.flying and self.flying[0][0] <= self.now_s:
                _, _, to, data = heapq.heappop(self.flying)
                self.send(1 - to, self.sides[to].receive(decode(data), self.now_s, self.now_s))
            for number, side in enumerate(self.sides):
                if side.next_s <= self.now_s:
                    self.send(1 - number, side.due(self.now_s))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.9),
    delay_s=st.floats(0.0, 2.0),
    timers=st.lists(st.sampled_from([50_000, 100_000, 300_000, 1_000_000, 2_000_000]), min_size=4, max_size=4),
    multipliers=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_two_machines_agree_when_the_wire_lets_them(
    seed: int, loss: float, delay_s: float, timers: list[int], multipliers: tuple[int, int]
) -> None:
    luck = random.Random(seed)
    sides = tuple(
        Session(
            number + 1,
            desired_tx_us=timers[2 * number],
            min_rx_us=timers[2 * number + 1],
            multiplier=multipliers[number],
            now_s=0.0,
            jitter=luck.random,
        )
        for number in range(2)
    )
    wire = Wire((sides[0], sides[1]), luck, loss, delay_s)
    wire.run(20.0)
    sides[0].configure(timers[3], timers[2], multipliers[1])
    wire.run(30.0)
    # the wire is good again: whatever state both were left in, they come up, stay up, and agree on the pace
    wire.loss, wire.delay_s = 0.0, 0.001
    wire.run(60.0)
    assert [side.state for side in sides] == [U, U]
    assert [side.poll for side in sides] == [False, False]
    one, other = sides
    assert one.transmit_us == max(one.desired_tx_us, other.min_rx_us)
    assert one.detection_us == other.multiplier * max(one.min_rx_us, other.desired_tx_us)
    downs = one.downs, other.downs
    wire.run(90.0)
    if min(multipliers) > 1:
        assert (one.downs, other.downs) == downs
    # and a cut is seen by both within the longer detection time
    wire.loss = 1.0
    wire.run(wire.now_s + 0.002 + max(one.detection_us, other.detection_us) / 1e6)
    assert U not in (one.state, other.state)
