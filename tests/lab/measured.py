"""The figures that lab tests measure, and the table of them in docs/failures.md.

ANYCASTD_MEASURED=/tmp/measured.json make lab && python -m tests.lab.measured /tmp/measured.json
"""

from __future__ import annotations

import json
import sys
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


PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| fault | what changed | first change after | longest gap at the client beside it | lost of asked |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        after = "-" if row.after_ms is None else f"{row.after_ms:.0f} ms"
        gap = "-" if row.gap_ms is None else f"{row.gap_ms:.0f} ms"
        lost = f"{row.lost} of {row.asked}" if row.asked else "-"
        lines.append(f"| {row.fault} | {row.changed} | {after} | {gap} | {lost} |")
    return "\n".join(lines)


def main(path: str) -> None:
    """Put the measured rows into the page."""
    rows = [Row(**row) for row in json.loads(Path(path).read_text(encoding="utf-8"))]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
