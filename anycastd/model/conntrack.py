"""The kernel's table of tracked connections."""

from __future__ import annotations

from dataclasses import dataclass


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
