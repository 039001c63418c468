"""Checks, tunnels, backends and regions as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from anycastd.api.views.kernel_facts import ways_of
from anycastd.api.views.moments import Json, iso, iso_unix, since
from anycastd.api.views.quality import (
    exceeded_words,
    measured_through,
    rounded,
    window,
    worst_jitter_ms,
    worst_loss_percent,
)
from anycastd.model.address import CheckId
from anycastd.model.checks import ProbeSpec
from anycastd.model.health import BackendView, CheckState, Health, Measured, RegionView, TunnelView
from anycastd.model.probe import ProbeResult
from anycastd.model.status import Status


def probes_of(status: Status) -> Iterator[ProbeSpec]:
    """Yield every configured check: of tunnels, backends, and of the self-test."""
    yield from status.config.probes
    yield from status.config.self_test.probes


def result(status: Status, last: ProbeResult | None) -> Json | None:
    """Return one probe result, or None if there is none."""
    if last is None:
        return None
    return {
        "why": last.why.value,
        "outcome": last.outcome.value,
        "detail": last.detail,
        "at": iso(status, last.ended_s),
        "latency_ms": round(last.latency_ms, 3),
        "late_ms": round(last.late_s * 1000, 3),
        "certificate_ends": None if last.note is None else iso_unix(last.note.certificate_ends_s),
        "warning": "" if last.note is None else last.note.warning,
    }


def check(status: Status, spec: ProbeSpec) -> Json:
    """Return one check: what it looks at, and what is believed of it."""
    state = status.checks.get(spec.id, CheckState(spec.id, since_s=status.started_s))
    return {
        "id": spec.id,
        "check": f"{spec.check.name} (IPv6)" if spec.id.endswith("#6") else spec.check.name,
        "kind": spec.check.kind.value,
        "target": str(spec.target) if spec.name is None else spec.name.name,
        "source": None if spec.source is None else str(spec.source),
        "device": spec.device,
        "region": spec.region,
        "tunnel": spec.tunnel,
        "backend": spec.backend,
        "health": state.health.value,
        **since(status, state.since_s),
        "passed": state.passed,
        "failed": state.failed,
        "broken": state.broken,
        "latency_ms": rounded(state.latency_ms),
        "window": window(status, state),
        "last": result(status, state.last),
        "last_failure": result(status, state.last_failure),
    }


def checks(status: Status) -> Json:
    """Return every check."""
    return {"checks": [check(status, spec) for spec in probes_of(status)]}


def why_of(status: Status, health: Health, reason: str, evidence: Iterable[CheckId]) -> str:
    """Return a sentence on why something is as it is: the first guilty check and how it ended, or the reason."""
    words = reason.replace("_", " ")
    if health is Health.HEALTHY:
        return words
    for id_ in evidence:
        state = status.checks.get(id_)
        if state and (health is Health.DEGRADED or state.fails_too_often):
            return f"{id_.rsplit('/', 1)[-1]}: {exceeded_words(status, state)}"
        shown = state and (state.last_failure if health is Health.UNHEALTHY else state.last)
        if shown:
            detail = f" ({shown.detail})" if shown.detail else ""
            return f"{id_.rsplit('/', 1)[-1]}: {shown.why.value.replace('_', ' ')}{detail}"
    return words


def tunnel(status: Status, view: TunnelView, measured: Iterable[Measured]) -> Json:
    """Return one tunnel, its device and the families of its region whose packets it carries now.

    `measured` is what its own checks tell.
    """
    measured = tuple(measured)
    link = status.kernel.links.get(view.device)
    return {
        "tunnel": view.id,
        "region": view.region,
        "device": view.device,
        "health": view.health.value,
        "reason": view.reason.value,
        "why": why_of(status, view.health, view.reason.value, view.evidence),
        "evidence": list(view.evidence),
        **since(status, view.since_s),
        "latency_ms": rounded(view.latency_ms),
        "loss_percent": worst_loss_percent(measured),
        "jitter_ms": worst_jitter_ms(measured),
        "backends": {"healthy": view.healthy_backends, "total": len(status.config.regions[view.region].backends)},
        "link": None
        if link is None
        else {"up": link.admin_up, "carrier": link.carrier, "operstate": link.operstate, "usable": link.usable},
        "carries": [
            f"ipv{order.version}-unicast" for order in status.tunnel_orders.values() if order.tunnels[:1] == (view.id,)
        ],
    }


def tunnels(status: Status) -> Json:
    """Return every tunnel."""
    return {"tunnels": list(every_tunnel(status))}


def every_tunnel(status: Status) -> Iterator[Json]:
    """Yield every tunnel."""
    measured = measured_through(status)
    for view in status.health.tunnels.values():
        yield tunnel(status, view, measured.get(view.id, ()))


def backend(status: Status, view: BackendView) -> Json:
    """Return one backend, and what its checks say through each tunnel."""
    return {
        "backend": view.id,
        "region": view.region,
        "address": str(status.config.backends[view.id].address),
        "health": view.health.value,
        "reason": view.reason.value,
        "why": why_of(status, view.health, view.reason.value, view.evidence),
        "evidence": list(view.evidence),
        **since(status, view.since_s),
        "latency_ms": rounded(view.latency_ms),
        "paths": {id_: health.value for id_, health in view.paths.items()},
    }


def backends(status: Status) -> Json:
    """Return every backend."""
    return {"backends": [backend(status, view) for view in status.health.backends.values()]}


def region(status: Status, view: RegionView) -> Json:
    """Return one region: whether this POP can serve from it, and how much of its traffic may go there."""
    configured = status.config.regions[view.name].traffic_dial_percentage
    return {
        "region": view.name,
        "traffic_dial_percentage": status.dials.get(view.name, configured),
        "configured_percentage": configured,
        "generation": status.dial_generations.get(view.name, 0),
        "health": view.health.value,
        "reason": view.reason.value,
        **since(status, view.since_s),
        "detail": view.detail,
        "usable_when": str(status.config.regions[view.name].usable_when),
        "tunnels": {
            "healthy": view.healthy_tunnels,
            "degraded": view.degraded_tunnels,
            "total": view.total_tunnels,
        },
        "backends": {
            "healthy": view.healthy_backends,
            "degraded": view.degraded_backends,
            "total": view.total_backends,
        },
        "ways": ways_of(status, view.name),
    }


def regions(status: Status) -> Json:
    """Return every region."""
    return {"regions": [region(status, view) for view in status.health.regions.values()]}
