"""What the doctor says: findings, and the checks that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from anycastd.doctor.facts import Facts


class Severity(StrEnum):
    """`error`: the POP loses traffic or cannot start; `warning`: it will one day, or in one situation.

    `not_examined`: there was nothing to look at, so nothing is known to be well either.
    """

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"
    NOT_EXAMINED = "not_examined"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong: what, and the command that mends it."""

    severity: Severity
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the machine. `why` says what breaks, `mend` how it is mended in general (for the page).

    `needs` are parts of what is asked of the machine (a command, a file): unanswered, finding nothing means nothing.
    """

    id: str
    title: str
    why: str
    mend: str
    look: Callable[[Facts], Iterable[Trouble]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; one with severity ok or not_examined for each check that found nothing."""

    id: str
    severity: Severity
    what: str
    why: str = ""
    mend: str = ""


def error(what: str, mend: str = "") -> Trouble:
    """Return a trouble that breaks the POP."""
    return Trouble(Severity.ERROR, what, mend)


def warning(what: str, mend: str = "") -> Trouble:
    """Return a trouble that may break the POP."""
    return Trouble(Severity.WARNING, what, mend)
