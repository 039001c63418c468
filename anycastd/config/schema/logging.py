"""`logging`: how much is told, and in what form."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import choice, whole


class LogLevel(StrEnum):
    """From everything to errors only."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """`auto` is text on a terminal, json elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class LoggingSection(Section):
    """The log, on standard error. Changes need a restart."""

    level: Annotated[LogLevel, choice(LogLevel)] = Field(default=LogLevel.INFO, description="The least that is told.")
    format: Annotated[LogFormat, choice(LogFormat)] = Field(
        default=LogFormat.AUTO, description="`auto` is text on a terminal, json elsewhere."
    )
    burst: Annotated[int, whole(1, 10000)] = Field(
        default=20, description="The most lines of one reason in 10 seconds."
    )
