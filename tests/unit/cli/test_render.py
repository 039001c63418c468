"""Tables and colours."""

from __future__ import annotations

import sys
from dataclasses import replace

import click
import pytest

from anycastd.api.views.explain import explain
from anycastd.api.views.moments import span as api_span
from anycastd.api.views.overview import overview
from anycastd.cli.render import explain_lines, span, status_lines, table
from anycastd.model.status import Alarm, AlarmView, Status
from tests.unit import status_builder as build


@pytest.mark.parametrize(
    "status", [build.serving(), build.isolated(), build.starting(), build.degraded(), build.in_a_fleet()]
)
def test_colours_change_nothing_but_colours(status: Status) -> None:
    body = overview(status)
    plain, coloured = status_lines(body, colour=False), status_lines(body, colour=True)
    assert plain != coloured
    assert [click.unstyle(line) for line in coloured] == plain
    explained = explain(status, status.prefixes[build.V4])
    assert explain_lines(explained, colour=False) == explained["text"]
    assert [click.unstyle(line) for line in explain_lines(explained, colour=True)] == explained["text"]


def test_loss_and_jitter_are_shown_and_for_how_long() -> None:
    lines = status_lines(overview(build.degraded()), colour=False)
    first = next(number for number, line in enumerate(lines) if line.startswith("REGION"))
    assert lines[first : first + 4] == [
        "REGION      USABLE   TUNNEL  STATE     LATENCY  LOSS  JITTER  BACKENDS",
        "eu-central  HEALTHY  euc-1   HEALTHY    8.1 ms   0 %  0.2 ms  2/2 healthy",
        "                     euc-2   DEGRADED  31.0 ms   6 %  9.8 ms  (path: loss 6 % above 5 % for 12 s)",
        "us-east     HEALTHY  use-1   HEALTHY   88.4 ms   0 %  0.2 ms  1/1 healthy",
    ]


def test_a_table_without_rows_is_nothing() -> None:
    assert table(("A", "B"), [], colour=False) == []


def test_numbers_stand_at_the_right() -> None:
    assert table(("N", "X"), [("1", "a"), ("100", "b")], colour=False, right=frozenset({0})) == [
        "  N  X",
        "  1  a",
        "100  b",
    ]


def test_both_faces_tell_lengths_of_time_alike() -> None:
    for seconds in (0, 59, 61, 599, 601, 3600, 3660, 90_000, 8_640_000):
        assert span(seconds) == api_span(seconds)


def test_a_table_of_ipv6_prefixes_stays_aligned() -> None:
    lines = status_lines(overview(build.serving()), colour=False)
    starts = {line.index(word) for line, word in zip(lines[1:4], ("STATE", "ANNOUNCED", "ANNOUNCED"), strict=True)}
    assert len(starts) == 1


def test_the_other_pops_are_a_line_of_status() -> None:
    lines = status_lines(overview(build.in_a_fleet()), colour=False)
    wanted = (
        "fleet: guard echo, 1/2 observers, store; sin heard 0.4 s ago, iad not heard (stale), hkg not heard (not_heard)"
    )
    assert wanted in lines
    assert not [line for line in status_lines(overview(build.serving()), colour=False) if line.startswith("fleet")]


def _on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


@pytest.mark.parametrize("status", [build.serving(), build.isolated(), build.degraded()])
def test_what_is_explained_fits_the_terminal_and_loses_no_word(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    explained = explain(status, status.prefixes[build.V4])
    whole = [*explain_lines(explained, colour=False), *status_lines(overview(status), colour=False)]
    assert max(map(len, whole)) > 100
    _on_a_terminal(monkeypatch, 100)
    lines = [*explain_lines(explained, colour=False), *status_lines(overview(status), colour=False)]
    assert max(map(len, lines)) <= 100
    assert " ".join(lines).split() == " ".join(whole).split()


def test_only_the_last_column_is_wrapped_below_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    _on_a_terminal(monkeypatch, 40)
    assert table(("N", "WHY"), [("1", "one two three four five six seven eight nine")], colour=False) == [
        "N  WHY",
        "1  one two three four five six seven",
        "   eight nine",
    ]


def test_wide_columns_share_what_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("flow-1", "drop: udp to 203.0.113.10 from any port 53", "here, transit-a", "in 9 min", "dns amplification")
    header = ("ID", "WHAT", "AT", "ENDS", "WHY")
    whole = table(header, [row], colour=False, wide=frozenset({1, 2}))
    assert len(whole) == 2, "in a pipe it is a line, to be searched"
    _on_a_terminal(monkeypatch, 72)
    lines = table(header, [row], colour=False, wide=frozenset({1, 2}))
    assert max(map(len, lines)) <= 72
    assert sorted(" ".join(lines).split()) == sorted(" ".join(whole).split())
    _on_a_terminal(monkeypatch, 30)
    assert table(header, [row], colour=False, wide=frozenset({1, 2})) == whole, "too narrow for columns at all"
    _on_a_terminal(monkeypatch, 200)
    assert table(header, [row], colour=False, wide=frozenset({1, 2})) == whole


def test_an_alarm_on_a_file_names_the_file_once() -> None:
    alarm = AlarmView(Alarm.CONFIG_REFUSED, "/etc/a.yaml", 499_990.0, "/etc/a.yaml:2:1: neighbors: is missing")
    lines = status_lines(overview(replace(build.serving(), alarms=(alarm,))), colour=False)
    assert lines[1] == "ALARM config_refused  /etc/a.yaml:2:1: neighbors: is missing  (for 10 s)"
