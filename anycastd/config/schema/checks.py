"""`checks`: how tunnels and backends are checked; named once, used many times, or written where they are used."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from anycastd.config.schema.base import INLINE_TAG, NAME_TAG, Section
from anycastd.config.values.fields import (
    AbsolutePath,
    DnsName,
    FileName,
    Flag,
    HostName,
    HttpPath,
    Name,
    Phrase,
    choice,
    duration,
    whole,
)
from anycastd.config.values.limits import ShareLimit, ShareLimitOrOff, TimeLimit
from anycastd.config.values.net import Port
from anycastd.config.values.target import TargetFamily, TargetField
from anycastd.model.checks import BadWhen, BfdAuthType, Expiring, Limit, Via
from anycastd.model.dns import Rcode, RecordType, Transport, Truncated

MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 3600.0
MAX_EXPIRY_S = 3650 * 86400.0
MAX_WINDOW = 10000
FAILURES = Limit(40.0, 20.0)
"""Below one half, so that every second probe is seen; an outage of `fall` probes is a quarter of the window at most."""


class TimedCheck(Section):
    """What every kind of check has."""

    interval: Annotated[float, duration(MIN_INTERVAL_S, MAX_INTERVAL_S)] = Field(
        default=1.0, description="One probe is started each interval, whether or not the last has ended."
    )
    timeout: Annotated[float, duration(0.01, MAX_INTERVAL_S)] = Field(
        default=1.0, description="A probe without an answer after this time has failed."
    )
    rise: Annotated[int, whole(1, 1000)] = Field(
        default=3, description="Good probes in a row that make the target healthy."
    )
    fall: Annotated[int, whole(1, 1000)] = Field(default=3, description="Bad probes in a row that make it unhealthy.")
    fast_interval: Annotated[float | None, duration(MIN_INTERVAL_S, MAX_INTERVAL_S)] = Field(
        default=None, description="Interval while a change of verdict is pending; default: `interval`."
    )
    target: TargetField | None = Field(
        default=None,
        description="Address or DNS name to check instead of the far end or the backend; not for link and file.",
    )
    target_family: Annotated[TargetFamily | None, choice(TargetFamily)] = Field(
        default=None, description="Which addresses of a name are meant; default: the family of what it stands for."
    )
    window: Annotated[int | None, whole(4, MAX_WINDOW)] = Field(
        default=None, description="How many results the limits below look at; default: 20, or four times `fall`."
    )
    failures: ShareLimitOrOff = Field(
        default=FAILURES,
        description="Above this share of failed probes the target is unhealthy, whatever `fall` says, until the share "
        "is at the second value (default: half the first). `off` for none.",
    )
    loss: ShareLimit | None = Field(
        default=None,
        description="Above this share of probes without an answer in time the target is degraded; a second value "
        "likewise.",
    )
    latency: TimeLimit | None = Field(
        default=None, description="Above this mean time of an answer it is degraded; a second value likewise."
    )
    jitter: TimeLimit | None = Field(
        default=None,
        description="Above this mean difference of successive times it is degraded; a second value likewise.",
    )


class IcmpCheck(TimedCheck):
    """ICMP or ICMPv6 echo."""

    payload_bytes: Annotated[int, whole(0, 65507)] = Field(
        default=16, description="Bytes behind the 8-byte ICMP header; set it to see that large packets pass."
    )


class TcpCheck(TimedCheck):
    """A TCP connection that is opened and closed."""

    port: Port = Field(description="Port to connect to.")


class HttpCheck(TimedCheck):
    """One HTTP GET on a new connection; redirects are not followed."""

    path: HttpPath = Field(default="/", description="What to ask for, with the query if there is one.")
    port: Port | None = Field(default=None, description="Port to connect to; default: 80, for https 443.")
    host: HostName | None = Field(default=None, description="The Host header; default: the target's address.")
    status: tuple[Annotated[int, whole(100, 599)], ...] = Field(
        default=(200,), description="Status codes that are good."
    )
    contains: Phrase | None = Field(default=None, description="Text that must be in the body.")
    max_body_bytes: Annotated[int, whole(1, 16 * 1024 * 1024)] = Field(
        default=65536, description="How much of the body is read."
    )


class HttpsCheck(HttpCheck):
    """The same over TLS."""

    server_name: HostName | None = Field(
        default=None, description="Name sent (SNI) and looked for in the certificate; default: `host`."
    )
    verify: Flag = Field(default=True, description="Whether the certificate must be valid.")
    ca_file: FileName | None = Field(default=None, description="Certificates to trust instead of the system's (PEM).")
    cert_file: FileName | None = Field(
        default=None, description="Our own certificate, for servers that ask for one (PEM, with its chain)."
    )
    key_file: FileName | None = Field(
        default=None, description="Its key, without a password; mode 0600. Default: in `cert_file`."
    )


class TlsCheck(TimedCheck):
    """A TLS session: chain, name and time of the server's certificate. See docs/checks.md."""

    port: Port = Field(default=443, description="Port to connect to.")
    server_name: HostName | None = Field(
        default=None, description="Name sent (SNI) and looked for in the certificate; needed."
    )
    expires_in: Annotated[float, duration(0.0, MAX_EXPIRY_S)] = Field(
        default=14 * 86400.0, description="How long the certificate must be good yet."
    )
    expiring: Annotated[Expiring, choice(Expiring)] = Field(
        default=Expiring.WARN,
        description="What one that ends sooner does: `warn` raises an alarm, `fail` makes the target unhealthy.",
    )
    ca_file: FileName | None = Field(default=None, description="Certificates to trust instead of the system's (PEM).")
    cert_file: FileName | None = Field(
        default=None, description="Our own certificate, for servers that ask for one (PEM, with its chain)."
    )
    key_file: FileName | None = Field(
        default=None, description="Its key, without a password; mode 0600. Default: in `cert_file`."
    )


