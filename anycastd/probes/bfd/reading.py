"""BFD check by a routing daemon's sessions: its tool is run by the warden, once for all checks that ask meanwhile."""

from __future__ import annotations

import os

from anycastd.errors import InvariantError
from anycastd.model.checks import ProbeSpec, Via
from anycastd.model.probe import Why
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner
from anycastd.probes.bfd import foreign
from anycastd.probes.exec.probe import PATH, one_line
from anycastd.probes.exec.programs import Programs

KEPT_BYTES = 1 << 20
_ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8"}


class Reading:
    """One run of the tool at a time, and who waits for what it says."""

    def __init__(self, via: Via, programs: Programs) -> None:
        self.via, self._programs = via, programs
        self._waiting: dict[ForeignAttempt, None] = {}
        self._number = 0

    def ask(self, attempt: ForeignAttempt, now_s: float) -> None:
        """Have an attempt told what the tool says next."""
        self._waiting[attempt] = None
        if self._number:
            return
        try:
            self._number = self._programs.run(self, foreign.COMMANDS[self.via], _ENVIRONMENT, KEPT_BYTES)
        except OSError as error:
            self._tell(Why.BFD_UNKNOWN, f"the tool cannot be started: {faults.words(error.errno)}", now_s)

    def leave(self, attempt: ForeignAttempt) -> None:
        """Forget an attempt; a tool that nobody waits for is ended."""
        self._waiting.pop(attempt, None)
        if not self._waiting and self._number:
            number, self._number = self._number, 0
            self._programs.kill(number)

    def began(self) -> None:
        """Learn that it runs."""

    def said(self, text: str) -> None:
        """Wait for its whole output."""

    def finished(self, status: int, output: str, cut: bool, now_s: float) -> None:
        """Tell everybody what it said."""
        self._number = 0
        code, name = os.waitstatus_to_exitcode(status), foreign.NAMES[self.via]
        if code or cut:
            self._tell(Why.BFD_UNKNOWN, f"{name} does not answer (exit {code}): {one_line(output[:300])}", now_s)
            return
        try:
            found = foreign.sessions(self.via, output)
        except foreign.UnreadableError as error:
            self._tell(Why.BFD_UNKNOWN, f"{name}: {error}", now_s)
            return
        for attempt in tuple(self._waiting):
            session = found.get(attempt.plan.peer)
            missing = (Why.BFD_UNKNOWN, f"{name} has no session with {attempt.plan.peer}")
            attempt.tell(*(missing if session is None else session.verdict), now_s)

    def refused(self, number: int, now_s: float) -> None:
        """Tell everybody that it cannot be started."""
        self._number = 0
        self._tell(Why.BFD_UNKNOWN, f"the tool cannot be started: {faults.words(number)}", now_s)

    def overdue(self, now_s: float) -> bool:
        """Return whether who runs it hung, so that all have been told."""
        return self._programs.replaced(now_s)

    def lost(self, what: str, now_s: float) -> None:
        """Tell everybody that who ran it is gone."""
        self._number = 0
        self._tell(Why.BFD_UNKNOWN, f"the process that runs programs {what}", now_s)

    def _tell(self, why: Why, detail: str, now_s: float) -> None:
        for attempt in tuple(self._waiting):
            attempt.tell(why, detail, now_s)


class ForeignAttempt(Attempt):
    """One look at what the routing daemon says."""

    __slots__ = ("plan",)

    def __init__(self, owner: Owner, order: int, started_s: float, plan: ForeignPlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan = plan

    def start(self, now_s: float) -> None:
        """Ask."""
        self.plan.reading.ask(self, now_s)

    def tell(self, why: Why, detail: str, now_s: float) -> None:
        """End. How long the tool took is no round trip."""
        self.started_s = now_s
        self.end(why, detail, now_s)

    def on_timeout(self, now_s: float) -> None:
        """End: that the tool is slow says nothing of the path."""
        if self.plan.reading.overdue(now_s):
            return
        self.tell(Why.BFD_UNKNOWN, f"{foreign.NAMES[self.plan.reading.via]} has not answered in time", now_s)

    def close(self) -> None:
        """Wait no longer."""
        self.plan.reading.leave(self)


class ForeignPlan:
    """A BFD check of one peer of the routing daemon."""

    def __init__(self, spec: ProbeSpec, reading: Reading) -> None:
        self.peer, self.reading = spec.target, reading

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a look that was not started yet."""
        return ForeignAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: the reading is shared."""


class Readings:
    """The readings of a registry, one for each routing daemon."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._made: dict[Via, Reading] = {}

    def plan(self, spec: ProbeSpec, via: Via) -> ForeignPlan:
        """Return the plan of a check. Raise InvariantError for our own speaker, which is not asked."""
        if via is Via.OWN:
            message = f"{spec.id} is spoken by ourselves"
            raise InvariantError(message)
        if via not in self._made:
            self._made[via] = Reading(via, self._programs)
        return ForeignPlan(spec, self._made[via])
