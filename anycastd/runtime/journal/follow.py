"""Failover timers: each change followed from the result that tipped it to ExaBGP's acknowledgement. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from anycastd.model.address import Prefix
from anycastd.model.status import FailoverTimer

KEPT = 200


class Followed:
    """The last changes, and those still under way. `done` is told of each that was acknowledged."""

    def __init__(self, done: Callable[[FailoverTimer], None]) -> None:
        self._done = done
        self._open: dict[Prefix, FailoverTimer] = {}
        self._recent: deque[FailoverTimer] = deque(maxlen=KEPT)

    @property
    def timers(self) -> tuple[FailoverTimer, ...]:
        """Return the changes, oldest first."""
        return (*self._recent, *self._open.values())

    def decided(self, prefix: Prefix, change: str, seen_s: float, decided_s: float) -> None:
        """Begin to follow a change of a prefix's level."""
        if old := self._open.pop(prefix, None):
            self._recent.append(old)
        self._open[prefix] = FailoverTimer(prefix, change, seen_s, decided_s)

    def acknowledged(self, prefix: Prefix, written_s: float, acked_s: float) -> None:
        """Take ExaBGP's answer on a prefix; the first neighbor's answer after the decision ends the change."""
        timer = self._open.get(prefix)
        if timer is None or written_s < timer.decided_s:
            return
        del self._open[prefix]
        timer = replace(timer, commanded_s=written_s, acknowledged_s=acked_s)
        self._recent.append(timer)
        self._done(timer)
