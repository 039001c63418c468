"""The kernel by netlink: the only file that uses pyroute2.

Separate sockets for requests and for events: replies are told apart by sequence number only, so an event that another
program caused could be taken for an answer of ours. An overflow (ENOBUFS) ends a socket of this library for good, and
a request that waits on it would hang: every wait has a deadline, and a lost socket is opened anew and all read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from anycastd.actuators.dataplane import event_filter, hearing, messages, wire
from anycastd.actuators.dataplane.encoded import Encoded, Numbers
from anycastd.actuators.dataplane.picture import Picture
from anycastd.actuators.dataplane.pyroute import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
    AsyncIPRoute,
    MarshalRtnl,
    NetlinkError,
    NetlinkRequest,
)
from anycastd.actuators.dataplane.refusals import Refusals, subject_of
from anycastd.actuators.lasting import Lasting
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.kernel import (
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelObserved,
    KernelRule,
    LinkView,
    PutRule,
)
from anycastd.model.topology import KernelConfig

log = logging.getLogger(__name__)

RTMGRP_IPV6_RULE = 1 << 18
"""RTNLGRP_IPV6_RULE is 19 (linux/rtnetlink.h); the library has no name for its bit."""
GROUPS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV4_RULE
    | RTMGRP_IPV6_RULE
)
SO_RCVBUFFORCE = 33
RECEIVE_BYTES = 8 << 20
ANSWER_WITHIN_S = 5.0
REOPEN_AFTER_S = 0.1
BEFORE_S, DEAF_S = 0.1, 1.0
"""A change that only reading everything showed, with no event so long before and after: the event socket is deaf."""
CALM_AFTER_S = 60.0
"""So long after a loss all is called well again."""
BATCH = 64
"""Actions sent at once: about 3 ms of the loop."""
DUMP_TRIES, WHOLE_TRIES = 3, 10
RULE_ACTIONS = (PutRule, DeleteRule)
FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))
ALREADY_SO = {
    PutRule: frozenset({errno.EEXIST}),
    DeleteRoute: frozenset({errno.ESRCH, errno.ENOENT}),
    DeleteRule: frozenset({errno.ENOENT, errno.ESRCH}),
}


class _Marshal(MarshalRtnl):  # type: ignore[misc]
    """Decodes routes and plain acknowledgements by our own fast path, everything else by the library's.

    Its objects refer to each other: those of 10,000 answers cost a garbage collection of 100 ms.
    """

    def __init__(self, protocol: int) -> None:
        super().__init__()
        self._protocol = protocol

    def get_parser(self, key: int, flags: int, sequence_number: int) -> Any:
        """Return what decodes a message of this type."""
        if key not in (wire.NLMSG_ERROR, wire.RTM_NEWROUTE, wire.RTM_DELROUTE):
            return super().get_parser(key, flags, sequence_number)

        def parse(data: bytes, offset: int, length: int) -> Any:
            message: dict[str, Any] = {"header": {"type": key, "flags": flags, "error": None}}
            if key != wire.NLMSG_ERROR:
                message["route"] = wire.parse_route(data, offset, self._protocol)
            elif wire.error_in(data, offset):
                return self.parse_one_message(key, flags, sequence_number, data, offset, length)
            return message

        return parse


class Kernel:
    """Reads and changes what is ours in the kernel; `observed` is always what was read, never what was asked.

    A device that goes down takes its routes along, for IPv4 without an event: they leave `observed` with the link
    event, and all is read again. `on_refused` gets a subject with a reason, and with None when it is settled;
    `on_events` why the event socket was lost, and None a while after it tells again what changes.
    """

    def __init__(
        self,
        kernel: KernelConfig,
        *,
        on_change: Callable[[], None],
        on_links: Callable[[frozenset[str]], None],
        on_refused: Callable[[str, str | None], None] = lambda subject, detail: None,
        on_events: Callable[[str | None], None] = lambda detail: None,
        netns: str | None = None,
        receive_bytes: int = RECEIVE_BYTES,
    ) -> None:
        self._protocol, self._netns, self._receive_bytes = kernel.protocol, netns, receive_bytes
        self._on_change, self._on_links = on_change, on_links
        self._refusals = Refusals(on_refused)
        self._picture = Picture()
        self._actions = _Requests(self._open)
        self._dumps = _Requests(self._open)
        self._plan: list[KernelAction] = []
        self._work, self._reread = asyncio.Event(), asyncio.Event()
        self._acting, self._reading = asyncio.Lock(), asyncio.Lock()
        self._tasks = Lasting(self._once_more)
        self._events: Any = None
        self._on_events, self._heard_s = on_events, 0.0
        self._patience = asyncio.timeout(None)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.reopened = 0
        """How often the event socket was lost, by overflow or otherwise."""

    @property
    def observed(self) -> KernelObserved:
        """Return what was read; the same object until something changes."""
        return self._picture.observed

    async def start(self) -> None:
        """Open the sockets and read everything once; ActuatorTransient if the kernel does not answer."""
        self._events = await self._open_events()
        await self.refresh()
        for name, run in (("act", self._act), ("events", self._listen), ("reread", self._reread_when_told)):
            self._tasks.begin(f"kernel:{name}", run)

    def _once_more(self) -> None:
        """Read anew, and go on: a task that failed may have lost what it had in hand."""
        self._reread.set()
        self._work.set()

    async def _open(self) -> Any:
        # strict: without it the kernel dumps every route of the machine, and a full table has a million
        asked = AsyncIPRoute(netns=self._netns, flags=0, strict_check=True, ext_ack=True)
        asked.set_marshal(_Marshal(self._protocol))
        asked.addr_pool = Numbers()
        await asked.setup_endpoint()
        return asked

    async def _open_events(self) -> Any:
        events = AsyncIPRoute(netns=self._netns, flags=0, rcvbuf=self._receive_bytes)
        events.set_marshal(_Marshal(self._protocol))
        await events.setup_endpoint()
        with contextlib.suppress(PermissionError):
            # above net.core.rmem_max, 208 KiB by default
            events.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, self._receive_bytes)
        event_filter.attach(events.socket, self._protocol)
        await events.bind(groups=GROUPS)
        return events

    def apply(self, actions: Sequence[KernelAction]) -> None:
        """Do these, in order; a plan takes the place of what is left of the one before. Returns at once."""
        self._plan = list(actions)
        self._refusals.keep(subject_of(action) for action in actions)
        self._work.set()

    async def _act(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            await self._act_out()

    async def _act_out(self) -> None:
        async with self._acting:
            while self._plan:
                await self._do(self._next_batch())

    def _next_batch(self) -> list[KernelAction]:
        """Take the next actions of the plan: rules, or routes, so that the order holds."""
        rules = isinstance(self._plan[0], RULE_ACTIONS)
        batch = list(takewhile(lambda action: isinstance(action, RULE_ACTIONS) is rules, self._plan[:BATCH]))
        del self._plan[: len(batch)]
        return batch

    async def _do(self, batch: Sequence[KernelAction]) -> None:
        """Send a batch and hear every answer; what became of it comes as events."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), self._actions.socket() as asked:
                sent = [(action, self._request(asked, action)) for action in batch]
                requests = [(action, request) for action, request in sent if request is not None]
                for _, request in requests:
                    await request.prepare()
                if requests:
                    asked.send(b"".join(request.msg.data for _, request in requests))
                for action, request in requests:
                    await self._answer(action, request.response())
                for action, request in sent:
                    if request is None and isinstance(action, PutRule | DeleteRule):
                        await self._rule(asked, action)
        except (TimeoutError, OSError) as error:
            for action in batch:
                self._refusals.failed(action, None, f"no answer: {error!r}")
            self._reread.set()

    def _request(self, asked: Any, action: KernelAction) -> Any:
        """Return a request for a route; None for a rule, or when the device does not exist."""
        if isinstance(action, PutRule | DeleteRule):
            return None
        try:
            route = wire.from_model(action.route, self._picture.indexes)
        except KeyError:
            self._refusals.failed(action, errno.ENODEV, "its device does not exist")
            return None
        protocol = self._protocol
        if isinstance(action, DeleteRoute):
            message = Encoded(wire.RTM_DELROUTE, wire.ANSWERED, lambda n: wire.encode_delete(route, protocol, n))
        else:
            # where we hold nothing, replace would take the place of a foreign route: make one, or fail
            ours = self._picture.holds_key(route.key)
            self._picture.expect(route, action.route)
            message = Encoded(
                wire.RTM_NEWROUTE, wire.ANSWERED, lambda n: wire.encode_put(route, protocol, n, replace=ours)
            )
        return NetlinkRequest(asked, message)

    async def _rule(self, asked: Any, action: PutRule | DeleteRule) -> None:
        async def answer() -> AsyncIterator[Any]:
            verb = "add" if isinstance(action, PutRule) else "del"
            for message in await asked.rule(verb, **messages.rule_request(action.rule, self._protocol)):
                yield message

        await self._answer(action, answer())

    async def _answer(self, action: KernelAction, answer: AsyncIterator[Any]) -> None:
        try:
            async for _ in answer:
                pass
        except NetlinkError as error:
            # whatever we believed is not so
            self._reread.set()
            if error.code not in ALREADY_SO.get(type(action), frozenset()):
                self._refusals.failed(action, error.code, str(error))
                return
        self._refusals.settled(action)

    async def refresh(self) -> None:
        """Read everything anew: devices, addresses, our rules and routes; ActuatorTransient if that fails."""
        begun_s = asyncio.get_running_loop().time()
        if await self._read_all() and self._tasks:
            self._after("deaf", DEAF_S, self._look_whether_deaf, begun_s)

    async def _read_all(self) -> bool:
        """Read everything anew; return whether anything was news."""
        before = self._picture.observed
        async with self._reading:
            for _ in range(DUMP_TRIES):
                heard = self._picture.link_events
                links = await self._dump_links()
                # else an event overtook the dump, which would take it back
                if heard == self._picture.link_events:
                    self._links_changed(self._picture.set_links(links))
                    break
            await self._read_ours()
        if self._picture.observed is before:
            return False
        self._changed()
        return True

    def _after(self, what: str, seconds: float, then: Callable[..., None], *more: object) -> None:
        """Do something later, instead of what was to be done then."""
        if (timer := self._timers.pop(what, None)) is not None:
            timer.cancel()
        self._timers[what] = asyncio.get_running_loop().call_later(seconds, then, *more)

    def _look_whether_deaf(self, begun_s: float) -> None:
        """Give the event socket up if the news that was read at `begun_s` did not come by it as well."""
        if self._heard_s < begun_s - BEFORE_S:
            self._patience.reschedule(0.0)

    async def _dump_links(self) -> dict[str, LinkView]:
        addresses: dict[int, set[Address]] = {}
        for message in await self._dump("get_addr"):
            if (found := messages.address_of(message)) is not None:
                addresses.setdefault(found[0], set()).add(found[1])
        links = [
            messages.link_of(message, frozenset(addresses.get(message["index"], ())))
            for message in await self._dump("get_links")
        ]
        return {link.name: link for link in links}

    async def _reread_when_told(self) -> None:
        while True:
            await self._reread.wait()
            self._reread.clear()
            before = self._picture.observed
            try:
                async with self._reading:
                    await self._read_ours()
            except ActuatorTransient as error:
                log.warning("kernel not read: %s", error)
                await asyncio.sleep(REOPEN_AFTER_S)
                self._reread.set()
            if self._picture.observed is not before:
                self._changed()

    async def _read_ours(self) -> None:
        with self._picture.dumping():
            routes = [await self._dump_routes(family) for family in FAMILIES]
            for _ in self._picture.dumped(*routes):
                await asyncio.sleep(0)
        rules: set[KernelRule] = set()
        for family in FAMILIES:
            for message in await self._dump("get_rules", family=family):
                if (rule := messages.rule_of(message, self._protocol)) is not None:
                    rules.add(rule)
        self._picture.set_rules(rules)

    async def _dump_routes(self, family: int) -> set[wire.WireRoute]:
        for _ in range(DUMP_TRIES):
            found: set[wire.WireRoute] = set()
            torn = False
            with _as_transient("route dump"):
                async with asyncio.timeout(ANSWER_WITHIN_S), self._dumps.socket() as asked:
                    encoded = Encoded(
                        wire.RTM_GETROUTE, wire.DUMPED, lambda n: wire.encode_dump(family, self._protocol, n)
                    )
                    request = NetlinkRequest(asked, encoded)
                    await request.send()
                    async for message in request.response():
                        torn = torn or bool(message["header"]["flags"] & wire.NLM_F_DUMP_INTR)
                        if message.get("route") is not None:
                            found.add(message["route"])
            if not torn:
                break
        return found

    async def _dump(self, request: str, **fields: Any) -> list[Any]:
        """Return a whole dump: a device that a torn one left out would be taken for gone, and its tunnel for down.

        The library does not look at the flag. ActuatorTransient when it is torn each time.
        """
        for _ in range(WHOLE_TRIES):
            with _as_transient(request):
                async with asyncio.timeout(ANSWER_WITHIN_S), self._dumps.socket() as asked:
                    found = [message async for message in await getattr(asked, request)(**fields)]
            if not any(message["header"]["flags"] & wire.NLM_F_DUMP_INTR for message in found):
                return found
        message = f"netlink {request}: torn by changes each time"
        raise ActuatorTransient(message)

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(None) as self._patience:
                    while True:
                        async for message in self._events.get():
                            self._heard(message)
            except TimeoutError:
                why = "it did not tell of a change"
            except (OSError, NetlinkError) as error:
                why = str(error) or repr(error)
            log.warning("netlink event socket lost: %s", why)
            self.reopened += 1
            self._on_events(f"lost, and opened anew: {why}")
            await self._reopen_events()
            self._after("calm", CALM_AFTER_S, self._on_events, None)

    async def _reopen_events(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self._events.close()
            await asyncio.sleep(REOPEN_AFTER_S)
            try:
                self._events = await self._open_events()
                await self._read_all()
            except (OSError, NetlinkError, ActuatorTransient) as error:
                log.warning("netlink event socket not opened: %r", error)
            else:
                return

    def _heard(self, message: Any) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        heard = hearing.take(self._picture, message)
        self._links_changed(heard.links)
        if heard.changed:
            self._changed()
        if heard.doubtful:
            self._reread.set()

    def _changed(self) -> None:
        self._refusals.review(self._picture.observed)
        self._on_change()

    def _links_changed(self, names: frozenset[str]) -> None:
        if names:
            self._on_links(names)

    async def purge(self) -> None:
        """Remove every route and rule of ours and nothing else; ActuatorTransient if something is left."""
        self._plan = []
        await self.refresh()
        observed = self._picture.observed
        actions: list[KernelAction] = [DeleteRule(rule) for rule in observed.rules]
        actions += [DeleteRoute(route) for route in observed.routes or ()]
        self._plan = actions
        await self._act_out()
        await self.refresh()
        left = len(self._picture.observed.routes or ()) + len(self._picture.observed.rules)
        if left:
            message = f"{left} routes and rules of protocol {self._protocol} are still there"
            raise ActuatorTransient(message)

    async def close(self) -> None:
        """Stop; everything in the kernel is left standing."""
        for timer in self._timers.values():
            timer.cancel()
        await self._tasks.stop()
        self._actions.close()
        self._dumps.close()
        if self._events is not None:
            self._events.close()


class _Requests:
    """One request socket, opened anew after any failure that may have left an answer under way."""

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._opened = opened
        self._socket: Any = None

    @contextlib.asynccontextmanager
    async def socket(self) -> AsyncIterator[Any]:
        """Lend the socket."""
        if self._socket is None:
            self._socket = await self._opened()
        answered = False
        try:
            yield self._socket
            answered = True
        except NetlinkError:
            answered = True
            raise
        finally:
            # a deadline or the end of our task, too, leave an answer under way that the next request would take
            if not answered:
                self.close()

    def close(self) -> None:
        """Close it; the next use opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@contextlib.contextmanager
def _as_transient(what: str) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, OSError, NetlinkError) as error:
        message = f"netlink {what}: {error!r}"
        raise ActuatorTransient(message) from error
