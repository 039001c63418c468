"""Playbooks' files: every mistake with its place, and what the shipped ones say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from anycastd.attack.playbook import Doing
from anycastd.cli.check import check
from anycastd.config.load import examine
from anycastd.config.playbooks import playbooks_of, read
from anycastd.errors import ConfigError
from anycastd.model.attack import AttackState
from anycastd.model.spread import PlayMode, StepKind, When
from tests.unit.runtime.spread_world import pop_config

ROOT = Path(__file__).parents[3]
CONFIG = pop_config("fra", Path("/nowhere"))
GOOD = """
name: relieve
when: [{state: attack, load_above: 80%, for: 30s}, {load_above: 95%}]
prefixes: [203.0.113.0/24]
calm: 10m
steps:
  - more_announcers: {}
  - selective_neighbors: {neighbors: [transit-b], withdraw: true}
    mode: auto
    falls: 20%
    verify_after: [10s, 3m]
  - communities: {add: ["64496:3021"], neighbors: [transit-a]}
  - prepend: {times: 2}
"""


def test_what_a_playbook_says() -> None:
    book = read(GOOD, "book.yaml", CONFIG)
    assert book.when == (When(state=AttackState.ATTACK, load_percent=80, for_s=30.0), When(load_percent=95))
    assert [step.kind for step in book.steps] == list(StepKind)
    assert [step.mode for step in book.steps] == [PlayMode.AUTO, PlayMode.AUTO, PlayMode.ASK, PlayMode.ASK]
    assert [str(step) for step in book.steps] == [
        "call on standbys", "withdraw at transit-b", "communities 64496:3021 at transit-a", "prepend 2"
    ]  # fmt: skip
    assert (book.steps[1].falls_percent, book.steps[1].verify_after_s, book.calm_s) == (20, (10.0, 180.0), 600.0)


@pytest.mark.parametrize(
    ("line", "place", "problem"),
    [
        ("  - prepend: {times: 4}", "14:22: steps[4].prepend.times", "4 is not between 1 and 3"),
        ("  - {}", "14:5: steps[4]", "nothing is written; a step is exactly one of more_announcers,"),
        ("  - {more_announcers: {}, prepend: {times: 1}}", "14:5: steps[4]", "more_announcers and prepend is written"),
        ("  - gshut: {}", "14:5: steps[4].gshut", "there is no such key"),
        ('  - communities: {add: ["65535:0"]}', "14:25: steps[4].communities.add[0]", "65535:0: none of RFC 1997's"),
        ('  - communities: {add: ["65535:666"]}', "14:25: steps[4].communities.add[0]", "65535:666: none of"),
        ("  - communities: {add: []}", "14:24: steps[4].communities.add", "no community is written"),
        (
            "  - selective_neighbors: {neighbors: [transit-a, transit-b]}",
            "14:38: steps[4].selective_neighbors.neighbors",
            "all that carry 203.0.113.0/24 (ipv4-unicast) are named: the last one must keep it",
        ),
        ("  - selective_neighbors: {neighbors: []}", "14:38: steps[4].selective_neighbors.neighbors", "no neighbor is"),
        (
            "  - prepend: {times: 1, neighbors: [transit-c]}",
            "14:37: steps[4].prepend.neighbors[0]",
            "no neighbor is called 'transit-c'; did you mean",
        ),
        ("  - {more_announcers: {}, verify_after: [9s, 3s]}", "14:41: steps[4].verify_after", "times are wanted that"),
        ("  - {more_announcers: {}, mode: perhaps}", "14:33: steps[4].mode", "'perhaps' is not off or ask or auto"),
    ],
)
def test_a_wrong_step_is_told_with_its_place(line: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(GOOD + line + "\n", "book.yaml", CONFIG)
    assert f"book.yaml:{place}: {problem}" in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("when: [{state: attack, load_above: 80%, for: 30s}, {load_above: 95%}]", "when: []", "never begins"),
        ("state: attack, load_above: 80%, ", "", "state or load_above is missing"),
        ("state: attack", "state: normal", "'normal' is not elevated or attack"),
        ("prefixes: [203.0.113.0/24]", "prefixes: [198.51.100.0/24]", "198.51.100.0/24 is no prefix of this POP"),
    ],
)
def test_a_wrong_condition_is_told(before: str, after: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem.replace("[", r"\[")):
        read(GOOD.replace(before, after), "book.yaml", CONFIG)


def test_a_load_needs_a_capacity() -> None:
    spread = replace(CONFIG.attack.spread, capacity_bps=None)
    config = replace(CONFIG, attack=replace(CONFIG.attack, spread=spread))
    with pytest.raises(ConfigError, match=r"attack\.spread\.capacity is not written"):
        read(GOOD, "book.yaml", config)


def test_files_that_cannot_be_had_and_names_that_are_taken_are_told_together(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text(GOOD, encoding="utf-8")
    paths = tuple(str(tmp_path / name) for name in ("one.yaml", "two.yaml", "three.yaml"))
    with pytest.raises(ConfigError) as refused:
        playbooks_of(CONFIG, paths)
    assert [str(one).partition(": ")[2] for one in refused.value.problems] == [
        f"name: 'relieve' is the name of {paths[0]} already", "cannot be read: no such file or directory"
    ]  # fmt: skip


def test_mistakes_of_the_file_hide_none_of_its_playbooks(tmp_path: Path) -> None:
    """What only the whole shows (is there such a neighbor?) waits until the file itself can be used."""
    (tmp_path / "one.yaml").write_text(GOOD.replace("prepend: {times: 2}", "prepend: {times: many}"), encoding="utf-8")
    (tmp_path / "two.yaml").write_text(GOOD.replace("30s", "30").replace("3m", "3s"), encoding="utf-8")
    (tmp_path / "three.yaml").write_text(GOOD.replace("transit-b", "transit-x"), encoding="utf-8")
    names = ("one.yaml", "two.yaml", "three.yaml", "four.yaml")
    main = tmp_path / "anycastd.yaml"
    text = (ROOT / "tests" / "config" / "good" / "smallest.yaml").read_text(encoding="utf-8")
    main.write_text(f"{text}\nattack: {{spread: {{playbooks: [{', '.join(names)}], capacty: 1}}}}\n", encoding="utf-8")
    told = [str(problem).removeprefix(f"{tmp_path}/") for problem in examine(str(main)).problems]
    assert {name: [words for words in told if words.startswith(f"{name}:")] != [] for name in names} == {
        "one.yaml": True, "two.yaml": True, "three.yaml": False, "four.yaml": True
    }  # fmt: skip
    assert any("capacty" in words for words in told)
    result = CliRunner().invoke(check, ["-c", str(main)])
    files = [line.removeprefix(f"{tmp_path}/").partition(":")[0] for line in result.output.splitlines()[:-1]]
    assert list(dict.fromkeys(files)) == ["anycastd.yaml", "four.yaml", "one.yaml", "two.yaml"]


def test_the_shipped_playbooks_ask_before_traffic_is_sent_away() -> None:
    examined = examine(str(ROOT / "etc" / "anycastd.yaml"))
    assert examined.config is not None
    files = sorted((ROOT / "etc" / "playbooks").glob("*.yaml"))
    books = playbooks_of(examined.config, tuple(map(str, files)))
    assert list(books) == [path.stem for path in files]
    for book in books.values():
        assert [step.mode for step in book.steps if step.kind.sheds] == [PlayMode.ASK] * (len(book.steps) - 1)
        assert book.steps[0].mode is PlayMode.AUTO


def test_the_page_tells_of_everything_that_a_run_does() -> None:
    page = (ROOT / "docs" / "playbooks.md").read_text(encoding="utf-8")
    assert [doing.value for doing in Doing if f"### {doing.value}\n" not in page] == []


@pytest.mark.parametrize(("file", "can_be_called"), [("observers", True), ("smallest", False)])
def test_whether_anybody_can_call_on_a_standby_is_told(file: str, can_be_called: bool, tmp_path: Path) -> None:
    text = (ROOT / "tests" / "config" / "good" / f"{file}.yaml").read_text()
    path = tmp_path / "anycastd.yaml"
    path.write_text(text.split("\nprefixes:")[0] + "\nprefixes: {203.0.113.0/24: {announce: standby}}\n")
    warnings = [str(one) for one in examine(str(path)).warnings]
    assert any("no fleet's store and no observer" in one for one in warnings) is not can_be_called, warnings
