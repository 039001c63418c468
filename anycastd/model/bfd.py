"""What is known of the process that speaks BFD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BfdView:
    """What is known of the process and its sessions, as of now. Counts are the process's own, since its start.

    `late_s` is the worst lateness of a transmission since the last beat, `late_worst_s` since it started.
    """

    connected: bool = False
    pid: int | None = None
    adopted: bool = False
    realtime: bool = False
    locked: bool = False
    restarts: int = 0
    trouble: str = ""
    sessions: Mapping[str, int] = field(default_factory=dict)
    """How many sessions are in each state; `unknown` are those that are not told of."""
    downs: int = 0
    late_s: float = 0.0
    late_worst_s: float = 0.0
    sent: int = 0
    heard: int = 0
    unsent: int = 0
    discarded: Mapping[str, int] = field(default_factory=dict)
