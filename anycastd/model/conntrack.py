"""The kernel's table of tracked connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anycastd.model.address import Address


@dataclass(frozen=True, slots=True)
class ConntrackStats:
    """How full the table is, and what it cost packets, in this network namespace since its start.

    `dropped`: new connections that found the table full. `early_dropped`: connections forgotten to make room for new
    ones. `insert_failed`: packets dropped because another connection had their tuple (with masquerade: no port left).
    """

    count: int
    max: int
    dropped: int = 0
    early_dropped: int = 0
    insert_failed: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """How many connections were tracked at `at_s` (monotonic), of those that are pinned to a path by their mark.

    `by_eip`: by the address that the client opened them to. `by_mark`: by the path's mark. What has none is absent.
    """

    at_s: float
    by_eip: Mapping[Address, int] = field(default_factory=dict)
    by_mark: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PathConnections:
    """How many connections are pinned to paths to a backend in a mode; both empty: no EIP is bound by it any more."""

    region: str
    backend: str
    mode: str
    count: int


@dataclass(frozen=True, slots=True)
class ConntrackWanted:
    """What is wanted of connection tracking: how many entries at most (None: as it is), and liberal windows.

    `liberal` False: as it is.
    """

    max: int | None = None
    liberal: bool = True
