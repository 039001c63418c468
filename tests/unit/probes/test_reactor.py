"""The reactor: an event is told to whom it happened, and to nobody who came later to the same descriptor."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable

import pytest

from anycastd.probes.reactor import NEVER, EpollReactor


class Hearer:
    """Notes the events that it is told of."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.heard: list[int] = []
        self.then = then

    def on_event(self, mask: int, now_s: float) -> None:
        self.heard.append(mask)
        self.then()

    def broke(self, now_s: float) -> None:
        raise AssertionError


@pytest.mark.parametrize("left_over", [False, True])
async def test_what_happened_to_a_closed_descriptor_is_not_told_to_the_next_that_has_its_number(
    *, left_over: bool
) -> None:
    """Else a connection that is only being opened would count as standing: a dead target would be called well."""
    reactor = EpollReactor(asyncio.get_running_loop(), dict, lambda now_s, until_s: None, lambda: NEVER)
    pairs = [socket.socketpair() for _ in range(2)]
    fresh, far = socket.socketpair()
    newcomer, told = Hearer(), list[int]()

    def replace(number: int) -> None:
        """Close a descriptor of the same batch, and open another that gets its number."""
        if told:
            return
        told.append(number)
        reactor.forget(number)
        os.dup2(fresh.fileno(), number)
        reactor.watch(number, newcomer, select.EPOLLIN | select.EPOLLET)

    numbers = [near.fileno() for near, _ in pairs]
    hearers = [Hearer(lambda: replace(numbers[1])), Hearer(lambda: replace(numbers[0]))]
    try:
        for (near, other), hearer in zip(pairs, hearers, strict=True):
            reactor.watch(near.fileno(), hearer, select.EPOLLIN | select.EPOLLET)
            other.send(b"x")
            if left_over:
                # told once more in the next turn, besides what the kernel says
                reactor.again(near.fileno(), hearer, select.EPOLLIN)
        reactor._turn()
        assert len(told) == 1 and newcomer.heard == []
        far.send(b"y")
        reactor._turn()
        assert newcomer.heard == [select.EPOLLIN], "what happens to it, it is told"
    finally:
        reactor.close()
        for one in (*(end for pair in pairs for end in pair), fresh, far):
            one.close()
