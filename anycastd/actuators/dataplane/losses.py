"""What this machine lost where no rule of ours counts it: by its devices, by the softirqs that take packets from them,
and in routing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from anycastd.model.traffic import Unforwarded

ROUTING4 = Path("/proc/thread-self/net/snmp"), Path("/proc/thread-self/net/netstat")
ROUTING6 = (Path("/proc/thread-self/net/snmp6"),)
DEVICES, SOFTIRQS = Path("/proc/net/dev"), Path("/proc/net/softnet_stat")
_DROPPED = 3
"""Of the numbers of a device: received bytes, packets, errors, dropped (no buffer, or no time)."""


class Losses(NamedTuple):
    """Packets lost since the machine's start; the counters only grow."""

    device: int = 0
    softirq: int = 0


def read(devices: Collection[str]) -> Losses:
    """Return what these devices lost (without any: all but lo), and the softirqs; OSError if it cannot be read."""
    return Losses(
        device_drops(DEVICES.read_text(encoding="ascii", errors="replace"), devices),
        softirq_drops(SOFTIRQS.read_text(encoding="ascii")),
    )


def device_drops(text: str, devices: Collection[str]) -> int:
    """Return the packets that devices dropped on receiving, from the text of /proc/net/dev."""
    total = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        name = name.strip()
        if name in devices if devices else name != "lo":
            total += int(numbers.split()[_DROPPED])
    return total


def softirq_drops(text: str) -> int:
    """Return the packets that found a processor's queue full, from the text of /proc/net/softnet_stat."""
    return sum(int(line.split()[1], 16) for line in text.splitlines())


def unforwarded() -> dict[int, Unforwarded]:
    """Return what routing did not pass on in this network namespace, by IP version, as far as it can be read."""
    found = {}
    for version, paths, read_in in ((4, ROUTING4, unforwarded4), (6, ROUTING6, unforwarded6)):
        try:
            found[version] = read_in("".join(path.read_text(encoding="ascii") for path in paths))
        except (OSError, KeyError, ValueError):
            continue
    return found


def unforwarded4(text: str) -> Unforwarded:
    """Return what the texts of /proc/net/snmp and netstat say of IPv4; KeyError or ValueError if not as expected.

    TTL: InHdrErrors; DF: FragFails; no route: IpExt InNoRoutes, in which a packet that met an `unreachable` or
    `blackhole` route is not (seen on Linux 6.18; OutNoRoutes is of what the machine itself sends).
    """
    found = _table(text, "Ip:") | _table(text, "IpExt:")
    return _counted(found, "FragFails")


def unforwarded6(text: str) -> Unforwarded:
    """Return what the text of /proc/net/snmp6 says: hop limit InHdrErrors, size InTooBigErrors, no route InNoRoutes.

    In the last an `unreachable` route counts, a `blackhole` does not (seen on Linux 6.18).
    """
    found = {name: int(number) for name, number in (line.split() for line in text.splitlines()) if name[:3] == "Ip6"}
    return _counted({name[3:]: number for name, number in found.items()}, "InTooBigErrors")


def _table(text: str, head: str) -> dict[str, int]:
    """Return a table of two lines, names and numbers."""
    names, numbers = (line.split()[1:] for line in text.splitlines() if line.startswith(head))
    return dict(zip(names, map(int, numbers), strict=True))


def _counted(counters: Mapping[str, int], too_big: str) -> Unforwarded:
    return Unforwarded(counters["InHdrErrors"], counters[too_big], counters["InNoRoutes"])
