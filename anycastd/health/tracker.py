"""The verdicts of all checks, kept over reloads for checks that did not change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anycastd.health.limits import exceeded, limited
from anycastd.health.rise_fall import feed
from anycastd.health.verdict import judged
from anycastd.health.window import Window
from anycastd.model.address import CheckId
from anycastd.model.checks import Limit, ProbeSpec
from anycastd.model.health import CheckState, Measure, Measured
from anycastd.model.probe import Outcome, ProbeResult


@dataclass(slots=True)
class _Tracked:
    """One configured check: what it is, what is believed of it, and its last results."""

    spec: ProbeSpec
    limits: tuple[tuple[Measure, Limit], ...]
    window: Window


class Tracker:
    """Holds one CheckState for each configured check."""

    def __init__(self) -> None:
        self._tracked: dict[CheckId, _Tracked] = {}
        self._states: dict[CheckId, CheckState] = {}

    @property
    def states(self) -> Mapping[CheckId, CheckState]:
        """Return every check's state; a live view, not a copy."""
        return self._states

    @property
    def measured(self) -> dict[CheckId, Measured]:
        """Return what the last results of each check add up to, as of now."""
        return {id_: tracked.window.measured for id_, tracked in self._tracked.items()}

    def spec(self, check: CheckId) -> ProbeSpec | None:
        """Return what the check is, or None if it is not configured (any more)."""
        tracked = self._tracked.get(check)
        return tracked.spec if tracked else None

    def configure(self, specs: Iterable[ProbeSpec], now_s: float) -> None:
        """Take the configured checks; an unchanged one keeps its state, a changed or new one begins at INITIAL."""
        tracked: dict[CheckId, _Tracked] = {}
        states: dict[CheckId, CheckState] = {}
        for spec in specs:
            known = self._tracked.get(spec.id)
            if known is not None and known.spec == spec:
                tracked[spec.id], states[spec.id] = known, self._states[spec.id]
                continue
            limits = spec.check.limits
            tracked[spec.id] = _Tracked(spec, limited(limits), Window(limits.window))
            states[spec.id] = CheckState(id=spec.id, since_s=now_s)
        self._tracked, self._states = tracked, states

    def feed(self, result: ProbeResult) -> tuple[CheckState, CheckState] | None:
        """Take one result; return the state before and after, or None for a check that is not configured."""
        tracked = self._tracked.get(result.check)
        if tracked is None:
            return None
        before, timing = self._states[result.check], tracked.spec.check.timing
        over = before.exceeded
        if result.outcome is not Outcome.BROKEN:
            tracked.window.take(result, timing.fall)
            over = exceeded(over, tracked.limits, tracked.window, result.ended_s)
        after = before if result.overtaken else feed(before, result, timing)
        after = judged(before, after, over, result.ended_s)
        self._states[result.check] = after
        return before, after
