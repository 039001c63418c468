"""Exec check: the exit status of a program."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping

from anycastd.model.checks import ExecOptions, ProbeSpec
from anycastd.model.probe import Why
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner
from anycastd.probes.exec.programs import MAX_RUNNING, Programs

SHELL = "/bin/sh"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_THE_SHELL = (126, 127)
"""What sh says of a command that is not there or cannot be run (POSIX, 2.8.2)."""


def environment(spec: ProbeSpec) -> dict[str, str]:
    """Return all that the program finds in its environment."""
    facts: Mapping[str, object | None] = {
        "CHECK": spec.id,
        "TARGET": spec.target,
        "TARGET_NAME": None if spec.name is None else spec.name.name,
        "FAMILY": f"ipv{spec.target.version}",
        "SOURCE": spec.source,
        "DEVICE": spec.device,
        "REGION": spec.region,
        "TUNNEL": spec.tunnel,
        "BACKEND": spec.backend,
        "TIMEOUT": f"{spec.check.timing.timeout_s:g}",
    }
    known = {f"ANYCASTD_{name}": str(value) for name, value in facts.items() if value is not None}
    return {"PATH": PATH, "LANG": "C.UTF-8", **known}


class ExecAttempt(Attempt):
    """One run of the program."""

    __slots__ = ("number", "output", "plan", "runs")

    def __init__(self, owner: Owner, order: int, started_s: float, plan: ExecPlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan, self.number, self.runs, self.output = plan, 0, False, ""

    def start(self, now_s: float) -> None:
        """Order it."""
        programs = self.plan.programs
        if programs.running >= MAX_RUNNING:
            self.end(Why.CANNOT_START, f"{MAX_RUNNING} programs run already", now_s)
            return
        try:
            self.number = programs.run(self, self.plan.argv, self.plan.env)
        except OSError as error:
            self._cannot(error.errno, now_s)

    def began(self) -> None:
        """Learn that it runs."""
        self.runs = True

    def said(self, text: str) -> None:
        """Keep its first output, for a timeout."""
        self.output = text

    def finished(self, status: int, output: str, cut: bool, now_s: float) -> None:
        """End with its exit status."""
        self.number = 0
        code, said = os.waitstatus_to_exitcode(status), one_line(output, cut=cut)
        if code < 0:
            self.end(Why.PROGRAM_KILLED, _with(f"killed by {_name_of(-code)}", said), now_s)
        elif not code:
            self.end(Why.ANSWERED, said, now_s)
        elif self.plan.shell and code in _OF_THE_SHELL:
            self.end(Why.CANNOT_START, _with(f"exit status {code} of the shell", said), now_s)
        else:
            self.end(Why.BAD_EXIT, _with(f"wanted exit status 0, came {code}", said), now_s)

    def refused(self, number: int, now_s: float) -> None:
        """End: it cannot be started, which says nothing of the target."""
        self.number = 0
        self._cannot(number, now_s)

    def lost(self, what: str, now_s: float) -> None:
        """End: who ran it is gone."""
        self.number = 0
        self.end(Why.CANNOT_START, f"the process that runs programs {what}", now_s)

    def _cannot(self, number: int | None, now_s: float) -> None:
        why = Why.NO_DESCRIPTORS if number in (errno.EMFILE, errno.ENFILE) else Why.CANNOT_START
        self.end(why, f"{self.plan.argv[0]}: {faults.words(number)}", now_s)

    def on_timeout(self, now_s: float) -> None:
        """End; that it was not even started, or that nobody saw it end, is our own fault."""
        if self.plan.programs.replaced(now_s):
            return
        if self.runs:
            self.end(Why.TIMEOUT, self.doing(), now_s)
        else:
            self.end(Why.CANNOT_START, f"{self.plan.argv[0]}: not started in time", now_s)

    def doing(self) -> str:
        """Return what is being waited for."""
        return _with("still running, killed", one_line(self.output))

    def close(self) -> None:
        """Kill it with all its children, if it still runs."""
        if self.number:
            self.plan.programs.kill(self.number)


class ExecPlan:
    """An exec check of one target."""

    def __init__(self, spec: ProbeSpec, options: ExecOptions, programs: Programs) -> None:
        self.programs, self.shell = programs, options.shell
        self.argv = (SHELL, "-c", *options.argv) if options.shell else options.argv
        self.env = environment(spec)

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return ExecAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: the warden is the registry's."""


def one_line(text: str, *, cut: bool = False) -> str:
    """Return output as one printable line."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    words = " / ".join(line for line in lines if line)
    plain = "".join(letter if letter.isprintable() else "?" for letter in words)
    return f"{plain} ..." if cut else plain


def _with(what: str, said: str) -> str:
    return f"{what}: {said}" if said else what


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
