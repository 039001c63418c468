"""The oracle of random faults: what must be, derived from what stands broken in the world, not from the daemon."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anycastd.lab.running import Lab
from tests.lab.eip_stage import BACKEND_OF
from tests.lab.fleet import ABSENT, BACKENDS, DEPREF, NORMAL, Fleet
from tests.lab.topology_facts import (
    PREFIX_A4,
    PREFIX_A6,
    PREFIX_B4,
    PREFIX_B6,
    PREFIXES,
    REGIONS,
    SERVICE,
    SITES,
    UNDERLAYS,
    ask,
    version_of,
)

Line = tuple[str, str, str]
"""(POP, region, underlay): one tunnel."""
LINES: frozenset[Line] = frozenset((pop, region, underlay) for pop in SITES for region in REGIONS for underlay in "ab")
NEAREST: Mapping[str, tuple[str, ...]] = {"fra": ("eu", "us"), "sin": ("eu", "us"), "iad": ("us", "eu")}
"""The regions of each POP, best first, as its configuration has them."""
BOUND: Mapping[str, frozenset[str]] = {
    PREFIX_A4: frozenset(BACKENDS),
    PREFIX_A6: frozenset(BACKENDS),
    PREFIX_B4: frozenset(BACKENDS),
    PREFIX_B6: frozenset({"eu-b1", "us-b1"}),
}
"""The backends of the EIP in each prefix."""
MORE = "192.0.2.0/24"
"""A prefix that some reloads add and take away."""
ONCE = ("--count", "1", "--timeout-ms", "3000")
"""Who answers is what counts: a client on a starved machine is slow itself."""
UNABLE = {PREFIX_A4: ABSENT, PREFIX_A6: ABSENT, PREFIX_B4: DEPREF, PREFIX_B6: DEPREF}


@dataclass(frozen=True)
class Broken:
    """What is broken in the world."""

    lines: frozenset[Line] = frozenset()
    backends: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    """POPs that were told to leave and start anew: what they cannot serve they may not have announced again."""

    def alive(self, pop: str, region: str) -> frozenset[str]:
        """Return the devices of a POP that carry packets into a region."""
        return frozenset(f"{region}-{underlay}" for underlay in UNDERLAYS if (pop, region, underlay) not in self.lines)

    def usable(self, pop: str) -> frozenset[str]:
        """Return the backends that a POP can use."""
        return frozenset(one for one in BACKENDS if one not in self.backends and self.alive(pop, one[:2]))

    def carriers(self, pop: str, prefix: str) -> frozenset[str]:
        """Return the backends to which a POP must lead the EIP of a prefix; empty: nobody can serve it."""
        usable = self.usable(pop) & BOUND[prefix]
        for region in NEAREST[pop]:
            if mine := frozenset(one for one in usable if one.startswith(region)):
                return mine
        return frozenset()

    def allows(self, pop: str, prefix: str) -> frozenset[str]:
        """Return what a router may have of a prefix from its POP."""
        if self.usable(pop):
            return frozenset({NORMAL})
        return frozenset({UNABLE[prefix], ABSENT} if pop in self.left else {UNABLE[prefix]})

    def served(self, pop: str, prefix: str) -> frozenset[str] | None:
        """Return the regions one of which must answer the client beside a POP; None if it cannot be said."""
        others = [one for one in SITES if one != pop and self.usable(one)]
        entries = [pop] if self.usable(pop) else others
        regions = [frozenset(one[:2] for one in self.carriers(entry, prefix)) for entry in entries]
        return frozenset().union(*regions) if entries and all(regions) else None


def wrong(world: Fleet, broken: Broken) -> dict[str, object]:
    """Return all that is not as it must be: routers' tables, ways of the kernels, elements, answers to clients."""
    found: dict[str, object] = {
        f"{pop} {prefix}": (have, sorted(broken.allows(pop, prefix)))
        for (pop, prefix), have in world.table().items()
        if have not in broken.allows(pop, prefix)
    }
    for site in world.sites:
        found |= {f"{site.transit} holds also": extra for extra in [foreign(world.lab, site.pop)] if extra}
        alive = {region: broken.alive(site.pop, region) for region in REGIONS}
        keys = [(prefix, region) for region in REGIONS if alive[region] for prefix in (PREFIX_A4, PREFIX_A6)]
        for (prefix, region), device in world.path_devices(site.pop, *keys).items():
            if device not in alive[region]:
                found[f"{site.pop} to {region}, {prefix}"] = (device, sorted(alive[region]))
        found |= wrong_elements(world.lab, site.pop, broken)
        found |= wrong_answers(world, site.pop, broken)
    return found


