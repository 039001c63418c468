"""A machine on which nothing is wrong, for tests that break one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from anycastd.doctor.facts import Directory, Facts, Link, Program, RouteSeen, Step, User
from anycastd.model.address import RegionName, TunnelId
from anycastd.model.kernel import RouteKind
from anycastd.model.topology import Config, Pop, PrefixSpec, Region, Tunnel
from anycastd.policy.desired import blackhole, wanted_kernel_rules

V4, V6 = ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48")
DEVICE = "vx.1"
"""With a dot, as a VLAN's device would have: it must not break a sysctl's name."""

CONFIG = Config(
    pop=Pop(name="fra", asn=64500, router_id=IPv4Address("192.0.2.2")),
    neighbors={},
    regions={
        RegionName("eu"): Region(name=RegionName("eu"), tunnels=(TunnelId("eu/a"),), backends=(), number=1),
    },
    tunnels={
        TunnelId("eu/a"): Tunnel(
            id=TunnelId("eu/a"),
            region=RegionName("eu"),
            device=DEVICE,
            local_ipv4=IPv4Address("10.255.1.1"),
            far_end_ipv4=IPv4Address("10.255.1.2"),
            local_ipv6=IPv6Address("fd00:1::1"),
            far_end_ipv6=IPv6Address("fd00:1::2"),
            table=1300,
        )
    },
    backends={},
    probes=(),
    prefixes={prefix: PrefixSpec(prefix=prefix) for prefix in (V4, V6)},
)

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv6/conf/all/keep_addr_on_down": "0",
    "net/ipv4/ping_group_range": "0\t2147483647",
    "net/netfilter/nf_conntrack_max": "1048576",
    "net/netfilter/nf_conntrack_count": "100",
    f"net/ipv4/conf/{DEVICE}/forwarding": "1",
    f"net/ipv6/conf/{DEVICE}/forwarding": "1",
    f"net/ipv4/conf/{DEVICE}/rp_filter": "0",
    f"net/ipv6/conf/{DEVICE}/keep_addr_on_down": "1",
    f"net/ipv6/conf/{DEVICE}/accept_ra": "0",
    "net/ipv6/conf/eth0/accept_ra": "0",
}

TUNNEL = Link(
    name=DEVICE,
    kind="vxlan",
    mtu=1450,
    addresses=frozenset({ip_address("10.255.1.1"), ip_address("fd00:1::1")}),
    underlay_mtu=1500,
)
EXABGP = Program(
    "/opt/anycastd/bin/exabgp", (Step("/", 0o755), Step("/opt/anycastd/bin/exabgp", 0o755, directory=False))
)

WELL = Facts(
    config=CONFIG,
    sysctls=SYSCTLS,
    links={DEVICE: TUNNEL, "eth0": Link(name="eth0")},
    routes=(
        RouteSeen(prefix=ip_network("0.0.0.0/0"), device="eth0"),
        *(
            RouteSeen(prefix=route.prefix, protocol=201, metric=route.metric, kind=RouteKind.BLACKHOLE)
            for route in (blackhole(CONFIG, V4), blackhole(CONFIG, V6))
        ),
    ),
    capabilities=1 << 12,
    bgp_user=User("exabgp", 990, frozenset({990})),
    exabgp_version="5.0.15",
    programs=(EXABGP,),
    state_dir=Directory(path="/var/lib/anycastd"),
)
OUR_RULES = wanted_kernel_rules(CONFIG)


def sysctl(values: Mapping[str, str | None]) -> Facts:
    """Return the machine with these settings; None takes one away."""
    merged = {**SYSCTLS, **values}
    return replace(WELL, sysctls={path: value for path, value in merged.items() if value is not None})


def tunnel(**changes: object) -> Facts:
    """Return the machine with another tunnel device."""
    return replace(WELL, links={**WELL.links, DEVICE: replace(TUNNEL, **changes)})  # type: ignore[arg-type]
