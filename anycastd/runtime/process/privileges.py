"""What the daemon may do, looked at before it begins: a right that is missing is named with what it is for."""

from __future__ import annotations

import os
import re
from pathlib import Path

from anycastd.model.checks import CheckKind
from anycastd.model.topology import Config, Launch

CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW = 10, 12, 13
STATUS = Path("/proc/self/status")
PING_GROUPS = Path("/proc/sys/net/ipv4/ping_group_range")


def effective(status: Path = STATUS) -> int:
    """Return this process's effective capabilities as a mask; none where they cannot be read."""
    try:
        found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1], 16) if found else 0


def may_ping(groups: frozenset[int], file: Path = PING_GROUPS) -> bool:
    """Return whether one of our groups may use ping sockets."""
    try:
        low, high = (int(part) for part in file.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return False
    return any(low <= group <= high for group in groups)


def missing(config: Config, capabilities: int, *, pings: bool) -> tuple[str, ...]:
    """Return what we may not do and must, each with how to give it. `pings`: ping sockets can be used."""

    def has(capability: int) -> bool:
        return bool(capabilities >> capability & 1)

    lacking = []
    if not has(CAP_NET_ADMIN):
        lacking.append(_told("CAP_NET_ADMIN", "to make routes and rules, tunnels and the packet filter's table"))
    probes = (*config.probes, *config.self_test.probes)
    if any(probe.check.kind is CheckKind.ICMP for probe in probes) and not (has(CAP_NET_RAW) or pings):
        more = ", or sysctl -w net.ipv4.ping_group_range='0 2147483647'"
        lacking.append(_told("CAP_NET_RAW", "for ICMP checks", more))
    return tuple(lacking)


def speaker_limits(config: Config, capabilities: int, *, root: bool) -> str:
    """Return what an ExaBGP that we start cannot do because of us, or nothing."""
    if root or config.bgp.launch is Launch.SERVICE or config.bgp.port >= 1024:
        return ""
    if capabilities >> CAP_NET_BIND_SERVICE & 1:
        return ""
    return (
        f"without CAP_NET_BIND_SERVICE the ExaBGP that we start cannot listen on port {config.bgp.port}: neighbors "
        "cannot connect to us; better `bgp: {launch: service}` with anycastd-bgp.service"
    )


def our_groups() -> frozenset[int]:
    """Return every group of this process."""
    return frozenset({os.getegid(), *os.getgroups()})


def _told(capability: str, what: str, more: str = "") -> str:
    return f"{capability} is missing, needed {what}: run as root, or AmbientCapabilities={capability} in the unit{more}"
