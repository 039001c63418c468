"""From streaks and exceeded limits to one verdict. Pure.

Rise and fall say whether the target answers. Too large a share of failures makes it UNHEALTHY all the same: where every
second probe fails, no streak is ever long enough. It is over when the share is below its lower limit and `rise` probes
in a row have passed. Loss, latency and jitter make a target that answers DEGRADED.
"""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.health import CheckState, Exceeded, Health, Measure


def judged(before: CheckState, after: CheckState, over: tuple[Exceeded, ...], now_s: float) -> CheckState:
    """Return `after`, the state by streaks alone, with what the window says; `before` is the last verdict."""
    if not over and after.health is not Health.DEGRADED:
        return after if after.exceeded is over else replace(after, exceeded=over)
    health = after.health
    if health is not Health.UNKNOWN and any(one.measure is Measure.FAILURES for one in over):
        health = Health.UNHEALTHY
    elif health.is_usable:
        health = Health.DEGRADED if over else Health.HEALTHY
    since_s = before.since_s if health is before.health else now_s
    return replace(after, health=health, since_s=since_s, exceeded=over)
