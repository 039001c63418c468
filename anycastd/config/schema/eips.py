"""`eips`: accelerated addresses of the file, and `eip`: settings of all EIPs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from anycastd.config.schema.base import INLINE_TAG, NAME_TAG, Section
from anycastd.config.values.fields import DeviceName, Flag, Phrase, choice, decimal, duration, percent, whole
from anycastd.config.values.net import AddressField, BackendField, PortMapField, RateField
from anycastd.model.eip import Affinity, Mode, Ping, Shaping, Spread, Tracking, WhenUnhealthy
from anycastd.model.topology import EipConfig

_DEFAULT = EipConfig()
DAY_S = 86400.0


class BandwidthSection(Section):
    """Limits of one EIP, in bits of IP packets per second, over all tunnels together."""

    # `in` is a word of the language
    inward: RateField | None = Field(
        default=None, alias="in", description="From clients to the EIP; default: no limit."
    )
    outward: RateField | None = Field(
        default=None, alias="out", description="From the EIP to clients; default: no limit."
    )
    shaping: Annotated[Shaping, choice(Shaping)] = Field(
        default=Shaping.POLICE,
        description="`police` drops what is above the limit; `htb` queues what leaves to clients on `eip.uplinks`.",
    )


class TargetSection(Section):
    """One backend of the EIP; its name alone takes every default."""

    backend: BackendField = Field(description="The backend, as region/name; of the family of the EIP.")
    weight: Annotated[int, whole(0, 255)] = Field(
        default=100,
        description="Its share among those of equal rank, rounded to 64 parts, at least one; 0 gets packets only "
        "when no other is left.",
    )
    priority: Annotated[int, whole(1, 100)] = Field(
        default=1, description="Usable backends of the lowest number are used first."
    )
    mode: Annotated[Mode, choice(Mode)] | None = Field(
        default=None, description="How packets reach it; default: the region's `mode`."
    )
    ports: tuple[PortMapField, ...] = Field(
        default=(),
        description='Ports that are another on the backend, in quotes: "tcp/80:8080"; others stay as they are. Not '
        "in mode routed.",
    )


def _form(value: object) -> str:
    return INLINE_TAG if isinstance(value, (dict, TargetSection)) else NAME_TAG


TargetUse = Annotated[
    Annotated[BackendField, Tag(NAME_TAG)] | Annotated[TargetSection, Tag(INLINE_TAG)],
    Discriminator(_form),
]


class EipSection(Section):
    """One accelerated address, inside a prefix of this file; the API cannot change it."""

    bandwidth: BandwidthSection = Field(default=BandwidthSection(), description="Its limits.")
    bind: tuple[TargetUse, ...] | None = Field(
        default=None,
        description="Where its packets go: region/backend, or a mapping of the keys below. Without it the address is "
        "kept and its packets are dropped.",
    )
    spread: Annotated[Spread, choice(Spread)] = Field(
        default=Spread.NEAREST,
        description="How regions of equal priority share: `nearest` takes the quickest healthy one, `ordered` the "
        "first healthy one in the order of `bind`, `weighted` all of them.",
    )
    affinity: Annotated[Affinity, choice(Affinity)] = Field(
        default=Affinity.NONE,
        description="What chooses among several backends: the connection (`none`) or the client's address (`source`).",
    )
    when_unhealthy: Annotated[WhenUnhealthy, choice(WhenUnhealthy)] = Field(
        default=WhenUnhealthy.FAIL_OPEN,
        description="Without a usable backend anywhere: go on to the least bad one, or `drop`.",
    )
    ping: Annotated[Ping, choice(Ping)] = Field(
        default=Ping.BACKEND, description="Who answers pings to it: the `backend`, or this `pop`."
    )
    tracking: Annotated[Tracking, choice(Tracking)] = Field(
        default=Tracking.CONNTRACK,
        description="`conntrack` keeps each connection on its backend; `stateless` keeps nothing, so that no flood can "
        "fill the table, and needs mode routed everywhere.",
    )
    blocked: Flag = Field(default=False, description="Drop its packets, whatever it is bound to.")
    description: Phrase | None = Field(default=None, description="For people.")


class EipSettings(Section):
    """Settings of all EIPs, those of the file and those of the API."""

    region_hysteresis_ms: Annotated[float, decimal(0, 10000)] = Field(
        default=_DEFAULT.region_hysteresis_ms,
        description="How much quicker (milliseconds) another region must be to become the nearest.",
    )
    seed: Annotated[int, whole(1, 4294967295)] = Field(
        default=_DEFAULT.seed,
        description="Of the hash that chooses backends: the same at every POP, or one client gets different backends.",
    )
    uplinks: tuple[DeviceName, ...] = Field(
        default=_DEFAULT.uplinks, description="Devices to the clients, on which `shaping: htb` queues."
    )
    keep_released: Annotated[float, duration(0.0, 30 * DAY_S)] = Field(
        default=_DEFAULT.keep_released_s, description="How long a released EIP can be restored."
    )
    traffic_interval: Annotated[float, duration(1.0, 300.0)] = Field(
        default=_DEFAULT.traffic_interval_s, description="How often counters are read."
    )
    history: Annotated[float, duration(3600.0, 400 * DAY_S)] = Field(
        default=_DEFAULT.history_s, description="How long points of traffic are kept."
    )
    max_eips: Annotated[int, whole(1, 100000)] = Field(
        default=_DEFAULT.max_eips, description="The most EIPs, of the file and the API together."
    )
    max_targets: Annotated[int, whole(1, 64)] = Field(
        default=_DEFAULT.max_targets, description="The most backends of one EIP."
    )
    conntrack_alarm: Annotated[int, percent(1, 100)] = Field(
        default=_DEFAULT.conntrack_alarm_percent,
        description="How full the kernel's table of connections may be before there is an alarm.",
    )
    conntrack_max: Annotated[int, whole(16384, 16777216)] | None = Field(
        default=_DEFAULT.conntrack_max,
        description="How many connections the kernel may track (nf_conntrack_max; 0.4 KiB each), never set below the "
        "present number; default: as it is.",
    )
    conntrack_liberal: Flag = Field(
        default=_DEFAULT.conntrack_liberal,
        description="Sets nf_conntrack_tcp_be_liberal=1: a connection that went through another POP for a while goes "
        "on here. `false`: as it is.",
    )


Eips = dict[AddressField, EipSection]
