"""Configurations of the bench: quick checks and timers that never hold a change back."""

from __future__ import annotations

from typing import Any

from tests.bench.world import POP_ADDRESS, ROUTER, ROUTER_ASN

Document = dict[str, Any]

AT_ONCE = {"settle": "1h", "return_after": "0s", "return_max": "0s", "half_life": "1s"}
"""Normal again at once, never withdrawn; the change budget is free again after 0.6 s."""
LEAVES = {"settle": "0s", "return_after": "1h", "return_max": "1h", "half_life": "1s", "linger": "0s"}
"""Withdrawn at once, and back depreferenced at once."""
QUICK = {"http": {"interval": "100ms", "timeout": "1s", "rise": 1, "fall": 1}}
RISING = {"http": {"interval": "100ms", "timeout": "1s", "rise": 3, "fall": 3}}
PING = {"icmp": {"interval": "1s", "timeout": "1s", "rise": 1, "fall": 5}}
RISING_PING = {"icmp": {"interval": "100ms", "timeout": "1s", "rise": 3, "fall": 5}}
SLOW_HTTP = {"http": {"interval": "1s", "timeout": "1s"}}


def server(number: int) -> str:
    """Return the address of the server behind tunnel `number`."""
    return f"10.20.{number}.1"


def toggled(number: int) -> str:
    """Return the prefix that only tunnel `number` serves."""
    return f"44.0.{number}.0/24"


def bulk(number: int) -> str:
    """Return one of the many other prefixes."""
    return f"45.{number // 256}.{number % 256}.0/24"


def region(number: int, backends: dict[str, Any], ping: Document = PING) -> Document:
    """Return a region behind tunnel `number`."""
    tunnel = {
        "device": f"tun{number}",
        "local": f"10.100.{number}.1",
        "far_end": f"10.100.{number}.2",
        "checks": [ping],
    }
    # of so many names two would give the same number
    return {"number": number + 1, "tunnels": {f"t{number}": tunnel}, "backends": backends}


def document(regions: Document, prefixes: Document) -> Document:
    """Return a whole configuration with one neighbor."""
    neighbor = {"address": ROUTER, "asn": ROUTER_ASN, "local_address": POP_ADDRESS, "max_prefixes": 20000}
    return {
        "pop": {"name": "bench", "asn": 64500, "router_id": POP_ADDRESS},
        "neighbors": {"transit": {**neighbor, "hold_time": "60s"}},
        "regions": regions,
        "prefixes": prefixes,
        # what is measured is how fast many are withdrawn
        "safety": {"breaker": {"withdrawals": 1_000_000}},
        "logging": {"format": "json"},
    }


def one_each(count: int, check: Document = QUICK, ping: Document = PING) -> tuple[Document, Document]:
    """Return `count` regions with a server each, and for each region a prefix that depends on it alone."""
    regions = {f"r{n}": region(n, {"web": {"address": server(n), "checks": [check]}}, ping) for n in range(count)}
    prefixes = {
        toggled(n): {"announce_when": {"regions": "any", "of": [f"r{n}"]}, "timers": AT_ONCE} for n in range(count)
    }
    return regions, prefixes


def with_bulk(count: int, many: int) -> Document:
    """Return `one_each` and beside it `many` prefixes of region `bulk`, behind tunnel `count`."""
    regions, prefixes = one_each(count)
    regions["bulk"] = region(count, {"web": {"address": server(count), "checks": [QUICK]}})
    when = {"regions": "any", "of": ["bulk"]}
    for n in range(many):
        prefixes[bulk(n)] = {"announce_when": when, "last_resort": "withdraw", "timers": LEAVES}
    return document(regions, prefixes)
