"""What the operator configured, checked and built: the POP, its neighbors, regions, tunnels, backends and prefixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from anycastd.model.access import TlsSpec, TokenSpec
from anycastd.model.address import Address, BackendId, NeighborName, Prefix, RegionName, TunnelId
from anycastd.model.attack_config import AttackConfig
from anycastd.model.checks import ProbeSpec
from anycastd.model.eip import Eip, Mode
from anycastd.model.fleet_config import FleetConfig
from anycastd.model.log import LoggingConfig
from anycastd.model.neighbor import Export as Export
from anycastd.model.neighbor import Neighbor as Neighbor
from anycastd.model.neighbor import Role as Role
from anycastd.model.probing import ProbingConfig
from anycastd.model.safety import SafetyConfig
from anycastd.model.spread import Announce
from anycastd.model.store import StoreConfig
from anycastd.model.tunnel_device import Interface, Shape, WantedDevice


class Scope(StrEnum):
    """What an `announce_when` or `usable_when` condition counts."""

    REGIONS = "regions"
    TUNNELS = "tunnels"
    BACKENDS = "backends"


@dataclass(frozen=True, slots=True)
class Need:
    """How many of `total` must be usable: any, all, at least N, or at least N percent (rounded up)."""

    count: int | None = None
    percent: int | None = None
    all: bool = False

    def of(self, total: int) -> int:
        """Return the number needed of `total`; never less than one, so that nothing is not enough."""
        if self.all:
            return max(total, 1)
        if self.percent is not None:
            return max(-(-total * self.percent // 100), 1)
        return self.count if self.count is not None else 1

    def __str__(self) -> str:
        if self.all:
            return "all"
        if self.percent is not None:
            return f"at least {self.percent} %"
        return "any" if self.count in (None, 1) else f"at least {self.count}"


@dataclass(frozen=True, slots=True)
class Condition:
    """How many of which things. Empty `regions` means every region of the POP (of `usable_when`: the region itself)."""

    scope: Scope = Scope.REGIONS
    need: Need = field(default_factory=Need)
    regions: tuple[RegionName, ...] = ()

    def __str__(self) -> str:
        return f"{self.scope.value}: {self.need}"


class MemberKind(StrEnum):
    """What a rule or group can name one of."""

    REGION = "region"
    TUNNEL = "tunnel"
    BACKEND = "backend"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Member:
    """One thing that must be usable; `id` is a region's name, `region/name`, or a check's id as `/v1/checks` has it."""

    kind: MemberKind
    id: str

    @property
    def members(self) -> tuple[Member, ...]:
        """Return itself, as a group of one."""
        return (self,)

    def __str__(self) -> str:
        return f"{self.kind.value} {self.id}"


@dataclass(frozen=True, slots=True)
class Group:
    """Named things of which so many must be usable."""

    name: str
    need: Need
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return f"group {self.name}: {self.need}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Rules of which so many must hold; `all` and `any` are needs as well."""

    need: Need
    parts: tuple[Rule, ...]

    def __str__(self) -> str:
        return f"{self.need} of ({'; '.join(map(str, self.parts))})"


Rule = Condition | Member | Group | AtLeast
"""`announce_when`, and `usable_when` where a number of backends is not enough to say."""


class LastResort(StrEnum):
    """What a prefix does when this POP cannot serve and nobody else is known to: stay at DEPREF, or withdraw."""

    STAY = "stay"
    WITHDRAW = "withdraw"


class WhenDegraded(StrEnum):
    """What a prefix does while its condition is met only with the help of what is DEGRADED: nothing, or DEPREF."""

    KEEP = "keep"
    DEPREF = "depref"


