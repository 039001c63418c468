"""Which way a prefix's packets go, and whether the kernel holds what that needs."""

from __future__ import annotations

from anycastd.api.views.moments import Json, since
from anycastd.model.kernel import MAIN_TABLE, KernelRoute, RouteKind
from anycastd.model.status import PrefixView, Status


def _mine(routes: frozenset[KernelRoute], view: PrefixView, kind: RouteKind) -> KernelRoute | None:
    found = [r for r in routes if r.prefix == view.prefix and r.kind is kind and r.table == MAIN_TABLE]
    return min(found, key=lambda r: (r.metric, str(r.via)), default=None)


def kernel_facts(status: Status, view: PrefixView) -> Json:
    """Return the chosen tunnel, the route that leads there, and the blackhole below it, as wanted and as read back."""
    known = status.kernel.routes is not None
    have = status.kernel.routes or frozenset()
    wanted = _mine(status.wanted_kernel_routes, view, RouteKind.UNICAST)
    hole = _mine(status.wanted_kernel_routes, view, RouteKind.BLACKHOLE)
    return {
        "tunnel": view.path.tunnel,
        "reason": view.path.reason,
        **since(status, view.path.since_s),
        "via": None if wanted is None or wanted.via is None else str(wanted.via),
        "device": None if wanted is None else wanted.device,
        "forwarding": None if wanted is None or not known else wanted in have,
        "blackhole": None if hole is None or not known else hole in have,
    }


def kernel_line(facts: Json) -> str:
    """Return the facts as one line."""
    if facts["tunnel"] is None:
        way = f"no tunnel ({facts['reason']})"
    else:
        way = f"through {facts['tunnel']} via {facts['via']} dev {facts['device']} ({facts['reason']})"
    return f"{way}; route {_said(facts['forwarding'])}, blackhole below it {_said(facts['blackhole'])}"


def _said(present: bool | None) -> str:
    return {True: "in the kernel", False: "MISSING", None: "not known"}[present]
