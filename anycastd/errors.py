"""Errors by whose fault they are. A failing target is never an exception: it is a value (`model.probe.ProbeResult`).

AnycastdError
├── ConfigError           the operator: all problems at once; start prints them and exits 78, reload keeps the old file
├── ActuatorTransient     the device, passing: back off, try again from what is observed
├── ActuatorRejected      the device, refusing: surfaced, tried again only on change
├── PacketError           wire bytes that do not parse: dropped and counted
└── InvariantError        ourselves: fail static, loud metric
"""

from __future__ import annotations

from dataclasses import dataclass


class AnycastdError(Exception):
    """The root of every error this program raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a configuration file; `line` and `column` count from 1."""

    line: int
    column: int
    path: str
    message: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class ConfigError(AnycastdError):
    """A configuration that is refused whole, with every problem found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ActuatorTransient(AnycastdError):
    """The device could not do it now; the same may work later."""


class ActuatorRejected(AnycastdError):
    """The device refused the action; repeating it unchanged is useless."""


class PacketError(AnycastdError):
    """Bytes from the wire that are not what the protocol allows."""


class InvariantError(AnycastdError):
    """A promise of our own code is broken; nothing may be changed on the strength of it."""