class DeadMan(StrEnum):
    """What the bridge does when the daemon has been away for `after_s`: nothing, or the stored lines."""

    KEEP = "keep"
    DEPREF = "depref"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixTimers:
    """Pacing of one prefix, in seconds.

    `settle_s`: how long it waits at DEPREF before it asks to withdraw. `return_after_s`: how long it must be fine
    before DEPREF becomes NORMAL; doubles with each relapse within `backoff_reset_s`, up to `return_max_s`.
    `gshut_wait_s`: how long it says GSHUT before it is withdrawn, once others are confirmed; 0 = not at all.
    `return_step_s`: how long each further step of the return lasts (`PrefixSpec.return_prepends`).
    `linger_s`: how long the kernel keeps forwarding after a withdrawal. `half_life_s`: of the RFC 2439 penalty.
    """

    settle_s: float = 2.0
    return_after_s: float = 300.0
    return_max_s: float = 1800.0
    backoff_reset_s: float = 3600.0
    linger_s: float = 300.0
    return_step_s: float = 300.0
    half_life_s: float = 900.0
    gshut_wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixSpec:
    """One prefix that this POP may announce. `return_prepends`: our AS in each step of a return, falling (S14)."""

    prefix: Prefix
    announce_when: Rule = field(default_factory=Condition)
    min_announcers: int | None = None
    """How many other POPs must be confirmed before this one leaves; None: 2 in a fleet of four or more, else 1."""
    last_resort: LastResort = LastResort.STAY
    when_degraded: WhenDegraded = WhenDegraded.KEEP
    depref_prepend: int = 3
    return_prepends: tuple[int, ...] = ()
    dead_man: DeadMan = DeadMan.KEEP
    dead_man_after_s: float = 30.0
    timers: PrefixTimers = field(default_factory=PrefixTimers)
    neighbors: tuple[NeighborName, ...] = ()
    """The neighbors that carry it; filled by the build: every upstream neighbor with the prefix's family."""
    announce: Announce = Announce.ALWAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A backbone tunnel from this POP to a region: a device with our address and the far end's.

    The IPv6 pair is optional; a prefix of a family without a pair cannot use the tunnel. `table` is the routing
    table (and rule preference) that packets from our address use, so that checks run through this tunnel.
    """

    id: TunnelId
    region: RegionName
    device: str
    local_ipv4: IPv4Address | None = None
    far_end_ipv4: IPv4Address | None = None
    local_ipv6: IPv6Address | None = None
    far_end_ipv6: IPv6Address | None = None
    priority: int = 1
    table: int = 0
    shape: Shape | None = None
    """What we create the device as; None: it exists, and is adopted."""
    mtu_bytes: int | None = None
    addresses: tuple[Interface, ...] = ()
    """Ours with the length of their network, for a created device."""
    tune: bool = True

    @property
    def wanted_device(self) -> WantedDevice:
        """Return what is wanted of its device."""
        return WantedDevice(
            tunnel=self.id,
            name=self.device,
            shape=self.shape,
            mtu_bytes=self.mtu_bytes,
            addresses=frozenset(self.addresses),
            tune=self.tune,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A server of a region, checked through each of the region's tunnels that carries its family."""

    id: BackendId
    region: RegionName
    address: Address


class ReturnPath(StrEnum):
    """How answers of masqueraded connections come back from a region.

    `address`: by the tunnel whose address we put in; a change of tunnel resets them. `gateway`: the region's gateway
    sends answers through the tunnel of the connection's last packet (`anycastd gateway`), so they go on.
    """

    ADDRESS = "address"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place with backends; `usable_when`: how many of them must be usable, or a rule over what is in the region."""

    name: RegionName
    tunnels: tuple[TunnelId, ...]
    backends: tuple[BackendId, ...]
    usable_when: Need | Rule = field(default_factory=Need)
    priority: int = 1
    number: int = 0
    """1..255, from the name unless written: the top byte of marks, and the region's routing table."""
    mode: Mode = Mode.MASQUERADE
    """How packets reach its backends unless a target says otherwise."""
    return_path: ReturnPath = ReturnPath.ADDRESS
    traffic_dial_percentage: int = 100
    """How much of the traffic that would go here does; an operator may change it at run time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """Where the API listens, and who may ask it: TCP by token, the unix socket by user and group."""

    host: str = "127.0.0.1"
    port: int = 8179
    socket: str = "/run/anycastd/api.sock"
    group: str = "anycastd"
    """Members of it may use the unix socket, besides root and the daemon's own user."""
    tokens: Mapping[str, TokenSpec] = field(default_factory=dict)
    tls: TlsSpec | None = None


