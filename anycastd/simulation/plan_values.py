"""How the values of an attack plan are written: rates, shares, names. Each raises ValueError with a sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from anycastd.attack.plan import MOST_PREPENDS
from anycastd.config.shown import shown

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}\Z")
_NUMBER = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]*)\Z")
_BITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_PACKETS = {"pps": 1, "kpps": 10**3, "mpps": 10**6, "gpps": 10**9}
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%\Z")
MOST = 10**15


@dataclass(frozen=True, slots=True)
class Kind:
    """How one value is read: `read` returns it or raises ValueError."""

    read: Callable[[object], Any]


def _rate(units: Mapping[str, int], example: str, *, zero: bool = False) -> Callable[[object], float]:
    def read(value: object) -> float:
        text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        found = _NUMBER.match(text) if isinstance(text, str) else None
        factor = units.get(found[2]) if found is not None and found[2] else 1
        if found is None or factor is None:
            message = f"{shown(value)} is not a rate; write {example} or a number per second"
            raise ValueError(message)
        number = Fraction(found[1]) * factor
        if number > MOST or (number == 0 and not zero):
            message = f"{shown(value)} is not a rate " + ("up to a petabit" if number else "above 0")
            raise ValueError(message)
        return float(number)

    return read


def _share(value: object) -> float:
    found = _PERCENT.match(value) if isinstance(value, str) else None
    if found is None or Fraction(found[1]) > 100:
        message = f"{shown(value)} is not a share; write it as 0% to 100%"
        raise ValueError(message)
    return float(Fraction(found[1]) / 100)


def _times(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PREPENDS:
        message = f"{shown(value)} is not a number of prepends, 0 to {MOST_PREPENDS}: more of them move nothing more"
        raise ValueError(message)
    return value


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 64:
        message = f"{shown(value)} is not a community; write it in quotes, or give it a name of yours"
        raise ValueError(message)
    return value


def _announce(value: object) -> bool:
    if value not in ("normal", "standby"):
        message = f"{shown(value)} is not normal or standby"
        raise ValueError(message)
    return value == "standby"


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.match(value):
        message = f"{shown(value)} is not a name: a letter, then letters, digits, - or _, 32 at most"
        raise ValueError(message)
    return value


BITS_EXAMPLE, PACKETS_EXAMPLE = "64kbit, 40gbit, 1.2tbit", "800kpps, 30mpps"
BITS, PACKETS = (Kind(_rate(*one)) for one in ((_BITS, BITS_EXAMPLE), (_PACKETS, PACKETS_EXAMPLE)))
SOME_BITS, SOME_PACKETS = Kind(_rate(_BITS, BITS_EXAMPLE, zero=True)), Kind(_rate(_PACKETS, PACKETS_EXAMPLE, zero=True))
"""Rates above 0, and rates that may be 0."""
SHARE, TIMES, WORD, ANNOUNCE, NAME = (Kind(one) for one in (_share, _times, _word, _announce, _name))
