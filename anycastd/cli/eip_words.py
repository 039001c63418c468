"""Rates, targets and ports as an operator writes them, to the API's JSON and back. Standard library only."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_UNIT_BPS = {"": 1, "bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_RATE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(kbit|mbit|gbit|bit|)\Z", re.IGNORECASE)
_TARGET = re.compile(r"([^:@\s]+)(?::([0-9]{1,6}))?(?:@([0-9]{1,6}))?\Z")
_PORT = re.compile(r"(tcp|udp)/([0-9]{1,6}):([0-9]{1,6})\Z")


def rate_of(text: str) -> int | None:
    """Return bits per second from `200mbit`, `1.5gbit`, `64000`; None from `none`; ValueError says what is wanted."""
    if text == "none":
        return None
    found = _RATE.match(text)
    if found is None:
        message = f"{text!r} is not a rate; write 64kbit, 200mbit, 1.5gbit or a number of bits per second, or none"
        raise ValueError(message)
    return int(Decimal(found[1]) * _UNIT_BPS[found[2].lower()])


def rate_text(bps: int | None) -> str:
    """Return a rate in the largest unit in which it is a whole number."""
    if bps is None:
        return "-"
    for unit in ("gbit", "mbit", "kbit"):
        if bps >= _UNIT_BPS[unit] and bps % _UNIT_BPS[unit] == 0:
            return f"{bps // _UNIT_BPS[unit]}{unit}"
    return f"{bps}bit"


def target_of(text: str) -> dict[str, Any]:
    """Return a target from `region/backend:weight@priority`; weight and priority may be left out."""
    found = _TARGET.match(text)
    if found is None or "/" not in found[1]:
        message = (
            f"{text!r} is not a target; write region/backend, region/backend:WEIGHT or region/backend:WEIGHT@PRIORITY"
        )
        raise ValueError(message)
    target: dict[str, Any] = {"backend": found[1]}
    if found[2] is not None:
        target["weight"] = int(found[2])
    if found[3] is not None:
        target["priority"] = int(found[3])
    return target


def port_of(text: str) -> dict[str, Any]:
    """Return a port map from `tcp/80:8080`."""
    found = _PORT.match(text)
    if found is None:
        message = f"{text!r} is not a port map; write tcp/80:8080 or udp/53:5353"
        raise ValueError(message)
    return {"transport": found[1], "port": int(found[2]), "to_port": int(found[3])}
