"""The shapes of what is told of the probe engine."""

from __future__ import annotations

from anycastd.api.shapes.shape import Shape


class ProbeWorker(Shape):
    """A process that checks run in."""

    name: str
    up: bool


class Probing(Shape):
    """How the probe engine does. `late_p99_ms`: 99 of 100 probes were begun within so much of their time.

    It is one of the bounds of `anycastd_probe_start_late_seconds`; null: beyond the last.
    """

    checks: int
    running: int
    sockets: int
    late_p99_ms: float | None
    late_max_ms: float
    skipped: int
    no_descriptors: int
    workers: list[ProbeWorker]
    workers_lost: int
