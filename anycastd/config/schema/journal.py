"""`journal`: how much of what happened is kept, and how live events are sent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import duration, size, whole
from anycastd.model.topology import JournalConfig

_DEFAULT = JournalConfig()
DAY_S = 86400.0


class JournalSection(Section):
    """Decisions and changes of state, in `state_dir`/journal.db; the oldest go first when a bound is reached."""

    max_decisions: Annotated[int, whole(100, 10_000_000)] = Field(
        default=_DEFAULT.max_decisions, description="The most decisions that are kept; one takes about 2.5 KiB."
    )
    max_events: Annotated[int, whole(100, 10_000_000)] = Field(
        default=_DEFAULT.max_events, description="The most other entries that are kept; one takes about 0.2 KiB."
    )
    max_size: Annotated[int, size(1 << 20, 1 << 40)] = Field(
        default=_DEFAULT.max_size_bytes, description="The most that the file takes."
    )
    keep: Annotated[float, duration(3600.0, 3660 * DAY_S)] = Field(
        default=_DEFAULT.keep_s, description="How long entries are kept."
    )
    write_after: Annotated[float, duration(0.01, 60.0)] = Field(
        default=_DEFAULT.write_after_s,
        description="How long an entry waits for others before it is written: so much is lost with the machine.",
    )
    retry: Annotated[float, duration(0.1, 3600.0)] = Field(
        default=_DEFAULT.retry_s, description="How soon a file that could not be written is tried again."
    )
    max_waiting: Annotated[int, whole(100, 1_000_000)] = Field(
        default=_DEFAULT.max_waiting,
        description="The most entries that wait to be written, in memory; more are counted and lost.",
    )
    max_readers: Annotated[int, whole(0, 1000)] = Field(
        default=_DEFAULT.max_readers, description="The most readers of live events at once."
    )
    reader_backlog: Annotated[int, whole(10, 100_000)] = Field(
        default=_DEFAULT.reader_backlog,
        description="How many events wait for a slow reader; it is told how many more it missed.",
    )
    reader_patience: Annotated[float, duration(0.1, 3600.0)] = Field(
        default=_DEFAULT.reader_patience_s, description="How long a reader may take nothing before it is let go."
    )
    heartbeat: Annotated[float, duration(0.1, 3600.0)] = Field(
        default=_DEFAULT.heartbeat_s, description="How often an idle reader is sent a comment."
    )
