"""`anycastd simulate attack`: the page, the JSON, the drawing, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from anycastd.cli import simulate as verb
from anycastd.cli.simulate import simulate

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "etc" / "attack-plan.yaml"
PAGE = ROOT / "docs" / "attack-planning.md"
SMALL = (
    "attack: {size: 1gbit}\npops: {fra: {capacity: 1gbit, usual: 100mbit}, iad: {capacity: 1gbit, usual: 100mbit}}\n"
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(simulate, ["attack", *arguments])


def test_the_example_is_shown_in_the_docs_as_it_comes_out_in_80_columns() -> None:
    done = run(str(EXAMPLE))
    assert (done.exit_code, done.stderr) == (0, "")
    assert max(map(len, done.output.splitlines())) <= 80
    assert f"$ anycastd simulate attack etc/attack-plan.yaml\n{done.output}" in PAGE.read_text()


def test_the_drawing_in_the_docs_is_of_the_example(tmp_path: Path) -> None:
    """After a wanted change: `anycastd simulate attack etc/attack-plan.yaml --svg docs/attack-plan.svg`."""
    drawn = tmp_path / "plan.svg"
    assert run(str(EXAMPLE), "--svg", str(drawn)).exit_code == 0
    assert drawn.read_text() == (ROOT / "docs" / "attack-plan.svg").read_text()


def test_the_drawing_stays_within_its_frame_and_names_every_pop(tmp_path: Path) -> None:
    drawn, file = tmp_path / "plan.svg", tmp_path / "plan.yaml"
    names = [f"pop{number}" for number in range(10)]
    pops = "".join(f"  {name}: {{capacity: 1gbit, usual: {1 + n}mbit}}\n" for n, name in enumerate(names))
    file.write_text(f"attack: {{size: 90gbit}}\npops:\n{pops}")
    assert run(str(file), "--svg", str(drawn)).exit_code == 0
    root = ElementTree.fromstring(drawn.read_text())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(texts)
    for one in root.iter():
        place = {key: float(one.attrib[key]) for key in ("x", "y", "width", "height", "x2", "y2") if key in one.attrib}
        assert place.get("x", 0) + place.get("width", 0) <= width
        assert place.get("y", 0) + place.get("height", 0) <= height
        assert place.get("x2", 0) <= width


def test_many_pops_and_long_names_still_fit(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    names = [f"a-rather-long-name-of-a-pop-{number:03}" for number in range(8)]
    pops = "".join(f"  {name}: {{capacity: 1gbit, usual: 100mbit}}\n" for name in names)
    file.write_text(f"attack: {{size: 90gbit, sources: {{{names[0]}: 100%}}}}\npops:\n{pops}")
    done = run(str(file))
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 100
    assert all(name in done.output for name in names)


def test_json_holds_the_same(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(SMALL)
    body: dict[str, Any] = json.loads(run(str(file), "--json", "--size", "4gbit", "--packets", "1mpps").output)
    assert body["attack"] == {"bps": 4e9, "pps": 1e6, "sources": {"fra": 0.5, "iad": 0.5}}
    assert body["now"]["pops"]["fra"]["full"] == pytest.approx({"likely": 2.1, "low": 2.1, "high": 2.1})
    assert body["now"]["clients_lost"]["likely"] == pytest.approx(1 - 1 / 2.1)
    assert [one["title"] for one in body["withdrawals"]] == ["fra withdrawn", "iad withdrawn"]
    assert body["cascade"]["likely"] == body["cascade"]["worst"]
    assert (body["cascade"]["likely"]["dark"], body["cascade"]["likely"]["withdrawn"]) == (True, ["fra", "iad"])


def test_a_dark_end_is_said() -> None:
    output = run(str(EXAMPLE)).output
    assert "no POP announces: the prefix is DARK" in output
    assert re.search(r"ends DARK: clients lose 100 %; with all staying \d+ %", output)


def test_no_cascade_where_all_carry(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(SMALL)
    assert "Cascade, likely and at worst: no POP is overloaded, none would be withdrawn" in run(str(file)).output


def test_what_the_fleet_carries_now_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(SMALL)
    said = [
        {"pop": "fra", "present": True, "in_bps": 3e8},
        {"pop": "iad", "present": True, "in_bps": 1e8},
        {"pop": "sin", "present": False, "in_bps": None},
    ]
    monkeypatch.setattr(verb, "ask", lambda _where, target: {"/v1/fleet/pops": {"pops": said}}[target])
    body = json.loads(run(str(file), "--measured", "--json").output)
    assert body["attack"]["sources"] == {"fra": 0.75, "iad": 0.25}
    assert body["now"]["pops"]["fra"]["usual_bps"] == 3e8
    said[1]["present"] = False
    done = run(str(file), "--measured")
    assert (done.exit_code, done.stderr) == (69, "anycastd: the fleet does not say what iad carries\n")


def test_mistakes_are_told_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("attack: {size: much}\npops: {fra: {capacity: 1gbit, usual: 1mbit}}\n")
    done = run(str(file))
    assert (done.exit_code, done.output.count("\n")) == (78, 2)
    assert done.stderr.splitlines()[0].startswith(f"{file}:1:16: attack.size: 'much' is not a rate")
    assert done.stderr.splitlines()[1] == "1 error"
    assert run(str(tmp_path / "none.yaml")).exit_code == 78
    assert "'1x' is not a rate" in run(str(file), "--size", "1x").output
    assert run(str(EXAMPLE), "--svg", str(tmp_path / "no" / "where.svg")).exit_code == 78


def test_of_many_pops_the_page_has_the_worst_and_stays_short(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    pops = "".join(f"  p{n:02}: {{capacity: {50 - n}gbit, usual: 1gbit}}\n" for n in range(20))
    file.write_text(f"attack: {{size: 900gbit}}\npops:\n{pops}")
    lines = run(str(file)).output.splitlines()
    assert len(lines) < 170
    assert max(map(len, lines)) <= 80
    assert "and 8 POPs that never get as full: --json has all" in lines
    table = [line.split()[0] for line in lines if "Gbit/s" in line and line.startswith("p")]
    assert len(table) == 12
    assert table == sorted(set(table))


def titles(*arguments: str) -> list[str]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return [one["title"] for one in json.loads(done.output)["steps"]]


def test_the_shipped_playbooks_can_be_tried() -> None:
    books = ROOT / "etc" / "playbooks"
    assert titles(str(EXAMPLE), "--playbook", str(books / "shed-load.yaml")) == [
        "1. more announcers: gru", "2. prepend 1: fra", "3. prepend 2: fra", "4. prepend 3: fra",
    ]  # fmt: skip
    assert titles(str(EXAMPLE), "--playbook", str(books / "call-standbys.yaml")) == ["1. more announcers: gru"]
    shed = titles(str(EXAMPLE), "--playbook", str(books / "shed-load.yaml"), "--at", "ams", "--at", "sin")
    assert shed[1] == "2. prepend 1: ams, sin"


def test_a_playbook_of_one_s_own_is_tried_where_its_neighbors_are_known(tmp_path: Path) -> None:
    book = tmp_path / "relieve.yaml"
    book.write_text(
        "name: relieve\nwhen: [{state: attack}]\nsteps:\n"
        "  - selective_neighbors: {neighbors: [transit-b]}\n"
        '  - communities: {add: ["64496:3021"], neighbors: [transit-a]}\n'
    )
    assert titles(str(EXAMPLE), "--playbook", str(book)) == [
        "1. selective neighbors: fra less at transit-b",
        "2. communities: 64496:3021 at fra (as if at all neighbors)",
    ]
    done = run(str(EXAMPLE), "--playbook", str(book), "--at", "ams")
    assert done.exit_code == 78
    what = "the plan does not say which share comes in by transit-b: effects.ams.neighbors"
    assert done.stderr.splitlines() == [f"{book}:4:5: steps[0]: {what}", "1 error"]
    book.write_text("name: relieve\nsteps: [{prepend: {times: 4}}]\n")
    done = run(str(EXAMPLE), "--playbook", str(book))
    assert (done.exit_code, "steps[0].prepend.times" in done.stderr) == (78, True)


def test_where_a_playbook_runs_must_be_a_pop_that_announces() -> None:
    assert "name it with --playbook" in run(str(EXAMPLE), "--at", "fra").output
    shipped = str(ROOT / "etc" / "playbooks" / "shed-load.yaml")
    for name in ("gru", "lax"):
        assert (
            f"--at {name}: no POP of the plan that announces"
            in run(str(EXAMPLE), "--playbook", shipped, "--at", name).output
        )
