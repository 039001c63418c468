"""Checks of how the kernel forwards: sysctls, tunnel devices, MTU, conntrack. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.doctor.facts import Facts, Link
from anycastd.doctor.finding import Check, Trouble, error, warning

STRICT = 1
UNDERLAY_MTU = 1500
SMALLEST_CONNTRACK = 262144
CONNTRACK_NEARLY_FULL = 0.8
OVERHEAD_BYTES = {
    "vxlan": (50, 70),
    "geneve": (50, 70),
    "gre": (24, 44),
    "gretap": (38, 58),
    "ip6gre": (24, 44),
    "ipip": (20, 40),
    "sit": (20, 40),
    "ip6tnl": (20, 40),
    "wireguard": (60, 80),
}
"""What a tunnel adds to each packet over IPv4 and IPv6 (headers without options: RFC 7348, 2784, 2003, 2473)."""


def _forwarding(facts: Facts, version: int) -> Iterator[Trouble]:
    if version not in facts.versions:
        return
    root = f"net/ipv{version}"
    whole = f"{root}/ip_forward" if version == 4 else f"{root}/conf/all/forwarding"
    if facts.sysctl(whole) != 1:
        # without the whole the devices say nothing: writing it sets every device's
        name = whole.replace("/", ".")
        yield error(f"{name} is {facts.sysctls.get(whole, 'not there')}", f"sysctl -w {name}=1")
        return
    for device in facts.devices:
        own = f"{root}/conf/{device}/forwarding"
        if facts.sysctl(own) == 0:
            yield error(f"{own} is 0: packets from {device} are not forwarded", f"sysctl -w {own}=1")


def _forwarding4(facts: Facts) -> Iterator[Trouble]:
    yield from _forwarding(facts, 4)


def _forwarding6(facts: Facts) -> Iterator[Trouble]:
    yield from _forwarding(facts, 6)


def _rp_filter(facts: Facts) -> Iterator[Trouble]:
    if 4 not in facts.versions:
        return
    every = facts.sysctl("net/ipv4/conf/all/rp_filter") or 0
    for device in facts.devices:
        own = facts.sysctl(f"net/ipv4/conf/{device}/rp_filter")
        if own is not None and max(every, own) == STRICT:
            mend = f"sysctl -w net/ipv4/conf/{device}/rp_filter=2"
            yield error(f"rp_filter of {device} is 1, strict (all={every}, {device}={own}; the larger counts)", mend)


def _addresses_kept(facts: Facts) -> Iterator[Trouble]:
    every = facts.sysctl("net/ipv6/conf/all/keep_addr_on_down") or 0
    for device in dict.fromkeys(t.device for t in facts.config.tunnels.values() if t.local_ipv6 is not None):
        own = facts.sysctl(f"net/ipv6/conf/{device}/keep_addr_on_down")
        # the kernel takes the value for all devices where it is not 0 (addrconf_ifdown)
        if own is not None and (every or own) <= 0:
            key = f"net/ipv6/conf/{device}/keep_addr_on_down"
            yield warning(f"{device} loses its IPv6 addresses when it goes down", f"sysctl -w {key}=1")


def _tunnel_devices(facts: Facts) -> Iterator[Trouble]:
    for tunnel in facts.config.tunnels.values():
        if tunnel.shape is not None:
            # the daemon makes it, and puts right what is not as wanted
            continue
        link = facts.links.get(tunnel.device)
        if link is None:
            yield error(
                f"{tunnel.id}: there is no device {tunnel.device}", "ip link   # create it, or correct `device:`"
            )
        elif not link.up:
            yield warning(f"{tunnel.id}: {tunnel.device} is down", f"ip link set {tunnel.device} up")


def _tunnel_addresses(facts: Facts) -> Iterator[Trouble]:
    for tunnel in facts.config.tunnels.values():
        link = facts.links.get(tunnel.device)
        for address in (tunnel.local_ipv4, tunnel.local_ipv6):
            if link is None or tunnel.shape is not None or address is None or address in link.addresses:
                continue
            elsewhere = [other.name for other in facts.links.values() if address in other.addresses]
            where = f" (it is on {elsewhere[0]})" if elsewhere else ""
            length = "30" if address.version == 4 else "64"
            mend = f"ip address add {address}/{length} dev {tunnel.device}   # with your prefix length"
            yield error(f"{tunnel.id}: {tunnel.device} does not carry {address}{where}", mend)


def largest_mtu(link: Link) -> int | None:
    """Return the largest MTU with which a tunnel's outer packets are not fragmented, None for an unknown kind."""
    overhead = OVERHEAD_BYTES.get(link.kind)
    if overhead is None:
        return None
    return (link.underlay_mtu or UNDERLAY_MTU) - overhead[link.outer_version == 6]


def _tunnel_mtu(facts: Facts) -> Iterator[Trouble]:
    for device in facts.devices:
        link = facts.links.get(device)
        limit = largest_mtu(link) if link is not None else None
        if link is None or limit is None:
            continue
        if link.mtu > limit:
            below = link.underlay_mtu or f"{UNDERLAY_MTU} (assumed)"
            what = f"{device} ({link.kind}) has MTU {link.mtu}, its underlay {below}: at most {limit} fits"
            yield warning(what, f"ip link set {device} mtu {limit}   # on both ends")


