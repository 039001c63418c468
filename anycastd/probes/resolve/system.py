"""The name servers of this machine, as resolv.conf(5) names them."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from anycastd.model.address import Address

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_SERVERS = 3
"""MAXNS of resolv.conf(5)."""
LOCAL = ip_address("127.0.0.1")


def system_servers(path: Path = RESOLV_CONF) -> tuple[Address, ...]:
    """Return up to three name servers; the local one where none is named. Raise OSError for a file that is unreadable.

    Search lists and options are not used: names of targets are whole. Servers with a zone (`%eth0`) are left out.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return (LOCAL,)
    found: list[Address] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver" or "%" in words[1]:
            continue
        try:
            found.append(ip_address(words[1]))
        except ValueError:
            continue
    return tuple(found[:MAX_SERVERS]) or (LOCAL,)
