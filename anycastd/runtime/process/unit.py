"""The daemon as a unit of systemd: when it is ready, what it says of itself, and that its loop goes round."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anycastd.api.views.readiness import conditions
from anycastd.model.bgp import SessionState
from anycastd.model.decision import Level, PrefixState
from anycastd.model.health import Health
from anycastd.model.status import Status
from anycastd.runtime.process.notify import Notify

READY_WITHIN_S = 30.0
"""What is outside (ExaBGP, a neighbor, a backend) must not make systemd end us and begin anew: then we say that we are
ready, and STATUS says what is not."""
NEEDED = frozenset({"observation", "data_plane", "packet_filter", "decided", "stages"})
"""Conditions of /readyz that are our own doing. Sessions and failed prefixes are not."""
PET_EACH_S = 1.0
EXTEND_S = 10.0
ENDS_WITHIN_S = 90.0
"""So long, besides what prefixes wait in GSHUT, an end may take; then no more time is asked for: systemd ends us."""
STUCK_AFTER_S = 60.0


def sentence(status: Status) -> str:
    """Return the line that `systemctl status` shows."""
    prefixes, tunnels = status.prefixes.values(), status.health.tunnels.values()
    announced = sum(view.state is PrefixState.ANNOUNCED for view in prefixes)
    lowered = sum(view.state is PrefixState.ANNOUNCED and view.decision.level is not Level.NORMAL for view in prefixes)
    healthy = sum(view.health is Health.HEALTHY for view in tunnels)
    up = sum(view.state is SessionState.ESTABLISHED for view in status.bgp.sessions.values())
    parts = [
        f"{announced}/{len(status.config.prefixes)} prefixes announced" + (f" ({lowered} lowered)" if lowered else ""),
        f"{healthy}/{len(tunnels)} tunnels healthy",
        f"{up}/{len(status.config.neighbors)} sessions up",
        f"{len(status.alarms)} alarm{'' if len(status.alarms) == 1 else 's'}",
    ]
    wrong = [reason for _, holds, reason in conditions(status) if not holds]
    head = "stopping" if status.stopping else f"not ready: {wrong[0]}" if wrong else "ready"
    return f"{status.config.pop.name} AS{status.config.pop.asn}: {head}; {', '.join(parts)}"


class Unit:
    """Tells the service manager what it must know; `turns_each_s` is how often the control loop goes round."""

    def __init__(self, notify: Notify, clock: Callable[[], float], turns_each_s: Callable[[], float]) -> None:
        self._notify, self._clock, self._turns_each_s = notify, clock, turns_each_s
        self._began_s = self._turned_s = clock()
        self._ready = self._stopping = False
        self._ends_s = 0.0
        self._said = ""

    def turned(self) -> None:
        """Note that the control loop went round."""
        self._turned_s = self._clock()

    def see(self, status: Status) -> None:
        """Tell what changed of the state, and READY once it is good enough."""
        if self._stopping or not self._notify.heard:
            return
        said = sentence(status)
        if said != self._said:
            self._said = said
            self._notify.send(STATUS=said)
        if not self._ready:
            good = all(holds for name, holds, _ in conditions(status) if name in NEEDED)
            if good or self._clock() - self._began_s >= READY_WITHIN_S:
                self._ready = self._notify.send(READY=1)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell of a reload while it lasts."""
        if not self._ready:
            yield
            return
        self._notify.reloading()
        try:
            yield
        finally:
            self._notify.send(READY=1)

    def stopping(self, how: str, gshut_s: float = 0.0) -> None:
        """Tell that we end, and from now on that it goes on, as long as it may take."""
        self._stopping, self._ends_s = True, self._clock() + gshut_s + ENDS_WITHIN_S
        self._notify.send(STOPPING=1, STATUS=f"ending: {how}")
        self.pet()

    async def run(self) -> None:
        """Show that the loop goes round, for as long as it does."""
        each_s = min(PET_EACH_S, (self._notify.watchdog_s or 3 * PET_EACH_S) / 3)
        while self._notify.heard:
            self.pet()
            await asyncio.sleep(each_s)

    def pet(self) -> None:
        """Say that we live; not when the control loop stands still, though this one turns."""
        if self._stopping and self._clock() < self._ends_s:
            self._notify.send(EXTEND_TIMEOUT_USEC=int(EXTEND_S * 1e6), WATCHDOG=1)
        elif not self._stopping and self._clock() - self._turned_s < max(STUCK_AFTER_S, 3 * self._turns_each_s()):
            self._notify.send(WATCHDOG=1)

    def close(self) -> None:
        """Say nothing more."""
        self._notify.close()
