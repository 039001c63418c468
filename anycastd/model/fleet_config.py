"""The fleet as the operator configured it: the POPs, where beacons live, and the times that all of them keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from anycastd.model.address import Prefix


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPop:
    """One POP of the fleet; `number` 1..254 is its address in the beacon networks. Times are those of all POPs."""

    name: str
    number: int
    failure_domain: str = ""
    """POPs of one domain fail together: of them only one counts; empty = its own."""
    router_id: IPv4Address | None = None
    """If set, a beacon that a reflector had from another router is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConfig:
    """The POPs that announce our prefixes, and how they tell each other of it (I1).

    `heartbeat_s`: how often an unchanged beacon is said again; one that is silent for three of them is not counted.
    `beacon_gap_s`: the least time between two beacons. `blind_s`: how long no observer may be up before a withdrawn
    prefix returns. `boot_s`: how long a start waits for checks before it fails open. `min_upstreams`: to how many
    established upstreams a prefix must be acknowledged to be called NORMAL. `by_store`: beacons go through the fleet's
    store too, beside the observers or in their place; `key_file` holds the secret that they are signed with, there and
    to observers, and `accepts_unsigned` says whether those of others that are not are believed all the same.
    """

    own: FleetPop
    pops: Mapping[str, FleetPop]
    beacon_networks: tuple[Prefix, ...]
    """One of each family at most."""
    heartbeat_s: float = 3.0
    beacon_gap_s: float = 0.1
    blind_s: float = 10.0
    boot_s: float = 60.0
    min_upstreams: int = 1
    by_store: bool = False
    key_file: str | None = None
    accepts_unsigned: bool = False
