"""Files that are good or bad, each with exactly what is said of it in the .txt beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.config.load import examine, load, problems
from anycastd.errors import ConfigError
from tests.unit.config.places import BAD, EXAMPLE, GOOD


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_mistake_is_told_at_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(ConfigError) as refused:
        load(file.name)
    assert [str(problem) for problem in refused.value.problems] == file.with_suffix(".txt").read_text().splitlines()
    assert refused.value.problems == problems(file.name)


@pytest.mark.parametrize("file", sorted(GOOD.glob("*.yaml")), ids=lambda file: file.stem)
def test_good_files_load_with_these_warnings(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert list(load(file.name).warnings) == file.with_suffix(".txt").read_text().splitlines()


def test_the_example_that_is_shipped_has_nothing_to_complain_of() -> None:
    examined = examine(str(EXAMPLE))
    assert examined.problems == ()
    assert examined.warnings == ()


def test_a_bad_text_file_exists_for_each_bad_file() -> None:
    assert {file.stem for file in BAD.glob("*.txt")} == {file.stem for file in BAD.glob("*.yaml")}
