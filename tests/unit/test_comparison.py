"""Each claim of docs/comparison.md names a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.compare.page import BEGIN, END, Findings

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


def measured_in(page: str) -> str:
    """Return the measured table of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    return text.partition(BEGIN)[2].partition(END)[0]


def test_the_table_of_the_readme_is_the_one_that_was_measured() -> None:
    assert measured_in("README.md") == measured_in("docs/comparison.md")


def test_what_was_found_is_put_into_each_page_that_is_named(tmp_path: Path) -> None:
    pages = [tmp_path / "one.md", tmp_path / "two.md"]
    for page in pages:
        page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    found = Findings(about="One run.")
    found.add("cut", "us", "1.0 s")
    found.write(f"{pages[0]}:{pages[1]}")
    table = "| fault | us |\n|---|---|\n| cut | 1.0 s |"
    assert {page.read_text(encoding="utf-8") for page in pages} == {
        f"before\n{BEGIN}\n{table}\n\nOne run.\n{END}\nafter\n"
    }
