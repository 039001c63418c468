"""How the log is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """`level` is debug to error, `format` auto, json or text; at most `burst` lines a reason each 10 s."""

    level: str = "info"
    format: str = "auto"
    burst: int = 20
