"""Loss, latency, jitter and the share of failures in a check's window, and the limits that they exceed."""

from __future__ import annotations

from collections.abc import Iterable

from anycastd.api.views.moments import Json, since
from anycastd.model.address import CheckId, TunnelId
from anycastd.model.checks import CheckKind
from anycastd.model.health import CheckState, Exceeded, Measured
from anycastd.model.status import Status


def window(status: Status, state: CheckState) -> Json:
    """Return what a check's window adds up to, and each limit that it exceeds with since when."""
    measured = status.measured.get(state.id, Measured())
    return {
        "results": measured.results,
        "failures_percent": rounded(measured.failures_percent),
        "loss_percent": rounded(measured.loss_percent),
        "latency_ms": rounded(measured.latency_ms),
        "jitter_ms": rounded(measured.jitter_ms),
        "exceeded": [
            {
                "measure": one.measure.value,
                "value": rounded(measured.of(one.measure)),
                "limit": one.limit,
                "unit": one.measure.unit,
                **since(status, one.since_s),
            }
            for one in state.exceeded
        ],
    }


def exceeded_words(status: Status, state: CheckState) -> str:
    """Return `loss 6 % above 5 %`, for each limit that a check exceeds; nothing if it exceeds none."""
    return ", ".join(_words(status, state.id, one) for one in state.exceeded)


def _words(status: Status, check: CheckId, one: Exceeded) -> str:
    value = status.measured.get(check, Measured()).of(one.measure)
    now = "" if value is None else f" {value:.3g} {one.measure.unit}"
    return f"{one.measure.value}{now} above {one.limit:g} {one.measure.unit}"


def measured_through(status: Status) -> dict[TunnelId, list[Measured]]:
    """Return what the packets of each tunnel's own checks tell."""
    found: dict[TunnelId, list[Measured]] = {}
    for spec in status.config.probes:
        if spec.tunnel is None or spec.backend is not None or spec.check.kind in (CheckKind.LINK, CheckKind.FILE):
            continue
        if (measured := status.measured.get(spec.id)) is not None:
            found.setdefault(spec.tunnel, []).append(measured)
    return found


def worst_loss_percent(measured: Iterable[Measured]) -> float | None:
    """Return the largest loss, None if nothing was measured."""
    known = [loss for one in measured if (loss := one.loss_percent) is not None]
    return rounded(max(known, default=None))


def worst_jitter_ms(measured: Iterable[Measured]) -> float | None:
    """Return the largest jitter, None if nothing was measured."""
    known = [jitter for one in measured if (jitter := one.jitter_ms) is not None]
    return rounded(max(known, default=None))


def rounded(value: float | None) -> float | None:
    """Return a value with three digits behind the point."""
    return None if value is None else round(value, 3)
