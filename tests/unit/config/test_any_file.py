"""Good files, changed byte by byte and branch by branch, go the whole way: a configuration or a ConfigError, soon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anycastd.cli.check import check
from anycastd.config.load import load
from anycastd.errors import ConfigError
from anycastd.model.topology import Config
from tests.unit.config.places import EXAMPLE, GOOD

pytestmark = pytest.mark.slow

FILES = (*sorted(GOOD.glob("*.yaml")), EXAMPLE)
RAW = [file.read_bytes() for file in FILES]
TREES: list[Any] = [yaml.load(raw, yaml.BaseLoader) for raw in RAW]
LOOK_S = 3.0
"""The largest file takes some 50 ms; what grows with the square of it would take far longer than this."""

some = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def goes_the_whole_way(file: Path, raw: bytes) -> None:
    """Load a file; nothing but a ConfigError with places may come out of it."""
    file.write_bytes(raw)
    begun_s = time.process_time()
    try:
        assert isinstance(load(str(file)), Config)
    except ConfigError as error:
        assert error.problems
        assert all(problem.line >= 1 and problem.column >= 1 for problem in error.problems)
    assert time.process_time() - begun_s < LOOK_S


@some
@given(st.sampled_from(RAW), st.data())
def test_good_files_with_other_bytes(tmp_path: Path, raw: bytes, data: st.DataObject) -> None:
    text = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(start + data.draw(st.integers(0, 40)), len(text))
        other = data.draw(
            st.one_of(st.binary(max_size=6), st.integers(0, len(text)).map(lambda n: bytes(text[n:][:60])))
        )
        text[start:end] = other
    goes_the_whole_way(tmp_path / "anycastd.yaml", bytes(text))


@some
@given(st.sampled_from(RAW), st.integers(0, 1 << 20))
def test_good_files_cut_off_anywhere(tmp_path: Path, raw: bytes, at: int) -> None:
    goes_the_whole_way(tmp_path / "anycastd.yaml", raw[: at % len(raw)])


def branches(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value."""
    if path:
        yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from branches(value, (*path, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    """Return the value at a path."""
    for key in path:
        tree = tree[key]
    return tree


PATHS = [list(branches(tree)) for tree in TREES]
ODD = st.sampled_from(
    [{}, [], "", "0", "-1", "1e9", "any", "all", "true", "null", "10.0.0.0/8", "::/0", "fe80::1", "255.255.255.255",
     "99999999999999999999", "5s", "0s", "10%", "é", "a" * 300, [[]], {"": ""}, "203.0.113.10", "lo", "../x", "\u202e"]
)  # fmt: skip


@some
@given(st.integers(0, len(TREES) - 1), st.data())
def test_good_files_with_branches_moved_lost_and_changed(tmp_path: Path, which: int, data: st.DataObject) -> None:
    tree = json.loads(json.dumps(TREES[which]))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(PATHS[which]))
        try:
            parent = at(tree, path[:-1])
            parent[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        if not isinstance(parent, (dict, list)):
            # a change before has put text there, and text has a first letter too
            continue
        other = data.draw(st.integers(0, len(TREES) - 1))
        kind = data.draw(st.sampled_from(("lost", "odd", "moved", "renamed")))
        if kind == "lost":
            del parent[path[-1]]
        elif kind == "odd":
            parent[path[-1]] = data.draw(ODD)
        elif kind == "moved":
            parent[path[-1]] = at(TREES[other], data.draw(st.sampled_from(PATHS[other])))
        elif isinstance(parent, dict):
            parent[str(data.draw(st.sampled_from(PATHS[other]))[-1])] = parent.pop(path[-1])
    goes_the_whole_way(tmp_path / "anycastd.yaml", json.dumps(tree).encode())


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe\x00", b"pop: [", b"{" * 200_000, b"- " * 5000, b"pop: &a [*a]\n", b"\x00" * 99]
)
def test_the_command_says_it_in_a_line_and_without_a_traceback(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "anycastd.yaml"
    file.write_bytes(raw)
    done = CliRunner().invoke(check, ["-c", str(file)])
    assert done.exit_code == os.EX_CONFIG, done.output
    assert "Traceback" not in done.output
    assert f"{file}:1:" in done.output
