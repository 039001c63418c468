"""POPs in a few words, and what is believed of them, for tests of health, condition, path and desired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from anycastd.health.assess import assess, index_of
from anycastd.model.address import Address, BackendId, CheckId, Family, NeighborName, Prefix, RegionName, TunnelId
from anycastd.model.checks import CheckKind, CheckSpec, IcmpOptions, ProbeSpec, TcpOptions
from anycastd.model.health import CheckState, Health, HealthView, SelfTestView
from anycastd.model.topology import Backend, Config, Need, Neighbor, Pop, PrefixSpec, Region, Tunnel

V4, V6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48")
UP = NeighborName("transit-a")
NOW_S = 1000.0

_PATH = CheckSpec(name="path", kind=CheckKind.ICMP, options=IcmpOptions())
_WEB = CheckSpec(name="web", kind=CheckKind.TCP, options=TcpOptions(port=80))


@dataclass(frozen=True)
class Place:
    """A region in a few words: families of each tunnel ("4", "6", "46") and the family of each backend."""

    tunnels: Mapping[str, str]
    backends: Mapping[str, int]
    usable_when: Need = field(default_factory=Need)
    priority: int = 1
    tunnel_priority: Mapping[str, int] | None = None


TWO = Place({"a": "4", "b": "4"}, {"web-1": 4, "web-2": 4})


def pop(places: Mapping[str, Place], *, order: Iterable[str] | None = None) -> Config:
    """Return a configuration; `order` is the order of regions in every mapping."""
    regions, tunnels, backends, probes = {}, {}, {}, []
    numbers = {name: number for number, name in enumerate(sorted(places), start=1)}
    for name in order or places:
        place, region = places[name], RegionName(name)
        for index, (key, families) in enumerate(sorted(place.tunnels.items()), start=1):
            tunnel = _tunnel(region, key, families, numbers[name], index, place)
            tunnels[tunnel.id] = tunnel
            probes += [_path(tunnel, far) for far in (tunnel.far_end_ipv4, tunnel.far_end_ipv6) if far is not None]
        for index, (key, version) in enumerate(sorted(place.backends.items()), start=1):
            net = f"10.{numbers[name]}.0.{index}" if version == 4 else f"fd00:{numbers[name]}::{index}"
            backend = Backend(id=BackendId(f"{name}/{key}"), region=region, address=ip_address(net))
            backends[backend.id] = backend
            ways = [t for t in tunnels.values() if t.region == region and str(version) in place.tunnels[t.id[-1]]]
            probes += [_web(backend, tunnel) for tunnel in ways]
        regions[region] = Region(
            name=region,
            tunnels=tuple(id_ for id_, tunnel in tunnels.items() if tunnel.region == region),
            backends=tuple(id_ for id_, backend in backends.items() if backend.region == region),
            usable_when=place.usable_when,
            priority=place.priority,
            number=numbers[name],
        )
    return Config(
        pop=Pop(name="fra", asn=64500, router_id=IPv4Address("192.0.2.2")),
        neighbors={UP: neighbor()},
        regions=regions,
        tunnels=tunnels,
        backends=backends,
        probes=tuple(probes),
        prefixes={prefix: PrefixSpec(prefix=prefix, neighbors=(UP,)) for prefix in (V4, V6)},
    )


def _tunnel(region: RegionName, key: str, families: str, number: int, index: int, place: Place) -> Tunnel:
    v4, v6 = f"10.255.{number}.{index}", f"fd00:255:{number}:{index}::"
    return Tunnel(
        id=TunnelId(f"{region}/{key}"),
        region=region,
        device=f"{region}-{key}",
        local_ipv4=IPv4Address(v4) if "4" in families else None,
        far_end_ipv4=IPv4Address(v4) + 100 if "4" in families else None,
        local_ipv6=IPv6Address(f"{v6}1") if "6" in families else None,
        far_end_ipv6=IPv6Address(f"{v6}2") if "6" in families else None,
        priority=(place.tunnel_priority or {}).get(key, 1),
        table=1300 + 10 * number + index,
    )


def _path(tunnel: Tunnel, far_end: Address) -> ProbeSpec:
    id_ = CheckId(f"tunnel/{tunnel.id}/path{'#6' if far_end.version == 6 else ''}")
    return ProbeSpec(id=id_, check=_PATH, target=far_end, region=tunnel.region, tunnel=tunnel.id)


def _web(backend: Backend, tunnel: Tunnel) -> ProbeSpec:
    id_ = CheckId(f"backend/{backend.id}/web@{tunnel.id.partition('/')[2]}")
    return ProbeSpec(
        id=id_, check=_WEB, target=backend.address, region=tunnel.region, tunnel=tunnel.id, backend=backend.id
    )


def neighbor(*, ibgp: bool = False) -> Neighbor:
    """Return a neighbor in another AS, or in ours."""
    return Neighbor(
        name=UP,
        address=ip_address("192.0.2.1"),
        asn=64500 if ibgp else 64496,
        local_address=ip_address("192.0.2.2"),
        local_asn=64500,
        families=(Family.IPV4_UNICAST, Family.IPV6_UNICAST),
    )


def believed(
    config: Config,
    states: Mapping[str, Health],
    *,
    rest: Health = Health.HEALTHY,
    latency_ms: Mapping[str, float] | None = None,
    before: HealthView | None = None,
    now_s: float = NOW_S,
    self_test: SelfTestView | None = None,
) -> HealthView:
    """Return what is believed when each check whose id begins with a key is in that state (longest key wins)."""
    checks = {}
    for spec in config.probes:
        keys = sorted((key for key in states if spec.id.startswith(key)), key=len)
        took_ms = next((ms for key, ms in (latency_ms or {}).items() if spec.id.startswith(key)), None)
        checks[spec.id] = CheckState(spec.id, states[keys[-1]] if keys else rest, latency_ms=took_ms)
    return assess(config, index_of(config), checks, now_s, before, self_test)


def prefixes_of(version: int) -> Prefix:
    return V4 if version == 4 else V6


def with_hysteresis(config: Config, ms: float) -> Config:
    return replace(config, kernel=replace(config.kernel, switch_hysteresis_ms=ms))
