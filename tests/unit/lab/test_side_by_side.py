"""Several test processes at once: any failure is seen, what they say stays apart, a signal ends all in good order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from tests.lab.side_by_side import PARTS, again, failed, pytest_words
from tests.wait import wait_until

ROOT = Path(__file__).parents[3]
PROGRAM = (
    "import sys; from tests.lab.side_by_side import run; sys.exit(run(*(['sh', '-c', one] for one in sys.argv[1:])))"
)


def command(shown: str, kept: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, shown, kept]


@pytest.mark.parametrize(
    ("shown", "kept", "code"), [("exit 0", "exit 0", 0), ("exit 1", "exit 0", 1), ("exit 0", "exit 5", 5)]
)
def test_a_failure_of_either_is_one(shown: str, kept: str, code: int) -> None:
    done = subprocess.run(command(shown, kept), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code
    assert f"exit codes {shown[-1]}, {kept[-1]}" in done.stdout


def test_what_one_says_stands_behind_what_the_other_says(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    kept = f"echo kept; echo bad >&2; touch {mark}"
    shown = f"echo first; until [ -e {mark} ]; do sleep 0.01; done; echo last"
    done = subprocess.run(command(shown, kept), capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[:5] == ["first", "last", "== what ran beside it", "kept", "bad"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_both_clean_up_when_told_to_go(tmp_path: Path, how: signal.Signals) -> None:
    ready, clean = [tmp_path / f"ready{n}" for n in (1, 2)], [tmp_path / f"clean{n}" for n in (1, 2)]
    words = [
        f"trap 'echo > {gone}; exit 3' INT; echo > {here}; while :; do sleep 0.01; done"
        for here, gone in zip(ready, clean, strict=True)
    ]
    with subprocess.Popen(command(*words), stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        wait_until("both run", 10, lambda: all(one.exists() for one in ready))
        os.kill(process.pid, how)
        code = process.wait(60)
    wait_until("both have cleaned up", 10, lambda: all(one.exists() for one in clean))
    assert code == (-how if how is signal.SIGKILL else 128 + how)


TOLD_AT_A_START = """
import os, signal, sys
from tests.lab import side_by_side
start = side_by_side.start
def told(words, out, nice=0):
    one = start(words, out, nice)
    if out is not None:
        os.kill(os.getpid(), signal.SIGTERM)
    return one
side_by_side.start = told
sys.exit(side_by_side.run(*[["sh", "-c", "while :; do sleep 0.01; done"]] * 2))
"""


def test_who_is_started_as_we_are_told_to_go_goes_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_AT_A_START], capture_output=True, cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 128 + signal.SIGTERM


def test_every_test_is_in_just_one_of_the_parts() -> None:
    """Whatever marks a test has: the world's are lab tests."""
    kinds = ((True, True), (True, False), (False, False))
    for (is_lab, is_world), is_even in product(kinds, (True, False)):
        marks = {"lab": is_lab, "slow": True, "soak": False, "world": is_world, "even": is_even}
        words = [words[words.index("-m", 2) + 1] for words in (pytest_words(part, Path("kept")) for part in PARTS)]
        assert sum(eval(one, {}, marks) for one in words) == 1, marks


def kept(tmp_path: Path, **nodes: str) -> Path:
    for part, node in nodes.items():
        where = tmp_path / part / "v" / "cache"
        where.mkdir(parents=True)
        (where / "lastfailed").write_text(json.dumps({node: True}))
    return tmp_path


@pytest.mark.slow
def test_who_fails_beside_the_others_gets_one_more_try_and_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    patient = "tests/unit/lab/test_side_by_side.py::test_what_one_says_stands_behind_what_the_other_says"
    assert again(1, kept(tmp_path, world=patient)) == 0
    assert f"passed only when alone, to be mended: {patient}" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("code", "nodes"),
    [
        (1, {}),
        (2, {"world": "a.py::test_a"}),
        (1, {part: f"a.py::{part}" for part in "abcde"}),
    ],
    ids=("nothing known", "interrupted", "five of them"),
)
def test_all_else_stays_a_failure(tmp_path: Path, code: int, nodes: dict[str, str]) -> None:
    where = kept(tmp_path, **nodes)
    assert sorted(failed(where)) == sorted(nodes.values())
    assert again(code, where) == code


@pytest.mark.slow
def test_who_fails_again_has_failed(tmp_path: Path) -> None:
    assert again(1, kept(tmp_path, world="no_such_file.py::test_a")) != 0
