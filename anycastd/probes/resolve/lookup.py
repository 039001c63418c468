"""One name and its addresses of one family: asked for when they are wanted, one question at a time."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol

from anycastd.model.address import Address
from anycastd.model.checks import NameTarget
from anycastd.model.dns import RecordType
from anycastd.model.probe import Why
from anycastd.probes.attempt import Attempt, Reactor
from anycastd.probes.dns.exchange import Asking, DnsExchange
from anycastd.probes.dns.wire import Message, Question, answer_of
from anycastd.probes.stream import Endpoint

NEVER = float("-inf")
Trouble = Callable[[str, str | None], None]
"""Is told the name and what is wrong with it, None when it is well again."""


class Waiter(Protocol):
    """A probe that cannot start before there is an address."""

    def resolved(self, addresses: tuple[Address, ...], now_s: float) -> None:
        """Go on."""
        ...

    def unresolved(self, detail: str, now_s: float) -> None:
        """End: nobody answered."""
        ...


class Lookup:
    """Asks the servers in turn; what one of them says of the name, also that it has no address, ends the turn.

    A probe takes what is known and does not wait: an answer whose time is up is renewed beside it. Only where nothing
    is known, or it is too old, probes wait, within their own timeout.
    """

    def __init__(
        self, target: NameTarget, reactor: Reactor, servers: Callable[[], tuple[Address, ...]], trouble: Trouble
    ) -> None:
        self.target = target
        self._reactor, self._servers, self._trouble = reactor, servers, trouble
        self._question = Question(target.name, RecordType.A if target.version == 4 else RecordType.AAAA)
        self._subject = f"{target.name} {self._question.kind.value}"
        self._addresses: tuple[Address, ...] = ()
        self._fresh_until_s = self._usable_until_s = self._retry_s = NEVER
        self._asking: DnsExchange | None = None
        self._left: list[Address] = []
        self._server: Address | None = None
        self._message: Message | None = None
        self._waiting: dict[Waiter, None] = {}
        self._complaints: list[str] = []
        self.detail = "not asked yet"
        self.users = 0

    def addresses(self, now_s: float) -> tuple[Address, ...]:
        """Return what may be used now, empty if nothing; what is not fresh is asked for again, beside this."""
        if now_s >= self._fresh_until_s and self._asking is None and now_s >= self._retry_s:
            self._begin(now_s)
        return self._addresses if now_s < self._usable_until_s else ()

    @property
    def is_asking(self) -> bool:
        """Return whether an answer is awaited."""
        return self._asking is not None

    def wait(self, waiter: Waiter) -> None:
        """Tell a probe what becomes of the question that is asked."""
        self._waiting[waiter] = None

    def forget(self, waiter: Waiter) -> None:
        """Tell a probe nothing more."""
        self._waiting.pop(waiter, None)

    def close(self) -> None:
        """Ask no more, and take the complaint back."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        self._waiting.clear()
        self._trouble(self._subject, None)

    def ended(self, attempt: Attempt, why: Why, detail: str, now_s: float) -> None:
        """Take an exchange's end in: an answer, a clear no, or the next server's turn."""
        if attempt is not self._asking:
            return
        self._asking = None
        message, self._message = self._message, None
        if why is not Why.ANSWERED or message is None:
            self._complaints.append(f"{self._server}: {why.value.replace('_', ' ')}{_in(detail)}")
            self._ask_next(now_s)
            return
        answer = answer_of(message, self._question)
        if not answer.values:
            self._complaints.append(f"{self._server} says {message.rcode}, no {self._question.kind.value}")
            self._fail(now_s)
            return
        resolver = self.target.resolver
        ttl_s = min(max(float(answer.ttl_s), resolver.min_ttl_s), resolver.max_ttl_s)
        self._addresses = tuple(sorted((ip_address(value) for value in answer.values), key=int))
        self._fresh_until_s, self._usable_until_s = now_s + ttl_s, now_s + ttl_s + resolver.stale_s
        self.detail = ""
        self._trouble(self._subject, None)
        for waiter in self._take_waiting():
            waiter.resolved(self._addresses, now_s)

    def _begin(self, now_s: float) -> None:
        self._complaints.clear()
        try:
            self._left = list(self.target.resolver.servers or self._servers())
        except OSError as error:
            self._left = []
            self._complaints.append(f"resolv.conf: {error.strerror}")
        self._ask_next(now_s)

    def _ask_next(self, now_s: float) -> None:
        if not self._left:
            self._fail(now_s)
            return
        resolver = self.target.resolver
        self._server = self._left.pop(0)
        asking = Asking(self._question, Endpoint(self._server, resolver.port, None), self._judge)
        self._asking = DnsExchange(self, 0, now_s, self._reactor, asking)
        self._reactor.begin(self._asking, now_s, resolver.timeout_s)

    def _judge(self, message: Message) -> tuple[Why, str]:
        self._message = message
        known = message.rcode in ("NOERROR", "NXDOMAIN")
        return (Why.ANSWERED, "") if known else (Why.BAD_RCODE, message.rcode)

    def _fail(self, now_s: float) -> None:
        self._retry_s = now_s + self.target.resolver.retry_s
        self.detail = "; ".join(self._complaints)
        old = self._addresses and now_s < self._usable_until_s
        still = f"; the last good answer is used for {self._usable_until_s - now_s:.0f} s more" if old else ""
        self._trouble(self._subject, f"{self.detail}{still}")
        for waiter in self._take_waiting():
            waiter.unresolved(self.detail, now_s)

    def _take_waiting(self) -> tuple[Waiter, ...]:
        waiting, self._waiting = tuple(self._waiting), {}
        return waiting


def _in(detail: str) -> str:
    return f" ({detail})" if detail else ""


class Lookups:
    """Every name that is looked up; checks with the same name, family and resolver share one."""

    def __init__(self, reactor: Reactor, servers: Callable[[], tuple[Address, ...]], trouble: Trouble) -> None:
        self._reactor, self._servers, self._trouble = reactor, servers, trouble
        self._known: dict[NameTarget, Lookup] = {}

    def join(self, target: NameTarget) -> Lookup:
        """Return the lookup of a name; leave it when it is not needed any more."""
        lookup = self._known.get(target)
        if lookup is None:
            lookup = self._known[target] = Lookup(target, self._reactor, self._servers, self._trouble)
        lookup.users += 1
        return lookup

    def leave(self, lookup: Lookup) -> None:
        """Close it with its last user."""
        lookup.users -= 1
        if not lookup.users:
            del self._known[lookup.target]
            lookup.close()
