"""`fleet`: the POPs that announce our prefixes, and how they tell each other of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import FileName, Flag, Name, duration, whole
from anycastd.config.values.net import Ipv4Field, PrefixField

DAY_S = 86400.0


class FleetPopSection(Section):
    """One POP of the fleet."""

    number: Annotated[int, whole(1, 254)] = Field(
        description="Its number, the same in the files of all POPs: its address in the beacon networks."
    )
    failure_domain: Name | None = Field(
        default=None,
        description="POPs of one failure domain fail together, so of them only one counts; default: one of its own.",
    )
    router_id: Ipv4Field | None = Field(
        default=None,
        description="Its `pop.router_id`; with it a beacon that a reflector had from another router is refused.",
    )


class FleetSection(Section):
    """The POPs that announce these prefixes, this one among them (by `pop.name`). They see each other by neighbors of
    `role: observer`, by the fleet's store, or both."""

    pops: dict[Name, FleetPopSection] = Field(description="Every POP by its name, the same in all files.")
    beacon_network4: PrefixField | None = Field(
        default=None,
        description="Private IPv4 network, /24 or shorter, the same in all files; POP N says its beacon as address N "
        "of it. Each further /24 lets a beacon hold more prefixes.",
    )
    beacon_network6: PrefixField | None = Field(
        default=None, description="Likewise in IPv6 (ULA), /120 or shorter, for observers that carry ipv6-unicast."
    )
    heartbeat: Annotated[float, duration(0.2, 60.0)] = Field(
        default=3.0,
        description="How often a beacon is said again that did not change; a POP whose beacon stands still for three "
        "of them is not counted.",
    )
    beacon_gap: Annotated[float, duration(0.05, 10.0)] = Field(
        default=0.1, description="The least time between two beacons."
    )
    blind: Annotated[float, duration(0.5, DAY_S)] = Field(
        default=10.0,
        description="With no observer up for so long (nor the store, if beacons go through it), what was withdrawn "
        "comes back, depreferenced.",
    )
    boot: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=60.0,
        description="How long a start may wait for its first checks while too few others announce a prefix; then it "
        "is announced, depreferenced.",
    )
    min_upstreams: Annotated[int, whole(1, 100)] = Field(
        default=1,
        description="By how many established upstreams a prefix must be acknowledged before the beacon says NORMAL.",
    )
    by_store: Flag = Field(
        default=True,
        description="Whether beacons go through the fleet's store too (`store.kind: etcd`); without observers it is "
        "the only way by which POPs see each other.",
    )
    key_file: FileName | None = Field(
        default=None,
        description="File with a secret of the fleet, the same on all POPs; mode 0600 or 0640. Beacons are signed with "
        "it, to observers and in the store, and others not believed.",
    )
    accept_unsigned: Flag = Field(
        default=False,
        description="Whether beacons without a signature are believed all the same: while the POPs are given the key "
        "one after another. A wrong signature never is.",
    )
