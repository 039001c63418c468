"""The one way a test waits: until something is so, or a deadline passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02
AT_LEAST_S = 15.0
"""What every deadline is at least: it is no claim, and a slow or busy machine must meet it. What must be quick is
measured."""


class NotInTimeError(AssertionError):
    """What was waited for did not become so before the deadline."""


def wait_until(what: str, deadline_s: float, so: Callable[[], T | None], every_s: float = POLL_S) -> T:
    """Return the first truthy value of `so()`; raise NotInTimeError after `deadline_s` seconds.

    It is asked every 20 ms, or `every_s`, but no more than half of the time: a question may be a dozen programs, whose
    processor others wait for. A deadline below AT_LEAST_S is raised to it.

    An AssertionError raised by `so` counts as "not yet" and is shown if the deadline passes.
    """
    deadline_s = max(deadline_s, AT_LEAST_S)
    end_s = time.monotonic() + deadline_s
    last: object = None
    while True:
        asked_s = time.monotonic()
        try:
            value = so()
        except AssertionError as error:
            last, value = error, None
        else:
            last = value
        if value:
            return value
        now_s = time.monotonic()
        if now_s > end_s:
            message = f"not within {deadline_s} s: {what} (last seen: {last!r})"
            raise NotInTimeError(message)
        time.sleep(max(every_s, now_s - asked_s))