class DnsCheck(TimedCheck):
    """One question to a name server, over UDP or TCP."""

    name: DnsName = Field(description="The name to ask for.")
    type: Annotated[RecordType, choice(RecordType)] = Field(default=RecordType.A, description="The record type.")
    port: Port = Field(default=53, description="Port of the name server.")
    transport: Annotated[Transport, choice(Transport)] = Field(
        default=Transport.UDP, description="How the question is sent."
    )
    truncated: Annotated[Truncated, choice(Truncated)] = Field(
        default=Truncated.TCP,
        description="What becomes of an answer that does not fit into its datagram: asked again over `tcp`, or `fail`.",
    )
    recursion: Flag = Field(
        default=True, description="Whether recursion is asked for; `false` for a server that is authoritative only."
    )
    rcode: Annotated[Rcode, choice(Rcode)] = Field(default=Rcode.NOERROR, description="The answer code that is good.")
    expect: tuple[Phrase, ...] = Field(
        default=(),
        description='Exactly these values, in any order: `[192.0.2.1]`, `["10 mail.example.net"]`. Default: any value.',
    )
    contains: tuple[Phrase, ...] = Field(default=(), description="Values that must be among those that come.")


class ExecCheck(TimedCheck):
    """A program that exits with 0 if the target is well; see docs/checks.md for its environment and its end."""

    interval: Annotated[float, duration(MIN_INTERVAL_S, MAX_INTERVAL_S)] = Field(
        default=5.0, description="It is run so often, whether or not the last run has ended."
    )
    timeout: Annotated[float, duration(0.01, MAX_INTERVAL_S)] = Field(
        default=3.0, description="A program that still runs after this time has failed; it is killed with its children."
    )
    argv: tuple[Phrase, ...] = Field(
        description="The program, by its absolute path, and its arguments; no shell looks at them."
    )
    shell: Flag = Field(default=False, description="Whether `argv` is one line for /bin/sh instead.")


class FileCheck(TimedCheck):
    """A file of this machine takes the target out: maintenance by `touch`.

    A directory that cannot be read, or a disk that does not answer, says nothing.
    """

    interval: Annotated[float, duration(MIN_INTERVAL_S, MAX_INTERVAL_S)] = Field(
        default=0.5, description="It is looked at so often."
    )
    rise: Annotated[int, whole(1, 1000)] = Field(
        default=1, description="Good looks in a row that make the target healthy."
    )
    fall: Annotated[int, whole(1, 1000)] = Field(default=1, description="Bad looks in a row that make it unhealthy.")
    failures: ShareLimitOrOff = Field(
        default=None, description="As for the others, but `off`: a look at a disk is no sample of anything."
    )
    path: AbsolutePath = Field(description="The file.")
    when: Annotated[BadWhen, choice(BadWhen)] = Field(
        default=BadWhen.EXISTS,
        description="When the target is taken out: while the file exists, or while it is absent.",
    )


