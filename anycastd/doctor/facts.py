"""What is so on this machine, as far as it matters to a POP. Values only: how they are had is `collect`'s affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anycastd.model.address import Address, Prefix
from anycastd.model.topology import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network device; `underlay_mtu` is that of the device its outer packets leave by, None when not known."""

    name: str
    up: bool = True
    kind: str = ""
    mtu: int = 1500
    addresses: frozenset[Address] = frozenset()
    outer_version: int = 4
    underlay_mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSeen:
    """A route of any program; `kind` is unicast, blackhole, local, ..."""

    prefix: Prefix
    table: int = 254
    protocol: int = 3
    metric: int = 0
    kind: str = "unicast"
    device: str = ""

    def __str__(self) -> str:
        over = f" dev {self.device}" if self.device else ""
        kind = "" if self.kind == "unicast" else f"{self.kind} "
        return f"{kind}{self.prefix}{over} table {self.table} proto {self.protocol} metric {self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSeen:
    """An `ip rule` of any program; `table` 0 when the rule looks nothing up."""

    version: int
    preference: int
    source: str = "all"
    table: int = 0
    protocol: int = 0
    mark: int | None = None
    mask: int = 0xFFFFFFFF

    def __str__(self) -> str:
        mark = "" if self.mark is None else f" fwmark {self.mark:#x}/{self.mask:#x}"
        return f"rule {self.preference} from {self.source}{mark} lookup {self.table} (IPv{self.version})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardChain:
    """A firewall chain at the forward hook; `refuses` says how it ends what no rule of it takes, "" when it accepts.

    `text` holds its whole table, so that rules naming our tunnels can be found.
    """

    family: str
    table: str
    name: str
    refuses: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who has a port of ours."""

    address: str
    process: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Networkd:
    """systemd-networkd; None = the setting is nowhere written, and its default is yes (networkd.conf(5))."""

    running: bool = False
    manage_routes: bool | None = None
    manage_rules: bool | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a path on the way to a file."""

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    directory: bool = True


@dataclass(frozen=True, slots=True)
class User:
    """The user that ExaBGP runs as."""

    name: str
    uid: int
    groups: frozenset[int] = frozenset()


def allowed(step: Step, user: User, bits: int) -> bool:
    """Return whether a user has all of `bits` (4 read, 1 execute) by the mode (POSIX: the first class that fits)."""
    if user.uid == 0:
        return True
    if step.uid == user.uid:
        return step.mode >> 6 & bits == bits
    if step.gid in user.groups:
        return step.mode >> 3 & bits == bits
    return step.mode & bits == bits


@dataclass(frozen=True, slots=True)
class Program:
    """A program ExaBGP's user must be able to run: every step of the way there, and what was missing."""

    path: str
    steps: tuple[Step, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A file of a secret, or the configuration; `mode` None = it cannot be looked at."""

    path: str
    mode: int | None
    uid: int = 0
    gid: int = 0
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where the daemon keeps its state; when it does not exist, the values are those of what it would be made in."""

    path: str
    exists: bool = True
    writable: bool = True
    free_bytes: int = 1 << 40
    free_inodes: int | None = None
    """None = the file system has no fixed number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSeen:
    """A unit of ours: whether its file is there, whether it starts with the machine, and systemd's ActiveState."""

    installed: bool = False
    enabled: bool = False
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything the checks look at. `sysctls` by path (`net/ipv4/ip_forward`); absent = this kernel has none such."""

    config: Config
    sysctls: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    routes: tuple[RouteSeen, ...] = ()
    rules: tuple[RuleSeen, ...] = ()
    chains: tuple[ForwardChain, ...] = ()
    listeners: tuple[Listener, ...] = ()
    bfd_listeners: tuple[Listener, ...] = ()
    """Who has a port of BFD."""
    networkd: Networkd = field(default_factory=Networkd)
    nftables_flushes: bool = False
    """nftables.service is enabled and its file begins with `flush ruleset`."""
    uid: int = 0
    groups: frozenset[int] = frozenset({0})
    capabilities: int = 0
    """The effective set of this process (capabilities(7)), as a bit mask."""
    bgp_user: User | None = None
    exabgp_version: str = ""
    programs: tuple[Program, ...] = ()
    secrets: tuple[Secret, ...] = ()
    config_file: Secret | None = None
    state_dir: Directory | None = None
    units: Mapping[str, UnitSeen] = field(default_factory=dict)
    daemon_user: User | None = None
    """Who the daemon's unit runs it as."""
    modules_missing: tuple[tuple[str, str], ...] | None = ()
    """Modules that the running kernel has not, and what they are needed for; None = there is no list of what it has."""
    open_files: int | None = None
    clock_synced: bool | None = None
    rival: str = ""
    """The version of the other project's distribution in our environment."""
    unexamined: tuple[str, ...] = ()
    """What could not be looked at, and why."""

    def sysctl(self, path: str) -> int | None:
        """Return a whole number, or None if this kernel has no such setting."""
        value = self.sysctls.get(path)
        return int(value) if value is not None and value.lstrip("-").isdigit() else None

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the tunnels' devices, each once."""
        return tuple(dict.fromkeys(tunnel.device for tunnel in self.config.tunnels.values()))

    @property
    def versions(self) -> frozenset[int]:
        """Return the IP versions of the prefixes."""
        return frozenset(prefix.version for prefix in self.config.prefixes)
