"""A daemon for the API's tests: a state that the test sets, and a record of the reloads asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anycastd.api.ports import ReloadOutcome, Shown
from anycastd.model.status import Status
from anycastd.traffic.views import traffic_overview


class Meter:
    """Implements `api.ports.Traffic` of nothing."""

    async def asked(self, shown: Shown, query: Mapping[str, str], /) -> dict[str, Any]:
        """Return the traffic of an EIP."""
        if query.get("span") == "bad":
            message = "span is not 'bad'"
            raise ValueError(message)
        return {"eip": shown.view.eip.id}

    def overview(self) -> dict[str, Any]:
        """Return the POP's traffic."""
        return traffic_overview(None)


@dataclass
class Daemon:
    """Implements `api.ports.Daemon`."""

    state: Status
    outcome: ReloadOutcome = field(default_factory=lambda: ReloadOutcome(True, ("prefix 203.0.113.0/24 added",)))
    asked: list[tuple[int | None, bool]] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    bakes: list[float] = field(default_factory=list)

    def status(self) -> Status:
        """Return the state the test set."""
        return self.state

    async def status_by_and_by(self) -> Status:
        """Return the state the test set."""
        return self.state

    async def reload(
        self, *, expected_removals: int | None = None, dry_run: bool = False, bake_s: float = 0.0
    ) -> ReloadOutcome:
        """Note what was asked, and answer what the test set."""
        self.asked.append((expected_removals, dry_run))
        self.bakes.append(bake_s)
        return self.outcome

    def confirm(self) -> bool:
        """Confirm what baked last, once."""
        baked, self.bakes[:] = any(self.bakes), []
        return baked

    def reset_breaker(self, owner: str) -> bool:
        """Note who asked; the first one finds it tripped."""
        self.resets.append(owner)
        return len(self.resets) == 1
