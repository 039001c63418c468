"""BGP sessions: addresses that fit together, options that exclude each other, next hops of the right family."""

from __future__ import annotations

from collections import Counter

from anycastd.config.build.fleet import restart_of
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.neighbors import NeighborSection
from anycastd.config.values.fields import duration_text
from anycastd.model.address import Family, family_of
from anycastd.model.bgp import BLACKHOLE
from anycastd.model.topology import Role


def addresses(found: Findings) -> None:
    """Both ends are of one family, different, and not link-local IPv6."""
    for name, neighbor in found.root.neighbors.items():
        path = ("neighbors", name)
        ours, theirs = neighbor.local_address, neighbor.address
        if theirs.version == 6 and theirs.is_link_local:
            found.error((*path, "address"), f"{theirs} is link-local; IPv6 link-local sessions are not supported")
        if ours.version != theirs.version:
            found.error((*path, "local_address"), f"{ours} is IPv{ours.version}, the session is IPv{theirs.version}")
        elif ours == theirs:
            found.error((*path, "local_address"), f"{ours} is the neighbor's own address")
        elif ours.version == 6 and ours.is_link_local:
            found.error((*path, "local_address"), f"{ours} is link-local; IPv6 link-local sessions are not supported")


def one_session_each(found: Findings) -> None:
    """Two sessions to one address cannot be told apart: ExaBGP's commands name a neighbor by its address."""
    seen: dict[object, str] = {}
    for name, neighbor in found.root.neighbors.items():
        if neighbor.address in seen:
            found.error(
                ("neighbors", name, "address"),
                f"{neighbor.address} is already the address of '{seen[neighbor.address]}'",
            )
        seen.setdefault(neighbor.address, name)


def options(found: Findings) -> None:
    """Options that exclude each other, or that the kind of session does not have."""
    for name, neighbor in found.root.neighbors.items():
        path = ("neighbors", name)
        if neighbor.multihop is not None and neighbor.ttl_security is not None:
            found.error(
                (*path, "ttl_security"), "cannot be used together with multihop: one fixes what the other frees"
            )
        for family, count in Counter(neighbor.families).items():
            if count > 1:
                found.error((*path, "families"), f"{family} is listed twice")
        _session_kind(found, name, neighbor)


def _session_kind(found: Findings, name: str, neighbor: NeighborSection) -> None:
    path = ("neighbors", name)
    pop = found.root.pop
    local = neighbor.local_asn or (pop.asn if pop is not None else None)
    if local is None:
        return
    if local == neighbor.asn:
        if neighbor.export.prepend:
            found.error((*path, "export", "prepend"), "nothing is prepended inside our own AS (the session is iBGP)")
        if neighbor.multihop is not None:
            found.warn((*path, "multihop"), "has no meaning inside our own AS: iBGP packets have the full TTL")
    elif pop is not None and neighbor.local_asn is not None and pop.asn == neighbor.asn:
        found.warn((*path, "local_asn"), "makes a session with our own AS an external one")


def restart_time(found: Findings) -> None:
    """The neighbor keeps routes until End-of-RIB, which waits for first decisions until 10 s before the end."""
    needed = found.root.bgp.connect_within + 10
    for name, neighbor in found.root.neighbors.items():
        if neighbor.role is Role.OBSERVER:
            continue
        if neighbor.graceful_restart == 0:
            found.warn(
                ("neighbors", name, "graceful_restart"), "is off: every restart of ExaBGP withdraws all routes there"
            )
        elif restart_of(neighbor) < needed:
            found.warn(
                ("neighbors", name, "graceful_restart"),
                f"{duration_text(restart_of(neighbor))} is less than bgp.connect_within + 10s "
                f"({duration_text(needed)}): routes may be dropped before they are sent again",
            )


def next_hops(found: Findings) -> None:
    """A family that is not the session's own needs a next hop of its own."""
    for name, neighbor in found.root.neighbors.items():
        own = family_of(neighbor.address)
        for family in neighbor.families or (own,):
            key = "next_hop4" if family is Family.IPV4_UNICAST else "next_hop6"
            if family is not own and getattr(neighbor.export, key) is None:
                found.error(
                    ("neighbors", name, "families"),
                    f"{family} over an IPv{neighbor.address.version} session needs export.{key}, "
                    "our address of that family",
                )
        for version, hop in ((4, neighbor.export.next_hop4), (6, neighbor.export.next_hop6)):
            family = Family.IPV4_UNICAST if version == 4 else Family.IPV6_UNICAST
            if hop is not None and family not in (neighbor.families or (own,)):
                found.warn(
                    ("neighbors", name, "export", f"next_hop{version}"), f"is never used: {family} is not carried"
                )
            if hop is not None and hop == neighbor.address:
                found.error(("neighbors", name, "export", f"next_hop{version}"), f"{hop} is the neighbor's own address")
            if hop is not None and version == 6 and hop.is_link_local:
                found.error(("neighbors", name, "export", "next_hop6"), f"{hop} is link-local, which is not supported")


def filters(found: Findings) -> None:
    """Observers take nothing but beacons, and no prefix is announced as a blackhole."""
    for name, neighbor in found.root.neighbors.items():
        path = ("neighbors", name)
        for flag in ("blackhole", "flowspec"):
            if getattr(neighbor, flag) and neighbor.role is Role.OBSERVER:
                found.error((*path, flag), "an observer is sent our beacon and nothing else")
        for which in ("communities", "depref_communities"):
            if BLACKHOLE in getattr(neighbor.export, which):
                message = f"{BLACKHOLE} would have the neighbor drop every packet to every prefix"
                found.error((*path, "export", which), message)
        if neighbor.export.blackhole_communities and not neighbor.blackhole:
            found.warn((*path, "export", "blackhole_communities"), "is never used without `blackhole: true`")


RULES = (addresses, one_session_each, options, restart_time, next_hops, filters)
