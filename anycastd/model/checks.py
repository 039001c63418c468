"""What a check is: the kinds, their options, and their timing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import Address, BackendId, CheckId, RegionName, TunnelId
from anycastd.model.dns import Rcode, RecordType, Transport, Truncated


class CheckKind(StrEnum):
    """The one list of check kinds; https is `http` with TLS."""

    ICMP = "icmp"
    TCP = "tcp"
    HTTP = "http"
    TLS = "tls"
    DNS = "dns"
    LINK = "link"
    EXEC = "exec"
    FILE = "file"
    BFD = "bfd"


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpOptions:
    """ICMP echo; `payload_bytes` follow the 8-byte header."""

    payload_bytes: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpOptions:
    """A TCP connection to `port` that is then closed."""

    port: int


@dataclass(frozen=True, slots=True)
class Trust:
    """The files of a TLS client: whom it trusts (None: whom the system does), and what it shows of itself."""

    ca_file: str | None = None
    verify: bool = True
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Return every file that is used."""
        trusted = self.ca_file if self.verify else None
        return tuple(name for name in (trusted, self.cert_file, self.key_file) if name is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """One HTTP/1.1 GET on a new connection; redirects are not followed, the body is read to `max_body_bytes`."""

    path: str = "/"
    port: int = 80
    host: str | None = None
    status: tuple[int, ...] = (200,)
    contains: str | None = None
    tls: bool = False
    server_name: str | None = None
    verify: bool = True
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    max_body_bytes: int = 65536

    @property
    def trust(self) -> Trust:
        """Return the files of its TLS."""
        return Trust(self.ca_file, self.verify, self.cert_file, self.key_file)


class Expiring(StrEnum):
    """What a certificate that ends soon does: make the probe fail, or raise an alarm."""

    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """A TLS session with a valid certificate for `server_name`, good for at least `expires_in_s` seconds from now."""

    server_name: str | None = None
    port: int = 443
    expires_in_s: float = 1209600.0
    expiring: Expiring = Expiring.WARN
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def trust(self) -> Trust:
        """Return the files of its TLS."""
        return Trust(self.ca_file, True, self.cert_file, self.key_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """The device is up, has carrier and, where the tunnel has a local address, still carries it."""

    require_address: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsOptions:
    """One question to a name server. `expect`: exactly these values; `contains`: these among others; both canonical.

    `name` is canonical too (`model.dns`).
    """

    name: str
    type: RecordType = RecordType.A
    port: int = 53
    transport: Transport = Transport.UDP
    truncated: Truncated = Truncated.TCP
    recursion: bool = True
    rcode: Rcode = Rcode.NOERROR
    expect: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """A program that exits with 0 if all is well; with `shell` the one entry of `argv` is a line for /bin/sh."""

    argv: tuple[str, ...]
    shell: bool = False


class BadWhen(StrEnum):
    """When a file means that the target is not to be used."""

    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """A file of this machine whose presence, or absence, takes the target out."""

    path: str
    when: BadWhen = BadWhen.EXISTS


class Via(StrEnum):
    """Who speaks BFD: our own process, or a routing daemon that is asked for its sessions."""

    OWN = "own"
    FRR = "frr"
    BIRD = "bird"


class BfdAuthType(StrEnum):
    """How control packets are authenticated (RFC 5880 4.3, 4.4); passwords in the clear are not offered."""

    MD5 = "md5"
    METICULOUS_MD5 = "meticulous_md5"
    SHA1 = "sha1"
    METICULOUS_SHA1 = "meticulous_sha1"

    @property
    def max_key_bytes(self) -> int:
        """Return how long a key may be."""
        return 16 if self in (BfdAuthType.MD5, BfdAuthType.METICULOUS_MD5) else 20


@dataclass(frozen=True, slots=True)
class BfdAuth:
    """The key of a BFD session: its number, and the file that holds it."""

    type: BfdAuthType
    key_id: int
    key_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BfdOptions:
    """A BFD session with the far end: down after `multiplier` intervals without a packet.

    `min_ttl` is the least a multihop packet may have left; a single hop always wants 255 (RFC 5881 section 5).
    """

    interval_s: float = 0.3
    multiplier: int = 3
    multihop: bool = False
    min_ttl: int = 1
    auth: BfdAuth | None = None
    via: Via = Via.OWN


Options = (
    IcmpOptions
    | TcpOptions
    | HttpOptions
    | TlsOptions
    | DnsOptions
    | LinkOptions
    | ExecOptions
    | FileOptions
    | BfdOptions
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a check runs and how many results make a verdict; all times in seconds, 0.1 s <= interval <= 3600 s.

    `fast_interval_s` is used while a change of verdict is pending. Probes overlap: one is started each interval
    whether or not the last has ended, so a hanging target is found after fall x interval + timeout.
    """

    interval_s: float = 1.0
    timeout_s: float = 1.0
    rise: int = 3
    fall: int = 3
    fast_interval_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """Exceeded once a value is above `above`, and until it is at or below `until`."""

    above: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the last `window` results may add up to; None = no limit.

    `failures` (percent of the window) makes the target UNHEALTHY, the others make it DEGRADED: `loss` in percent of the
    window, the means of the round trips (`latency`) and of their successive differences (`jitter`) in milliseconds.
    """

    window: int = 20
    failures: Limit | None = None
    loss: Limit | None = None
    latency_ms: Limit | None = None
    jitter_ms: Limit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """How names of targets are resolved; times in seconds.

    An answer is asked for again after its TTL, kept between `min_ttl_s` and `max_ttl_s`. When nobody answers, the
    last good one is used for `stale_s` more, and it is tried again each `retry_s`.
    """

    servers: tuple[Address, ...] = ()
    """Empty: those of the system."""
    port: int = 53
    timeout_s: float = 2.0
    retry_s: float = 5.0
    min_ttl_s: float = 5.0
    max_ttl_s: float = 3600.0
    stale_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class NameTarget:
    """A name whose addresses of one IP version are the target."""

    name: str
    version: int
    resolver: Resolver = field(default_factory=Resolver)


@dataclass(frozen=True, slots=True)
class Aim:
    """A target of the check itself, instead of the one it is used for: an address, or a name (of one IP version)."""

    address: Address | None = None
    name: str | None = None
    version: int | None = None
    resolver: Resolver = field(default_factory=Resolver)

    def of(self, version: int) -> int:
        """Return the IP version that is aimed at where what the check is used for has this one."""
        return self.address.version if self.address is not None else self.version or version


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """A named check of the configuration, used by many targets."""

    name: str
    kind: CheckKind
    options: Options
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    aim: Aim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """One check bound to one target: what the probe engine runs.

    `source` is the address to send from (the kernel's rule then chooses the tunnel), `device` the interface a link
    check looks at. `tunnel`, `backend` and `region` say whose health the results feed; all None = self-test.
    """

    id: CheckId
    check: CheckSpec
    target: Address
    source: Address | None = None
    device: str | None = None
    region: RegionName | None = None
    tunnel: TunnelId | None = None
    backend: BackendId | None = None
    name: NameTarget | None = None
    """Its addresses are the target, and `target` only says what the check is used for."""
