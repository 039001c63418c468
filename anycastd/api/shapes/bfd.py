"""The process that speaks BFD, as the API shows it."""

from __future__ import annotations

from anycastd.api.shapes.shape import Shape


class BfdProcess(Shape):
    """The process that speaks BFD; `restarts` since the daemon started, all other counts since it started itself."""

    connected: bool
    pid: int | None
    adopted: bool
    realtime: bool
    locked: bool
    restarts: int
    trouble: str
    sessions: dict[str, int]
    downs: int
    late_ms: float
    late_worst_ms: float
    discarded: dict[str, int]
