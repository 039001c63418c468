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
    if result.outcome is Outcome.BROKEN:
        return _broken(state, result, timing)
    if result.outcome is Outcome.OK:
        passed = state.passed + 1
        risen = state.health is not Health.HEALTHY and passed >= timing.rise
        old_ms = state.latency_ms
        latency_ms = result.latency_ms if old_ms is None else old_ms + (result.latency_ms - old_ms) * LATENCY_WEIGHT
        state = replace(state, passed=passed, failed=0, broken=0, last=result, latency_ms=latency_ms)
        return replace(state, health=Health.HEALTHY, since_s=result.ended_s) if risen else state
    failed = state.failed + 1
    fallen = state.health is not Health.UNHEALTHY and failed >= timing.fall
    state = replace(state, passed=0, failed=failed, broken=0, last=result, last_failure=result)
    return replace(state, health=Health.UNHEALTHY, since_s=result.ended_s) if fallen else state


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
