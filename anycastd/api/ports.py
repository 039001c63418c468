"""What the API needs of the daemon; the runtime provides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from anycastd.model.status import Status


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What a reload did: `applied`, the sentences of what changed, or the problems that refused it."""

    applied: bool
    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Daemon(Protocol):
    """The two things the outside may ask: how it is, and to read its configuration again."""

    def status(self) -> Status:
        """Return the whole state at this moment."""
        ...

    async def reload(self, *, expected_removals: int | None = None, dry_run: bool = False) -> ReloadOutcome:
        """Read the configuration file again and apply the difference, or refuse it whole."""
        ...
