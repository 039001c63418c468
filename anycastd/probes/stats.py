"""What the engine counts of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the start, and how late probes were begun, in seconds.

    `overtaken`: ended after a newer probe of the same check had reported, and marked so. `skipped`: slots left out
    because we came too late or too many were in flight. `stalled_s`: time for which our own loop stood still.
    """

    checks: int
    started: int
    running: int
    sockets_open: int
    overtaken: int
    skipped: int
    late_last_s: float
    late_max_s: float
    stalled_s: float
