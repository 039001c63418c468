"""The fleet: POPs apart from each other, observers that can carry beacons, and nothing that mixes the two."""

from __future__ import annotations

from anycastd.config.build.expand import pairs
from anycastd.config.build.fleet import is_by_store, restart_of
from anycastd.config.document import Path
from anycastd.config.near import did_you_mean
from anycastd.config.rules.files import Stat, look, secret
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.fleet import FleetSection
from anycastd.config.schema.neighbors import NeighborSection
from anycastd.model.address import Prefix, family_of
from anycastd.model.topology import Role

ENOUGH_OBSERVERS, MIN_KEY_BYTES = 2, 16
LONGEST = {4: 24, 6: 120}
"""A beacon network holds 256 addresses or more."""
HEAD_PREFIXES, PART_PREFIXES, MAX_COMMUNITIES, PLACES, FIXED = 64, 190, 196, 256, 3
"""Of `fleet.codec`, which is above us: prefixes in one route, in each further part, communities of a route, addresses
of a part, and communities that are always there."""
NOT_OF_OBSERVERS = ("communities", "large_communities", "depref_communities", "prepend", "med")


def pops(found: Findings) -> None:
    """This POP is one of them, and no two have one number or one router id."""
    fleet, pop = found.root.fleet, found.root.pop
    if fleet is None:
        return
    written = found.draft.written("fleet", "pops")
    if pop is not None and pop.name not in written:
        hint = did_you_mean(pop.name, written)
        found.error(("fleet", "pops"), f"this POP, '{pop.name}', is not one of them{hint}", at_key=True)
    for key in ("number", "router_id"):
        seen: dict[object, str] = {}
        for name, one in fleet.pops.items():
            value = getattr(one, key)
            if value is not None and value in seen:
                found.error(("fleet", "pops", name, key), f"{value} is already that of '{seen[value]}'")
            seen.setdefault(value, name)
    own = fleet.pops.get(pop.name) if pop is not None else None
    if own is not None and pop is not None and own.router_id not in (None, pop.router_id):
        found.error(("fleet", "pops", pop.name, "router_id"), f"pop.router_id is {pop.router_id}")
    if len(fleet.pops) == 1:
        found.warn(("fleet", "pops"), "nobody else: no prefix ever leaves because of health", at_key=True)


def networks(found: Findings) -> None:
    """Beacons have private addresses of their own, enough of them."""
    fleet = found.root.fleet
    if fleet is None:
        return
    needed = not is_by_store(found.root) or any(one.role is Role.OBSERVER for one in found.root.neighbors.values())
    if needed and fleet.beacon_network4 is None and fleet.beacon_network6 is None:
        found.error(("fleet",), "beacon_network4 or beacon_network6 is needed: the addresses of beacons", at_key=True)
    for network, version in ((fleet.beacon_network4, 4), (fleet.beacon_network6, 6)):
        path: Path = ("fleet", f"beacon_network{version}")
        if network is None:
            continue
        if network.version != version:
            found.error(path, f"{network} is IPv{network.version}")
            continue
        if network.prefixlen > LONGEST[version]:
            found.error(path, f"{network} is too small: /{LONGEST[version]} or shorter is needed")
        if not network.is_private:
            found.warn(path, f"{network} is not private: a beacon that leaks would be a route of the Internet")
        for _, prefix, _ in found.prefixes():
            if _overlap(network, prefix):
                found.error(path, f"{network} overlaps {prefix}, which is announced: beacons need their own addresses")


