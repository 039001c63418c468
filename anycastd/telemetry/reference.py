"""Write docs/metrics.md and docs/reasons.md: `python -m anycastd.telemetry.reference DIRECTORY`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from anycastd.model.decision import Reason
from anycastd.model.probe import Why
from anycastd.telemetry.catalogue import BUCKETS_S, CATALOGUE, Kind
from anycastd.telemetry.meaning import Meaning
from anycastd.telemetry.reasons import SECTIONS

_MADE = "<!-- made by `python -m anycastd.telemetry.reference docs`; do not edit -->"


def metrics_page() -> str:
    """Return docs/metrics.md."""
    lines = [
        "# Metrics",
        "",
        _MADE,
        "",
        "`GET /metrics` in Prometheus' text format. Times are seconds, times of day Unix seconds. Label values come "
        "only from the configuration and from closed lists ([reasons](reasons.md)), so their number is bounded.",
    ]
    for kind, title in ((Kind.GAUGE, "Gauges"), (Kind.COUNTER, "Counters"), (Kind.HISTOGRAM, "Histograms")):
        lines += ["", f"## {title}", ""]
        if kind is Kind.HISTOGRAM:
            lines += [f"Buckets in seconds: {', '.join(f'{bound:g}' for bound in BUCKETS_S)}.", ""]
        lines += ["| name | labels | what |", "|---|---|---|"]
        for spec in (spec for spec in CATALOGUE if spec.kind is kind):
            labels = ", ".join(f"`{label}`" for label in spec.labels)
            values = f" ({spec.values})" if spec.values else ""
            lines.append(f"| `{spec.name}` | {labels}{values} | {spec.text} |")
    return "\n".join(lines) + "\n"


def _entry(value: StrEnum, meaning: Meaning) -> Iterator[str]:
    yield from ("", f"### {value.value}", "")
    note = ""
    if isinstance(value, Reason) and value.holds:
        note = " *Holds a change back.*"
    if isinstance(value, Why):
        note = f" *Outcome: {value.outcome.value}.*"
    yield meaning.says + note
    if meaning.do:
        yield from ("", f"**What to do:** {meaning.do}")


def reasons_page() -> str:
    """Return docs/reasons.md."""
    lines = [
        "# Reasons",
        "",
        _MADE,
        "",
        "Every yes, no and not-yet has a reason from one of these lists. The word is the same in the log, in the "
        "metrics, in the API and here.",
    ]
    for title, text, meanings in SECTIONS:
        lines += ["", f"## {title}", "", text]
        for value, meaning in meanings:
            lines += _entry(value, meaning)
    return "\n".join(lines) + "\n"


PAGES = {"metrics.md": metrics_page, "reasons.md": reasons_page}


def main(directory: str) -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (Path(directory) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs")
