"""Prefixes: apart from each other, carried by somebody, with conditions and timers that make sense."""

from __future__ import annotations

from ipaddress import ip_network

from anycastd.config.build.config import timers_of
from anycastd.config.build.fleet import domains_of_others
from anycastd.config.document import Path
from anycastd.config.near import did_you_mean
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.neighbors import NeighborSection
from anycastd.config.schema.prefixes import PrefixSection
from anycastd.config.schema.timers import TimersSection
from anycastd.config.values.fields import duration_text
from anycastd.model.address import Address, Prefix, family_of
from anycastd.model.topology import DeadMan, LastResort, Role

MANY_POPS = 4
"""From so many POPs on, two others are wanted (`policy.guard.LARGE_FLEET`)."""
LONGEST_ON_THE_INTERNET = {4: 24, 6: 48}


def apart(found: Findings) -> None:
    """No prefix is written twice in two spellings, and none lies in another."""
    seen: dict[Prefix, str] = {}
    for text, prefix in found.spellings():
        if prefix in seen:
            found.error(("prefixes", text), f"is the same prefix as {seen[prefix]}", at_key=True)
        seen.setdefault(prefix, text)
    around: list[Prefix] = []
    for prefix in sorted(seen, key=lambda one: (one.version, int(one.network_address), one.prefixlen)):
        while around and not _inside(prefix, around[-1]):
            around.pop()
        if around:
            found.error(("prefixes", seen[prefix]), f"lies in {around[-1]}; prefixes must not overlap", at_key=True)
        around.append(prefix)


def _inside(inner: Prefix, outer: Prefix) -> bool:
    return inner.version == outer.version and inner.network_address in outer


def carried(found: Findings) -> None:
    """Every prefix has neighbors that exist and carry its family."""
    for path, prefix, section in found.prefixes():
        _names(found, path, prefix, section)
        carriers = _carriers(found, prefix, section)
        if carriers or not found.whole("neighbors"):
            if len(carriers) == 1 and found.whole("neighbors"):
                found.warn(path, f"only neighbor '{next(iter(carriers))}' carries it", at_key=True)
        elif found.root.neighbors:
            found.error(path, f"no neighbor carries it ({family_of(prefix)})", at_key=True)


def _names(found: Findings, path: Path, prefix: Prefix, section: PrefixSection) -> None:
    written = found.draft.written("neighbors")
    for number, name in enumerate(section.neighbors or ()):
        place = (*path, "neighbors", number)
        neighbor = found.root.neighbors.get(name)
        if name not in written:
            found.error(place, f"no neighbor is called '{name}'{did_you_mean(name, written)}")
        elif neighbor is not None and neighbor.role is Role.OBSERVER:
            found.error(place, f"'{name}' is an observer: it is sent beacons only")
        elif neighbor is not None and family_of(prefix) not in _families(neighbor):
            found.error(place, f"'{name}' does not carry {family_of(prefix)}")
        if name in (section.neighbors or ())[:number]:
            found.error(place, f"'{name}' is listed twice")


def _families(neighbor: NeighborSection) -> tuple[str, ...]:
    return neighbor.families or (family_of(neighbor.address),)


def _carriers(found: Findings, prefix: Prefix, section: PrefixSection) -> dict[str, NeighborSection]:
    return {
        name: neighbor
        for name, neighbor in found.root.neighbors.items()
        if family_of(prefix) in _families(neighbor)
        and neighbor.role is not Role.OBSERVER
        and (section.neighbors is None or name in section.neighbors)
    }


def within_max_prefixes(found: Findings) -> None:
    """A neighbor that is sent more than it takes ends the session."""
    counts: dict[str, int] = {}
    for _, prefix, section in found.prefixes():
        for name in _carriers(found, prefix, section):
            counts[name] = counts.get(name, 0) + 1
    for name, count in counts.items():
        limit = found.root.neighbors[name].max_prefixes
        if count > limit:
            found.error(("neighbors", name, "max_prefixes"), f"{count} prefixes would be sent, {limit} are allowed")


