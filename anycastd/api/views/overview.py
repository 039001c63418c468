"""`/v1/status`: the whole POP on one page."""

from __future__ import annotations

from anycastd.api.views.attack import summary
from anycastd.api.views.checks import every_tunnel, region
from anycastd.api.views.moments import Json, age_s, iso, since
from anycastd.api.views.neighbors import neighbor
from anycastd.api.views.orders import orders
from anycastd.api.views.prefixes import prefix
from anycastd.api.views.seen import fleet
from anycastd.model.decision import PrefixState
from anycastd.model.status import AlarmView, Status


def serving(status: Status) -> str:
    """Return what the POP does, in a word: serving, partly, silent (no prefix announced) or stopping."""
    if status.stopping:
        return "stopping"
    announced = [view.state is PrefixState.ANNOUNCED for view in status.prefixes.values()]
    if announced and all(announced):
        return "serving"
    return "partly" if any(announced) else "silent"


def alarm(status: Status, view: AlarmView) -> Json:
    """Return one standing alarm."""
    return {
        "alarm": view.alarm.value,
        "subject": view.subject,
        "detail": view.detail,
        **since(status, view.since_s),
    }


def _pop(status: Status) -> Json:
    pop = status.config.pop
    return {"name": pop.name, "asn": pop.asn, "router_id": str(pop.router_id)}


def _config(status: Status) -> Json:
    return {
        "path": status.config.path,
        "digest": status.config.digest,
        "loaded_at": iso(status, status.config_loaded_s),
        "age_s": age_s(status, status.config_loaded_s),
        "error": status.config_error,
        "warnings": list(status.config.warnings),
    }


def bfd(status: Status) -> Json | None:
    """Return the process that speaks BFD, None where there is none."""
    view = status.bfd
    if view is None:
        return None
    return {
        "connected": view.connected,
        "pid": view.pid,
        "adopted": view.adopted,
        "realtime": view.realtime,
        "locked": view.locked,
        "restarts": view.restarts,
        "trouble": view.trouble,
        "sessions": dict(view.sessions),
        "downs": view.downs,
        "late_ms": round(view.late_s * 1000, 3),
        "late_worst_ms": round(view.late_worst_s * 1000, 3),
        "discarded": dict(view.discarded),
    }


def breaker(status: Status) -> Json:
    """Return the circuit breaker."""
    view = status.breaker
    return {
        "tripped": view.tripped_s is not None,
        "tripped_at": None if view.tripped_s is None else iso(status, view.tripped_s),
        "withdrawals": view.left,
        "limit": view.limit,
        "window_s": view.window_s,
        "held": view.held,
    }


def probing(status: Status) -> Json:
    """Return how the probe engine does."""
    stats = status.probing.stats
    p99_s = stats.late_below_s(0.99)
    return {
        "checks": stats.checks,
        "running": stats.running,
        "sockets": stats.sockets_open,
        "late_p99_ms": None if p99_s is None else p99_s * 1000,
        "late_max_ms": round(stats.late_max_s * 1000, 3),
        "skipped": stats.skipped,
        "no_descriptors": stats.unopened,
        "workers": [{"name": name, "up": up} for name, up in status.probing.workers],
        "workers_lost": status.probing.lost,
    }


def overview(status: Status) -> Json:
    """Return everything an operator looks at first."""
    test = status.health.self_test
    return {
        "pop": _pop(status),
        "state": serving(status),
        "version": status.version,
        "now": iso(status, status.now_s),
        "started_at": iso(status, status.started_s),
        "uptime_s": age_s(status, status.started_s),
        "config": _config(status),
        "speaker": status.bgp.speaker.value,
        "guard": status.fleet.guard.value,
        "fleet": fleet(status),
        "fault": {"scope": status.health.fault.value, "detail": status.health.fault_detail},
        "self_test": {
            "health": test.health.value,
            "suspect": test.suspect_until_s is not None,
            "detail": test.detail,
        },
        "probing": probing(status),
        "loop": {"lag_ms": round(status.loop.lag_ms, 3), "lag_max_ms": round(status.loop.lag_max_ms, 3)},
        "bfd": bfd(status),
        "alarms": [alarm(status, view) for view in status.alarms],
        "prefixes": [prefix(status, view) for view in status.prefixes.values()],
        "regions": [region(status, view) for view in status.health.regions.values()],
        "tunnels": list(every_tunnel(status)),
        "neighbors": [neighbor(status, name) for name in status.config.neighbors],
        "unwanted": list(status.unwanted),
        "orders": orders(status),
        "breaker": breaker(status),
        "attack": summary(status),
    }
