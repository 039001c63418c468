"""`anycastd check`, as an operator calls it."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from anycastd.cli.check import check
from tests.unit.config.places import BAD, EXAMPLE, GOOD


def test_a_good_file_is_summed_up() -> None:
    result = CliRunner().invoke(check, ["-c", str(EXAMPLE)])
    assert result.exit_code == 0
    assert result.output == (
        "fra: 4 neighbors, 2 regions, 4 tunnels, 6 backends, 3 prefixes, 6 EIPs, 64.2 probes per second, 0 warnings\n"
    )


def test_warnings_do_not_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOOD)
    result = CliRunner().invoke(check, ["-c", "smallest.yaml"])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "smallest.yaml:1:1: self_test: warning: has no targets: "
        "a fault of this machine cannot be told from many far away",
        "smallest.yaml:7:12: prefixes.203.0.113.0/24: warning: only neighbor 'transit' carries it",
        "fra: 1 neighbor, 1 region, 1 tunnel, 1 backend, 1 prefix, 0 EIPs, 3 probes per second, 2 warnings",
    ]


def test_every_mistake_is_a_line_and_the_count_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    result = CliRunner().invoke(check, ["-c", "operator-view.yaml"])
    assert result.exit_code == os.EX_CONFIG == 78
    lines = result.output.splitlines()
    assert [line for line in lines if "warning" not in line] == (BAD / "operator-view.txt").read_text().splitlines()
    assert lines[-1] == "5 errors, 2 warnings"


def test_a_file_that_is_not_there(tmp_path: os.PathLike[str]) -> None:
    result = CliRunner().invoke(check, ["-c", f"{tmp_path}/none.yaml"])
    assert result.exit_code == os.EX_CONFIG
    assert result.output.endswith("none.yaml:1:1: cannot be read: no such file or directory\n1 error\n")


def test_json() -> None:
    good = json.loads(CliRunner().invoke(check, ["--json", "-c", str(EXAMPLE)]).output)
    assert good["ok"] is True
    assert good["errors"] == []
    assert good["summary"]["pop"] == "fra"
    assert good["summary"]["probes_per_second"] == 64.2
    assert good["summary"]["eips"] == 6
    result = CliRunner().invoke(check, ["--json", "-c", str(BAD / "operator-view.yaml")])
    bad = json.loads(result.output)
    assert result.exit_code == os.EX_CONFIG
    assert (bad["ok"], bad["summary"]) == (False, None)
    assert bad["errors"][0] == {
        "file": str(BAD / "operator-view.yaml"),
        "line": 3,
        "column": 79,
        "path": "neighbors.transit-a.hold_tme",
        "message": "there is no such key; did you mean 'hold_time'?",
    }
