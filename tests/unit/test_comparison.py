"""Each claim of docs/comparison.md names a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLAIMS = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8"))


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of a file's tests."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def test_every_claim_names_a_test_that_exists() -> None:
    assert len(CLAIMS) > 50
    assert [f"{file}::{name}" for file, name in CLAIMS if name not in names_in(file)] == []
