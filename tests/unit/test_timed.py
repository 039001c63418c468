"""Which failures of tests of real time count."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import pathlib, pytest
runs = pathlib.Path(__file__).with_name("runs")

@pytest.fixture
def held():
    # one call that lets no other thread run
    sum(range(3_000_000))

def told(what):
    with runs.open("a") as file:
        file.write(what + " ")
    return runs.read_text().split().count(what)

@pytest.mark.timed
def test_passes_the_second_time(held):
    assert told("held-up") == 2

@pytest.fixture
async def there():
    yield "async"

@pytest.mark.timed
async def test_passes_with_a_loop_of_its_own(held, there):
    assert told(there) == 2

@pytest.mark.timed
def test_never_passes(held):
    assert told("never") == 0

@pytest.mark.timed
def test_passes():
    assert told("passes") == 1

def test_is_not_timed(held):
    assert told("untimed") == 2
"""


@pytest.mark.slow
def test_a_failure_counts_if_the_machine_did_not_hold_the_test_up_or_always(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(PROBE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = timed\nasyncio_mode = auto\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 3 passed" in done.stdout, done.stdout
    ran = (tmp_path / "runs").read_text().split()
    assert {what: ran.count(what) for what in ran} == {"held-up": 2, "async": 2, "never": 5, "passes": 1, "untimed": 1}
