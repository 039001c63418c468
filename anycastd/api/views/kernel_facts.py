"""Which way packets go in each region, and whether the kernel holds what that needs."""

from __future__ import annotations

from anycastd.api.views.moments import Json, since
from anycastd.model.address import RegionName, family_of
from anycastd.model.decision import TunnelOrder
from anycastd.model.status import PrefixView, Status
from anycastd.policy.condition import counted
from anycastd.policy.desired import blackhole, region_routes


def region_way(status: Status, order: TunnelOrder) -> Json:
    """Return the tunnels of a region for one family, best first, and whether its best route was read back."""
    best = next(iter(region_routes(status.config, order)), None)
    have = status.kernel.routes
    there = None if best is None or best.device is None or have is None else best in have
    return {
        "family": f"ipv{order.version}-unicast",
        "tunnels": list(order.tunnels),
        "reason": order.reason,
        **since(status, order.since_s),
        "via": None if best is None or best.via is None else str(best.via),
        "device": None if best is None else best.device,
        "forwarding": there,
    }


def ways_of(status: Status, name: RegionName) -> list[Json]:
    """Return a region's way in each family that it carries."""
    return [region_way(status, order) for (region, _), order in status.tunnel_orders.items() if region == name]


def kernel_facts(status: Status, view: PrefixView) -> Json:
    """Return whether a prefix is caught and judged by us, and the way into each region that counts for it."""
    spec = status.config.prefixes.get(view.prefix)
    names = counted(status.config, spec.announce_when, family_of(view.prefix)) if spec else ()
    orders = [status.tunnel_orders.get((name, view.prefix.version)) for name in names]
    have = status.kernel.routes
    return {
        "blackhole": None if have is None else blackhole(status.config, view.prefix) in have,
        "filter": status.filter_stands,
        "regions": [{"region": o.region, **region_way(status, o)} for o in orders if o is not None],
    }


def kernel_lines(facts: Json) -> list[str]:
    """Return the facts as lines."""
    rules = "stand" if facts["filter"] else "are MISSING"
    lines = [f"blackhole {_said(facts['blackhole'])}; the packet filter's rules {rules}"]
    for way in facts["regions"]:
        if not way["tunnels"]:
            lines.append(f"region {way['region']}: no tunnel ({way['reason']})")
            continue
        through = f"through {way['tunnels'][0]} via {way['via']} dev {way['device']} ({way['reason']})"
        lines.append(f"region {way['region']}: {through}; route {_said(way['forwarding'])}")
    return lines


def _said(present: bool | None) -> str:
    return {True: "in the kernel", False: "MISSING", None: "not known"}[present]
