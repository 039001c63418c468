"""Who has reached which stage: where the threads that start nodes wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from anycastd.lab.errors import LabError

# A node and a stage it has left, or AT_LINKS.
Step = tuple[str, str]
# A node has entered create-links: its waits and on-enter commands are done, its links may be made.
AT_LINKS = "links may be made"


class Stopped(LabError):
    """Another node failed, so this one is given up."""


class Board:
    """The stages that nodes have left; a failure anywhere ends all waiting."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._end_s = time.monotonic() + deadline_s
        self._changed = threading.Condition()
        self._left: set[Step] = set()
        self._is_stopped = False

    def leave(self, node: str, step: str) -> None:
        """Note that a node has left a stage, or is AT_LINKS."""
        with self._changed:
            self._left.add((node, step))
            self._changed.notify_all()

    def has_left(self, node: str, step: str) -> bool:
        """Say whether a node has left a stage, or is AT_LINKS."""
        with self._changed:
            return (node, step) in self._left

    def stop(self) -> None:
        """End all waiting, everywhere."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def left_s(self) -> float:
        """Give the seconds that are left for the whole start; raise Stopped if it is given up."""
        if self._is_stopped:
            message = "given up because another node failed"
            raise Stopped(message)
        return max(0.0, self._end_s - time.monotonic())

    def wait_for(self, node: str, steps: Collection[Step]) -> None:
        """Wait until all steps are done; raise LabError at the deadline."""
        with self._changed:
            while missing := sorted(set(steps) - self._left):
                if not self._changed.wait(self.left_s()) and self.left_s() <= 0:
                    named = ", ".join(f"{other}:{stage}" for other, stage in missing)
                    message = f"{node}: still waiting for {named} after {self.deadline_s:.0f} s"
                    raise LabError(message)

    def pause(self, seconds: float) -> None:
        """Wait for a time, or until the start is given up."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped, min(seconds, self.left_s()))
        self.left_s()
