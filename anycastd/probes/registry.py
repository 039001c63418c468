"""The one list of probe kinds.

To add a kind:

1. `model/checks.py`: a member of `CheckKind`, a frozen dataclass of options, and it in `Options`.
2. `probes/KIND.py`, or a folder if it has a wire format of its own: a `Plan` (made once per check; addresses and
   request bytes are made here, not per probe) and an `Attempt` with `start`, `on_event`, `doing`, `close`. It ends by
   `self.end(why, detail, now_s)`, once, whatever happens; a failing target is a value, never an exception. Sockets are
   non-blocking and edge-triggered: read until nothing is left. Over TCP, begin with `StreamAttempt`.
3. One function and one line in `_KINDS` below.
4. `config/schema/checks.py`: a section and its field in `CheckSection`; `config/build/check_options.py`: section to
   options; `config/rules/check_kinds.py`: what a schema cannot say. Then docs/checks.md, etc/anycastd.yaml and
   `make docs`.
5. `tests/unit/probes/test_KIND.py`: answers, hangs, refuses, sends garbage, is cancelled without a leak.
"""

from __future__ import annotations

from collections.abc import Callable

from anycastd.errors import InvariantError
from anycastd.model.address import CheckId
from anycastd.model.checks import (
    BfdOptions,
    CheckKind,
    DnsOptions,
    ExecOptions,
    FileOptions,
    HttpOptions,
    IcmpOptions,
    LinkOptions,
    ProbeSpec,
    TcpOptions,
    TlsOptions,
    Via,
)
from anycastd.model.topology import BfdConfig
from anycastd.probes.attempt import Plan, Reactor
from anycastd.probes.bfd.link import BfdLink
from anycastd.probes.bfd.link import Trouble as BfdTrouble
from anycastd.probes.bfd.probe import BfdPlan
from anycastd.probes.bfd.reading import Readings
from anycastd.probes.dns.probe import DnsPlan
from anycastd.probes.exec.probe import ExecPlan
from anycastd.probes.exec.programs import Programs
from anycastd.probes.file import FilePlan, Looks
from anycastd.probes.http.probe import HttpPlan
from anycastd.probes.icmp.probe import IcmpPlan
from anycastd.probes.icmp.sockets import EchoSockets
from anycastd.probes.link import LinkPlan
from anycastd.probes.receive_time import Stamping
from anycastd.probes.resolve.lookup import Lookups, Trouble
from anycastd.probes.resolve.probe import NamedPlan
from anycastd.probes.resolve.system import system_servers
from anycastd.probes.tcp import TcpPlan
from anycastd.probes.tls.contexts import Contexts
from anycastd.probes.tls.probe import TlsPlan


class Registry:
    """Makes plans, and keeps what plans of one kind share."""

    def __init__(
        self,
        reactor: Reactor,
        trouble: Trouble,
        at_once: Callable[[CheckId], None],
        bfd: BfdConfig,
        bfd_trouble: BfdTrouble,
    ) -> None:
        self.at_once, self.bfd = at_once, BfdLink(reactor, bfd, bfd_trouble)
        self.reactor, self.contexts, self.echo_sockets = reactor, Contexts(), EchoSockets(reactor)
        self.programs, self.stamping = Programs(reactor), Stamping(reactor.now)
        self.readings, self.looks = Readings(self.programs), Looks(reactor)
        self.lookups = Lookups(reactor, system_servers, trouble)

    def plan(self, spec: ProbeSpec) -> Plan:
        """Return the plan of a check. Raise InvariantError if its options are not those of its kind."""
        if spec.name is not None:
            return NamedPlan(spec, spec.name, self.lookups, self._of_address)
        return self._of_address(spec)

    def _of_address(self, spec: ProbeSpec) -> Plan:
        return _KINDS[spec.check.kind](self, spec)

    def settle(self) -> None:
        """Act on all plans that were made and closed since the last time."""
        self.bfd.settle()

    def close(self, *, leave: bool) -> None:
        """Close what is shared; every attempt must have been cancelled before. `leave`: nobody goes on with it."""
        self.bfd.close(end=leave)
        self.echo_sockets.close()
        self.stamping.close()
        self.programs.close()
        self.looks.close()
        self.contexts.close()


def _icmp(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, IcmpOptions):
        raise InvariantError(_mismatch(spec))
    return IcmpPlan(spec, spec.check.options, registry.echo_sockets)


def _tcp(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, TcpOptions):
        raise InvariantError(_mismatch(spec))
    return TcpPlan(spec, spec.check.options, registry.reactor)


def _http(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, HttpOptions):
        raise InvariantError(_mismatch(spec))
    return HttpPlan(spec, spec.check.options, registry.reactor, registry.contexts)


def _tls(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, TlsOptions):
        raise InvariantError(_mismatch(spec))
    return TlsPlan(spec, spec.check.options, registry.reactor, registry.contexts)


def _dns(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, DnsOptions):
        raise InvariantError(_mismatch(spec))
    return DnsPlan(spec, spec.check.options, registry.reactor, registry.stamping)


def _link(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, LinkOptions):
        raise InvariantError(_mismatch(spec))
    return LinkPlan(spec, spec.check.options, registry.reactor)


def _exec(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, ExecOptions):
        raise InvariantError(_mismatch(spec))
    return ExecPlan(spec, spec.check.options, registry.programs)


def _file(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, FileOptions):
        raise InvariantError(_mismatch(spec))
    return FilePlan(spec.check.options, registry.looks)


def _bfd(registry: Registry, spec: ProbeSpec) -> Plan:
    if not isinstance(spec.check.options, BfdOptions):
        raise InvariantError(_mismatch(spec))
    if spec.check.options.via is not Via.OWN:
        return registry.readings.plan(spec, spec.check.options.via)
    return BfdPlan(spec, spec.check.options, registry.bfd, registry.at_once)


def _mismatch(spec: ProbeSpec) -> str:
    return f"{spec.id}: {type(spec.check.options).__name__} is not for kind {spec.check.kind.value}"


_KINDS: dict[CheckKind, Callable[[Registry, ProbeSpec], Plan]] = {
    CheckKind.ICMP: _icmp,
    CheckKind.TCP: _tcp,
    CheckKind.HTTP: _http,
    CheckKind.TLS: _tls,
    CheckKind.DNS: _dns,
    CheckKind.LINK: _link,
    CheckKind.EXEC: _exec,
    CheckKind.FILE: _file,
    CheckKind.BFD: _bfd,
}