def leaving(found: Findings) -> None:
    """Who may leave, and what happens without the daemon."""
    for path, _, section in found.prefixes():
        if section.dead_man.action is DeadMan.WITHDRAW and section.last_resort is not LastResort.WITHDRAW:
            found.error((*path, "dead_man", "action"), "withdraw is only allowed together with last_resort: withdraw")
        _announcers(found, path, section)


def _announcers(found: Findings, path: Path, section: PrefixSection) -> None:
    fleet = found.root.fleet
    if fleet is None:
        if section.min_announcers is not None and section.min_announcers > 1:
            what = "there are no observers that could see the other POPs, so last_resort alone decides"
            found.warn((*path, "min_announcers"), f"{section.min_announcers}: {what}")
        return
    wanted = section.min_announcers or (2 if len(fleet.pops) >= MANY_POPS else 1)
    others = domains_of_others(found.root)
    if len(fleet.pops) > 1 and wanted > len(others):
        what = f"only {len(others)} can ever be seen (one of each failure domain): no POP ever leaves"
        found.warn((*path, "min_announcers"), f"{wanted} others are wanted and {what}")


def timers(found: Findings) -> None:
    """Timers that contradict each other, global or of one prefix."""
    general = found.root.timers
    _timers(found, ("timers",), TimersSection(), general)
    for path, _, section in found.prefixes():
        if section.timers != TimersSection():
            _timers(found, (*path, "timers"), general, section.timers)


def _timers(found: Findings, path: Path, general: TimersSection, own: TimersSection) -> None:
    merged = timers_of(own, general)
    if merged.return_max_s < merged.return_after_s:
        key = "return_max" if own.return_max is not None else "return_after"
        found.error(
            (*path, key),
            f"return_max ({duration_text(merged.return_max_s)}) is less than return_after "
            f"({duration_text(merged.return_after_s)})",
        )
    if own.linger is not None and own.linger < 300:
        found.warn(
            (*path, "linger"),
            f"{duration_text(own.linger)}: packets still come for minutes after a withdrawal; 5m or more loses none",
        )


def lengths(found: Findings) -> None:
    """Most of the Internet takes nothing longer than /24 and /48 (private AS numbers are no Internet neighbors)."""
    for path, prefix, section in found.prefixes():
        longest = LONGEST_ON_THE_INTERNET[prefix.version]
        if prefix.prefixlen <= longest or found.root.pop is None:
            continue
        own = found.root.pop.asn
        public = [
            name
            for name, one in _carriers(found, prefix, section).items()
            if one.asn not in (own, one.local_asn) and not _is_private_asn(one.asn)
        ]
        if public:
            found.warn(path, f"is longer than /{longest}: networks behind {', '.join(public)} drop it", at_key=True)


def _is_private_asn(asn: int) -> bool:
    """RFC 6996."""
    return 64512 <= asn <= 65534 or 4200000000 <= asn <= 4294967294


def not_our_own_way(found: Findings) -> None:
    """An announced prefix is blackholed but for its tunnel: what we need ourselves must not lie in it."""
    needed: list[tuple[Path, Address, str]] = []
    for name, neighbor in found.root.neighbors.items():
        needed.append((("neighbors", name, "address"), neighbor.address, "the session"))
        for key in ("next_hop4", "next_hop6"):
            if (hop := getattr(neighbor.export, key)) is not None:
                needed.append((("neighbors", name, "export", key), hop, "the next hop"))
    for path, _, tunnel in found.tunnels():
        for key in ("far_end", "far_end6"):
            if (far_end := getattr(tunnel, key)) is not None:
                needed.append(((*path, key), far_end, "the tunnel"))
    announced = set(found.root.prefixes)
    for place, address, what in needed:
        for length in range(1, address.max_prefixlen + 1):
            inside = ip_network(f"{address}/{length}", strict=False)
            if inside in announced:
                found.warn(
                    place, f"{address} lies in {inside}, which is announced and blackholed here: {what} may break"
                )


RULES = (
    apart, carried, within_max_prefixes, leaving, timers, lengths, not_our_own_way,
)  # fmt: skip
