"""How the values of an EIP are written: rates, port maps, backends. For the file, the API and the command line. Pure.

Each `read_` takes what was written and raises ValueError with a sentence; it imports nothing that is slow to load.
"""

from __future__ import annotations

import re
from fractions import Fraction

from anycastd.config.shown import shown
from anycastd.model.address import BackendId
from anycastd.model.eip import PortMap, Transport

MIN_RATE_BPS = 64_000
MAX_RATE_BPS = 400_000_000_000
MAX_PORT = 65535

_UNIT_BPS = {"kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(kbit|mbit|gbit)\Z")
_PORT_MAP = re.compile(r"(tcp|udp)/([0-9]{1,5}):([0-9]{1,5})\Z")
_BACKEND = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}/[A-Za-z][A-Za-z0-9_-]{0,31}\Z")


def rate_text(bps: int) -> str:
    """Return bits per second as they are written: 64kbit, 200mbit, 1gbit; a plain number where no unit fits."""
    for unit, size in reversed(_UNIT_BPS.items()):
        if bps and bps % size == 0:
            return f"{bps // size}{unit}"
    return str(bps)


def read_rate(value: object) -> int:
    """Return bits per second from `64kbit`, `200mbit`, `1.5gbit` or a plain number of them; decimal units."""
    if isinstance(value, int) and not isinstance(value, bool):
        bps = value
    elif isinstance(value, str) and (found := _RATE.match(value)):
        exact = Fraction(found[1]) * _UNIT_BPS[found[2]]
        bps = exact.numerator // exact.denominator
    else:
        message = f"{shown(value)} is not a rate; write 64kbit, 200mbit, 1gbit or a number of bits per second"
        raise ValueError(message)
    if not MIN_RATE_BPS <= bps <= MAX_RATE_BPS:
        message = f"{shown(value)} is not between {rate_text(MIN_RATE_BPS)} and {rate_text(MAX_RATE_BPS)}"
        raise ValueError(message)
    return bps


def port_map_text(one: PortMap) -> str:
    """Return a port map as it is written: `tcp/80:8080`."""
    return f"{one.transport}/{one.port}:{one.to_port}"


def read_port_map(value: object) -> PortMap:
    """Return the map of `tcp/80:8080`: packets to port 80 go to port 8080 of the backend."""
    found = _PORT_MAP.match(value) if isinstance(value, str) else None
    if found is None:
        message = f"{shown(value)} is not a port map; write tcp/80:8080 or udp/53:5353, in quotes"
        raise ValueError(message)
    port, to_port = int(found[2]), int(found[3])
    for number in (port, to_port):
        if not 1 <= number <= MAX_PORT:
            message = f"{shown(value)}: port {number} is not between 1 and {MAX_PORT}"
            raise ValueError(message)
    return PortMap(Transport(found[1]), port, to_port)


def read_backend(value: object) -> BackendId:
    """Return the id of a backend, `REGION/BACKEND`; whether there is one is another question."""
    if not isinstance(value, str) or not _BACKEND.match(value):
        message = f"{shown(value)} does not name a backend; write REGION/BACKEND, such as eu-central/web-1"
        raise ValueError(message)
    return BackendId(value)