class LinkCheck(TimedCheck):
    """The device of a tunnel is up, has carrier and still has our address.

    The kernel tells it, so one look is enough; a loss is seen within milliseconds.
    """

    rise: Annotated[int, whole(1, 1000)] = Field(
        default=1, description="Good probes in a row that make the target healthy."
    )
    fall: Annotated[int, whole(1, 1000)] = Field(default=1, description="Bad probes in a row that make it unhealthy.")
    failures: ShareLimitOrOff = Field(
        default=None,
        description="As for the others, but `off`: the kernel tells each change, which is no sample of anything.",
    )
    require_address: Flag = Field(default=True, description="Whether our address must be on the device.")


class BfdAuthSection(Section):
    """Who knows the key is the peer (RFC 5880 4.3, 4.4). Passwords in the clear are not offered."""

    type: Annotated[BfdAuthType, choice(BfdAuthType)] = Field(
        default=BfdAuthType.METICULOUS_SHA1,
        description="The digest; `meticulous` ones take no packet twice. BIRD speaks all four, FRR 8.4 none.",
    )
    key_id: Annotated[int, whole(0, 255)] = Field(default=1, description="The key's number, the same at both ends.")
    key_file: FileName = Field(
        description="The key, 1 to 20 bytes (md5: 16); mode 0600. A newline at its end is no part."
    )


class BfdCheck(TimedCheck):
    """A BFD session with the tunnel's far end, spoken by a process of its own; see docs/bfd.md."""

    interval: Annotated[float, duration(0.05, 60.0)] = Field(
        default=0.3, description="How often each side sends; the slower one decides. Below 100 ms: see docs/bfd.md."
    )
    multiplier: Annotated[int, whole(2, 50)] = Field(
        default=3, description="So many intervals without a packet are down."
    )
    timeout: Annotated[float, duration(0.5, 600.0)] = Field(
        default=5.0, description="How long a session may take to come up before the tunnel is unhealthy."
    )
    rise: Annotated[int, whole(1, 1000)] = Field(
        default=1, description="How many looks, one each second, must find it up before the tunnel is healthy."
    )
    fall: Annotated[int, whole(1, 1)] = Field(default=1, description="1: `multiplier` decides.")
    failures: ShareLimitOrOff = Field(default=None, description="Not for BFD.")
    multihop: Flag = Field(
        default=False, description="Several hops between us and the far end (RFC 5883, UDP 4784) instead of one."
    )
    ttl: Annotated[int | None, whole(1, 255)] = Field(
        default=None,
        description="Least TTL of a multihop packet, 255 less the hops between (default: any). A single hop wants 255.",
    )
    auth: BfdAuthSection | None = Field(default=None, description="Authenticate the session.")
    via: Annotated[Via, choice(Via)] = Field(
        default=Via.OWN,
        description="Who speaks BFD: our `own` process; or `frr`, `bird` on this machine, which are asked each second.",
    )


class CheckSection(Section):
    """Exactly one kind: `{icmp: {...}}`."""

    icmp: IcmpCheck | None = Field(default=None, description="ICMP echo.")
    tcp: TcpCheck | None = Field(default=None, description="TCP connection.")
    http: HttpCheck | None = Field(default=None, description="HTTP request.")
    https: HttpsCheck | None = Field(default=None, description="HTTP request over TLS.")
    tls: TlsCheck | None = Field(default=None, description="TLS session and certificate.")
    dns: DnsCheck | None = Field(default=None, description="Question to a name server.")
    link: LinkCheck | None = Field(default=None, description="State of the tunnel's device; not for backends.")
    exec: ExecCheck | None = Field(default=None, description="Exit status of a program.")
    file: FileCheck | None = Field(default=None, description="Maintenance by touching a file.")
    bfd: BfdCheck | None = Field(default=None, description="BFD session; for tunnels only.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that were written; one in a valid check."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def only(self) -> TimedCheck:
        """Return the check of the one kind that was written."""
        check: TimedCheck = getattr(self, self.kinds[0])
        return check


def _form(value: object) -> str:
    return INLINE_TAG if isinstance(value, (dict, CheckSection)) else NAME_TAG


CheckUse = Annotated[
    Annotated[Name, Tag(NAME_TAG)] | Annotated[CheckSection, Tag(INLINE_TAG)],
    Discriminator(_form),
]
Checks = dict[Name, CheckSection]
