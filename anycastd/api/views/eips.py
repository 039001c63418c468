"""EIPs, tasks, quotas and dials as the API shows them."""

from __future__ import annotations

from collections.abc import Iterable

from anycastd.api.ports import Dialed, Quota, Shown
from anycastd.api.views.moments import Clocked, Json, iso, iso_unix
from anycastd.model.eip import Bandwidth, Binding, Placement, Target, Task


def eip(shown: Shown, clocks: Clocked, keep_released_s: float) -> Json:
    """Return one EIP as wanted and as it is."""
    view = shown.view
    wanted = view.eip
    released_s = wanted.released_unix_s
    return {
        "id": wanted.id,
        "address": str(wanted.address),
        "prefix": None if shown.prefix is None else str(shown.prefix),
        "status": view.status.value,
        "reason": view.reason.value,
        "detail": view.detail,
        "generation": wanted.generation,
        "source": wanted.source.value,
        "association": None if wanted.binding is None else association(wanted.binding),
        "placement": None if view.placement is None else placement(view.placement, clocks),
        "bandwidth": bandwidth(wanted.bandwidth),
        "ping": wanted.ping.value,
        "tracking": wanted.tracking.value,
        "blocked": wanted.blocked,
        "blocked_reason": wanted.blocked_reason,
        "description": wanted.description,
        "created_at": iso_unix(wanted.created_unix_s) if wanted.created_unix_s else None,
        "changed_at": iso_unix(wanted.changed_unix_s) if wanted.changed_unix_s else None,
        "released_at": iso_unix(released_s),
        "restorable_until": None if released_s is None else iso_unix(released_s + keep_released_s),
        "last_error": wanted.last_error,
        "notes": list(shown.notes),
    }


def bandwidth(limits: Bandwidth) -> Json:
    """Return the limits of an EIP: L3 bits per second, null = none."""
    return {"in_bps": limits.in_bps, "out_bps": limits.out_bps, "shaping": limits.shaping.value}


def association(binding: Binding) -> Json:
    """Return a binding in the shape in which it is asked for."""
    return {
        "targets": [_target(target) for target in binding.targets],
        "spread": binding.spread.value,
        "affinity": binding.affinity.value,
        "when_unhealthy": binding.when_unhealthy.value,
    }


def _target(target: Target) -> Json:
    return {
        "backend": target.backend,
        "weight": target.weight,
        "priority": target.priority,
        "mode": None if target.mode is None else target.mode.value,
        "ports": [{"transport": one.transport.value, "port": one.port, "to_port": one.to_port} for one in target.ports],
    }


def placement(placed: Placement, clocks: Clocked) -> Json:
    """Return where the packets go now, and the share of each backend in percent."""
    total = sum(share.buckets for share in placed.shares) or 1
    return {
        "reason": placed.reason.value,
        "detail": placed.detail,
        "since": iso(clocks, placed.since_s),
        "shares": [
            {
                "backend": share.path.backend,
                "region": share.path.region,
                "mode": share.path.mode.value,
                "percent": round(100.0 * share.buckets / total, 2),
            }
            for share in placed.shares
        ],
    }


def task(one: Task) -> Json:
    """Return one task."""
    return {
        "id": one.id,
        "state": one.state.value,
        "verb": one.verb,
        "eip": one.eip,
        "address": str(one.address),
        "generation": one.generation,
        "detail": one.detail,
        "created_at": iso_unix(one.created_unix_s),
        "ended_at": iso_unix(one.ended_unix_s),
    }


def quotas(limits: Iterable[Quota]) -> Json:
    """Return what is limited."""
    return {"quotas": [{"quota": one.quota, "current": one.current, "limit": one.limit} for one in limits]}


def dial(dialed: Dialed, *, dry_run: bool) -> Json:
    """Return a region's dial after a change."""
    in_force = dialed.configured if dialed.percentage is None else dialed.percentage
    return {
        "region": dialed.region,
        "traffic_dial_percentage": in_force,
        "configured_percentage": dialed.configured,
        "generation": dialed.generation,
        "dry_run": dry_run,
        "changes": list(dialed.changes),
    }
