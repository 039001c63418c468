"""The POP itself: required sections, kernel numbers, ExaBGP, the self-test."""

from __future__ import annotations

from anycastd.config.build.eips import MAX_REGIONS
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.root import REQUIRED
from anycastd.config.slots import TABLE_SLOTS
from anycastd.config.values.fields import duration_text

# linux/rtnetlink.h RTPROT_*, and FRR zebra/rt_netlink.h: whoever has the number removes what it does not know
_PROTOCOLS = {
    8: "gated", 9: "router advertisements", 10: "mrt", 11: "zebra (FRR)", 12: "bird", 13: "dnrouted", 14: "xorp",
    15: "ntk", 16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 84: "ovn", 99: "openr", 186: "bgp (FRR)",
    187: "isis (FRR)", 188: "ospf (FRR)", 189: "rip (FRR)", 190: "ripng (FRR)", 191: "nhrp (FRR)", 192: "eigrp (FRR)",
    193: "ldp (FRR)", 194: "sharp (FRR)", 195: "pbr (FRR)", 196: "static (FRR)", 197: "openfabric (FRR)",
    198: "srte (FRR)",
}  # fmt: skip


def required(found: Findings) -> None:
    """A POP has a name, neighbors, regions and prefixes: a file without them is a damaged one (I4)."""
    for section, why in REQUIRED.items():
        if not found.draft.document.value.get(section) and (section,) not in found.draft.document.empty:
            verb = "is empty" if found.has((section,)) else "is missing"
            found.error((section,), f"{verb}: {why}", at_key=True)


def kernel_numbers(found: Findings) -> None:
    """Numbers that mark what is ours are nobody else's."""
    kernel = found.root.kernel
    if owner := _PROTOCOLS.get(kernel.protocol):
        found.error(("kernel", "protocol"), f"{kernel.protocol} is the number of {owner}; choose one of your own")
    if kernel.forward_metric >= kernel.blackhole_metric:
        found.error(
            ("kernel", "forward_metric"),
            f"{kernel.forward_metric} is not below blackhole_metric ({kernel.blackhole_metric}): "
            "the blackhole would take every packet",
        )


def tables_apart(found: Findings) -> None:
    """A table holds a region's tunnels, or the way of one tunnel's checks, not both."""
    kernel = found.root.kernel
    regions = (kernel.region_table_base + 1, kernel.region_table_base + MAX_REGIONS)
    tunnels = (kernel.table_base, kernel.table_base + TABLE_SLOTS - 1)
    if regions[0] <= tunnels[1] and tunnels[0] <= regions[1]:
        own, other = ("region_table_base", "table_base")
        if not found.has(("kernel", own)):
            own, other = other, own
        found.error(
            ("kernel", own),
            f"the tables of regions, {regions[0]} to {regions[1]}, and of tunnels, {tunnels[0]} to {tunnels[1]}, "
            f"overlap; move it or kernel.{other}",
        )


def tunnel_count(found: Findings) -> None:
    """Each tunnel has a table of its own."""
    count = sum(1 for _ in found.tunnels())
    if count > TABLE_SLOTS:
        found.error(("regions",), f"{count} tunnels; there are tables for {TABLE_SLOTS}", at_key=True)


def exabgp_times(found: Findings) -> None:
    """A hanging ExaBGP must be found and replaced before the neighbors miss it."""
    wedged = found.root.bgp.wedged_after
    for name, neighbor in found.root.neighbors.items():
        if neighbor.hold_time < 3 * wedged:
            found.warn(
                ("neighbors", name, "hold_time"),
                f"{duration_text(neighbor.hold_time)} is less than 3 x bgp.wedged_after "
                f"({duration_text(wedged)}): a hanging ExaBGP may not be replaced in time",
            )


def self_test(found: Findings) -> None:
    """Without targets nothing is ever suspected; with few targets to count, nothing can be."""
    section, path = found.root.self_test, ("self_test", "targets")
    if not found.draft.written(*path):
        found.warn(
            ("self_test",), "has no targets: a fault of this machine cannot be told from many far away", at_key=True
        )
        return
    if found.whole("regions") and section.min_regions > len(found.root.regions):
        found.warn(
            ("self_test", "min_regions"),
            f"{section.min_regions} is more than the {len(found.root.regions)} there are: nothing is ever suspected",
        )


RULES = (required, kernel_numbers, tables_apart, tunnel_count, exabgp_times, self_test)
