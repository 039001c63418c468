"""EIPs, bindings and what they are placed on, in a few words, for tests of placement, elements and the plane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import (
    Affinity,
    Bandwidth,
    Binding,
    Eip,
    EipId,
    Mode,
    Placement,
    Spread,
    Target,
    Tracking,
    WhenUnhealthy,
)
from anycastd.model.health import Health, HealthView, SelfTestView
from anycastd.model.topology import Config, PrefixSpec
from anycastd.policy.placement import place
from tests.unit.policy.pops import NOW_S, UP, Place, believed, pop

OK, BAD, NEW, BLIND = Health.HEALTHY, Health.UNHEALTHY, Health.INITIAL, Health.UNKNOWN
POOR = Health.DEGRADED
NET4, NET6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48")
WHERE = {
    "eu": Place({"a": "46", "b": "46"}, {"web-1": 4, "web-2": 4, "six": 6}),
    "us": Place({"a": "46"}, {"web-1": 4, "six": 6}),
    "ap": Place({"a": "46"}, {"web-1": 4}),
}
SUSPECT = SelfTestView(BAD, NOW_S + 60.0, "we are the fault")


def world(places: Mapping[str, Place] | None = None, modes: Mapping[str, Mode] | None = None) -> Config:
    """Return a configuration with numbered regions; the mode is DNAT unless said otherwise."""
    config = pop(places or WHERE)
    regions = {
        name: replace(region, number=number, mode=(modes or {}).get(name, Mode.DNAT))
        for number, (name, region) in enumerate(sorted(config.regions.items()), start=1)
    }
    prefixes = {net: PrefixSpec(prefix=net, neighbors=(UP,)) for net in (NET4, NET6)}
    return replace(config, regions={name: regions[name] for name in config.regions}, prefixes=prefixes)


CONFIG = world()


def to(backend: str, weight: int = 100, priority: int = 1, mode: Mode | None = None) -> Target:
    return Target(backend=BackendId(backend), weight=weight, priority=priority, mode=mode)


def bound(
    *targets: Target | str,
    spread: Spread = Spread.NEAREST,
    affinity: Affinity = Affinity.NONE,
    drop: bool = False,
) -> Binding:
    return Binding(
        targets=tuple(to(one) if isinstance(one, str) else one for one in targets),
        spread=spread,
        affinity=affinity,
        when_unhealthy=WhenUnhealthy.DROP if drop else WhenUnhealthy.FAIL_OPEN,
    )


def eip(
    last: int | str,
    binding: Binding | None = None,
    *,
    bandwidth: Bandwidth | None = None,
    tracking: Tracking = Tracking.CONNTRACK,
    blocked: bool = False,
    released_unix_s: float | None = None,
) -> Eip:
    """Return an EIP: `last` is its last byte in 203.0.113.0/24, or its whole address."""
    address = ip_address(f"203.0.113.{last}" if isinstance(last, int) else last)
    return Eip(
        id=EipId(f"eip-{int(address) & 0xFFFFFFFF:08x}"),
        address=address,
        binding=binding,
        bandwidth=bandwidth or Bandwidth(),
        tracking=tracking,
        blocked=blocked,
        released_unix_s=released_unix_s,
    )


def placed(
    binding: Binding,
    states: Mapping[str, Health] | None = None,
    *,
    before: Placement | None = None,
    dials: Mapping[str, int] | None = None,
    latency_ms: Mapping[str, float] | None = None,
    config: Config = CONFIG,
    suspect: bool = False,
    now_s: float = NOW_S,
    version: int = 4,
) -> Placement:
    view = view_of(states or {}, latency_ms=latency_ms, config=config, suspect=suspect)
    set_dials = {RegionName(name): percent for name, percent in (dials or {}).items()}
    return place(config, binding, version, view, set_dials, before, now_s)


def view_of(
    states: Mapping[str, Health],
    *,
    latency_ms: Mapping[str, float] | None = None,
    config: Config = CONFIG,
    suspect: bool = False,
) -> HealthView:
    """Return what is believed: `{"eu/web-1": BAD, "eu": BAD}` are a backend and all tunnels of a region."""
    named = {f"backend/{k}" if "/web" in k or "/six" in k else f"tunnel/{k}": v for k, v in states.items()}
    took = {f"tunnel/{name}": ms for name, ms in (latency_ms or {}).items()}
    return believed(config, named, latency_ms=took, self_test=SUSPECT if suspect else None)


def shares(placement: Placement) -> dict[str, int]:
    """Return the buckets of each backend."""
    found: dict[str, int] = {}
    for share in placement.shares:
        found[share.path.backend] = found.get(share.path.backend, 0) + share.buckets
    return found
