"""Rise/fall hysteresis: one check's verdict from its results. Pure; the result carries its own time.

Transitions: `rise` passing results in a row -> HEALTHY; `fall` failing in a row -> UNHEALTHY; `fall` broken in a row
-> UNKNOWN. A broken result says nothing of the target: it neither lengthens nor ends the other two streaks.
"""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.checks import Timing
from anycastd.model.health import CheckState, Health
from anycastd.model.probe import Outcome, ProbeResult

LATENCY_WEIGHT = 1 / 8


def feed(state: CheckState, result: ProbeResult, timing: Timing) -> CheckState:
    """Return the state after one probe result."""
    outcome, health, since_s = result.outcome, state.health, state.since_s
    if outcome is Outcome.BROKEN:
        return _broken(state, result, timing)
    # built by hand: this runs for each result, and `replace` takes twice as long
    if outcome is Outcome.OK:
        passed = state.passed + 1
        if passed >= timing.rise and not health.is_usable:
            health, since_s = Health.HEALTHY, result.ended_s
        old_ms = state.latency_ms
        latency_ms = result.latency_ms if old_ms is None else old_ms + (result.latency_ms - old_ms) * LATENCY_WEIGHT
        return CheckState(
            state.id, health, since_s, passed, 0, 0, result, state.last_failure, latency_ms, state.exceeded
        )
    failed = state.failed + 1
    if failed >= timing.fall and health is not Health.UNHEALTHY:
        health, since_s = Health.UNHEALTHY, result.ended_s
    return CheckState(state.id, health, since_s, 0, failed, 0, result, result, state.latency_ms, state.exceeded)


def _broken(state: CheckState, result: ProbeResult, timing: Timing) -> CheckState:
    broken = state.broken + 1
    if state.health is not Health.UNKNOWN and broken >= timing.fall:
        return replace(
            state,
            health=Health.UNKNOWN,
            since_s=result.ended_s,
            passed=0,
            failed=0,
            broken=broken,
            last=result,
            last_failure=result,
        )
    return replace(state, broken=broken, last=result, last_failure=result)
