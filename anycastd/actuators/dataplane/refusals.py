"""What the kernel did not do, told once for each reason, and told to be over."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from anycastd.errors import ActuatorRejected, ActuatorTransient
from anycastd.model.kernel import DeleteRoute, DeleteRule, KernelAction, KernelObserved, PutRoute, PutRule

REMEMBERED = 32
"""Subjects told of at once; a plan of ten thousand that fails whole is one cause, not ten thousand alarms."""
PASSING = frozenset(
    {errno.ENETDOWN, errno.ENODEV, errno.ENOBUFS, errno.ENOMEM, errno.EBUSY, errno.EAGAIN, errno.ENETUNREACH}
)
FOREIGN = "another program's route has this prefix, metric and table (EEXIST); it is not touched"


def subject_of(action: KernelAction) -> str:
    """Return what an action is about, in words."""
    if isinstance(action, PutRoute | DeleteRoute):
        route = action.route
        return f"{route.kind} {route.prefix} metric {route.metric} table {route.table}"
    return str(action.rule)


def error_for(action: KernelAction, code: int | None, text: str) -> ActuatorTransient | ActuatorRejected:
    """Return the error by whose fault it is; `code` is an errno, None when there was no answer."""
    verb = "put" if isinstance(action, PutRoute | PutRule) else "delete"
    if code is None:
        return ActuatorTransient(f"{verb}: {text}")
    if code == errno.EEXIST and isinstance(action, PutRoute):
        return ActuatorRejected(f"{verb}: {FOREIGN}")
    said = f"{verb}: {errno.errorcode.get(code, str(code))}: {text}"
    return ActuatorTransient(said) if code in PASSING else ActuatorRejected(said)


class Refusals:
    """The refusals that stand."""

    def __init__(self, told: Callable[[str, str | None], None]) -> None:
        self._told = told
        self._standing: dict[str, tuple[KernelAction, str]] = {}

    def failed(self, action: KernelAction, code: int | None, text: str) -> None:
        """Tell that an action failed, unless the same is known."""
        subject, error = subject_of(action), error_for(action, code, text)
        said = f"{'passing' if isinstance(error, ActuatorTransient) else 'refused'}: {error}"
        known = self._standing.get(subject)
        if (known is not None and known[1] == said) or (known is None and len(self._standing) >= REMEMBERED):
            return
        self._standing[subject] = (action, said)
        self._told(subject, said)

    def settled(self, action: KernelAction) -> None:
        """Tell that an action went through, if it had failed."""
        if self._standing:
            self._end(subject_of(action))

    def keep(self, subjects: Iterable[str]) -> None:
        """Tell of those that nobody wants any more that they are over."""
        if self._standing:
            for subject in sorted(self._standing.keys() - set(subjects)):
                self._end(subject)

    def review(self, observed: KernelObserved) -> None:
        """Tell of those that came about some other way."""
        for subject, (action, _) in tuple(self._standing.items()):
            if _is_so(action, observed):
                self._end(subject)

    def _end(self, subject: str) -> None:
        if self._standing.pop(subject, None) is not None:
            self._told(subject, None)


def _is_so(action: KernelAction, observed: KernelObserved) -> bool:
    match action:
        case PutRoute(route):
            return route in (observed.routes or ())
        case DeleteRoute(route):
            return route not in (observed.routes or ())
        case PutRule(rule):
            return rule in observed.rules
        case DeleteRule(rule):
            return rule not in observed.rules