def foreign(lab: Lab, pop: str) -> list[str]:
    """Return the prefixes that a router has from its POP and that it must not have."""
    site = SITES[pop]
    if site.router == "bird":
        said = [
            lab.exec(site.transit, "birdc", "show", "route", "protocol", f"{pop}{v}", check=True).stdout for v in (4, 6)
        ]
    else:
        shown = [f"show bgp ipv{v} unicast neighbors {site.pop_address(v)} received-routes" for v in (4, 6)]
        said = [lab.exec(site.transit, "vtysh", *(word for line in shown for word in ("-c", line)), check=True).stdout]
    have = set(re.findall(r"(?<![\d.:])((?:\d+\.){3}\d+/\d+|[0-9a-f:]*::/\d+)", "\n".join(said)))
    return sorted(have - set(PREFIXES))


def wrong_elements(lab: Lab, pop: str, broken: Broken) -> dict[str, object]:
    """Compare where a POP's packet filter leads each EIP of the file with where it must lead."""
    dumps = maps_of(lab, pop)
    single, address = dict(dumps["pool"]), dict(dumps["nat4"] + dumps["nat6"])
    found: dict[str, object] = {}
    for prefix in PREFIXES:
        carriers = broken.carriers(pop, prefix)
        if not carriers:
            continue
        pool = dict(dumps[f"eip{version_of(prefix)}"]).get(SERVICE[prefix])
        marks = {mark for key, mark in dumps["slot"] if key["concat"][0] == pool}
        marks |= {single[pool]} if pool in single else set()
        # a routed path translates nothing: its mark tells only the region
        led = {BACKEND_OF[address[mark]].replace("/", "-") if mark in address else region_of(mark) for mark in marks}
        must = {one[:2] for one in carriers} if prefix == PREFIX_B6 else carriers
        if led != must:
            found[f"{pop} leads {SERVICE[prefix]} to"] = (sorted(led), sorted(must))
    return found


def maps_of(lab: Lab, pop: str) -> dict[str, list[Any]]:
    """Return the elements of every map of a POP's table, all from one dump."""
    said = json.loads(lab.exec(pop, "nft", "-j", "list", "table", "inet", "anycastd").stdout or '{"nftables": []}')
    found = {item["map"]["name"]: item["map"].get("elem", []) for item in said["nftables"] if "map" in item}
    return {name: found.get(name, []) for name in ("eip4", "eip6", "pool", "slot", "nat4", "nat6")}


def region_of(mark: int) -> str:
    """Return the region of a mark: its top byte."""
    return next((name for name, number in REGIONS.items() if number == mark >> 24), f"mark {mark:#x}")


def wrong_answers(world: Fleet, pop: str, broken: Broken) -> dict[str, object]:
    """Compare what the client beside a POP gets with what it must get."""
    must = {prefix: broken.served(pop, prefix) for prefix in PREFIXES}
    asked = [SERVICE[prefix] for prefix in PREFIXES if must[prefix]]
    if not asked:
        return {}
    site = SITES[pop]
    got = {one.to: one.region if one.ok else one.error for one in ask(world.lab, site.client, *asked, options=ONCE)}
    wanted = {SERVICE[prefix]: regions for prefix, regions in must.items() if regions}
    return {
        f"{site.client} asks {to}": (got.get(to), sorted(regions))
        for to, regions in wanted.items()
        if got.get(to) not in regions
    }


def kernel(lab: Lab, pops: Iterable[str], lost: Container[str] = ()) -> dict[str, str]:
    """Return all that is ours in each POP's kernel, without what is counted and which tunnel is the better one.

    Of POPs in `lost` what is left of the prefix `MORE` is left out.
    """
    found = {}
    for pop in pops:
        said = [lab.exec(pop, "nft", "list", "table", "inet", "anycastd").stdout]
        for family in ("-4", "-6"):
            said.append(lab.exec(pop, "ip", family, "rule").stdout)
            said.append(lab.exec(pop, "ip", family, "route", "show", "table", "all", "proto", "201").stdout)
        text = re.sub(r"packets \d+ bytes \d+|10\.200\.\d+\.1|fd00:200:\w+::1", "", re.sub(r",\s+", ", ", said[0]))
        routes = sorted(
            re.sub(r"(expires|metric) \S+|linkdown|dead", "", line).strip()
            for one in said[1:]
            for line in one.splitlines()
        )
        if pop in lost:
            text = text.replace(f"{MORE}, ", "")
            routes = [line for line in routes if MORE not in line]
        found[pop] = text + "\n".join(routes)
    return found
