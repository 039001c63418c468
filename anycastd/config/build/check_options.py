"""From the section of a check to its kind, options and limits in the model. Pure."""

from __future__ import annotations

from anycastd.config.schema.checks import (
    BfdAuthSection,
    BfdCheck,
    DnsCheck,
    ExecCheck,
    FileCheck,
    HttpCheck,
    HttpsCheck,
    IcmpCheck,
    LinkCheck,
    TcpCheck,
    TimedCheck,
    TlsCheck,
)
from anycastd.errors import InvariantError
from anycastd.model.checks import (
    BfdAuth,
    BfdOptions,
    CheckKind,
    DnsOptions,
    ExecOptions,
    FileOptions,
    HttpOptions,
    IcmpOptions,
    Limits,
    LinkOptions,
    Options,
    TcpOptions,
    Timing,
    TlsOptions,
)
from anycastd.model.dns import canonical

KINDS: tuple[tuple[type[TimedCheck], CheckKind], ...] = (
    (IcmpCheck, CheckKind.ICMP),
    (TcpCheck, CheckKind.TCP),
    (HttpCheck, CheckKind.HTTP),
    (TlsCheck, CheckKind.TLS),
    (DnsCheck, CheckKind.DNS),
    (LinkCheck, CheckKind.LINK),
    (ExecCheck, CheckKind.EXEC),
    (FileCheck, CheckKind.FILE),
    (BfdCheck, CheckKind.BFD),
)
LOOK_EACH_S = 1.0
"""How often what is told of a BFD session is looked at, besides its changes, which are told at once."""


def kind_of(check: TimedCheck) -> CheckKind:
    """Return the kind that a section is of."""
    for section, kind in KINDS:
        if isinstance(check, section):
            return kind
    message = f"{type(check).__name__} is of no kind"
    raise InvariantError(message)


def options_of(check: TimedCheck, directory: str) -> Options:
    """Return what a section says beside its timing; `directory` is where relative file names begin."""
    match check:
        case HttpCheck():
            return _http(check, directory)
        case TcpCheck():
            return TcpOptions(port=check.port)
        case TlsCheck():
            return _tls(check, directory)
        case DnsCheck():
            return _dns(check)
        case LinkCheck():
            return LinkOptions(require_address=check.require_address)
        case ExecCheck():
            return ExecOptions(argv=check.argv, shell=check.shell)
        case FileCheck():
            return FileOptions(path=check.path, when=check.when)
        case BfdCheck():
            return _bfd(check, directory)
        case IcmpCheck():
            return IcmpOptions(payload_bytes=check.payload_bytes)
    message = f"{type(check).__name__} has no options"
    raise InvariantError(message)


def timing_of(check: TimedCheck) -> Timing:
    """Return when a check is run: of BFD the interval is its packets', and what came of them is looked at."""
    return Timing(
        interval_s=LOOK_EACH_S if isinstance(check, BfdCheck) else check.interval,
        timeout_s=check.timeout,
        rise=check.rise,
        fall=check.fall,
        fast_interval_s=check.fast_interval,
    )


def limits_of(check: TimedCheck) -> Limits:
    """Return the limits of a check; an outage of `fall` probes is a quarter of the window at most."""
    return Limits(
        window=check.window or max(Limits().window, 4 * check.fall),
        failures=check.failures,
        loss=check.loss,
        latency_ms=check.latency,
        jitter_ms=check.jitter,
    )


def _http(check: HttpCheck, directory: str) -> HttpOptions:
    tls = check if isinstance(check, HttpsCheck) else None
    return HttpOptions(
        path=check.path,
        port=check.port or (443 if tls else 80),
        host=check.host or _host_of(check, 443 if tls else 80),
        status=check.status,
        contains=check.contains,
        tls=tls is not None,
        server_name=(tls.server_name or tls.host or name_of(tls)) if tls else None,
        verify=tls.verify if tls else True,
        ca_file=absolute(tls.ca_file, directory) if tls else None,
        cert_file=absolute(tls.cert_file, directory) if tls else None,
        key_file=absolute(tls.key_file, directory) if tls else None,
        max_body_bytes=check.max_body_bytes,
    )


def name_of(check: TimedCheck) -> str | None:
    """Return the name that a check aims at, which is also what a server is asked for by default."""
    return check.target if isinstance(check.target, str) else None


def _host_of(check: HttpCheck, default_port: int) -> str | None:
    name = name_of(check)
    if name is None or check.port in (None, default_port):
        return name
    return f"{name}:{check.port}"


def _tls(check: TlsCheck, directory: str) -> TlsOptions:
    return TlsOptions(
        server_name=check.server_name or name_of(check),
        port=check.port,
        expires_in_s=check.expires_in,
        expiring=check.expiring,
        ca_file=absolute(check.ca_file, directory),
        cert_file=absolute(check.cert_file, directory),
        key_file=absolute(check.key_file, directory),
    )


def _dns(check: DnsCheck) -> DnsOptions:
    return DnsOptions(
        name=check.name,
        type=check.type,
        port=check.port,
        transport=check.transport,
        truncated=check.truncated,
        recursion=check.recursion,
        rcode=check.rcode,
        expect=tuple(canonical(check.type, value) for value in check.expect),
        contains=tuple(canonical(check.type, value) for value in check.contains),
    )


def _bfd(check: BfdCheck, directory: str) -> BfdOptions:
    return BfdOptions(
        interval_s=check.interval,
        multiplier=check.multiplier,
        multihop=check.multihop,
        min_ttl=check.ttl or 1,
        via=check.via,
        auth=None if check.auth is None else _bfd_auth(check.auth, directory),
    )


def _bfd_auth(section: BfdAuthSection, directory: str) -> BfdAuth:
    return BfdAuth(section.type, section.key_id, absolute(section.key_file, directory) or "")


def absolute(name: str | None, directory: str) -> str | None:
    """Return a file name of the configuration as an absolute one."""
    if name is None or name.startswith("/"):
        return name
    return f"{directory.rstrip('/')}/{name}"
