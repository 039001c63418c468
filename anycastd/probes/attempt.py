"""What every probe kind provides: a plan, made once per check, and attempts, one per probe that runs.

An attempt is a small machine of callbacks on a raw non-blocking socket. It has no task, no future and no stream: on one
core a bare epoll loop makes 13,000 to 18,000 HTTP probes per CPU second, asyncio's own sockets 5,000 to 7,400.
"""

from __future__ import annotations

import select
from collections.abc import Mapping, MutableMapping
from typing import Protocol

from anycastd.model.kernel import LinkView
from anycastd.model.probe import Note, Why

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Watcher(Protocol):
    """What the reactor tells of events on a descriptor."""

    def on_event(self, mask: int, now_s: float) -> None:
        """Take the event in; it is edge-triggered, so read until nothing is left."""
        ...

    def broke(self, now_s: float) -> None:
        """Learn that our own code raised while it took an event in."""
        ...


class Reactor(Protocol):
    """What a plan may use of the engine."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        ...

    def watch(self, descriptor: int, watcher: Watcher, mask: int = EDGES, /) -> None:
        """Report events on this descriptor, edge-triggered unless `mask` says otherwise, until it is forgotten."""
        ...

    def forget(self, descriptor: int) -> None:
        """Report nothing more; to be called before the descriptor is closed."""
        ...

    def again(self, descriptor: int, watcher: Watcher, mask: int, /) -> None:
        """Report this once more, in the next turn: who has much to read lets others have theirs."""
        ...

    def begin(self, attempt: Attempt, slot_s: float, timeout_s: float) -> None:
        """Start an attempt that is nobody's probe, and keep its deadline."""
        ...

    def links(self) -> Mapping[str, LinkView]:
        """Return the devices of this namespace by name, as of now."""
        ...


class Owner(Protocol):
    """Whoever wants to know how an attempt ended."""

    def ended(self, attempt: Attempt, why: Why, detail: str, now_s: float) -> None:
        """Learn how it ended; called once."""
        ...


class Attempt:
    """One running probe. A kind overrides `start`, `on_event`, `doing` and `close`; it must end by `end`.

    It may leave a `note` before.
    """

    __slots__ = ("deadline_s", "late_s", "note", "order", "over", "owner", "queue", "stalled_s", "started_s")

    def __init__(self, owner: Owner, order: int, started_s: float) -> None:
        self.owner, self.order, self.started_s = owner, order, started_s
        self.over = False
        self.deadline_s = self.stalled_s = self.late_s = 0.0
        self.queue: MutableMapping[Attempt, float] | None = None
        self.note: Note | None = None

    def start(self, now_s: float) -> None:
        """Begin; may end at once."""
        raise AssertionError(self)

    def on_event(self, mask: int, now_s: float) -> None:
        """Go on, as far as the socket allows."""

    def last_look(self) -> bool:
        """Take in what lies there unread, before the time is called up; return whether that ended it."""
        return False

    def on_timeout(self, now_s: float) -> None:
        """End, because the time is up and our own loop was there to see it."""
        self.end(Why.TIMEOUT, self.doing(), now_s)

    def doing(self) -> str:
        """Return what is being waited for: the detail of a timeout."""
        return ""

    def close(self) -> None:
        """Release what is held; called once, at the end."""

    def broke(self, now_s: float) -> None:
        """End as our own fault: the exception itself goes on to the loop's exception handler."""
        self.end(Why.INTERNAL, "error in the probe itself, see the log", now_s)

    def cancel(self) -> bool:
        """Release everything and report nothing; return False if it had already ended."""
        if self.over:
            return False
        self.over = True
        if self.queue is not None:
            self.queue.pop(self, None)
        self.close()
        return True

    def end(self, why: Why, detail: str, now_s: float) -> None:
        """Release everything and report; a second call does nothing."""
        if self.cancel():
            self.owner.ended(self, why, detail, now_s)


class Plan(Protocol):
    """All of a check that is the same for each of its probes: addresses, request bytes, what to expect."""

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        ...

    def close(self) -> None:
        """Release what the plan shares between its attempts."""
        ...
