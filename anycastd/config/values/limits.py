"""Values of the configuration that are limits with hysteresis: `5%`, or `[5%, 2%]` with where it ends."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from anycastd.config.shown import shown
from anycastd.config.values.fields import ValueType, duration_text, read_duration
from anycastd.model.checks import Limit

_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?) ?%\Z")
OFF = "off"


def _percent(value: object) -> float:
    found = _PERCENT.match(value) if isinstance(value, str) else None
    if found is None:
        message = f"{shown(value)} is not a percentage such as 5%"
        raise ValueError(message)
    number = float(found[1])
    if not 0 <= number < 100:
        message = f"{shown(value)} is not between 0% and 99.999%: it could never be exceeded"
        raise ValueError(message)
    return number


def _milliseconds(value: object) -> float:
    return round(read_duration(value) * 1000.0, 3)


def _limit(one: Callable[[object], float]) -> Callable[[object], Limit]:
    """Return how a limit is read: one value, ended at half of it, or a list of both."""

    def read(value: object) -> Limit:
        if not isinstance(value, list):
            above = one(value)
            return Limit(above, above / 2)
        if len(value) != 2:
            message = f"{len(value)} values; write one, or two: where it begins and where it ends"
            raise ValueError(message)
        above, until = one(value[0]), one(value[1])
        if until > above:
            message = f"ends at {shown(value[1])}, above where it begins ({shown(value[0])}): it would end at once"
            raise ValueError(message)
        return Limit(above, until)

    return read


def _or_off(read: Callable[[object], Limit]) -> Callable[[object], Limit | None]:
    return lambda value: None if value == OFF else read(value)


def _text(one: Callable[[float], str]) -> Callable[[Limit | None], str]:
    """Return how a limit is written: one value if it ends at half of it."""

    def show(limit: Limit | None) -> str:
        if limit is None:
            return OFF
        both = f"[{one(limit.above)}, {one(limit.until)}]"
        return one(limit.above) if limit.until == limit.above / 2 else both

    return show


_percent_text = _text(lambda percent: f"{percent:g}%")
_time_text = _text(lambda ms: duration_text(ms / 1000.0))


ShareLimit = Annotated[Limit, ValueType("percentage, or [percentage, percentage]", _limit(_percent), _percent_text)]
ShareLimitOrOff = Annotated[
    Limit | None,
    ValueType("percentage, [percentage, percentage] or off", _or_off(_limit(_percent)), _percent_text),
]
TimeLimit = Annotated[Limit, ValueType("time, or [time, time]", _limit(_milliseconds), _time_text)]
