"""What ExaBGP holds, and of what an event tells."""

from __future__ import annotations

from ipaddress import ip_network

from anycastd.actuators.exabgp.events import Acked, Requeued
from anycastd.actuators.exabgp.holdings import Holdings, touched
from anycastd.actuators.exabgp.link import ChoreDone, LinkEvent, Synced
from anycastd.actuators.exabgp.queue import ActionQueue
from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import Announce, EndOfRib, Route, Withdraw

N = NeighborName("n")
P, Q = ip_network("10.0.0.0/24"), ip_network("10.0.1.0/24")
ROUTE = Route(P, "192.0.2.1", (64500,))
SAID, GONE, END = Announce(N, ROUTE), Withdraw(N, Q, "192.0.2.1"), EndOfRib(N, Family.IPV4_UNICAST)


def test_nothing_is_known_before_the_first_dump() -> None:
    holdings = Holdings()
    holdings.take(SAID)
    assert not holdings.routes
    holdings.read({N: {}}, {}, 5.0)
    holdings.take(SAID)
    assert holdings.routes == {N: {P: ROUTE}}
    holdings.take(Withdraw(N, P, "192.0.2.1"))
    assert holdings.routes == {N: {}}
    holdings.set_neighbors([])
    assert (holdings.routes, holdings.read_at_s) == ({}, 5.0)
    holdings.forget()
    assert holdings.routes is None


def test_an_answer_tells_of_its_own_prefix_and_a_barrier_of_all() -> None:
    answers: list[LinkEvent] = [Acked(SAID, 0.0, 0.0, 0.0), Requeued(GONE)]
    assert touched(answers) == frozenset({P, Q})
    assert touched([Acked(END, 0.0, 0.0, 0.0)]) == frozenset(), "what is owed changed, of no prefix"
    assert touched([*answers, Synced()]) is True
    assert touched([ChoreDone("", accepted=True)]) is False


def test_what_is_not_yet_ended_is_seen_as_of_now_and_is_no_end_of_rib() -> None:
    queue = ActionQueue()
    seen = queue.unended
    assert not seen
    queue.put(END, 0.0)
    assert not seen
    queue.put(SAID, 0.0)
    queue.put(GONE, 0.0)
    assert set(seen) == {(N, P), (N, Q)}
    first = queue.take(0.0, 10)
    queue.put(Announce(N, Route(Q, "192.0.2.2", (64500,))), 0.0)
    assert (len(seen), (N, Q) in seen) == (2, True)
    queue.ended(first, 0.0)
    assert set(seen) == {(N, P), (N, Q)}
    assert (NeighborName("else"), P) not in seen
