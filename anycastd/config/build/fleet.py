"""The fleet of a checked file, and what follows from it for neighbors and prefixes. Pure."""

from __future__ import annotations

from anycastd.config.build.check_options import absolute
from anycastd.config.schema.neighbors import NeighborSection
from anycastd.config.schema.root import Root
from anycastd.model.fleet_config import FleetConfig, FleetPop
from anycastd.model.store import StoreKind
from anycastd.model.topology import Role

RESTART_S = 120


def restart_of(section: NeighborSection) -> int:
    """Return the graceful restart time of a neighbor, as written or by its role.

    On an observer's session it would only keep what a dead POP last said for as long.
    """
    if section.graceful_restart is not None:
        return section.graceful_restart
    return 0 if section.role is Role.OBSERVER else RESTART_S


def domains_of_others(root: Root) -> frozenset[str]:
    """Return the failure domains of the other POPs but our own: of each only one POP counts."""
    if root.fleet is None or root.pop is None:
        return frozenset()
    domains = {name: one.failure_domain or f"pop {name}" for name, one in root.fleet.pops.items()}
    return frozenset(domain for name, domain in domains.items() if name != root.pop.name)


def is_by_store(root: Root) -> bool:
    """Return whether beacons go through the fleet's store."""
    return root.fleet is not None and root.fleet.by_store and root.store.kind is StoreKind.ETCD


def fleet_of(root: Root, directory: str) -> FleetConfig | None:
    """Return the fleet, None for a file without; a relative name of its key begins at `directory`."""
    section = root.fleet
    if section is None or root.pop is None:
        return None
    pops = {
        name: FleetPop(name=name, number=one.number, failure_domain=one.failure_domain or "", router_id=one.router_id)
        for name, one in section.pops.items()
    }
    networks = (section.beacon_network4, section.beacon_network6)
    return FleetConfig(
        own=pops[root.pop.name],
        pops=pops,
        beacon_networks=tuple(network for network in networks if network is not None),
        heartbeat_s=section.heartbeat,
        beacon_gap_s=section.beacon_gap,
        blind_s=section.blind,
        boot_s=section.boot,
        min_upstreams=section.min_upstreams,
        by_store=is_by_store(root),
        key_file=absolute(section.key_file, directory),
        accepts_unsigned=section.accept_unsigned,
    )
