"""Facts of this network namespace: sysctls, devices, routes, rules, firewall chains, listeners."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from anycastd.doctor.asking import PATH, Asking
from anycastd.doctor.facts import ForwardChain, Link, Listener, RouteSeen, RuleSeen
from anycastd.model.topology import Config

KINDS = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable",
         8: "prohibit", 9: "throw"}  # fmt: skip
OF_MACHINE = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv6/conf/all/keep_addr_on_down",
    "net/ipv4/ping_group_range",
    "net/ipv4/ip_unprivileged_port_start",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_count",
)
OF_DEVICE = (
    "net/ipv4/conf/{}/forwarding",
    "net/ipv6/conf/{}/forwarding",
    "net/ipv4/conf/{}/rp_filter",
    "net/ipv6/conf/{}/keep_addr_on_down",
    "net/ipv6/conf/{}/accept_ra",
)
LISTEN = "0A"
UNCONNECTED = "07"
"""A datagram socket that is bound (net/tcp_states.h, TCP_CLOSE)."""
BFD = "anycastd.probes.bfd.process"
SAYS_NOTHING = frozenset({"counter", "log", "comment"})


def sysctls(ask: Asking, config: Config, devices: Iterable[str]) -> dict[str, str]:
    """Return every setting that is there, by its path below /proc/sys."""
    names = {tunnel.device for tunnel in config.tunnels.values()} | set(devices)
    paths = [*OF_MACHINE, *(form.format(name) for name in sorted(names) for form in OF_DEVICE)]
    found = {path: ask.text(f"proc/sys/{path}") for path in paths}
    return {path: value for path, value in found.items() if value is not None}


def links(ask: Asking) -> dict[str, Link]:
    """Return every device with its addresses."""
    told = {entry["ifname"]: entry for entry in ask.answer("ip", "-j", "-d", "address", "show") if "ifname" in entry}
    found = {name: _link(entry) for name, entry in told.items()}
    return {name: _with_underlay(ask, link, told[name], found) for name, link in found.items()}


def _link(entry: Mapping[str, Any]) -> Link:
    return Link(
        name=entry["ifname"],
        up="UP" in entry["flags"],
        kind=entry.get("linkinfo", {}).get("info_kind", ""),
        mtu=int(entry["mtu"]),
        addresses=frozenset(ip_address(one["local"]) for one in entry.get("addr_info", ()) if "local" in one),
    )


def _with_underlay(ask: Asking, link: Link, entry: Mapping[str, Any], every: Mapping[str, Link]) -> Link:
    data = entry.get("linkinfo", {}).get("info_data", {})
    remote = next((data[key] for key in ("remote", "remote6", "group", "group6") if data.get(key)), None)
    if not link.kind or remote is None or remote == "any":
        return link
    link = replace(link, outer_version=6 if ":" in remote else 4)
    below = data.get("link")
    if below is None:
        # a far end that has no route now is no failure of the doctor's: the MTU is then assumed
        told = Asking(ask.root).answer("ip", "-j", "route", "get", remote)
        below = told[0].get("dev") if told else None
    return replace(link, underlay_mtu=every[below].mtu) if below in every and below != link.name else link


def routes(ask: Asking) -> tuple[RouteSeen, ...]:
    """Return every route of every table."""
    return tuple(
        _route(entry, version)
        for version in (4, 6)
        for entry in ask.answer("ip", f"-{version}", "-N", "-j", "route", "show", "table", "all")
    )


def _route(entry: Mapping[str, Any], version: int) -> RouteSeen:
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    return RouteSeen(
        prefix=ip_network(everything if entry["dst"] == "default" else entry["dst"], strict=False),
        table=int(entry.get("table", 254)),
        protocol=int(entry.get("protocol", 3)),
        metric=int(entry.get("metric", 0)),
        kind=KINDS.get(int(entry.get("type", 1)), "other"),
        device=entry.get("dev", ""),
    )


def rules(ask: Asking) -> tuple[RuleSeen, ...]:
    """Return every rule but the kernel's own three."""
    found = []
    for version in (4, 6):
        for entry in ask.answer("ip", f"-{version}", "-d", "-N", "-j", "rule", "show"):
            source = entry["src"] + (f"/{entry['srclen']}" if "srclen" in entry else "")
            table, protocol = int(entry.get("table", 0)), int(entry.get("protocol", 0))
            if protocol != 2:
                mark = int(str(entry["fwmark"]), 0) if "fwmark" in entry else None
                seen = RuleSeen(
                    version=version,
                    preference=entry["priority"],
                    source=source,
                    table=table,
                    protocol=protocol,
                    mark=mark,
                    mask=int(str(entry.get("fwmask", "0xffffffff")), 0),
                )
                found.append(seen)
    return tuple(found)


