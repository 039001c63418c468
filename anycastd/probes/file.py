"""File check: a file of this machine says whether the target may be used; nothing is sent.

The look is one lstat(), but on a disk that hangs it never returns: so it is made in a thread, one for each directory.
"""

from __future__ import annotations

import os
import select
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock

from anycastd.model.checks import BadWhen, FileOptions
from anycastd.model.probe import Why
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner, Reactor

Found = tuple[Why, str]


class Looks:
    """Has files looked at, and tells in the reactor's turn what was found."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._found: deque[tuple[FilePlan, Found]] = deque()
        self._lock, self._bell = Lock(), -1

    def ask(self, plan: FilePlan) -> None:
        """Have a plan's file looked at; its `take` is called with what was found, in case it is."""
        if self._bell < 0:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._reactor.watch(self._bell, self, select.EPOLLIN | select.EPOLLET)
        directory = os.path.dirname(plan.path)  # noqa: PTH120 (no Path is made for each look)
        thread = self._threads.get(directory)
        if thread is None:
            thread = self._threads[directory] = ThreadPoolExecutor(max_workers=1, thread_name_prefix="file")
        thread.submit(plan.look).add_done_callback(partial(self._looked, plan))

    def _looked(self, plan: FilePlan, done: Future[Found]) -> None:
        """Ring, in the thread, for what was found; after the end nobody hears it, and the bell may be another's."""
        if done.cancelled():
            return
        self._found.append((plan, done.result()))
        with self._lock:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def on_event(self, mask: int, now_s: float) -> None:
        """Tell what was found."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        while self._found:
            plan, found = self._found.popleft()
            plan.take(found, now_s)

    def broke(self, now_s: float) -> None:
        """Go on: the attempt that raised is the engine's matter."""

    def close(self) -> None:
        """Look no more; a look that hangs ends when its disk answers."""
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            bell, self._bell = self._bell, -1
        if bell >= 0:
            self._reactor.forget(bell)
            os.close(bell)


class FileAttempt(Attempt):
    """Waits for one look."""

    __slots__ = ("plan",)

    def __init__(self, owner: Owner, order: int, started_s: float, plan: FilePlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan = plan

    def start(self, now_s: float) -> None:
        """Ask for a look."""
        self.plan.ask(self)

    def on_timeout(self, now_s: float) -> None:
        """End: that the disk does not answer says nothing of the target."""
        self.end(Why.FILE_UNUSABLE, f"{self.plan.path}: the disk does not answer in time", now_s)

    def close(self) -> None:
        """Wait no longer."""
        self.plan.leave(self)


class FilePlan:
    """A file check. While one look is under way no other is begun: all attempts take what it finds."""

    def __init__(self, options: FileOptions, looks: Looks) -> None:
        self.path, self._when, self._looks = options.path, options.when, looks
        self._waiting: dict[FileAttempt, None] = {}
        self._asked = False

    def look(self) -> Found:
        """Return what the file says, in whatever time the disk takes; an unreadable directory says nothing."""
        try:
            # a link that leads nowhere is there: somebody has put it there
            os.lstat(self.path)
            there = True
        except FileNotFoundError:
            there = False
        except PermissionError as error:
            return Why.NO_PERMISSION, f"{self.path}: {faults.words(error.errno)}"
        except (OSError, ValueError) as error:
            return Why.FILE_UNUSABLE, f"{self.path}: {error.strerror if isinstance(error, OSError) else error}"
        state = "is there" if there else "is not there"
        if there is (self._when is BadWhen.EXISTS):
            return Why.MAINTENANCE, f"{self.path} {state}"
        return Why.ANSWERED, f"{self.path} {state}"

    def ask(self, attempt: FileAttempt) -> None:
        """Let an attempt end with the next look."""
        self._waiting[attempt] = None
        if not self._asked:
            self._asked = True
            self._looks.ask(self)

    def leave(self, attempt: FileAttempt) -> None:
        """Forget an attempt."""
        self._waiting.pop(attempt, None)

    def take(self, found: Found, now_s: float) -> None:
        """Take what was found, for all that wait."""
        self._asked = False
        for attempt in tuple(self._waiting):
            attempt.end(*found, now_s)

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return FileAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: the threads are shared."""
