"""Log lines: their shape, their number, and what they must not tell."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.model.log import LoggingConfig
from anycastd.telemetry.logs import Limit, TextLines, goes_to_journal, log_event, set_up

log = logging.getLogger("anycastd.test")


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_json_lines_have_time_level_reason_and_the_fields() -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(), stream=stream, environ={})
    log_event(log, "decision", level=logging.WARNING, prefix="203.0.113.0/24", after="DEPREF", relapses=2)
    line = json.loads(lines(stream)[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    expected = {"level": "warning", "reason": "decision", "prefix": "203.0.113.0/24", "after": "DEPREF", "relapses": 2}
    assert line == expected


def test_text_lines_quote_what_would_break_them() -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(format="text"), stream=stream, environ={})
    log_event(log, "verdict", check="tunnel/eu/a/path", detail='said "no"\nforged time=now', why="")
    line = lines(stream)[0]
    assert len(lines(stream)) == 1
    assert line.endswith(r'info    verdict check=tunnel/eu/a/path detail="said \"no\"\nforged time=now"')


def test_auto_is_json_unless_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    pipe, terminal = io.StringIO(), Terminal()
    for stream in (pipe, terminal):
        set_up(LoggingConfig(), stream=stream, environ={})
        log_event(log, "started")
    assert json.loads(lines(pipe)[0])["reason"] == "started"
    assert lines(terminal)[0].endswith("info    started")


def test_the_journal_gets_no_time_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        here = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert goes_to_journal(stream, here)
        # inherited by a shell whose stderr was redirected since
        assert not goes_to_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not goes_to_journal(stream, {})
        set_up(LoggingConfig(format="text"), stream=stream, environ=here)
        log_event(log, "started")
        stream.seek(0)
        assert stream.read() == "info    started\n"
    assert not goes_to_journal(io.StringIO(), here)


def test_fields_whose_name_is_a_secrets_are_not_told() -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(), stream=stream, environ={})
    log_event(log, "session", password="hunter2", api_token="hunter2", md5_secret="hunter2", neighbor="transit-a")
    assert "hunter2" not in stream.getvalue()
    assert json.loads(lines(stream)[0])["neighbor"] == "transit-a"


def test_a_field_cannot_take_the_place_of_the_reason() -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(), stream=stream, environ={})
    log_event(log, "decision", reason="serving", time="never")
    line = json.loads(lines(stream)[0])
    assert (line["reason"], line["reason_"], line["time_"]) == ("decision", "serving", "never")


def test_an_error_keeps_its_traceback_in_one_line() -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(), stream=stream, environ={})
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("stage failed", extra={"reason": "stage_failed", "stage": "watch"})
    line = json.loads(lines(stream)[0])
    assert (line["reason"], line["stage"], line["message"]) == ("stage_failed", "watch", "stage failed")
    assert "KeyError: 'gone'" in line["error"]


def test_the_level_is_honoured_and_set_up_twice_logs_once() -> None:
    stream = io.StringIO()
    for _ in range(2):
        set_up(LoggingConfig(level="warning"), stream=stream, environ={})
    log_event(log, "quiet")
    log_event(log, "loud", level=logging.WARNING)
    assert [json.loads(line)["reason"] for line in lines(stream)] == ["loud"]


def test_a_reason_that_says_too_much_is_cut_and_counted() -> None:
    stream, now_s, left_out = io.StringIO(), [0.0], [0]

    def count(number: int) -> None:
        left_out[0] += number

    output = logging.StreamHandler(stream)
    output.setFormatter(TextLines(timed=False))
    output.addFilter(Limit(3, output, clock=lambda: now_s[0], suppressed=count))
    logger = logging.getLogger("anycastd.test.limited")
    logger.addHandler(output)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for _ in range(10):
        log_event(logger, "verdict")
    log_event(logger, "decision")
    assert lines(stream) == ["info    verdict"] * 3 + ["info    decision"]
    assert left_out == [7]
    now_s[0] = 10.1
    log_event(logger, "decision")
    log_event(logger, "verdict")
    assert lines(stream)[4:] == [
        "warning suppressed of=verdict lines=7 window_s=10.0",
        "info    decision",
        "info    verdict",
    ]
    logger.removeHandler(output)


def test_lines_of_other_libraries_are_kept_and_limited_by_their_logger() -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(burst=2), stream=stream, environ={})
    for number in range(5):
        logging.getLogger("asyncio").error("task %d was destroyed", number)
    found = [json.loads(line) for line in lines(stream)]
    assert [(line["reason"], line["message"]) for line in found] == [
        ("asyncio", "task 0 was destroyed"),
        ("asyncio", "task 1 was destroyed"),
    ]
