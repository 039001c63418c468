"""What is true of the topologies in containerlab/: names, addresses, and oracles.

The oracles ask the real programs (vtysh, birdc, nft, the scripts of the nodes); none knows what the daemon thinks.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anycastd.lab.inside import NodeProcess
from anycastd.lab.running import Lab

CONTAINERLAB = Path(__file__).parents[2] / "containerlab"
GLOBAL = CONTAINERLAB / "global.clab.yml"
TWO_POPS = CONTAINERLAB / "two-pops.clab.yml"

POP_ASN = 64500
PREFIX_A4, PREFIX_A6 = "203.0.113.0/24", "2001:db8:113::/48"
"""Announced with `last_resort: withdraw`."""
PREFIX_B4, PREFIX_B6 = "198.51.100.0/24", "2001:db8:100::/48"
"""Announced with the default last resort: it stays."""
PREFIXES = (PREFIX_A4, PREFIX_A6, PREFIX_B4, PREFIX_B6)
SERVICE = {
    PREFIX_A4: "203.0.113.10",
    PREFIX_A6: "2001:db8:113::10",
    PREFIX_B4: "198.51.100.10",
    PREFIX_B6: "2001:db8:100::10",
}
GRACEFUL_SHUTDOWN = "65535:0"


@dataclass(frozen=True, slots=True)
class Site:
    """A city: a POP, the transit router beside it and the client behind that."""

    pop: str
    number: int
    transit_asn: int
    router: str

    @property
    def transit(self) -> str:
        """Name the transit router's node."""
        return f"t-{self.pop}"

    @property
    def client(self) -> str:
        """Name the client's node."""
        return f"c-{self.pop}"

    def pop_address(self, version: int) -> str:
        """Give the POP's address on the link to its transit."""
        return f"10.64.{self.number}.2" if version == 4 else f"fd00:64:{self.number}::2"

    def client_address(self, version: int) -> str:
        """Give the client's address."""
        return f"10.80.{self.number}.10" if version == 4 else f"fd00:80:{self.number}::10"


SITES: Mapping[str, Site] = {
    "fra": Site("fra", 1, 64496, "frr"),
    "sin": Site("sin", 2, 64497, "bird"),
    "iad": Site("iad", 3, 64498, "frr"),
}
REGIONS: Mapping[str, int] = {"eu": 1, "us": 2}
UNDERLAYS: Mapping[str, int] = {"a": 1, "b": 2}
UNDERLAY_DEVICE: Mapping[str, str] = {"a": "eth2", "b": "eth3"}
"""The device of a POP that carries its tunnels over an underlay."""


def vni_of(region: str, underlay: str, pop: str) -> int:
    """Give a tunnel's VNI; its addresses are 10.200.VNI.1 (POP) and .2 (gateway), fd00:200:VNI::1 and ::2."""
    return REGIONS[region] * 100 + UNDERLAYS[underlay] * 10 + SITES[pop].number


def gateway_outer(region: str, underlay: str) -> str:
    """Give a gateway's address in an underlay: what `cut_tunnel` drops."""
    return f"10.{99 + UNDERLAYS[underlay]}.0.{10 + REGIONS[region]}"


def cut_tunnel(lab: Lab, pop: str, region: str, underlay: str) -> None:
    """Drop silently, both ways, all packets of one tunnel; its device stays up."""
    lab.cut(pop, UNDERLAY_DEVICE[underlay], gateway_outer(region, underlay))


def heal_tunnels(lab: Lab, pop: str, underlay: str) -> None:
    """End every cut of a POP's tunnels over one underlay."""
    lab.heal(pop, UNDERLAY_DEVICE[underlay])


@dataclass(frozen=True, slots=True)
class Way:
    """One path to a prefix as a router has it; stale = kept from a session that is gone (RFC 4724)."""

    next_hop: str
    as_path: tuple[int, ...]
    communities: tuple[str, ...]
    is_best: bool
    is_stale: bool
    local_preference: int


def version_of(prefix: str) -> int:
    """Return 4 or 6."""
    return 6 if ":" in prefix else 4


def ways_to(lab: Lab, site: Site, prefixes: Sequence[str] = PREFIXES) -> dict[str, tuple[Way, ...]]:
    """Give every path that a transit router holds to each of these prefixes, all of them asked for at once."""
    if site.router == "bird":
        protocols = lab.exec(site.transit, "birdc", "show", "protocols", check=True).stdout
        up = frozenset(re.findall(r"^(\S+)\s+BGP\s+\S+\s+up\s", protocols, re.M))
        held = _bird_ways(lab.exec(site.transit, "birdc", "show", "route", "all", check=True).stdout, up)
    else:
        shown = [f"show bgp ipv{version_of(prefix)} unicast {prefix} json" for prefix in prefixes]
        words = [word for line in shown for word in ("-c", line)]
        said = lab.exec(site.transit, "vtysh", *words, check=True).stdout
        # of what it does not have it says nothing, or {}
        rows = [row for row in _json_values(said) if "prefix" in row]
        held = {str(row["prefix"]): tuple(_frr_way(path) for path in row.get("paths", [])) for row in rows}
    return {prefix: held.get(prefix, ()) for prefix in prefixes}


