"""docs/doctor.md is made from the checks, and the command speaks of the same ids."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from anycastd.cli import doctor as verb
from anycastd.cli.main import VERBS
from anycastd.doctor.diagnose import CHECKS, diagnose
from anycastd.doctor.facts import Facts
from anycastd.doctor.reference import page
from anycastd.model.topology import Config
from tests.unit.config.places import BAD, EXAMPLE
from tests.unit.doctor.machine import WELL, sysctl

PAGE = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_the_page_is_the_one_that_the_checks_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m anycastd.doctor.reference docs/doctor.md"


def test_every_check_has_one_heading_and_nothing_else_has() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == [check.id for check in CHECKS]
    assert len(set(headings)) == len(headings)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_a_check_says_why_and_how_to_mend(check: object) -> None:
    assert all(len(getattr(check, name)) > 10 for name in ("title", "why", "mend"))


@pytest.mark.parametrize(
    ("facts", "status"),
    [(WELL, os.EX_OK), (replace(WELL, bgp_user=None), os.EX_OK), (sysctl({"net/ipv4/ip_forward": "0"}), 69)],
    ids=["well", "a warning", "an error"],
)
def test_exit_status_and_json(monkeypatch: pytest.MonkeyPatch, facts: Facts, status: int) -> None:
    def collected(config: Config) -> Facts:
        return facts

    monkeypatch.setattr(verb, "collect", collected)
    result = CliRunner().invoke(verb.doctor, ["-c", str(EXAMPLE), "--json"])
    assert result.exit_code == status
    told = json.loads(result.output)
    assert told["ok"] is (status == os.EX_OK)
    assert [finding["id"] for finding in told["findings"]] == [finding.id for finding in diagnose(facts)]
    assert set(told["findings"][0]) == {"id", "severity", "what", "why", "mend"}


def test_a_bad_configuration_is_78_and_nothing_is_collected() -> None:
    result = CliRunner().invoke(verb.doctor, ["-c", str(BAD / "values.yaml")])
    assert result.exit_code == os.EX_CONFIG == 78


def test_the_lines_of_a_terminal() -> None:
    facts = replace(sysctl({"net/ipv4/ip_forward": "0"}), unexamined=("a: b", "c: d"))
    lines = list(verb.told(diagnose(facts), colour=False))
    assert lines[0] == "error ipv4-forwarding: net.ipv4.ip_forward is 0"
    assert lines[2] == "    mend: sysctl -w net.ipv4.ip_forward=1"
    assert sum(line.startswith("    why:") for line in lines) == 2, "the reason is told once for each check"
    assert lines[-1].startswith("1 error, 2 warnings, ")
    (apart,) = [line for line in lines if line.startswith("not examined: ") and "daemon-user" in line]
    assert apart == "not examined: service-units, daemon-user, daemon-reads (bgp.launch is not service)"
    assert "daemon-user" not in next(line for line in lines if line.startswith("ok: "))


def test_that_all_was_examined_is_not_listed_as_unexamined() -> None:
    lines = list(verb.told(diagnose(WELL), colour=False))
    assert not any("unexamined" in line for line in lines)


def test_it_is_a_verb() -> None:
    assert VERBS["doctor"][0] == verb.__name__
