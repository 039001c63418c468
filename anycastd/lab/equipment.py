"""Say before anything is made whether this machine can run a lab, and which Debian package is missing."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from anycastd.lab.errors import LabError, NotEquipped
from anycastd.lab.shape import Topology

ALWAYS = {
    "ip": "iproute2",
    "nft": "nftables",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "umount": "mount",
}
# Looked for only when a command or a health check of the topology names them.
ON_DEMAND = {
    "bird": "bird2",
    "birdc": "bird2",
    "conntrack": "conntrack",
    "curl": "curl",
    "iperf3": "iperf3",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "vtysh": "frr",
}
# Configuration bound to these places means that the router itself is needed.
BY_BIND = {"/etc/frr": ("/usr/lib/frr/zebra", "frr"), "/etc/bird": ("bird", "bird2")}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def tool(name: str) -> str:
    """Give the path of a tool the runner cannot do without; raise NotEquipped with its Debian package."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        message = f"{name} is missing: apt install {ALWAYS[name]}"
        raise NotEquipped(message)
    return found


def check_user() -> None:
    """Refuse anybody but root."""
    if os.geteuid() != 0:
        message = "a lab needs root: it makes network, mount and pid namespaces (try: sudo anycastd lab ...)"
        raise NotEquipped(message)


def check_machine(topology: Topology, search_path: str = SYSTEM_PATH) -> None:
    """Refuse a machine without the programs that the runner or the topology needs, all at once."""
    missing = {f"{name} is missing: apt install {package}" for name, package in _needs(topology).items()
               if shutil.which(name, path=search_path) is None}  # fmt: skip
    if missing:
        raise NotEquipped("\n".join(sorted(missing)))


def _needs(topology: Topology) -> dict[str, str]:
    needs = dict(ALWAYS)
    for node in topology.nodes.values():
        commands = [node.argv, *node.commands, *(command.argv for command in node.stage_commands)]
        if node.healthcheck:
            commands.append(node.healthcheck.argv)
        words = {word for argv in commands for text in argv for word in re.findall(r"[\w./-]+", text)}
        needs |= {name: package for name, package in ON_DEMAND.items() if name in words}
        for bind in node.binds:
            for place, (program, package) in BY_BIND.items():
                if bind.target == place or bind.target.startswith(f"{place}/"):
                    needs[program] = package
    return needs


def check_binds(topology: Topology) -> None:
    """Refuse bind sources that do not exist, all at once."""
    missing = [
        f"topology.nodes.{node.name}.binds: no such file or directory: {bind.source}"
        for node in topology.nodes.values()
        for bind in node.binds
        if not Path(bind.source).exists()
    ]
    if missing:
        raise LabError("\n".join(missing))
