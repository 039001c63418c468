"""What a gateway needs, as an nftables script and lines of `ip -batch`. Pure: `anycastd gateway render` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from anycastd.gateway.spec import TABLE, Gateway, GatewayTunnel
from anycastd.model.address import Address, Prefix

MAIN = 254
VERSIONS = (4, 6)
ROUTE_METRIC = 100
"""Of the prefixes' routes in the main table: another's route of metric 0 goes before them."""
OWN_METRIC, STEP, BLACKHOLE_METRIC = 10, 10, 4294967000
DEFAULTS = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
HASH_SYSCTLS = ("fib_multipath_hash_policy", "fib_multipath_hash_fields")
HASH_POLICY, HASH_FIELDS = 3, 55
"""Policy 3: the fields are chosen (ip-sysctl of the kernel); 55: addresses, protocol, ports. Policy 1 may take the
sender's own hash, which TCP changes when it sends again: the connection would move to another backend."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Packets with `mark` look up `table`; the preference is the table's number. `version` 4 or 6."""

    version: int
    mark: int
    table: int

    @property
    def line(self) -> str:
        """Return it as `ip -batch` takes it, behind `rule add` or `rule del`."""
        return f"pref {self.table} fwmark {self.mark:#x} lookup {self.table}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route: over one device to a far end, to one or several backends, or a blackhole (no `hops`)."""

    prefix: Prefix
    table: int
    metric: int
    hops: tuple[Address, ...] = ()
    device: str | None = None

    @property
    def key(self) -> tuple[Prefix, int, int]:
        """Return what the kernel takes for the same route."""
        return self.prefix, self.table, self.metric

    @property
    def line(self) -> str:
        """Return it as `ip -batch` takes it, behind a verb of `route`."""
        table = "" if self.table == MAIN else f" table {self.table}"
        if not self.hops:
            return f"blackhole {self.prefix}{table} metric {self.metric}"
        if self.device is not None:
            # onlink: IPv6 addresses come back a little after their device
            return f"{self.prefix} via {self.hops[0]} dev {self.device} onlink{table} metric {self.metric}"
        ways = f" via {self.hops[0]}" if len(self.hops) == 1 else "".join(f" nexthop via {hop}" for hop in self.hops)
        return f"{self.prefix}{table} metric {self.metric}{ways}"


def rules(gateway: Gateway) -> frozenset[Rule]:
    """Return the rules that lead a marked packet to its tunnel's table."""
    return frozenset(
        Rule(version, gateway.mark(tunnel), gateway.table(tunnel)) for tunnel in gateway.tunnels for version in VERSIONS
    )


def routes(gateway: Gateway) -> frozenset[Route]:
    """Return the routes: back to the POPs, and on to the backends."""
    back = (route for tunnel in gateway.tunnels for version in VERSIONS for route in _back(gateway, tunnel, version))
    on = (Route(prefix, MAIN, ROUTE_METRIC, hops) for prefix, hops in gateway.routes.items())
    return frozenset((*back, *on))


def _back(gateway: Gateway, tunnel: GatewayTunnel, version: int) -> Iterator[Route]:
    """Yield a tunnel's table: by itself, else by others to the same POP, else nowhere; never by another POP."""
    everything, table = DEFAULTS[version], gateway.table(tunnel)
    for place, one in enumerate(gateway.twins(tunnel)):
        if (far_end := one.far_end(version)) is not None:
            yield Route(everything, table, OWN_METRIC + place * STEP, (far_end,), one.device)
    yield Route(everything, table, BLACKHOLE_METRIC)


def nft_script(gateway: Gateway) -> str:
    """Return the whole table, in place of the one before; one transaction, no packet meets a gap."""
    marked = ",\n".join(f'            "{one.device}" : {gateway.mark(one):#x}' for one in gateway.tunnels)
    devices = ", ".join(f'"{one.device}"' for one in gateway.tunnels)
    marks = ", ".join(f"{gateway.mark(one):#x}" for one in gateway.tunnels)
    return _NFT.format(table=TABLE, marked=marked, devices=devices, marks=marks, mss4=gateway.mss_ipv4,
                       mss6=gateway.mss_ipv6)  # fmt: skip


