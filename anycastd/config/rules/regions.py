"""Regions, tunnels and backends: ways that exist, addresses that are told apart, families that are carried."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.config.build.eips import MAX_REGIONS, region_number
from anycastd.config.document import Path
from anycastd.config.rules.findings import Findings, versions
from anycastd.config.schema.regions import TunnelSection
from anycastd.model.address import Address
from anycastd.model.topology import Need


def not_empty(found: Findings) -> None:
    """A region needs a way in and something there."""
    for name, region in found.root.regions.items():
        for kind in ("tunnels", "backends"):
            if not getattr(region, kind) and found.whole("regions", name, kind):
                found.error(("regions", name, kind), f"is empty: region '{name}' could never be used")


def pairs_complete(found: Findings) -> None:
    """Each family has both ends, and they differ."""
    for path, _, tunnel in found.tunnels():
        for suffix in ("", "6"):
            ours, theirs = getattr(tunnel, f"local{suffix}"), getattr(tunnel, f"far_end{suffix}")
            if (ours is None) != (theirs is None):
                has, lacks = ("far_end", "local") if ours is None else ("local", "far_end")
                found.error((*path, f"{has}{suffix}"), f"needs {lacks}{suffix} as well")
            elif ours is not None and ours == theirs:
                found.error((*path, f"far_end{suffix}"), f"{theirs} is our own end ({f'local{suffix}'})")
        if all(getattr(tunnel, key) is None for key in ("local", "far_end", "local6", "far_end6")):
            found.error(path, "has no addresses; give it local and far_end, local6 and far_end6, or both", at_key=True)
        for key in ("local6", "far_end6"):
            address = getattr(tunnel, key)
            if address is not None and address.is_link_local:
                found.error((*path, key), f"{address} is link-local, which is not supported")


def told_apart(found: Findings) -> None:
    """Rules choose a tunnel by our address, so no two tunnels, and no session, share one; nor a device."""
    sessions = {neighbor.local_address: name for name, neighbor in found.root.neighbors.items()}
    seen: dict[object, str] = {}
    for path, id_, tunnel in found.tunnels():
        if tunnel.device in seen:
            found.error((*path, "device"), f"'{tunnel.device}' is already the device of {seen[tunnel.device]}")
        seen.setdefault(tunnel.device, id_)
        for key in ("local", "local6"):
            address = getattr(tunnel, key)
            if address is None:
                continue
            if address in seen:
                found.error((*path, key), f"{address} is already our address of {seen[address]}")
            if address in sessions:
                found.error(
                    (*path, key),
                    f"{address} is also local_address of neighbor '{sessions[address]}': "
                    "its packets would enter the tunnel",
                )
            seen.setdefault(address, id_)


def loopback(found: Findings) -> None:
    """A device of the machine itself leads nowhere."""
    for path, _, tunnel in found.tunnels():
        if tunnel.device == "lo":
            found.error((*path, "device"), "'lo' leads nowhere")


def not_ourselves(found: Findings) -> None:
    """A check that we answer ourselves says nothing of the other side."""
    ours = {neighbor.local_address: f"neighbor '{name}'" for name, neighbor in found.root.neighbors.items()}
    others: list[tuple[Path, Address]] = []
    for path, id_, tunnel in found.tunnels():
        ours |= {local: id_ for local in (tunnel.local, tunnel.local6) if local is not None}
        far_ends = (("far_end", tunnel.far_end, tunnel.local), ("far_end6", tunnel.far_end6, tunnel.local6))
        others += [((*path, key), far) for key, far, local in far_ends if far is not None and far != local]
    for name, region in found.root.regions.items():
        others += [(("regions", name, "backends", key, "address"), one.address) for key, one in region.backends.items()]
    for key, target in found.root.self_test.targets.items():
        others.append((("self_test", "targets", key, "address"), target.address))
    for place, address in others:
        if address in ours:
            found.error(place, f"{address} is our own address of {ours[address]}")


def backends_reachable(found: Findings) -> None:
    """A backend is checked through tunnels of its own family."""
    for name, region in found.root.regions.items():
        if not found.whole("regions", name, "tunnels") or not region.tunnels:
            continue
        for key, backend in region.backends.items():
            carrying = _carrying(region.tunnels, backend.address.version)
            path: Path = ("regions", name, "backends", key, "address")
            if not carrying:
                found.error(path, f"{backend.address}: no tunnel of '{name}' carries IPv{backend.address.version}")
            elif len(carrying) < len(region.tunnels):
                rest = ", ".join(sorted(set(region.tunnels) - set(carrying)))
                found.warn(
                    path,
                    f"{backend.address} is not checked through {rest}, which does not carry "
                    f"IPv{backend.address.version}",
                )


def _carrying(tunnels: Mapping[str, TunnelSection], version: int) -> list[str]:
    return [name for name, tunnel in tunnels.items() if version in versions(tunnel)]


def backends_once(found: Findings) -> None:
    """The same server twice would count twice."""
    for name, region in found.root.regions.items():
        seen: dict[object, str] = {}
        for key, backend in region.backends.items():
            path = ("regions", name, "backends", key, "address")
            if backend.address in seen:
                found.error(path, f"{backend.address} is already the address of backend '{seen[backend.address]}'")
            if backend.address.version == 6 and backend.address.is_link_local:
                found.error(path, f"{backend.address} is link-local and cannot be reached through a tunnel")
            seen.setdefault(backend.address, key)


def enough_backends(found: Findings) -> None:
    """`usable_when` must be possible."""
    for name, region in found.root.regions.items():
        if not found.whole("regions", name) or not region.backends or not isinstance(region.usable_when, Need):
            continue
        if impossible := too_many(region.usable_when, len(region.backends), "backends"):
            found.error(("regions", name, "usable_when"), impossible)


def too_many(need: Need, total: int, what: str) -> str:
    """Return why a need can never be met, or nothing."""
    wanted = need.of(total)
    return f"wants {wanted} {what}, there are {total}: it can never be met" if wanted > total else ""


def numbers(found: Findings) -> None:
    """A number stands for one region in packet marks, whether written or from a name."""
    names = found.draft.written("regions")
    if len(names) > MAX_REGIONS:
        found.error(("regions",), f"{len(names)} regions; there are numbers for {MAX_REGIONS}", at_key=True)
        return
    written = {name: region.number for name, region in found.root.regions.items()}
    used = {region_number(name, written.get(name)) for name in names}
    seen: dict[int, str] = {}
    for name, own in written.items():
        number = region_number(name, own)
        if number not in seen:
            seen[number] = name
            continue
        free = next(n % MAX_REGIONS + 1 for n in range(number, number + MAX_REGIONS) if n % MAX_REGIONS + 1 not in used)
        used.add(free)
        path: Path = ("regions", name) if own is None else ("regions", name, "number")
        from_name = "" if own is not None else " by its name"
        found.error(
            path,
            f"has number {number}{from_name}, which is that of region '{seen[number]}'; write `number: {free}`",
            at_key=own is None,
        )


RULES = (
    not_empty, pairs_complete, told_apart, not_ourselves, loopback, backends_reachable, backends_once, enough_backends,
    numbers,
)  # fmt: skip
