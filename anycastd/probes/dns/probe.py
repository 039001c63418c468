"""DNS check: a name server answers a question as wanted."""

from __future__ import annotations

from functools import partial

from anycastd.model.checks import DnsOptions, ProbeSpec
from anycastd.model.dns import Transport
from anycastd.probes.attempt import Attempt, Owner, Reactor
from anycastd.probes.dns.exchange import Asking, DnsExchange
from anycastd.probes.dns.judge import judge
from anycastd.probes.dns.wire import Question
from anycastd.probes.receive_time import Stamping
from anycastd.probes.stream import Endpoint


class DnsPlan:
    """A DNS check of one name server."""

    def __init__(self, spec: ProbeSpec, options: DnsOptions, reactor: Reactor, stamping: Stamping) -> None:
        self._reactor, self._stamping = reactor, stamping if options.transport is Transport.UDP else None
        self._asking = Asking(
            question=Question(options.name, options.type),
            endpoint=Endpoint(spec.target, options.port, spec.source),
            judge=partial(judge, options=options),
            transport=options.transport,
            truncated=options.truncated,
            recursion=options.recursion,
            stamping=self._stamping,
        )
        if self._stamping is not None:
            self._stamping.join()

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return DnsExchange(owner, order, now_s, self._reactor, self._asking)

    def close(self) -> None:
        """Need the kernel's stamps no more."""
        if self._stamping is not None:
            self._stamping.leave()
