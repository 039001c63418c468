"""What the probe engine counts of itself, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass

LATE_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Up to which lateness a start is counted together with others; the last count is of what was later still."""


@dataclass(frozen=True, slots=True)
class EngineStats:
    """Counts since the start, and how late probes were begun, in seconds.

    `overtaken`: ended after a newer probe of the same check had reported, and marked so. `skipped`: slots left out
    because we came too late or too many were in flight. `stalled_s`: time for which our own loop stood still.
    `late_counts`: starts by how late they were, one for each of LATE_BOUNDS_S and one beyond. `unopened`: probes that
    were not begun since as many sockets were open as may be.
    """

    checks: int = 0
    started: int = 0
    running: int = 0
    sockets_open: int = 0
    overtaken: int = 0
    skipped: int = 0
    late_last_s: float = 0.0
    late_max_s: float = 0.0
    late_sum_s: float = 0.0
    stalled_s: float = 0.0
    unopened: int = 0
    late_counts: tuple[int, ...] = (0,) * (len(LATE_BOUNDS_S) + 1)

    def plus(self, other: EngineStats) -> EngineStats:
        """Return what two engines counted together; of the lateness the greater."""
        return EngineStats(
            checks=self.checks + other.checks,
            started=self.started + other.started,
            running=self.running + other.running,
            sockets_open=self.sockets_open + other.sockets_open,
            overtaken=self.overtaken + other.overtaken,
            skipped=self.skipped + other.skipped,
            late_last_s=max(self.late_last_s, other.late_last_s),
            late_max_s=max(self.late_max_s, other.late_max_s),
            late_sum_s=self.late_sum_s + other.late_sum_s,
            stalled_s=self.stalled_s + other.stalled_s,
            unopened=self.unopened + other.unopened,
            late_counts=tuple(map(sum, zip(self.late_counts, other.late_counts, strict=True))),
        )

    def late_below_s(self, share: float) -> float | None:
        """Return a time that this share of all starts was not later than, as far as LATE_BOUNDS_S tell; None = beyond.

        0 if there was none.
        """
        wanted, seen = share * sum(self.late_counts), 0
        if not wanted:
            return 0.0
        for bound_s, count in zip(LATE_BOUNDS_S, self.late_counts, strict=False):
            seen += count
            if seen >= wanted:
                return bound_s
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbingConfig:
    """In how many further processes probes run (0 = in the daemon), and how long these may be silent, in seconds."""

    workers: int = 0
    worker_start_s: float = 10.0
    worker_silent_s: float = 1.0
    worker_replace_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ProbingFacts:
    """What is exported of the probe engine: its counts, which workers there are and whether each runs, and losses."""

    stats: EngineStats = EngineStats()
    workers: tuple[tuple[str, bool], ...] = ()
    lost: int = 0