def room(found: Findings) -> None:
    """A beacon has room for all prefixes and for an echo of every other POP."""
    fleet, prefixes = found.root.fleet, len(found.root.prefixes)
    if fleet is None:
        return
    parts = 0 if prefixes <= HEAD_PREFIXES else -(-prefixes // PART_PREFIXES)
    others = len(fleet.pops) - 1
    if FIXED + (parts or prefixes) + others > MAX_COMMUNITIES:
        found.error(("fleet", "pops"), f"a beacon has no room for {others} others and {prefixes} prefixes", at_key=True)
    for network, version in ((fleet.beacon_network4, 4), (fleet.beacon_network6, 6)):
        if network is not None and network.num_addresses < (parts + 1) * PLACES and parts:
            length = network.max_prefixlen - ((parts + 1) * PLACES - 1).bit_length()
            what = f"{network} has no room for {prefixes} prefixes: /{length} or shorter is needed"
            found.error(("fleet", f"beacon_network{version}"), what)


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.version == other.version and (one.network_address in other or other.network_address in one)


def observers(found: Findings) -> None:
    """There are two or more, or one beside the store, not all over the tunnels; without any nobody can be asked."""
    names = [name for name, one in found.root.neighbors.items() if one.role is Role.OBSERVER]
    fleet = found.root.fleet
    if fleet is None:
        for name in names if found.whole("fleet") else ():
            found.error(("neighbors", name, "role"), "an observer carries beacons of a fleet: there is no `fleet:`")
        return
    for name in names:
        _observer(found, fleet, name, found.root.neighbors[name])
    if not found.whole("neighbors"):
        return
    by_store = is_by_store(found.root)
    if not names and by_store:
        what = (
            "POPs see each other by the store only: while it is away none leaves; a neighbor with role: observer helps"
        )
        found.warn(("fleet",), what, at_key=True)
    elif not names:
        found.warn(("fleet",), "no neighbor has role: observer: no other POP can be seen, so none leaves", at_key=True)
    elif len(names) + by_store < ENOUGH_OBSERVERS:
        what = "is the only observer: without it no other POP is seen; two in different places are wanted"
        found.warn(("neighbors", names[0], "role"), what)
    if names and all(_over_tunnels(found, found.root.neighbors[name]) for name in names):
        what = "every observer is reached over the tunnels: a POP that loses them sees nobody; reach one by a transit"
        found.warn(("neighbors", names[0], "address"), what)


def _observer(found: Findings, fleet: FleetSection, name: str, neighbor: NeighborSection) -> None:
    path = ("neighbors", name)
    if restart_of(neighbor):
        what = "an observer has no graceful restart: it would keep for so long what a dead POP last said; write 0s"
        found.error((*path, "graceful_restart"), what)
    for key in NOT_OF_OBSERVERS:
        if found.has((*path, "export", key)):
            found.error((*path, "export", key), "an observer is sent beacons only, and they have no such thing")
    families = neighbor.families or (family_of(neighbor.address),)
    carried = [net for net in (fleet.beacon_network4, fleet.beacon_network6) if net and family_of(net) in families]
    if not carried and (fleet.beacon_network4 or fleet.beacon_network6):
        found.error((*path, "families"), f"{', '.join(families)}: there is no beacon network of that family")


def _over_tunnels(found: Findings, neighbor: NeighborSection) -> bool:
    """Return whether the file shows that a session runs over a tunnel: it ends at an address of one."""
    for _, _, tunnel in found.tunnels():
        if any(neighbor.local_address == local or neighbor.address == far for local, far in pairs(tunnel)):
            return True
    return False


def key(found: Findings) -> None:
    """A key signs what goes to observers and through the store, and is asked of others in the end."""
    fleet = found.root.fleet
    if fleet is None or not fleet.accept_unsigned:
        return
    if fleet.key_file is None:
        found.warn(("fleet", "accept_unsigned"), "is of no use without key_file: no signature is looked at")
    else:
        what = "beacons without a signature are believed: take it out when every POP has the key"
        found.warn(("fleet", "accept_unsigned"), what)


def named_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at the fleet's key; never into it."""
    name = None if found.root.fleet is None else found.root.fleet.key_file
    status = None if name is None else look(found, ("fleet", "key_file"), name, directory, stat)
    if name is not None and status is not None:
        if status.st_size < MIN_KEY_BYTES:
            found.error(
                ("fleet", "key_file"), f"{name} holds {status.st_size} bytes; at least {MIN_KEY_BYTES} are wanted"
            )
        secret(found, ("fleet", "key_file"), name, status)


RULES = (pops, networks, room, observers, key)
