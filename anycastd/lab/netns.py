"""Network namespaces of a lab by iproute2 and nftables: names, links, addresses, cuts.

A veth pair is made directly inside its two namespaces, in one kernel request: the host never has an interface of a
lab, so none can be left behind.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from anycastd.lab.equipment import SYSTEM_PATH, tool
from anycastd.lab.errors import LabError
from anycastd.lab.processes import MARK
from anycastd.lab.shape import Endpoint, Link

NETNS = Path("/run/netns")
_TOOL_DEADLINE_S = 30.0
# Before everything else that hooks here, so that a cut is below all that a node does itself.
_CUT_PRIORITY = -500


def netns_of(lab: str, node: str) -> str:
    """Give the name of a node's network namespace."""
    return f"{lab}.{node}"


def run_tool(lab: str, argv: list[str], text: str | None = None) -> None:
    """Run one of the host's tools for a lab; raise LabError with what it said."""
    env = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", MARK: f"{lab}."}
    full = [tool(argv[0]), *argv[1:]]
    try:
        done = subprocess.run(full, input=text, env=env, text=True, capture_output=True, timeout=_TOOL_DEADLINE_S)
    except subprocess.TimeoutExpired:
        message = f"{' '.join(argv)}: no answer within {_TOOL_DEADLINE_S:.0f} s"
        raise LabError(message) from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        failed = re.search(r"Command failed -:(\d+)", said)
        line = f" ({(text or '').splitlines()[int(failed[1]) - 1]})" if failed else ""
        message = f"{' '.join(argv)}{line}: {said}"
        raise LabError(message)


def attach(lab: str, node: str, pid: int) -> None:
    """Name the network namespace of a process."""
    run_tool(lab, ["ip", "netns", "attach", netns_of(lab, node), str(pid)])


def make_bridge(lab: str, node: str) -> None:
    """Make a bridge in a namespace of its own that has no process."""
    name = netns_of(lab, node)
    run_tool(lab, ["ip", "netns", "add", name])
    batch = [f"link add {node} type bridge", f"link set {node} up", "link set lo up"]
    run_tool(lab, ["ip", "-n", name, "-batch", "-"], "\n".join(batch) + "\n")


def remove_names(lab: str) -> None:
    """Remove the names of all network namespaces of a lab; those without a process end with their name."""
    for entry in sorted(NETNS.glob(f"{lab}.*")):
        run_tool(lab, ["ip", "netns", "del", entry.name])


def has_names(lab: str) -> bool:
    """Say whether any network namespace of a lab has a name."""
    return any(NETNS.glob(f"{lab}.*"))


def make_links(lab: str, links: Iterable[Link]) -> None:
    """Make veth pairs between namespaces that have their names already."""
    lines = []
    for link in links:
        mtu = f" mtu {link.mtu_bytes}" if link.mtu_bytes else ""
        near, far = (
            f"name {end.interface}{f' address {end.mac}' if end.mac else ''}{mtu} netns {netns_of(lab, end.node)}"
            for end in link.ends()
        )
        lines.append(f"link add {near} type veth peer {far}")
    if lines:
        run_tool(lab, ["ip", "-batch", "-"], "\n".join(lines) + "\n")


def configure_ends(lab: str, node: str, ends: Iterable[Endpoint], *, is_bridge: bool) -> None:
    """Bring the link ends of a node up, with their addresses or as ports of the bridge."""
    lines = ["link set lo up"]
    for end in ends:
        lines.append(f"link set {end.interface}{f' master {node}' if is_bridge else ''} up")
        lines += _address_lines(end)
    run_tool(lab, ["ip", "-n", netns_of(lab, node), "-batch", "-"], "\n".join(lines) + "\n")


def _address_lines(end: Endpoint) -> list[str]:
    lines = [f"addr replace {end.ipv4} dev {end.interface}"] if end.ipv4 else []
    if end.ipv6:
        lines.append(f"addr replace {end.ipv6} dev {end.interface} nodad")
    return lines


def set_link(lab: str, node: str, interface: str, end: Endpoint | None, *, up: bool) -> None:
    """Bring an interface up or down; up gives it its addresses again (the kernel drops IPv6 ones on down)."""
    lines = [f"link set {interface} {'up' if up else 'down'}", *(_address_lines(end) if up and end else [])]
    run_tool(lab, ["ip", "-n", netns_of(lab, node), "-batch", "-"], "\n".join(lines) + "\n")


def cut(lab: str, node: str, interface: str, address: str | None, *, both_hooks: bool) -> None:
    """Drop without a word what arrives at an interface, of one address (either direction) or all.

    `both_hooks` drops what leaves, too. That is not quite silent: a socket with IP_RECVERR set gets ENOBUFS
    (net/ipv4/udp.c), so it is only for interfaces whose far end is not ours.
    """
    lines = _chain_lines("in", interface)
    if both_hooks:
        lines += _chain_lines("out", interface)
    family = "ip6" if address and ":" in address else "ip"
    matches = [f"{family} {side} {address} " for side in ("saddr", "daddr")] if address else [""]
    for side in ("in", "out") if both_hooks else ("in",):
        lines += [f"add rule netdev lab_cut {_chain(side, interface)} {match}counter drop" for match in matches]
    _nft(lab, node, lines)


def heal(lab: str, node: str, interface: str) -> None:
    """End all cuts of an interface; nothing happens if there is none."""
    lines = []
    for side in ("in", "out"):
        # Added first, so that deleting a chain that is not there is no error.
        lines += _chain_lines(side, interface)
        lines += [f"{verb} chain netdev lab_cut {_chain(side, interface)}" for verb in ("flush", "delete")]
    _nft(lab, node, lines)


def _chain_lines(side: str, interface: str) -> list[str]:
    hook = {"in": "ingress", "out": "egress"}[side]
    spec = f'type filter hook {hook} device "{interface}" priority {_CUT_PRIORITY}; policy accept;'
    return ["add table netdev lab_cut", f"add chain netdev lab_cut {_chain(side, interface)} {{ {spec} }}"]


def _chain(side: str, interface: str) -> str:
    return f"{side}_" + "".join(letter if letter.isalnum() else f"_{ord(letter):x}" for letter in interface)


def _nft(lab: str, node: str, lines: list[str]) -> None:
    name = os.fspath(NETNS / netns_of(lab, node))
    run_tool(lab, ["nsenter", f"--net={name}", tool("nft"), "-f", "-"], "\n".join(lines) + "\n")
