"""The figures that lab tests measure, kept for the failure table of the documentation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: what changed at which router after how long, and the longest time a client went unserved."""

    fault: str
    changed: str
    after_ms: float | None
    gap_ms: float | None
    lost: int
    asked: int


@dataclass(slots=True)
class Measured:
    """Rows in the order in which they were measured."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Keep a row, and say it."""
        self.rows.append(row)
        after = "-" if row.after_ms is None else f"{row.after_ms:.0f} ms"
        gap = "-" if row.gap_ms is None else f"{row.gap_ms:.0f} ms"
        print(f"\nmeasured: {row.fault}: {row.changed}; after {after}; gap {gap}; lost {row.lost} of {row.asked}")

    def write(self, path: str | None) -> None:
        """Write the rows as JSON."""
        if path and self.rows:
            Path(path).write_text(json.dumps([asdict(row) for row in self.rows], indent=1) + "\n", encoding="utf-8")