def _conntrack(facts: Facts) -> Iterator[Trouble]:
    most, now = facts.sysctl("net/netfilter/nf_conntrack_max"), facts.sysctl("net/netfilter/nf_conntrack_count")
    if most is None:
        return
    mend = f"sysctl -w net.netfilter.nf_conntrack_max={max(SMALLEST_CONNTRACK, most * 4)}"
    if now is not None and now >= most * CONNTRACK_NEARLY_FULL:
        yield error(f"{now} of {most} connections are tracked: new ones are about to be dropped", mend)
    elif most < SMALLEST_CONNTRACK:
        yield warning(f"nf_conntrack_max is {most}", mend)


def _router_advertisements(facts: Facts) -> Iterator[Trouble]:
    forwarding = facts.sysctl("net/ipv6/conf/all/forwarding") == 1 or 6 in facts.versions
    for route in facts.routes:
        learnt = route.protocol == 9 and route.prefix.version == 6 and route.prefix.prefixlen == 0
        if learnt and forwarding and facts.sysctl(f"net/ipv6/conf/{route.device}/accept_ra") == 1:
            mend = f"sysctl -w net/ipv6/conf/{route.device}/accept_ra=2"
            what = f"the default route of {route.device} is from router advertisements, and accept_ra is 1"
            yield warning(what + ": it is ignored once forwarding is on, and the route runs out", mend)
    for device in facts.devices:
        if facts.sysctl(f"net/ipv6/conf/{device}/accept_ra") == 2:
            mend = f"sysctl -w net/ipv6/conf/{device}/accept_ra=0"
            yield warning(f"tunnel {device} takes default routes from router advertisements (accept_ra 2)", mend)


NETWORK = (
    Check("ipv4-forwarding", "IPv4 forwarding",
          "With forwarding off the POP attracts packets by BGP and drops every one of them.",
          "`sysctl -w net.ipv4.ip_forward=1`, and the same line in /etc/sysctl.d/.", _forwarding4),
    Check("ipv6-forwarding", "IPv6 forwarding",
          "With forwarding off the POP attracts packets by BGP and drops every one of them.",
          "`sysctl -w net.ipv6.conf.all.forwarding=1`, and the same line in /etc/sysctl.d/. Look at "
          "`router-advertisements` first.", _forwarding6),
    Check("rp-filter", "Reverse path filter of tunnel devices",
          "Strict (1) drops a packet that arrives by another tunnel than the one the POP would send to its sender by: "
          "after a change of tunnel, answers still come in by the old one. 0 and 2 (loose) are fine. The larger of "
          "`all` and the device counts (ip-sysctl of the kernel), so 2 on the device is enough.",
          "`sysctl -w net/ipv4/conf/DEVICE/rp_filter=2`. Slashes, since a device's name may hold dots.", _rp_filter),
    Check("addresses-kept", "IPv6 addresses of a tunnel that goes down",
          "The kernel removes IPv6 addresses when a device goes down and does not put them back: the tunnel stays "
          "unusable after it is up again.",
          "`sysctl -w net/ipv6/conf/DEVICE/keep_addr_on_down=1`.", _addresses_kept),
    Check("tunnel-devices", "Tunnel devices",
          "Without `create` the daemon makes no tunnel. Over a device that is missing or down no route is installed "
          "and no check runs.",
          "Create the device in the machine's network configuration, or let the daemon do so (docs/tunnels.md).",
          _tunnel_devices),
    Check("tunnel-addresses", "Local addresses of tunnels",
          "Checks are sent from the tunnel's own address, so that they pass through this tunnel and no other. Without "
          "the address every check of the tunnel is broken: its health is unknown.",
          "`ip address add ADDRESS/LENGTH dev DEVICE`.", _tunnel_addresses, ("address show",)),
    Check("tunnel-mtu", "MTU of tunnels",
          "A tunnel made without a lower device has MTU 1500. Its full-size packets do not fit the underlay when "
          "wrapped, and are fragmented: measured 0.5-1.6 Gbit/s instead of 5.4-8.",
          "`ip link set DEVICE mtu 1450` for vxlan over IPv4 (1430 over IPv6), on both ends.", _tunnel_mtu),
    Check("conntrack", "Size of the conntrack table",
          "When the table is full, packets of new connections are dropped (`nf_conntrack: table full`): an attack on "
          "one address takes all of them away.",
          "`sysctl -w net.netfilter.nf_conntrack_max=1048576`, or `notrack` for traffic that need not be tracked.",
          _conntrack),
    Check("router-advertisements", "Router advertisements",
          "With forwarding on, accept_ra 1 is as 0: the default route of the uplink runs out some minutes later and "
          "the IPv6 sessions with it. And a tunnel must give no default route.",
          "`sysctl -w net/ipv6/conf/UPLINK/accept_ra=2` (or a static default route); 0 on tunnels.",
          _router_advertisements),
)  # fmt: skip