def _json_values(text: str) -> list[dict[str, Any]]:
    decoder, rest, found = json.JSONDecoder(), text.lstrip(), []
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def ways(lab: Lab, site: Site, prefix: str) -> tuple[Way, ...]:
    """Give every path that a transit router holds to a prefix; empty if it has none."""
    return ways_to(lab, site, (prefix,))[prefix]


def from_pop(lab: Lab, site: Site, prefix: str) -> Way | None:
    """Give the path that a transit router has directly from its POP, None if the POP does not announce."""
    return direct(ways(lab, site, prefix), site, prefix)


def direct(held: Sequence[Way], site: Site, prefix: str) -> Way | None:
    """Give, of the paths to a prefix, the one directly from the router's POP, None if it has none."""
    pop = site.pop_address(version_of(prefix))
    return next((way for way in held if way.next_hop == pop), None)


def best(lab: Lab, site: Site, prefix: str) -> Way | None:
    """Give the path that a transit router uses."""
    return next((way for way in ways(lab, site, prefix) if way.is_best), None)


def _frr_way(path: dict[str, object]) -> Way:
    def inner(key: str) -> dict[str, object]:
        value = path.get(key)
        return value if isinstance(value, dict) else {}

    hops = path.get("nexthops")
    global_hops = [hop for hop in hops if hop.get("scope", "global") == "global"] if isinstance(hops, list) else []
    words = str(inner("community").get("string", "")).replace("graceful-shutdown", GRACEFUL_SHUTDOWN)
    return Way(
        next_hop=str(global_hops[0]["ip"]) if global_hops else "",
        as_path=tuple(int(asn) for asn in str(inner("aspath").get("string", "")).split() if asn.isdigit()),
        communities=tuple(words.split()),
        is_best=bool(inner("bestpath").get("overall", False)),
        is_stale=bool(path.get("stale", False)),
        local_preference=int(str(path.get("locPrf", 100))),
    )


def _bird_ways(said: str, up: frozenset[str]) -> dict[str, tuple[Way, ...]]:
    # A path begins with "PREFIX unicast [PROTOCOL since] * (100) [AS64500i]", all but the first to a prefix without
    # it; its attributes are indented by a tab.
    head_line = r"^(?P<prefix>\S+)?[ ]+unicast \[(?P<protocol>\S+) [^\]]*\](?P<best> \*)? \(\d+s?\)"
    heads = list(re.finditer(head_line, said, re.M))
    ends = [*(head.start() for head in heads), len(said)][1:]
    found: dict[str, tuple[Way, ...]] = {}
    prefix = ""
    for head, end in zip(heads, ends, strict=True):
        prefix = head["prefix"] or prefix
        fields = dict(re.findall(r"^\t(BGP\.\w+): (.*)$", said[head.end() : end], re.M))
        pairs = re.findall(r"\((\d+),(\d+)\)", fields.get("BGP.community", ""))
        way = Way(
            next_hop=fields.get("BGP.next_hop", "").split(" ")[0],
            as_path=tuple(int(asn) for asn in fields.get("BGP.as_path", "").split()),
            communities=tuple(f"{high}:{low}" for high, low in pairs),
            is_best=head["best"] is not None,
            # BIRD 2 keeps the routes of a neighbor that restarts as they are, without a sign.
            is_stale=head["protocol"] not in up,
            local_preference=int(fields.get("BGP.local_pref", "100")),
        )
        found[prefix] = (*found.get(prefix, ()), way)
    return found


def established(lab: Lab, site: Site) -> frozenset[str]:
    """Give the neighbor addresses of a transit router whose sessions are established."""
    if site.router == "bird":
        said = lab.exec(site.transit, "birdc", "show", "protocols", "all", check=True).stdout
        blocks = re.split(r"\n(?=\S)", said)
        pairs = [re.search(r"Neighbor address: (\S+)", block) for block in blocks if "Established" in block]
        return frozenset(pair[1] for pair in pairs if pair)
    peers: set[str] = set()
    for family in ("ipv4", "ipv6"):
        said = lab.exec(site.transit, "vtysh", "-c", f"show bgp {family} unicast summary json", check=True).stdout
        table = json.loads(said).get("peers", {})
        peers |= {address for address, peer in table.items() if peer.get("state") == "Established"}
    return frozenset(peers)


