"""Which checks have nothing to look at on this machine with this file, and why: they are not called ok. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from anycastd.doctor.bfd import ports
from anycastd.doctor.facts import Facts
from anycastd.doctor.service import DAEMON
from anycastd.model.filters import Auto
from anycastd.model.topology import Launch


def _no_prefix_of(version: int) -> Callable[[Facts], str]:
    return lambda facts: "" if version in facts.versions else f"no prefix is of IPv{version}"


def _not_service(facts: Facts) -> str:
    return "" if facts.config.bgp.launch is Launch.SERVICE else "bgp.launch is not service"


def _units(facts: Facts) -> str:
    unit = facts.units.get(DAEMON)
    return _not_service(facts) if unit is None or not unit.installed else ""


def _bgp_user(facts: Facts) -> str:
    return _not_service(facts) and (f"ExaBGP would run as uid {facts.uid}, as the daemon" if facts.uid else "")


def _by_hand(facts: Facts) -> str:
    return "" if any(one.shape is None for one in facts.config.tunnels.values()) else "the daemon makes every tunnel"


def _addresses(facts: Facts) -> str:
    return _by_hand(facts) or _no_device(facts)


def _no_device(facts: Facts) -> str:
    return "" if any(device in facts.links for device in facts.devices) else "no device of a tunnel is there yet"


def _rp_filter(facts: Facts) -> str:
    return _no_prefix_of(4)(facts) or _no_device(facts)


def _kept(facts: Facts) -> str:
    has_six = any(one.local_ipv6 is not None for one in facts.config.tunnels.values())
    return _no_device(facts) if has_six else "no tunnel has an IPv6 address"


def _conntrack(facts: Facts) -> str:
    known = facts.sysctl("net/netfilter/nf_conntrack_max") is not None
    return "" if known else "the kernel tracks no connection yet"


def _observers(facts: Facts) -> str:
    return "" if any(one.is_observer for one in facts.config.neighbors.values()) else "there is no observer"


def _filters(facts: Facts) -> str:
    asked = facts.config.attack.filter.auto is Auto.APPLY
    taken = any(one.flowspec for one in facts.config.neighbors.values())
    return "" if asked or taken else "no neighbor takes flow rules"


SCOPE: Mapping[str, Callable[[Facts], str]] = {
    "ipv4-forwarding": _no_prefix_of(4),
    "ipv6-forwarding": _no_prefix_of(6),
    "rp-filter": _rp_filter,
    "addresses-kept": _kept,
    "tunnel-devices": _by_hand,
    "tunnel-addresses": _addresses,
    "tunnel-mtu": _no_device,
    "conntrack": _conntrack,
    "bfd-port": lambda facts: "" if ports(facts.config) else "there is no bfd check of our own",
    "observer-paths": _observers,
    "beacon-addresses": lambda facts: "" if facts.config.fleet is not None else "there is no fleet",
    "filters": _filters,
    "networkd": lambda facts: "" if facts.networkd.running else "systemd-networkd does not run",
    "service-units": _units,
    "daemon-user": _not_service,
    "daemon-reads": _not_service,
    "kernel-modules": lambda facts: (
        "there is no list of this kernel's modules" if facts.modules_missing is None else ""
    ),
    "clock": lambda facts: "the kernel does not say" if facts.clock_synced is None else "",
    "bgp-port": lambda facts: "" if facts.config.bgp.listen else "bgp.listen is false",
    "bgp-user": _bgp_user,
    "password-files": lambda facts: "" if facts.secrets else "the file names no secret",
}
"""By the id of a check: why it looks at nothing, or nothing where it does. One that is not here always looks."""