def chains(ask: Asking) -> tuple[ForwardChain, ...]:
    """Return every chain at the forward hook, of nftables and of the older iptables."""
    return (*_nft_chains(ask), *_legacy_chains(ask))


def _nft_chains(ask: Asking) -> Iterator[ForwardChain]:
    told = ask.answer("nft", "-j", "list", "chains")
    for entry in told["nftables"] if told else ():
        chain = entry.get("chain", {})
        if chain.get("hook") != "forward":
            continue
        family, table, name = chain["family"], chain["table"], chain["name"]
        refuses = "policy drop" if chain.get("policy") == "drop" else ""
        if not refuses:
            rest = ask.answer("nft", "-j", "list", "chain", family, table, name)
            refuses = last_word([e["rule"]["expr"] for e in rest["nftables"] if "rule" in e] if rest else [])
        text = (ask.output("nft", "-s", "list", "table", family, table) or "") if refuses else ""
        yield ForwardChain(family=family, table=table, name=name, refuses=refuses, text=text)


def last_word(rules_of_chain: list[list[dict[str, Any]]]) -> str:
    """Return how a chain's last rule ends everything that came so far, "" when it does not."""
    if not rules_of_chain:
        return ""
    words = [word for part in rules_of_chain[-1] for word in part if word not in SAYS_NOTHING]
    return f"a last rule that says {words[0]}" if words in (["drop"], ["reject"]) else ""


def _legacy_chains(ask: Asking) -> Iterator[ForwardChain]:
    for family, names, tool in (("ip", "ip_tables_names", "iptables"), ("ip6", "ip6_tables_names", "ip6tables")):
        if "filter" not in (ask.text(f"proc/net/{names}") or "").split():
            continue
        found = shutil.which(f"{tool}-legacy", path=PATH) or shutil.which(tool, path=PATH) or f"{tool}-legacy"
        text = ask.output(found, "-S") or ""
        refuses = legacy_refusal(text)
        yield ForwardChain(family=family, table="filter", name="FORWARD", refuses=refuses, text=text)


def legacy_refusal(text: str) -> str:
    """Return how `iptables -S` says that the forward chain ends, "" when it accepts."""
    if "-P FORWARD DROP" in text.splitlines():
        return "policy drop"
    last = [line for line in text.splitlines() if line.startswith("-A FORWARD ")][-1:]
    final = re.fullmatch(r"-A FORWARD -j (DROP|REJECT)( --reject-with \S+)?", last[0]) if last else None
    return f"a last rule that says {final[1].lower()}" if final is not None else ""


def listeners(ask: Asking, port: int, protocol: str = "tcp") -> tuple[Listener, ...]:
    """Return who listens on a port in this namespace (the tables of proc(5): address in host byte order)."""
    found: dict[int, str] = {}
    state = LISTEN if protocol == "tcp" else UNCONNECTED
    for name, version in ((protocol, 4), (f"{protocol}6", 6)):
        for line in (ask.text(f"proc/net/{name}") or "").splitlines()[1:]:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] == state and int(number, 16) == port:
                found[int(fields[9])] = _address(address, version)
    if not found:
        return ()
    owners = _owners(ask, frozenset(found))
    return tuple(_listener(ask, found[inode], owners.get(inode)) for inode in sorted(found))


def _address(text: str, version: int) -> str:
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return str(ip_address(raw if version == 6 else raw[:4]))


def _listener(ask: Asking, address: str, pid: str | None) -> Listener:
    words = (ask.text(f"proc/{pid}/cmdline") or "").split("\0") if pid else []
    process = (ask.text(f"proc/{pid}/comm") or "") if pid else ""
    ours = any(word.rpartition("/")[2] == "exabgp" for word in words[:3]) or any(BFD in word for word in words[:5])
    return Listener(address=address, process=process, ours=ours)


def _owners(ask: Asking, inodes: frozenset[int]) -> dict[int, str]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    for process in (ask.root / "proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                inode = wanted.get(str(descriptor.readlink()))
                if inode is not None:
                    found[inode] = process.name
        except OSError:
            # it ended meanwhile, or is somebody else's and we are not root
            continue
    return found
