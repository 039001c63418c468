"""The kernel by netlink: the only file that knows pyroute2.

Two sockets: replies are told apart by sequence number only, so an event that another program caused could be taken
for an answer of ours. A lost event socket (ENOBUFS kills it for good) is opened anew and everything read again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

from anycastd.actuators.dataplane import messages
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.kernel import (
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelObserved,
    KernelRoute,
    KernelRule,
    LinkView,
    PutRoute,
    PutRule,
)
from anycastd.model.topology import KernelConfig

log = logging.getLogger(__name__)

GROUPS = (
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE
)
RECEIVE_BYTES = 8 << 20
ANSWER_WITHIN_S = 5.0
REOPEN_AFTER_S = 0.2
REREAD_SHARE = 4
REREAD_MAX_GAP_S = 10.0
ALREADY_SO = {
    PutRule: frozenset({errno.EEXIST}),
    DeleteRoute: frozenset({errno.ESRCH, errno.ENOENT}),
    DeleteRule: frozenset({errno.ENOENT, errno.ESRCH}),
}
LINK_EVENTS = frozenset({"RTM_NEWLINK", "RTM_DELLINK", "RTM_NEWADDR", "RTM_DELADDR"})
ROUTE_EVENTS = frozenset({"RTM_NEWROUTE", "RTM_DELROUTE"})
RULE_EVENTS = frozenset({"RTM_NEWRULE", "RTM_DELRULE"})


class Kernel:
    """Reads and changes what is ours in the kernel; `observed` is always what was read back, never what was asked."""

    def __init__(
        self,
        kernel: KernelConfig,
        *,
        on_change: Callable[[], None],
        on_links: Callable[[frozenset[str]], None],
        on_refused: Callable[[str, str | None], None] = lambda subject, detail: None,
        netns: str | None = None,
    ) -> None:
        self._config, self._netns = kernel, netns
        self._on_change, self._on_links, self._on_refused = on_change, on_links, on_refused
        self.observed = KernelObserved()
        self._ask: Any = None
        self._queue: deque[KernelAction] = deque()
        self._queued: set[KernelAction] = set()
        self._work = asyncio.Event()
        self._reread = asyncio.Event()
        self._reading = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.reopened = 0

    async def start(self) -> None:
        """Open the sockets and read everything once; ActuatorTransient if the kernel does not answer."""
        events = await self._open_events()
        await self._open_requests()
        await self.refresh()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._act(), name="kernel:act"),
            loop.create_task(self._listen(events), name="kernel:events"),
            loop.create_task(self._reread_routes(), name="kernel:reread"),
        ]

    async def _open_requests(self) -> None:
        if self._ask is not None:
            self._ask.close()
        self._ask = AsyncIPRoute(netns=self._netns)
        await self._ask.setup_endpoint()

    async def _open_events(self) -> Any:
        events = AsyncIPRoute(netns=self._netns, rcvbuf=RECEIVE_BYTES)
        await events.setup_endpoint()
        await events.bind(groups=GROUPS)
        return events

    def apply(self, actions: Sequence[KernelAction]) -> None:
        """Queue actions; what is queued already is not queued twice."""
        for action in actions:
            if action not in self._queued:
                self._queued.add(action)
                self._queue.append(action)
        self._work.set()

    async def _act(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue:
                action = self._queue[0]
                await self._do(action)
                self._queue.popleft()
                self._queued.discard(action)
            await self._read_routes()

    async def _do(self, action: KernelAction) -> None:
        subject = str(action)
        try:
            await asyncio.wait_for(self._request(action), ANSWER_WITHIN_S)
        except NetlinkError as error:
            if error.code in ALREADY_SO.get(type(action), frozenset()):
                return
            self._on_refused(subject, f"{errno.errorcode.get(error.code, error.code)}: {error}")
        except KeyError:
            self._on_refused(subject, "its device does not exist")
        except (TimeoutError, OSError) as error:
            self._on_refused(subject, f"no answer: {error!r}")
            await self._open_requests()
        else:
            self._on_refused(subject, None)

    async def _request(self, action: KernelAction) -> None:
        protocol = self._config.protocol
        if isinstance(action, PutRoute | DeleteRoute):
            indexes = {name: link.index for name, link in self.observed.links.items()}
            verb = "replace" if isinstance(action, PutRoute) else "del"
            await self._ask.route(verb, **messages.route_request(action.route, indexes, protocol))
        else:
            verb = "add" if isinstance(action, PutRule) else "del"
            await self._ask.rule(verb, **messages.rule_request(action.rule, protocol))

    async def _dump(self, request: str, **fields: Any) -> list[Any]:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return [message async for message in await getattr(self._ask, request)(**fields)]
        except (TimeoutError, OSError, NetlinkError) as error:
            await self._open_requests()
            message = f"netlink {request}: {error!r}"
            raise ActuatorTransient(message) from error

    async def refresh(self) -> None:
        """Read everything anew: devices, addresses, our rules and routes."""
        async with self._reading:
            addresses: dict[int, set[Address]] = {}
            for message in await self._dump("get_addr"):
                if (found := messages.address_of(message)) is not None:
                    addresses.setdefault(found[0], set()).add(found[1])
            links: dict[str, LinkView] = {}
            for message in await self._dump("get_links"):
                link = messages.link_of(message, frozenset(addresses.get(message["index"], ())))
                links[link.name] = link
            self._set_links(links)
            await self._read_ours()

    async def _read_routes(self) -> None:
        async with self._reading:
            await self._read_ours()

    async def _read_ours(self) -> None:
        protocol = self._config.protocol
        names = {link.index: name for name, link in self.observed.links.items()}
        routes: set[KernelRoute] = set()
        rules: set[KernelRule] = set()
        for message in await self._dump("get_routes", family=0, proto=protocol):
            if message["proto"] == protocol and (route := messages.route_of(message, names)) is not None:
                routes.add(route)
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in await self._dump("get_rules", family=family):
                ours = messages.attributes(message).get("FRA_PROTOCOL") == protocol
                if ours and (rule := messages.rule_of(message)) is not None:
                    rules.add(rule)
        now = replace(self.observed, routes=frozenset(routes), rules=frozenset(rules))
        if now != self.observed:
            self.observed = now
            self._on_change()

    def _set_links(self, links: dict[str, LinkView]) -> None:
        before = self.observed.links
        changed = frozenset(name for name in {*before, *links} if before.get(name) != links.get(name))
        if changed:
            self.observed = replace(self.observed, links=links)
            self._on_links(changed)

    async def _listen(self, events: Any) -> None:
        while True:
            try:
                async for message in events.get():
                    self._heard(message)
            except (OSError, NetlinkError) as error:
                log.warning("netlink event socket lost: %r", error)
            events.close()
            self.reopened += 1
            await asyncio.sleep(REOPEN_AFTER_S)
            events = await self._open_events()
            await self.refresh()

    def _heard(self, message: Any) -> None:
        event = message["event"]
        if event in LINK_EVENTS:
            self._link_event(event, message)
            # the kernel takes the routes of a device that goes down away without a word for each (IPv4)
            self._reread.set()
        elif event in RULE_EVENTS or (event in ROUTE_EVENTS and message["proto"] == self._config.protocol):
            self._reread.set()

    def _link_event(self, event: str, message: Any) -> None:
        links = dict(self.observed.links)
        by_index = {link.index: name for name, link in links.items()}
        if event in ("RTM_NEWADDR", "RTM_DELADDR"):
            found, name = messages.address_of(message), by_index.get(message["index"])
            if found is None or name is None:
                return
            old = links[name].addresses
            new = old | {found[1]} if event == "RTM_NEWADDR" else old - {found[1]}
            links[name] = replace(links[name], addresses=new)
        else:
            old_name = by_index.get(message["index"])
            addresses = links[old_name].addresses if old_name else frozenset()
            if old_name:
                del links[old_name]
            if event == "RTM_NEWLINK":
                link = messages.link_of(message, addresses)
                links[link.name] = link
        self._set_links(links)

    async def _reread_routes(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._reread.wait()
            self._reread.clear()
            begun_s = loop.time()
            await self._read_routes()
            # each route that we put is an event, too: with many routes, reading must not become all we do
            await asyncio.sleep(min((loop.time() - begun_s) * REREAD_SHARE, REREAD_MAX_GAP_S))

    async def purge(self) -> None:
        """Remove every route and rule of ours."""
        await self.refresh()
        for route in self.observed.routes or ():
            await self._do(DeleteRoute(route))
        for rule in self.observed.rules:
            await self._do(DeleteRule(rule))
        await self._read_routes()

    async def close(self) -> None:
        """Stop; everything in the kernel is left standing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._ask is not None:
            self._ask.close()
