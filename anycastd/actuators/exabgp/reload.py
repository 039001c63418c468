"""Another set of neighbors for a running ExaBGP: by SIGUSR1 when that can be seen to take, else by a restart.

ExaBGP 5.0.15 loses a reload without a word while a neighbor that is down has routes to be sent, and a file that it
cannot read costs it its bridge (measured); so the file is validated first, and what came of it is looked at.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from anycastd.actuators.exabgp import conf
from anycastd.actuators.exabgp.dump import Session
from anycastd.actuators.exabgp.events import Degraded, SpeakerEvent
from anycastd.actuators.exabgp.link import SessionsSeen
from anycastd.actuators.exabgp.supervisor import Supervisor
from anycastd.errors import ActuatorRejected, ActuatorTransient
from anycastd.model.address import Address, NeighborName
from anycastd.model.bgp import SessionState
from anycastd.model.topology import Neighbor

TAKES_WITHIN_S = 2.0
LOOK_EACH_S = 0.1
THAWED_EACH_S = 1.0
TRIES = 2
AGE_STEP_S = 1.0


class Speaking(Protocol):
    """What a reload needs of the speaker. `is_held`: nothing that is announced may change."""

    is_held: Callable[[], bool]

    @property
    def supervisor(self) -> Supervisor: ...
    @property
    def neighbors(self) -> Mapping[NeighborName, Neighbor]: ...
    def set_neighbors(self, neighbors: Mapping[NeighborName, Neighbor]) -> None: ...
    def report(self, event: SpeakerEvent) -> None: ...
    def signal(self, number: signal.Signals, words: str) -> bool: ...
    async def ask_sessions(self, within_s: float) -> SessionsSeen | None: ...
    async def restart(self) -> None: ...
    async def reconfigure(self, neighbors: Mapping[NeighborName, Neighbor]) -> None: ...


class Reload:
    """One change of neighbors."""

    def __init__(self, speaker: Speaking) -> None:
        self._speaker, self._supervisor = speaker, speaker.supervisor

    async def run(self, neighbors: dict[NeighborName, Neighbor]) -> None:
        """Apply the difference; raise ActuatorRejected, with nothing changed, if the file is no good."""
        rendered = await self._supervisor.render(neighbors)
        if self._supervisor.digest(rendered) == self._supervisor.state.config:
            self._speaker.set_neighbors(neighbors)
            return
        async with self._supervisor.placing:
            old_head, old = conf.blocks(self._supervisor.files.read_conf())
            head, new = conf.blocks(rendered)
            await self._supervisor.check(rendered)
            self._speaker.set_neighbors(neighbors)
            self._put_in_place(rendered)
        if self._supervisor.running is None:
            return
        changed = {address for address, told in new.items() if told != old.get(address)}
        # another bridge is not to be had by a reload: ExaBGP then answers it that no neighbor matches
        if head == old_head and await self._reload(neighbors, changed):
            self._supervisor.note(replace(self._supervisor.state, config=self._supervisor.digest(rendered)))
            return
        self._speaker.report(Degraded("reload", "a reload did not take: ExaBGP is restarted"))
        await self._speaker.restart()
        self._speaker.report(Degraded("reload", ""))

    def _put_in_place(self, rendered: bytes) -> None:
        """Make the candidate the file in use; what else cannot be written is told, for the neighbors are taken."""
        try:
            self._supervisor.put_in_place(rendered)
        except OSError as error:
            self._speaker.report(Degraded("plan", f"how the service starts ExaBGP is not on disk: {error}"))
        else:
            self._speaker.report(Degraded("plan", ""))

    async def _reload(self, after: Mapping[NeighborName, Neighbor], changed: set[Address]) -> bool:
        loop = asyncio.get_running_loop()
        for _ in range(TRIES):
            if not await self._all_up():
                return False
            began_s = loop.time()
            if not self._speaker.signal(signal.SIGUSR1, "!reload"):
                return False
            while loop.time() < began_s + TAKES_WITHIN_S:
                seen = await self._speaker.ask_sessions(LOOK_EACH_S * 5)
                if seen is not None and _took(seen.sessions, after, changed, loop.time() - began_s):
                    return True
                await asyncio.sleep(LOOK_EACH_S)
        return False

    async def _all_up(self) -> bool:
        """Return whether every session that there was is up: with one that is down the reload may be lost."""
        seen = await self._speaker.ask_sessions(TAKES_WITHIN_S)
        return seen is not None and all(one.state is SessionState.ESTABLISHED for one in seen.sessions)


async def match(speaker: Speaking) -> None:
    """Give an adopted ExaBGP the configuration of today; settings that only a start can change are left."""
    supervisor = speaker.supervisor
    try:
        wanted, running = supervisor.digest(await supervisor.render(speaker.neighbors)), supervisor.state.config
        if wanted.partition("-")[0] != running.partition("-")[0]:
            await _thawed(speaker)
            await speaker.reconfigure(speaker.neighbors)
        elif wanted != running:
            speaker.report(Degraded("settings", "ExaBGP runs with the settings of an earlier start"))
    except (ActuatorRejected, ActuatorTransient) as error:
        speaker.report(Degraded("configuration", str(error)))


async def _thawed(speaker: Speaking) -> None:
    """Wait while announcements are frozen: another set of neighbors would end sessions, and with them routes."""
    while speaker.is_held():
        speaker.report(Degraded("frozen", "announcements are frozen: ExaBGP keeps the neighbors of the daemon before"))
        await asyncio.sleep(THAWED_EACH_S)
    speaker.report(Degraded("frozen", ""))


def _took(
    sessions: tuple[Session, ...], after: Mapping[NeighborName, Neighbor], changed: set[Address], since_s: float
) -> bool:
    """Return whether ExaBGP has exactly these peers, and those that changed are not the sessions of before."""
    if {one.peer for one in sessions} != {neighbor.address for neighbor in after.values()}:
        return False
    for one in sessions:
        older = one.state is SessionState.ESTABLISHED and one.age_s > since_s + AGE_STEP_S
        if one.peer in changed and older:
            return False
    return True
