"""Log lines that machines and people read: key=value or JSON, one reason a line, bounded in number."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from anycastd.model.log import LoggingConfig
from anycastd.telemetry.patient import PatientStream, patient

WINDOW_S = 10.0
_SECRET = re.compile(r"password|passwd|secret|token|private_key|authorization", re.IGNORECASE)
_PLAIN = re.compile(r"[\w@./:+,%-]+\Z")
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}


def log_event(logger: logging.Logger, reason: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Log that something happened: `reason` is one word of a bounded list, the rest are fields."""
    if logger.isEnabledFor(level):
        logger.log(level, "%s", reason, extra={"reason": reason, "fields": fields})


def set_up(
    config: LoggingConfig,
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    suppressed: Callable[[int], None] = lambda count: None,
) -> None:
    """Send every log line to `stream` (stderr) as configured; `suppressed` is told how many lines were left out."""
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    shape = config.format if config.format != "auto" else ("text" if terminal else "json")
    timed = not goes_to_journal(stream, environ)
    output = logging.StreamHandler(patient(stream, suppressed))
    output.setFormatter(JsonLines(timed=timed) if shape == "json" else TextLines(timed=timed))
    output.addFilter(Limit(config.burst, output, suppressed=suppressed))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, logging.StreamHandler) and isinstance(old.stream, PatientStream):
            old.stream.close()
    root.addHandler(output)
    root.setLevel(config.level.upper())
    logging.captureWarnings(True)


def drain() -> None:
    """Have what a slow reader did not take yet taken, for a moment: the process ends without another word."""
    for one in logging.getLogger().handlers:
        if isinstance(one, logging.StreamHandler) and isinstance(one.stream, PatientStream):
            one.stream.drain()


def goes_to_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether the stream is the journal's, which has its own time (systemd.exec(5), $JOURNAL_STREAM)."""
    named = environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def reason_of(record: logging.LogRecord) -> str:
    """Return what a line is about: its reason, or for others' libraries the logger's name."""
    return str(getattr(record, "reason", "") or record.name)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return a line's fields, without what must not be told."""
    fields: dict[str, object] = dict(getattr(record, "fields", {}))
    if not fields and (stage := getattr(record, "stage", None)):
        fields["stage"] = stage
    message = record.getMessage()
    if message != reason_of(record):
        fields["message"] = message
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = logging.Formatter().formatException(record.exc_info)
    return {key: "***" if _SECRET.search(key) else value for key, value in fields.items()}


def moment(unix_s: float) -> str:
    """Return a Unix time as ISO 8601 UTC with milliseconds."""
    return datetime.fromtimestamp(round(unix_s, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, *, timed: bool) -> None:
        super().__init__()
        self._timed = timed

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        head: dict[str, Any] = {"time": moment(record.created)} if self._timed else {}
        head |= {"level": _LEVELS.get(record.levelno, record.levelname.lower()), "reason": reason_of(record)}
        # a field may not take the place of what every line has
        rest = {key if key not in head else f"{key}_": value for key, value in fields_of(record).items()}
        return json.dumps(head | rest, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """`time level reason key=value ...`; values with spaces or quotes are JSON strings, so a line stays a line."""

    def __init__(self, *, timed: bool) -> None:
        super().__init__()
        self._timed = timed

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        head = [moment(record.created)] if self._timed else []
        head += [f"{_LEVELS.get(record.levelno, record.levelname.lower()):<7}", reason_of(record)]
        rest = [f"{key}={_shown(value)}" for key, value in fields_of(record).items() if value != ""]
        return " ".join([*head, *rest])


def _shown(value: object) -> str:
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)


class Limit(logging.Filter):
    """At most `burst` lines a reason in WINDOW_S; then one line says how many were left out."""

    def __init__(
        self,
        burst: int,
        output: logging.Handler,
        *,
        clock: Callable[[], float] = time.monotonic,
        suppressed: Callable[[int], None] = lambda count: None,
    ) -> None:
        super().__init__()
        self._burst, self._output, self._clock, self._suppressed = burst, output, clock, suppressed
        self._windows: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is let through; tells first of windows that ended."""
        if getattr(record, "of_limit", False):
            return True
        now_s = self._clock()
        self._tell(now_s)
        reason = reason_of(record)
        begun_s, count = self._windows.get(reason, (now_s, 0))
        self._windows[reason] = (begun_s, count + 1)
        if count < self._burst:
            return True
        self._suppressed(1)
        return False

    def _tell(self, now_s: float) -> None:
        for reason, (begun_s, count) in list(self._windows.items()):
            if now_s - begun_s < WINDOW_S:
                continue
            del self._windows[reason]
            if count > self._burst:
                self._output.handle(_suppressed_line(reason, count - self._burst))


def _suppressed_line(reason: str, count: int) -> logging.LogRecord:
    record = logging.LogRecord("anycastd", logging.WARNING, "", 0, "suppressed", (), None)
    record.reason = "suppressed"
    record.fields = {"of": reason, "lines": count, "window_s": WINDOW_S}
    record.of_limit = True
    return record
