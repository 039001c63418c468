"""HTB on the uplinks in the kernel: made, kept as wanted, and read back. A root qdisc that is not ours is left alone.

All of it blocks, so it runs in a thread of its own, where devices can also be those of another namespace.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from anycastd.actuators.dataplane import link_wire
from anycastd.actuators.dataplane import shaping_wire as wire
from anycastd.actuators.dataplane.namespace import Thread
from anycastd.actuators.dataplane.requests import RefusedError, Requests
from anycastd.model.shaping import (
    MAJOR,
    ClassView,
    CreateRoot,
    DeleteClass,
    DeleteRoot,
    PutClass,
    Queue,
    QueueKind,
    SetQueue,
    ShapingAction,
    ShapingFault,
    ShapingProblem,
    UplinkView,
)
from anycastd.reconcile.shaping import Plan, diff, unlimited

log = logging.getLogger(__name__)

ROUNDS = 5
"""Roots, classes, queues that the kernel has: the kernel is read again after each, and one more finds nothing to do."""
ALREADY_SO = {
    DeleteClass: frozenset({errno.ENOENT, errno.ENODEV}),
    DeleteRoot: frozenset({errno.ENOENT, errno.ENODEV, errno.EINVAL}),
}


class Shaper:
    """Keeps EIPs' classes as wanted; `observed` is what was last read."""

    def __init__(self, *, netns: str | None = None) -> None:
        self._thread = Thread("shaping", netns)
        self._requests = Requests(socket.NETLINK_ROUTE)
        self._kind = QueueKind.FQ_CODEL
        self._observed: dict[str, UplinkView] = {}
        self._idle_since_s: dict[str, float] = {}
        self._leaving = False

    @property
    def observed(self) -> Mapping[str, UplinkView]:
        """Return all devices as last read; classes only where the root qdisc is ours."""
        return self._observed

    @property
    def queue_kind(self) -> QueueKind:
        """Return what waits in classes: fq_codel until the kernel was found to have none."""
        return self._kind

    @property
    def dropped(self) -> Mapping[int, int]:
        """Return the packets dropped by class, of all devices; it begins anew when a class does."""
        found: dict[int, int] = {}
        for view in self._observed.values():
            for minor, one in view.classes.items():
                found[minor] = found.get(minor, 0) + one.dropped
        return found

    @property
    def leaving(self) -> bool:
        """Return whether classes that nobody wants stay until their last packet is gone: look again soon."""
        return self._leaving

    async def look(self) -> None:
        """Read everything and change nothing; ActuatorTransient if the kernel does not answer."""
        await self._thread.run(self._observe)

    async def reconcile(
        self,
        wanted: Mapping[int, int],
        uplinks: Sequence[str],
        *,
        kept: Collection[int] = (),
        linger_s: float = 300.0,
    ) -> tuple[ShapingProblem, ...]:
        """Make the kernel as wanted, and return what is not and why; correct after any loss, cheap when all is so.

        `wanted` are bits per second by class; `kept` classes to which packets may still be sent. A root of ours in
        which nothing is wanted goes after `linger_s`: some packets of everybody are lost whenever a root comes or
        goes. ActuatorTransient if the kernel does not answer.
        """
        now_s = asyncio.get_running_loop().time()
        return await self._thread.run(partial(self._reconcile, dict(wanted), tuple(uplinks), kept, now_s, linger_s))

    async def close(self) -> None:
        """Stop; everything in the kernel is left standing."""
        await self._thread.run(self._requests.close)
        self._thread.close()

    def _reconcile(
        self, wanted: Mapping[int, int], uplinks: Sequence[str], kept: Collection[int], now_s: float, linger_s: float
    ) -> tuple[ShapingProblem, ...]:
        failed: dict[ShapingAction, RefusedError] = {}
        for _ in range(ROUNDS):
            try:
                self._observe()
            except RefusedError as error:
                detail = f"{unlimited(wanted)}: this kernel does not tell of its qdiscs: {error}"
                return (ShapingProblem("kernel", ShapingFault.UNSUPPORTED, detail),) if wanted else ()
            plan = self._plan(wanted, uplinks, kept, now_s, linger_s)
            todo = [action for action in plan.actions if action not in failed]
            if not todo:
                break
            for action in todo:
                if (refusal := self._tried(action)) is not None:
                    failed[action] = refusal
        self._leaving = plan.leaving
        return (*plan.problems, *_problems(plan, failed))

    def _plan(
        self, wanted: Mapping[int, int], uplinks: Sequence[str], kept: Collection[int], now_s: float, linger_s: float
    ) -> Plan:
        plan = partial(diff, wanted, uplinks, self._observed, kind=self._kind, kept=kept)
        self._idle_since_s = {name: self._idle_since_s.get(name, now_s) for name in plan().idle}
        return plan(expired={name for name, since_s in self._idle_since_s.items() if now_s - since_s >= linger_s})

    def _tried(self, action: ShapingAction) -> RefusedError | None:
        try:
            self._act(action)
        except RefusedError as error:
            return None if error.code in ALREADY_SO.get(type(action), frozenset()) else error
        return None

    def _act(self, action: ShapingAction) -> None:
        ask = self._requests.ask
        match action:
            case CreateRoot(device, index, overhead_bytes):
                ask(partial(wire.encode_create_root, index, overhead_bytes))
                log.warning("root qdisc of %s is now htb %x: to shape EIPs", device, MAJOR)
            case PutClass(_, index, minor, bucket, queue):
                ask(partial(wire.encode_class, index, minor, bucket))
                self._set_queue(index, minor, queue)
            case SetQueue(_, index, minor, queue):
                self._set_queue(index, minor, queue)
            case DeleteClass(_, index, minor):
                ask(partial(wire.encode_delete_class, index, minor))
            case DeleteRoot(device, index):
                ask(partial(wire.encode_delete_root, index))
                log.warning("root qdisc of %s is the kernel's default again: no EIP is shaped there", device)

    def _set_queue(self, index: int, minor: int, queue: Queue) -> None:
        if queue.kind is not self._kind:
            # the next round gives every class what the kernel has; each asking in vain may look for a module
            return
        try:
            self._requests.ask(partial(wire.encode_queue, index, minor, queue))
        except RefusedError as error:
            if queue.kind is not QueueKind.FQ_CODEL or error.code != errno.ENOENT:
                raise
            self._kind = QueueKind.BFIFO

    def _observe(self) -> None:
        links = [wire.parse_link(body) for body in self._requests.dump(link_wire.encode_dump_links)]
        roots: dict[int, wire.QdiscFacts] = {}
        inner: dict[tuple[int, int], wire.QdiscFacts] = {}
        for body in self._requests.dump(wire.encode_dump_qdiscs):
            one = wire.parse_qdisc(body)
            if one.parent == wire.TC_H_ROOT:
                roots[one.device] = one
            elif one.parent >> 16 == MAJOR:
                inner[one.device, one.parent & 0xFFFF] = one
        self._observed = {view.name: self._with_root(view, roots.get(view.index), inner) for view in links}

    def _with_root(
        self, view: UplinkView, root: wire.QdiscFacts | None, inner: Mapping[tuple[int, int], wire.QdiscFacts]
    ) -> UplinkView:
        if root is None:
            return view
        view = replace(view, root=root.kind, major=root.handle >> 16, default_class=root.default_class)
        if not view.is_ours:
            return view
        classes: dict[int, ClassView] = {}
        for body in self._requests.dump(partial(wire.encode_dump_classes, view.index)):
            if (found := wire.parse_class(body)) is None:
                continue
            minor, one = found
            queue = inner.get((view.index, minor))
            if queue is not None:
                one = replace(one, queue=queue.kind, limit_bytes=queue.limit_bytes, dropped=queue.dropped)
            classes[minor] = one
        return replace(view, classes=classes)


def _problems(plan: Plan, failed: Mapping[ShapingAction, RefusedError]) -> tuple[ShapingProblem, ...]:
    """Return one problem for each device on which something was refused."""
    refused: dict[str, list[ShapingAction]] = {}
    for action in plan.actions:
        if action in failed:
            refused.setdefault(action.device, []).append(action)
    return tuple(_problem(device, actions, failed[actions[0]]) for device, actions in refused.items())


def _problem(device: str, actions: Sequence[ShapingAction], error: RefusedError) -> ShapingProblem:
    first, rest = actions[0], len(actions) - 1
    if isinstance(first, CreateRoot):
        if error.code == errno.ENOENT:
            return ShapingProblem(device, ShapingFault.UNSUPPORTED, f"{device}: this kernel has no htb (sch_htb)")
        return ShapingProblem(device, ShapingFault.REFUSED, f"{device}: no htb as root qdisc: {error}")
    what = "its qdisc" if isinstance(first, DeleteRoot) else f"class {MAJOR:x}:{first.minor:x}"
    more = f", and {rest} more" if rest else ""
    return ShapingProblem(device, ShapingFault.REFUSED, f"{device}: {what}{more}: {error}")
