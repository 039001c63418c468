"""The generated pages are complete, and the ones committed are those that the code makes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import pytest

from anycastd.model.decision import Reason
from anycastd.model.health import HealthReason
from anycastd.model.journal import EntryKind, LostWhy
from anycastd.model.probe import Why
from anycastd.model.status import Alarm
from anycastd.telemetry.catalogue import CATALOGUE
from anycastd.telemetry.reasons import SECTIONS
from anycastd.telemetry.reference import PAGES, main, metrics_page, reasons_page

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_one_the_code_makes(name: str, tmp_path: Path) -> None:
    main(str(tmp_path))
    assert (DOCS / name).read_text() == (tmp_path / name).read_text(), "run: make docs"


@pytest.mark.parametrize("values", [Reason, HealthReason, Why, Alarm, EntryKind, LostWhy])
def test_every_reason_is_a_heading_with_a_meaning(values: type[StrEnum]) -> None:
    section = next(meanings for _, _, meanings in SECTIONS if any(isinstance(value, values) for value, _ in meanings))
    assert [value for value, _ in section] == list(values)
    assert all(meaning.says.endswith(".") for _, meaning in section)
    page = reasons_page()
    assert all(f"\n### {value.value}\n" in page for value in values)


def test_every_metric_is_in_the_page() -> None:
    page = metrics_page()
    assert all(page.count(f"| `{spec.name}` |") == 1 for spec in CATALOGUE)