def route_log(lab: Lab, site: Site, *prefixes: str) -> tuple[str, ...]:
    """Give the lines that a transit router logged about what its POP told it of these prefixes, oldest first.

    Each line begins with the wall time in milliseconds (`2026/11/24 02:11:35.163` FRR, `2026-11-24 ...` BIRD). FRR
    logs each UPDATE, BIRD each change, a withdrawal too.
    """
    # the log of an hour is long: what is not about them is left where it is
    words = [word for prefix in prefixes for word in ("-e", prefix)]
    path = "/var/log/bird.log" if site.router == "bird" else "/var/log/frr/bgpd.log"
    lines = lab.exec(site.transit, "grep", "-F", *words, path).stdout.splitlines()
    wanted = re.compile("|".join(_told(site, prefix) for prefix in prefixes))
    return tuple(line for line in lines if wanted.search(line))


def _told(site: Site, prefix: str) -> str:
    version, what = version_of(prefix), re.escape(prefix)
    if site.router == "bird":
        return rf" {site.pop}{version}\.ipv.* {what}(?: |$)"
    return rf"\] {re.escape(site.pop_address(version))}\([^)]*\) rcvd (?:UPDATE about )?{what}(?: |$)"


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of a client and what came of it; times of CLOCK_MONOTONIC."""

    sent_s: float
    took_ms: float
    to: str
    ok: bool
    region: str | None
    backend: str | None
    client: str | None
    port: int | None
    error: str | None


CLIENT = ("python3", "-S", "/lab/client.py")


def ask(lab: Lab, client: str, *addresses: str, options: Sequence[str] = ("--count", "1")) -> tuple[Answer, ...]:
    """Run the client script to its end."""
    return answers(lab.exec(client, *CLIENT, *options, *addresses).stdout)


def asking(lab: Lab, client: str, *addresses: str, options: Sequence[str]) -> NodeProcess:
    """Start the client script; `answers(process.communicate()[0])` when it has ended."""
    return lab.popen(client, *CLIENT, *options, *addresses)


def answers(said: str) -> tuple[Answer, ...]:
    """Read the client script's lines, in the order in which the requests were sent."""
    wanted = Answer.__slots__
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return tuple(sorted((Answer(**{key: row[key] for key in wanted}) for row in rows), key=lambda one: one.sent_s))


def longest_gap_s(of: Sequence[Answer], begin_s: float, end_s: float) -> float:
    """Give the longest time between two good answers' sending times within a span, its ends included."""
    good = [begin_s, *(one.sent_s for one in of if one.ok and begin_s <= one.sent_s <= end_s), end_s]
    return max(later - earlier for earlier, later in itertools.pairwise(good))


def make_backend(lab: Lab, backend: str, mode: str) -> None:
    """Make a backend ill or well: normal, refuse, silent, error500, slow:MS."""
    lab.exec(backend, "backendctl", mode, check=True)


def start_backend(lab: Lab, backend: str) -> None:
    """Start a killed backend's server again, in a session of its own as the node's own was.

    In the session of a test it would have the test's niceness and its share of a processor: a busy machine made such
    backends fail all their checks while those that the lab had started failed none (measured).
    """
    region, name = backend.split("-")
    command = f"setsid python3 -S /lab/backend.py serve {region} {name} < /dev/null > /dev/null 2>&1 &"
    lab.exec(backend, "sh", "-c", command, check=True)


def _counters(devices: Sequence[str]) -> str:
    lines = [f"counter {way}.{device} {{ }}" for device in devices for way in ("out", "in")]
    rules = []
    for device in devices:
        for family, nets in (("ip", (PREFIX_A4, PREFIX_B4)), ("ip6", (PREFIX_A6, PREFIX_B6))):
            inside = ", ".join(nets)
            rules.append(f'oifname "{device}" {family} daddr {{ {inside} }} counter name out.{device}')
            rules.append(f'iifname "{device}" {family} saddr {{ {inside} }} counter name in.{device}')
    return (
        "table inet lab_count\ndelete table inet lab_count\ntable inet lab_count {\n"
        + "\n".join(lines)
        + "\nchain forward { type filter hook forward priority -400; policy accept;\n"
        + "\n".join(rules)
        + "\n}\n}\n"
    )


def count_packets(lab: Lab, pop: str, regions: Sequence[str] = ("eu", "us")) -> None:
    """Begin to count, at zero, the service packets that a POP forwards into (`out.`) and out of (`in.`) each tunnel."""
    devices = [f"{region}-{underlay}" for region in regions for underlay in UNDERLAYS]
    lab.exec(pop, "nft", "-f", "-", text=_counters(devices), check=True)


def counted(lab: Lab, pop: str) -> dict[str, int]:
    """Give the packets counted since `count_packets`: `{"out.eu-a": 12, "in.eu-a": 10, ...}`."""
    said = json.loads(lab.exec(pop, "nft", "-j", "list", "counters", "table", "inet", "lab_count", check=True).stdout)
    rows = [item["counter"] for item in said["nftables"] if "counter" in item]
    return {row["name"]: int(row["packets"]) for row in rows}
