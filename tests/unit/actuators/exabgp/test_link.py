"""The talk with ExaBGP: transcripts, and random ones that must never put an answer to the wrong command."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from anycastd.actuators.exabgp.events import Acked, NotUnderstood, Refused, Requeued, Superseded, Wedged
from anycastd.actuators.exabgp.link import (
    BULK_ROUTES,
    QUIET_S,
    Link,
    LinkEvent,
    Phase,
    RoutesSeen,
    SessionsSeen,
    Synced,
    barrier,
)
from anycastd.actuators.exabgp.queue import key_of
from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import Announce, BgpAction, EndOfRib, Priority, Route, Withdraw
from tests.unit.actuators.exabgp.fake_exabgp import ADDRESSES, FakeExabgp, hello

T = TypeVar("T")
A, B = NeighborName("a"), NeighborName("b")


def announce(number: int, priority: Priority = Priority.NORMAL, med: int = 0, neighbor: NeighborName = A) -> Announce:
    return Announce(neighbor, Route(ip_network(f"10.0.{number}.0/24"), "10.9.0.1", (65000,), med), priority)


def withdraw(number: int, neighbor: NeighborName = A) -> Withdraw:
    return Withdraw(neighbor, ip_network(f"10.0.{number}.0/24"), "10.9.0.1")


class Talk:
    """A link, an ExaBGP and a clock."""

    def __init__(self, **pace: float) -> None:
        self.link = Link(ADDRESSES, **{"window": 16, **pace})  # type: ignore[arg-type]
        self.exabgp = FakeExabgp()
        self.now_s = 1000.0
        self.events: list[LinkEvent] = []

    def connect(self, pid: int = 100) -> None:
        self.link.connected(self.now_s)
        self.feed(hello(pid))

    def feed(self, *lines: str) -> None:
        for line in lines:
            self.link.feed_line(line, self.now_s)
        self.pump()

    def pump(self) -> None:
        self.exabgp.take(self.link.take_output())
        self.events += self.link.take_events()

    def submit(self, *actions: BgpAction) -> None:
        self.link.submit(actions, self.now_s)
        self.pump()

    def run(self) -> None:
        """Let ExaBGP answer everything."""
        while lines := self.exabgp.answer():
            self.feed(*lines)

    def at(self, after_s: float) -> None:
        """Let time pass."""
        self.now_s += after_s
        self.link.wake(self.now_s)
        self.pump()

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def is_ready(self) -> bool:
        return self.link.phase is Phase.READY

    def ready(self) -> Talk:
        self.connect()
        self.run()
        assert self.link.phase is Phase.READY
        self.events.clear()
        return self


def test_from_hello_to_the_first_dump() -> None:
    talk = Talk()
    talk.link.connected(talk.now_s)
    talk.submit(announce(1))
    assert not talk.exabgp.taken
    talk.feed(hello())
    assert talk.link.phase is Phase.SYNCING
    talk.run()
    kinds = [type(event) for event in talk.events]
    assert kinds.index(Synced) < kinds.index(RoutesSeen)
    assert talk.of(Acked)
    assert talk.of(SessionsSeen)


def test_answers_to_a_daemon_before_us_are_nobodys() -> None:
    talk = Talk(first_barrier=5)
    for stale in (["done"] * 40, ["error", "done"], [*FakeSessions.ANSWER] * 30):
        talk.exabgp.taken.clear()
        talk.connect()
        talk.submit(announce(1))
        talk.feed(*stale)
        assert talk.link.phase is Phase.SYNCING
        assert not talk.of(Acked)
    talk.run()
    assert talk.is_ready
    assert len(talk.of(Acked)) == 1


class FakeSessions:
    """The answer to the first question of every barrier."""

    ANSWER = ("[]", "done")


def test_a_whole_barrier_of_another_daemon_is_not_ours() -> None:
    talk = Talk(first_barrier=5)
    talk.connect()
    theirs = FakeExabgp()
    for number in (4, 7, 255):
        theirs.take(("\n".join(ask.value for ask in barrier(number)) + "\n").encode())
    while lines := theirs.answer():
        talk.feed(*lines)
        assert talk.link.phase is Phase.SYNCING
    talk.run()
    assert talk.is_ready


def test_the_most_urgent_first_and_bulk_in_small_portions() -> None:
    talk = Talk().ready()
    talk.submit(*(announce(n % 256, Priority.BULK, med=0) for n in range(200)))
    in_flight = sum(line.count("/24") for line in talk.exabgp.taken)
    assert in_flight <= BULK_ROUTES
    talk.submit(announce(250, Priority.NORMAL), withdraw(251), announce(252, Priority.FAILOVER))
    lines = list(talk.exabgp.taken)[-3:]
    # all three overtake what is not yet written
    assert {line.split()[2:5][0] for line in lines} == {"announce", "withdraw"}
    talk.run()
    assert len(talk.of(Acked)) == 203


def test_what_is_queued_is_replaced_by_a_newer_word() -> None:
    talk = Talk(window=1).ready()
    talk.submit(announce(1), announce(2, med=1), announce(2, med=2), withdraw(2))
    assert [event.action for event in talk.of(Superseded)] == [announce(2, med=1), announce(2, med=2)]
    talk.run()
    assert [event.action for event in talk.of(Acked)] == [withdraw(2), announce(1)]


def test_two_announcements_of_one_prefix_are_kept_apart_and_a_withdrawal_is_not() -> None:
    talk = Talk().ready()
    talk.submit(announce(1, med=1))
    talk.submit(announce(1, med=2))
    assert len(talk.exabgp.taken) == 1
    talk.run()
    assert len(talk.of(Acked)) == 1
    deadline_s = talk.link.deadline()
    assert deadline_s is not None
    assert 0 < deadline_s - talk.now_s <= 0.05
    talk.at(0.06)
    talk.run()
    assert len(talk.of(Acked)) == 2
    talk.submit(withdraw(1))
    assert talk.exabgp.taken[-1].startswith("neighbor 10.9.0.2 withdraw route 10.0.1.0/24")


def test_a_refused_bunch_is_said_again_one_by_one() -> None:
    talk = Talk().ready()
    talk.exabgp.refuses.add("10.0.7.0/24")
    talk.submit(*(announce(n, Priority.BULK) for n in range(20)))
    talk.run()
    assert [event.action for event in talk.of(Refused)] == [announce(7, Priority.BULK)]
    assert len(talk.of(Acked)) == 19


def test_end_of_rib_is_written_alone_because_its_refusal_overtakes() -> None:
    talk = Talk().ready()
    talk.submit(announce(1), EndOfRib(A, Family.IPV4_UNICAST), EndOfRib(A, Family.IPV6_UNICAST))
    assert len(talk.exabgp.taken) == 1
    talk.feed(*talk.exabgp.answer())
    assert list(talk.exabgp.taken) == ["neighbor 10.9.0.2 announce eor ipv4 unicast"]
    talk.submit(EndOfRib(A, Family.IPV4_UNICAST), EndOfRib(A, Family.IPV6_UNICAST))
    assert not talk.of(Superseded)
    talk.run()
    assert len(talk.of(Acked)) == 3


def test_a_wedged_exabgp_is_found_after_two_seconds_of_silence_not_of_work() -> None:
    talk = Talk().ready()
    talk.submit(*(announce(n % 256, Priority.BULK, med=n) for n in range(100)))
    for _ in range(10):
        talk.at(1.5)
        assert not talk.of(Wedged)
        talk.feed(*talk.exabgp.answer())
    talk.at(1.9)
    assert not talk.of(Wedged)
    talk.at(0.2)
    (event,) = talk.of(Wedged)
    assert isinstance(event, Wedged)
    assert event.silent_s >= 2.0
    assert talk.link.phase is Phase.WEDGED
    assert talk.link.deadline() is None


def test_an_idle_exabgp_is_asked_and_found_wedged_within_three_seconds() -> None:
    talk = Talk().ready()
    talk.at(1.0)
    assert list(talk.exabgp.taken) == ["show neighbor summary"]
    talk.at(2.0)
    assert talk.of(Wedged)


def test_a_lost_answer_is_noticed_by_the_next_question_and_all_is_said_again() -> None:
    talk = Talk().ready()
    talk.submit(announce(1))
    talk.exabgp.answer()
    talk.submit(announce(2))
    talk.run()
    assert len(talk.of(Acked)) == 1
    talk.link.ask_sessions(talk.now_s)
    talk.pump()
    talk.run()
    assert talk.of(NotUnderstood)
    assert talk.of(Requeued)
    assert talk.is_ready
    assert not talk.link.in_flight
    assert talk.of(RoutesSeen)


def test_nothing_that_was_meant_for_an_exabgp_that_died_is_said_to_the_next() -> None:
    """What it holds is read first: an End-of-RIB from before would have neighbors drop what they kept for us."""
    talk = Talk().ready()
    talk.submit(announce(1), announce(1, med=5), withdraw(2))
    talk.run()
    talk.submit(EndOfRib(A, Family.IPV4_UNICAST), announce(3))
    talk.link.disconnected(talk.now_s)
    talk.pump()
    talk.exabgp = FakeExabgp()
    talk.events.clear()
    talk.connect(pid=101)
    talk.run()
    assert talk.is_ready
    assert talk.of(RoutesSeen)
    assert talk.exabgp.done == []
    assert not talk.link.in_flight
    assert talk.link.queued == 0


def test_an_answer_too_many_begins_the_talk_anew() -> None:
    talk = Talk().ready()
    talk.feed("done")
    assert not talk.is_ready
    talk.run()
    assert talk.is_ready


def test_a_dump_waits_for_quiet_but_not_for_ever() -> None:
    talk = Talk(reconcile_s=30.0).ready()
    talk.at(29.0)
    talk.run()
    talk.at(1.5)
    assert talk.exabgp.taken[0] == "show adj-rib out json"
    talk.run()
    for number in range(200):
        talk.submit(announce(number % 250, med=number))
        talk.at(0.5)
        if "show adj-rib out json" in talk.exabgp.taken:
            break
        talk.feed(*talk.exabgp.answer())
    else:
        raise AssertionError("never dumped")


def test_a_dump_does_not_come_between_two_bites_of_routes() -> None:
    talk = Talk(reconcile_s=30.0).ready()
    while talk.now_s < 1000.0 + 32:
        talk.submit(announce(int(talk.now_s * 10) % 250, med=int(talk.now_s * 10)))
        talk.run()
        talk.at(QUIET_S / 2)
        assert "show adj-rib out json" not in talk.exabgp.taken
        talk.run()
    due_s = talk.link.deadline()
    assert due_s is not None
    assert due_s <= talk.now_s + QUIET_S
    talk.at(QUIET_S)
    assert "show adj-rib out json" in talk.exabgp.taken


def test_a_dump_is_taken_whole_and_only_of_neighbors_we_have() -> None:
    talk = Talk().ready()
    talk.link.ask_routes(talk.now_s)
    talk.pump()
    line = {"route": {"nlri": {"prefix": "10.1.0.0/16", "nexthop": "10.9.0.1"}, "attributes": {"origin": "igp"}}}
    talk.feed(*(json.dumps({"peer": {"address": a}, **line}) for a in ("10.9.0.2", "10.9.0.77")), "done")
    assert not talk.of(RoutesSeen)
    talk.exabgp.taken.popleft()
    talk.run()
    (seen,) = talk.of(RoutesSeen)
    assert isinstance(seen, RoutesSeen)
    assert seen.routes == {A: {ip_network("10.1.0.0/16"): Route(ip_network("10.1.0.0/16"), "10.9.0.1")}, B: {}}


class Random(RuleBasedStateMachine):
    """Stale answers, reconnects, refusals and new words in any order."""

    @initialize(window=st.integers(2, 20))
    def begin(self, window: int) -> None:
        self.talk = Talk(window=window)
        self.window = window
        self.stale: list[str] = []
        self.open: dict[int, BgpAction] = {}
        self.talk.connect()

    @rule(n=st.integers(0, 6), med=st.integers(0, 2), name=st.sampled_from([A, B]), p=st.sampled_from(Priority))
    def say(self, n: int, med: int, name: NeighborName, p: Priority) -> None:
        self.talk.submit(announce(n, p, med, name))

    @rule(n=st.integers(0, 6), name=st.sampled_from([A, B]))
    def take_back(self, n: int, name: NeighborName) -> None:
        self.talk.submit(withdraw(n, name))

    @rule(family=st.sampled_from(Family))
    def end(self, family: Family) -> None:
        self.talk.submit(EndOfRib(A, family))

    @rule(times=st.integers(1, 12))
    def answer(self, times: int) -> None:
        for _ in range(times):
            before = len(self.talk.events)
            head = self.talk.exabgp.taken[0] if self.talk.exabgp.taken else ""
            was_ready = self.talk.is_ready
            self.talk.feed(*self.talk.exabgp.answer())
            for event in self.talk.events[before:]:
                if isinstance(event, Acked) and was_ready:
                    self._is_about(event.action, head)

    @rule(seconds=st.floats(0.0, 0.4))
    def pass_time(self, seconds: float) -> None:
        self.talk.at(seconds)

    @rule(lines=st.lists(st.sampled_from(["done", "error", "[]", "Peer AS", '{"peer": {}}', "?"]), max_size=8))
    @precondition(lambda self: self.talk.link.phase is Phase.SYNCING)
    def stale_answers(self, lines: list[str]) -> None:
        if self.talk.link.phase is Phase.SYNCING and len(self.talk.exabgp.taken) >= 19:
            self.talk.feed(*lines)

    @rule(keeps=st.booleans(), pid=st.integers(100, 101))
    def reconnect(self, keeps: bool, pid: int) -> None:
        """Connect again; ExaBGP may still answer what was said before."""
        if not keeps:
            self.talk.exabgp.taken.clear()
        self.talk.link.disconnected(self.talk.now_s)
        self.talk.pump()
        self.talk.connect(pid)

    @staticmethod
    def _is_about(action: BgpAction, line: str) -> None:
        words = line.split()
        assert str(ADDRESSES[action.neighbor]) == words[1]
        what = key_of(action)[1]
        if isinstance(action, EndOfRib):
            assert words[2:4] == ["announce", "eor"]
        else:
            assert str(what) in words
            assert ("announce" if isinstance(action, Announce) else "withdraw") == words[2]
        if isinstance(action, Announce):
            assert words[words.index("med") + 1] == str(action.route.med)

    @invariant()
    def the_window_is_kept(self) -> None:
        if hasattr(self, "talk"):
            assert self.talk.link.unanswered <= self.window

    def teardown(self) -> None:
        """In the end everything is answered, and ExaBGP holds the last word on each prefix."""
        if not hasattr(self, "talk"):
            return
        for _ in range(60):
            if self.talk.link.phase is Phase.WEDGED:
                self.talk.exabgp.taken.clear()
                self.talk.connect()
            self.talk.run()
            self.talk.at(0.1)
        assert not self.talk.link.in_flight
        assert self.talk.link.queued == 0
        assert self.talk.is_ready


Random.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestRandom = Random.TestCase
