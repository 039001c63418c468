"""ExaBGP, the kernel and the probes of a simulated day, with faults of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random

from anycastd.model.address import CheckId, Family, NeighborName, Prefix
from anycastd.model.bgp import (
    Announce,
    BgpAction,
    BgpObserved,
    EndOfRib,
    Route,
    SessionState,
    SessionView,
    SpeakerState,
    Withdraw,
)
from anycastd.model.checks import ProbeSpec
from anycastd.model.kernel import DeleteRoute, KernelAction, PutRoute
from anycastd.reconcile.bgp import Key
from tests.simulation.router import Router
from tests.unit.runtime.world import Kernel

ACK_S = 0.004
DUMP_S = 1.0
V4 = Family.IPV4_UNICAST


class Speaker:
    """ExaBGP: holds its own rib, tells the routers, and answers late, not at all, or with a refusal when `lossy`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random, routers: dict[NeighborName, Router]) -> None:
        self._loop, self._rng, self.routers = loop, rng, routers
        self.rib: dict[NeighborName, dict[Prefix, Route]] = {name: {} for name in routers}
        self.lossy = False
        self.changed: Callable[[frozenset[Prefix] | None], None] = lambda prefixes: None
        self.refused: Callable[[Key], None] = lambda key: None
        self.never_sent: set[Prefix] = set()
        """Prefixes that it was not told to announce since the daemon found them absent."""
        self._queue: list[BgpAction] = []
        self._epoch = 0
        self.observed = BgpObserved()
        self._up(0)

    def apply(self, actions: Sequence[BgpAction], /) -> None:
        if not self._queue:
            self._loop.call_later(ACK_S, self._drain, self._epoch)
        self._queue += actions
        keys = {key for action in actions if (key := _key(action)) is not None}
        self.observed = replace(self.observed, in_flight=self.observed.in_flight | keys)

    def _drain(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        queue, self._queue = self._queue, []
        refused: list[Key] = []
        routes = {name: dict(have) for name, have in (self.observed.routes or {}).items()}
        owed = set(self.observed.eor_owed)
        for action in queue:
            luck = self._rng.random() if self.lossy else 1.0
            key = _key(action)
            if luck < 0.1:
                continue
            if luck < 0.2:
                refused += [] if key is None else [key]
                continue
            self._execute(action)
            if luck < 0.3:
                self._loop.call_later(DUMP_S, self._dump, epoch)
            elif isinstance(action, EndOfRib):
                owed.discard((action.neighbor, action.family))
            elif isinstance(action, Announce | Withdraw):
                _put(routes, action)
        self.observed = replace(self.observed, routes=routes, in_flight=frozenset(), eor_owed=frozenset(owed))
        for key in refused:
            self.refused(key)
        self.changed(frozenset(key[1] for action in queue if (key := _key(action)) is not None))

    def _execute(self, action: BgpAction) -> None:
        now_s = self._loop.time()
        router = self.routers[action.neighbor]
        if isinstance(action, EndOfRib):
            router.end_of_rib()
            return
        assert isinstance(action, Announce | Withdraw)
        _put(self.rib, action)
        prefix = action.route.prefix if isinstance(action, Announce) else action.prefix
        if isinstance(action, Announce):
            self.never_sent.discard(prefix)
        router.update(now_s, prefix, self.rib[action.neighbor].get(prefix))

    def _dump(self, epoch: int) -> None:
        if epoch == self._epoch and self.observed.routes is not None:
            held = {name: dict(have) for name, have in self.rib.items()}
            self.observed = replace(self.observed, routes=held)
            self.changed(None)

    def stray(self, prefix: Prefix) -> None:
        """Hold a route that nobody asked for, beside others: alone it would be all that a daemon that starts finds,
        which it then keeps as if its file had lost everything (I4)."""
        name = next(iter(self.rib))
        if self.observed.routes is not None and self.rib[name]:
            self.rib[name][prefix] = Route(prefix, "192.0.2.9", (64500,))
            self.routers[name].update(self._loop.time(), prefix, self.rib[name][prefix])
            self._dump(self._epoch)

    def restart(self, away_s: float) -> None:
        """End, and come back with an empty rib."""
        self._epoch += 1
        self._queue.clear()
        for name, router in self.routers.items():
            router.session_lost()
            self.rib[name].clear()
        self.observed = BgpObserved()
        self._loop.call_later(away_s, self._up, self._epoch)
        self.changed(None)

    def _up(self, epoch: int) -> None:
        if epoch == self._epoch:
            self.observed = BgpObserved(
                speaker=SpeakerState.READY,
                routes={name: {} for name in self.rib},
                sessions={name: SessionView(SessionState.ESTABLISHED) for name in self.rib},
                eor_owed=frozenset((name, V4) for name in self.rib),
            )
            self.changed(None)


def _key(action: BgpAction) -> Key | None:
    if not isinstance(action, Announce | Withdraw):
        return None
    return (action.neighbor, action.route.prefix if isinstance(action, Announce) else action.prefix)


def _put(routes: dict[NeighborName, dict[Prefix, Route]], action: Announce | Withdraw) -> None:
    if isinstance(action, Announce):
        routes.setdefault(action.neighbor, {})[action.route.prefix] = action.route
    else:
        routes.get(action.neighbor, {}).pop(action.prefix, None)


class SimulatedKernel(Kernel):
    """Takes no route over a device that is down, and drops those it has."""

    def __init__(self) -> None:
        super().__init__()
        self.dead: set[str] = set()

    def apply(self, actions: Sequence[KernelAction], /) -> None:
        possible = [a for a in actions if not isinstance(a, PutRoute) or a.route.device not in self.dead]
        super().apply(possible)
        self.done.clear()

    def link(self, device: str, up: bool) -> None:
        """Turn a device on or off."""
        if up:
            self.dead.discard(device)
            return
        self.dead.add(device)
        lost = [DeleteRoute(route) for route in self.observed.routes or () if route.device == device]
        refuses, self.refuses = self.refuses, False
        super().apply(lost)
        self.refuses = refuses


class Probes:
    """Runs each check every `interval_s`, or `fast_interval_s` while its verdict is pending."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random, probe: Callable[[ProbeSpec], None]) -> None:
        self._loop, self._rng, self._probe = loop, rng, probe
        self._specs: dict[CheckId, ProbeSpec] = {}
        self._pending: set[CheckId] = set()
        self._closed = False

    def set_probes(self, specs: Iterable[ProbeSpec]) -> None:
        old, self._specs = self._specs, {spec.id: spec for spec in specs}
        for id_, spec in self._specs.items():
            if old.get(id_) != spec:
                self._pending.add(id_)
                self._loop.call_later(self._rng.random(), self._run, spec)

    def pending(self, check: CheckId, pending: bool, /) -> None:
        (self._pending.add if pending else self._pending.discard)(check)

    def close(self) -> None:
        """Probe no more."""
        self._closed = True

    def _run(self, spec: ProbeSpec) -> None:
        if self._closed or self._specs.get(spec.id) != spec:
            return
        self._probe(spec)
        timing = spec.check.timing
        fast = spec.id in self._pending and timing.fast_interval_s is not None
        self._loop.call_later((timing.fast_interval_s if fast else timing.interval_s) or 1.0, self._run, spec)