_NFT = """\
add table inet {table}
delete table inet {table}
table inet {table} {{
    set tunnels {{
        type ifname
        elements = {{ {devices} }}
    }}
    set marks {{
        type mark
        elements = {{ {marks} }}
    }}
    map mark_of {{
        type ifname : mark
        elements = {{
{marked}
        }}
    }}
    chain arrive {{
        type filter hook prerouting priority mangle; policy accept;
        iifname @tunnels jump clamp
        # the tunnel of the last packet is where answers go: a POP that changes tunnels is followed at once
        ct mark set iifname map @mark_of accept
        ct mark @marks meta mark set ct mark
    }}
    chain answer {{
        # answers of this machine itself, where it is the backend; what it tells a backend (a packet too big) is none
        type route hook output priority mangle; policy accept;
        ct direction reply ct mark @marks meta mark set ct mark
    }}
    chain leave {{
        type filter hook postrouting priority 200; policy accept;
        oifname @tunnels jump clamp
        # vxlan routes its outer packet by the mark of the inner one: with the mark left on, it would loop
        meta mark @marks meta mark set 0
    }}
    chain clamp {{
        tcp flags & (syn | rst) != syn return
        meta nfproto ipv4 tcp option maxseg size > {mss4} tcp option maxseg size set {mss4}
        meta nfproto ipv6 tcp option maxseg size > {mss6} tcp option maxseg size set {mss6}
    }}
}}
"""


def ip_lines(gateway: Gateway, version: int) -> tuple[str, ...]:
    """Return the lines for `ip -4 -batch -` or `ip -6 -batch -`, routes before the rules that lead to them."""
    mine = sorted((one for one in routes(gateway) if one.prefix.version == version), key=order)
    leading = sorted((one for one in rules(gateway) if one.version == version), key=lambda one: one.table)
    owner = f"protocol {gateway.protocol}"
    return (
        *(f"route replace {verbed(one, owner)}" for one in mine),
        *(f"rule add {one.line} {owner}" for one in leading),
    )


def verbed(route: Route, owner: str) -> str:
    """Return a route's line with its owner; `nexthop` must come last."""
    head, split, tail = route.line.partition(" nexthop ")
    return f"{head} {owner}{split}{tail}"


def order(route: Route) -> tuple[int, int, int, int]:
    """Return what sorts routes: by table, best first."""
    return route.table, route.metric, int(route.prefix.network_address), route.prefix.prefixlen


def sysctl_lines(gateway: Gateway) -> tuple[str, ...]:
    """Return what the machine's sysctls should be; of these only the devices' are ever set by us."""
    found = ["net.ipv4.ip_forward = 1", "net.ipv6.conf.all.forwarding = 1"]
    for version in sorted({prefix.version for prefix, hops in gateway.routes.items() if len(hops) > 1}):
        found += [
            f"net.ipv{version}.{name} = {value}"
            for name, value in zip(HASH_SYSCTLS, (HASH_POLICY, HASH_FIELDS), strict=True)
        ]
    if gateway.tune:
        for tunnel in gateway.tunnels:
            found.append(f"net/ipv4/conf/{tunnel.device}/rp_filter = 0")
            found.append(f"net/ipv6/conf/{tunnel.device}/keep_addr_on_down = 1")
    return tuple(found)


def page(gateway: Gateway) -> str:
    """Return everything as one commented text."""
    parts = [
        "# sysctl: the machine's are yours to set; `anycastd gateway apply` sets those of the tunnels",
        *(f"#   {line}" for line in sysctl_lines(gateway)),
        "",
        "# nft -f -",
        nft_script(gateway),
    ]
    for version in VERSIONS:
        parts += [f"# ip -{version} -batch -", *ip_lines(gateway, version), ""]
    return "\n".join(parts)
