"""The loader: what is typed, what is refused, and where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.config.check import check
from anycastd.config.document import MAX_BYTES, MAX_DEPTH, MAX_PROBLEMS, Place, parse


@pytest.mark.parametrize(
    "text",
    [
        "65535:0", "12:34:56", "no", "yes", "on", "off", "No", "True", "NULL", "0x10", "0o17", "010", "1_000", "1e3",
        ".5", "1.", ".inf", "+1", "2026-11-24", "2026-11-24 10:00:00", "9" * 19, "1.2.3.4", "=", "300ms",
    ],
)  # fmt: skip
def test_what_yaml_would_type_stays_text(text: str) -> None:
    assert parse(f"a: {text}").value == {"a": text}


def test_what_is_typed() -> None:
    document = parse("a: 1\nb: -7\nc: 0.5\nd: true\ne: false\nf: 0\ng: '1'\nh: \"true\"\ni: ''\n")
    assert document.problems == ()
    assert document.value == {
        "a": 1, "b": -7, "c": 0.5, "d": True, "e": False, "f": 0, "g": "1", "h": "true", "i": "",
    }  # fmt: skip
    assert [type(value) for value in document.value.values()] == [int, int, float, bool, bool, int, str, str, str]


@pytest.mark.parametrize("key", ["1", "true", "null", "no", "65535:0", "2001:db8::/32"])
def test_keys_are_text(key: str) -> None:
    assert parse(f"{key}: x").value == {key: "x"}


def test_a_value_that_is_not_there_is_told_and_left_out() -> None:
    document = parse("a:\nb: ~\nc: null\nd: [1, null]\ne: 1\n")
    assert document.value == {"d": [1, None], "e": 1}
    assert [problem.path for problem in document.problems] == ["a", "b", "c", "d[1]"]
    assert document.empty == {("a",), ("b",), ("c",), ("d", 1)}


def test_places_of_keys_and_values() -> None:
    document = parse("a:\n  b: [x, {c: y}]\n")
    assert document.keys[("a", "b")] == Place(2, 3)
    assert document.values[("a", "b")] == Place(2, 6)
    assert document.values[("a", "b", 0)] == Place(2, 7)
    assert document.keys[("a", "b", 1, "c")] == Place(2, 11)
    assert document.values[("a", "b", 1, "c")] == Place(2, 14)
    nearest = document.problem(("a", "b", 1, "not", "there"), "message")
    assert (nearest.line, nearest.column, nearest.path) == (2, 10, "a.b[1].not.there")


def test_what_is_inside_something_refused_is_not_looked_at() -> None:
    document = parse("a: 1\na: {x: 1, x: 2}\na: [{x: 1}]\n? {k: [1, {k: 2}]}\n: {k: 1, k: 2}\nb: 2\n")
    assert document.value == {"a": 1, "b": 2}
    assert [problem.message for problem in document.problems] == [
        "is written twice; the first is in line 1",
        "is written twice; the first is in line 1",
        "a key must be plain text",
    ]


def test_aliases_cannot_grow() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    document = parse(f"l0: &l0 [x]\n{levels}")
    assert len(document.problems) > 11
    assert len(document.problems) <= MAX_PROBLEMS + 1
    assert len(str(document.value)) < 3000


def test_after_too_many_mistakes_nothing_behind_them_is_judged() -> None:
    aliases = "".join(f"a{n}: *x\n" for n in range(MAX_PROBLEMS + 50))
    document = parse(f"{aliases}last: 1\n")
    *told, last = document.problems
    assert (len(told), document.value) == (MAX_PROBLEMS, {})
    assert (last.line, last.message) == (201, "the file is not read any further after 200 mistakes")
    verdict = check(document, "/", Path.stat)
    assert len(verdict.problems) == MAX_PROBLEMS + 1, "nothing is told as missing"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(opening: str) -> None:
    document = parse(opening * 5000)
    assert document.value == {}
    assert [problem.message for problem in document.problems] == [f"is more than {MAX_DEPTH} levels deep"]


def test_size_is_bounded() -> None:
    document = parse("#" * (MAX_BYTES + 1))
    assert [problem.message for problem in document.problems] == ["is larger than 16384 KiB"]


@pytest.mark.parametrize(
    "text", ['a: "\\U99999999"', 'a: "\\UD8000000"', "%YAML 1." + "9" * 5000 + "\n--- a", "\ud800: 1"]
)
def test_texts_that_make_the_parser_fail_in_python(text: str) -> None:
    assert len(parse(text).problems) == 1


def test_large_broken_files_are_told_as_well() -> None:
    document = parse("a: 1 # comment\n" + "# filling the file\n" * 20000 + "b: c: d\n")
    assert [(problem.line, problem.column) for problem in document.problems] == [(20002, 5)]
    assert "a second ':' in one line" in document.problems[0].message
