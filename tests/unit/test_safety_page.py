"""docs/safety.md against the code: every name, reason, metric and test that its table mentions exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from anycastd.telemetry.catalogue import CATALOGUE
from anycastd.telemetry.reasons import SECTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "safety.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| S")]
BUILT = [row for row in ROWS if not row[2].startswith("not built")]
REASONS = {value.value for _, _, meanings in SECTIONS for value, _ in meanings}
METRICS = {spec.name for spec in CATALOGUE}


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return what a module defines at its top: functions, classes and values."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        for target in (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        ):
            found |= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    return frozenset(found)


def quoted(cell: str) -> list[str]:
    found = re.findall(r"`([^`]+)`", cell)
    assert found, cell
    return found


def place(text: str, below: Path) -> None:
    path, _, name = text.partition(": ")
    assert name in names_in(below / path), text


def test_every_rule_has_a_row_in_its_order() -> None:
    assert [row[0].split()[0] for row in ROWS] == [f"S{number}" for number in range(1, 30)]
    assert all(len(row) == 6 for row in ROWS)


@pytest.mark.parametrize("row", BUILT, ids=lambda row: row[0])
def test_what_a_row_mentions_exists(row: list[str]) -> None:
    for text in quoted(row[2]):
        place(text, ROOT / "anycastd")
    assert set(quoted(row[3])) <= REASONS
    assert set(quoted(row[4])) <= METRICS
    for text in quoted(row[5]):
        place(text, ROOT)


def test_every_rule_is_built() -> None:
    assert BUILT == ROWS