class Launch(StrEnum):
    """Who starts ExaBGP: the daemon itself, or a service of its own (anycastd-bgp.service)."""

    DAEMON = "daemon"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpConfig:
    """How ExaBGP is run. `user` is who it runs as when we are root; `listen` are local addresses it listens on.

    `wedged_after_s`: the age of the oldest unacknowledged command at which ExaBGP counts as wedged.
    """

    launch: Launch = Launch.DAEMON
    user: str = "exabgp"
    socket: str = "/run/anycastd/exabgp.sock"
    directory: str = "/run/anycastd/bgp"
    exabgp: str = ""
    """Path of the exabgp program; empty = the one beside our interpreter."""
    port: int = 179
    listen: bool = True
    window: int = 16
    reactor_speed: float = 0.1
    wedged_after_s: float = 2.0
    idle_ask_s: float = 1.0
    reconcile_s: float = 30.0
    connect_within_s: float = 15.0
    """How long a started ExaBGP may take until its bridge says hello before it is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BfdConfig:
    """How the process that speaks BFD is run; times in seconds.

    Nothing is known of its sessions when nothing was heard of it for `silent_after_s`; it is replaced after
    `replace_after_s`. Without a daemon it goes on for `alone_s`.
    """

    launch: Launch = Launch.DAEMON
    socket: str = "/run/anycastd/bfd.sock"
    silent_after_s: float = 1.5
    replace_after_s: float = 5.0
    alone_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """What marks kernel state as ours: the route protocol number, metrics, and where our tables begin."""

    protocol: int = 201
    region_table_base: int = 1000
    """Region N has routing table and rule preference base + N."""
    table_base: int = 1300
    forward_metric: int = 100
    blackhole_metric: int = 4294967000
    reconcile_s: float = 10.0
    switch_hysteresis_ms: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EipConfig:
    """Settings of all EIPs. `region_hysteresis_ms`: how much quicker another region must be to become the nearest.

    `seed` is of the hash that chooses backends, the same in the whole fleet. `keep_released_s`: how long a released
    EIP can be restored. `traffic_interval_s`: how often counters are read; `history_s`: how long points are kept.
    """

    region_hysteresis_ms: float = 10.0
    seed: int = 0x616E7963
    uplinks: tuple[str, ...] = ()
    """Devices to the clients, on which `htb` shapes."""
    keep_released_s: float = 86400.0
    traffic_interval_s: float = 5.0
    history_s: float = 35 * 86400.0
    max_eips: int = 20000
    max_targets: int = 32
    conntrack_alarm_percent: int = 80
    conntrack_max: int | None = None
    """How many connections the kernel may track; None: as it is."""
    conntrack_liberal: bool = True
    """Take TCP packets outside the window for part of their connection: another POP may have seen the ones between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalConfig:
    """How much of what happened is kept, and how it is written and sent.

    `write_after_s`: how long an entry waits for others; `retry_s`: how soon a file that refused is tried again;
    `max_waiting`: entries that wait at most. `max_readers` of live events at once, with `reader_backlog` entries kept
    for each; `reader_patience_s`: how long one may take nothing; `heartbeat_s`: how often an idle one hears of us.
    """

    max_decisions: int = 50_000
    max_events: int = 100_000
    max_size_bytes: int = 256 << 20
    keep_s: float = 90 * 86400.0
    write_after_s: float = 0.25
    retry_s: float = 5.0
    max_waiting: int = 20_000
    max_readers: int = 32
    reader_backlog: int = 1000
    reader_patience_s: float = 30.0
    heartbeat_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorConfig:
    """The pace of drains, and when orders of operators end by themselves, in seconds.

    `depref_s`: how long a drained POP or neighbor stays at DEPREF. `quiet_percent` of the traffic that there was, or
    `quiet_bps`, for `quiet_for_s` is quiet; `wait_at_most_s` is the time limit of that wait. `settled_s`: how long
    another neighbor must be established before a drained one may leave.
    """

    depref_s: float = 30.0
    quiet_percent: int = 5
    quiet_bps: int = 64_000
    quiet_for_s: float = 10.0
    wait_at_most_s: float = 300.0
    settled_s: float = 10.0
    drain_expires_s: float = 86400.0
    override_expires_s: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """S4: when many targets fail together, these decide whether it is us. Empty probes = never suspected."""

    probes: tuple[ProbeSpec, ...] = ()
    window_s: float = 10.0
    hold_s: float = 60.0
    min_targets: int = 5
    min_regions: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pop:
    """This POP."""

    name: str
    asn: int
    router_id: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole checked configuration; `digest` identifies the text it came from."""

    pop: Pop
    neighbors: Mapping[NeighborName, Neighbor]
    regions: Mapping[RegionName, Region]
    tunnels: Mapping[TunnelId, Tunnel]
    backends: Mapping[BackendId, Backend]
    probes: tuple[ProbeSpec, ...]
    """Every check of tunnels and backends, bound to its target (the self-test's are in `self_test`)."""
    prefixes: Mapping[Prefix, PrefixSpec]
    fleet: FleetConfig | None = None
    """None: nobody can be asked (the static guard)."""
    self_test: SelfTest = field(default_factory=SelfTest)
    api: ApiConfig = field(default_factory=ApiConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    bgp: BgpConfig = field(default_factory=BgpConfig)
    bfd: BfdConfig = field(default_factory=BfdConfig)
    kernel: KernelConfig = field(default_factory=KernelConfig)
    eip: EipConfig = field(default_factory=EipConfig)
    journal: JournalConfig = field(default_factory=JournalConfig)
    probing: ProbingConfig = field(default_factory=ProbingConfig)
    operator: OperatorConfig = field(default_factory=OperatorConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    attack: AttackConfig = field(default_factory=AttackConfig)
    eips: Mapping[Address, Eip] = field(default_factory=dict)
    """Those of the file (`source` FILE); the store holds the others."""
    store: StoreConfig = field(default_factory=StoreConfig)
    state_dir: str = "/var/lib/anycastd"
    digest: str = ""
    path: str = ""
    warnings: tuple[str, ...] = ()
