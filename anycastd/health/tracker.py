"""The verdicts of all checks, kept over reloads for checks that did not change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.health.rise_fall import feed
from anycastd.model.address import CheckId
from anycastd.model.checks import ProbeSpec
from anycastd.model.health import CheckState
from anycastd.model.probe import ProbeResult


class Tracker:
    """Holds one CheckState for each configured check."""

    def __init__(self) -> None:
        self._specs: dict[CheckId, ProbeSpec] = {}
        self._states: dict[CheckId, CheckState] = {}

    @property
    def states(self) -> Mapping[CheckId, CheckState]:
        """Return every check's state; a live view, not a copy."""
        return self._states

    def spec(self, check: CheckId) -> ProbeSpec | None:
        """Return what the check is, or None if it is not configured (any more)."""
        return self._specs.get(check)

    def configure(self, specs: Iterable[ProbeSpec], now_s: float) -> None:
        """Take the configured checks; an unchanged one keeps its state, a changed or new one begins at INITIAL."""
        new = {spec.id: spec for spec in specs}
        self._states = {
            id_: self._states[id_] if self._specs.get(id_) == spec else CheckState(id=id_, since_s=now_s)
            for id_, spec in new.items()
        }
        self._specs = new

    def feed(self, result: ProbeResult) -> tuple[CheckState, CheckState] | None:
        """Take one result; return the state before and after, or None for a check that is not configured."""
        spec = self._specs.get(result.check)
        if spec is None:
            return None
        before = self._states[result.check]
        after = feed(before, result, spec.check.timing)
        self._states[result.check] = after
        return before, after
