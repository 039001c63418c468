"""Another set of neighbors for a running ExaBGP: by SIGUSR1 when that can be seen to take, else by a restart.

ExaBGP 5.0.15 loses a reload without a word while a neighbor that is down has routes to be sent, and a file that it
cannot read costs it its bridge (measured); so the file is validated first, and what came of it is looked at.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from anycastd.actuators.exabgp.dump import Session
from anycastd.actuators.exabgp.events import Degraded
from anycastd.model.address import Address, NeighborName
from anycastd.model.bgp import SessionState
from anycastd.model.topology import Neighbor

if TYPE_CHECKING:
    from anycastd.actuators.exabgp.speaker import Speaker

TAKES_WITHIN_S = 2.0
LOOK_EACH_S = 0.1
TRIES = 2
AGE_STEP_S = 1.0


class Reload:
    """One change of neighbors."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker, self._supervisor = speaker, speaker.supervisor

    async def run(self, neighbors: dict[NeighborName, Neighbor]) -> None:
        """Apply the difference; raise ActuatorRejected, with nothing changed, if the file is no good."""
        before = dict(self._speaker.neighbors)
        rendered = self._supervisor.render(neighbors)
        digest = self._supervisor.digest(rendered)
        if digest == self._supervisor.state.config:
            self._speaker.set_neighbors(neighbors)
            return
        await self._supervisor.check(rendered)
        self._supervisor.files.adopt_candidate()
        self._speaker.set_neighbors(neighbors)
        state = self._supervisor.state
        if self._supervisor.running is None:
            return
        if await self._reload(before, neighbors):
            state.config = self._supervisor.digest(rendered)
            self._supervisor.note(state)
            return
        self._speaker.report(
            Degraded("reload", "a reload did not take: ExaBGP is restarted, its peers keep the routes")
        )
        await self._speaker.restart()
        self._speaker.report(Degraded("reload", ""))

    async def _reload(self, before: Mapping[NeighborName, Neighbor], after: Mapping[NeighborName, Neighbor]) -> bool:
        new = {neighbor.address for name, neighbor in after.items() if _told(before.get(name)) != _told(neighbor)}
        loop = asyncio.get_running_loop()
        for _ in range(TRIES):
            if not await self._all_up(before, after):
                return False
            began_s = loop.time()
            if not self._speaker.signal(signal.SIGUSR1, "!reload"):
                return False
            while loop.time() < began_s + TAKES_WITHIN_S:
                seen = await self._speaker.ask_sessions(LOOK_EACH_S * 5)
                if seen is not None and _took(seen.sessions, after, new, loop.time() - began_s):
                    return True
                await asyncio.sleep(LOOK_EACH_S)
        return False

    async def _all_up(self, before: Mapping[NeighborName, Neighbor], after: Mapping[NeighborName, Neighbor]) -> bool:
        """Return whether every session that there was is up: with one that is down the reload may be lost."""
        seen = await self._speaker.ask_sessions(TAKES_WITHIN_S)
        return seen is not None and all(one.state is SessionState.ESTABLISHED for one in seen.sessions)


def _told(neighbor: Neighbor | None) -> tuple[object, ...] | None:
    """Return what of a neighbor is in ExaBGP's file."""
    if neighbor is None:
        return None
    n = neighbor
    return (n.address, n.asn, n.local_address, n.local_asn, n.families, n.password_file, n.hold_time_s,
            n.graceful_restart_s, n.multihop, n.ttl_security)  # fmt: skip


def _took(
    sessions: tuple[Session, ...], after: Mapping[NeighborName, Neighbor], new: set[Address], since_s: float
) -> bool:
    """Return whether ExaBGP has exactly these peers, and those that changed are not the sessions of before."""
    if {one.peer for one in sessions} != {neighbor.address for neighbor in after.values()}:
        return False
    for one in sessions:
        older = one.state is SessionState.ESTABLISHED and one.age_s > since_s + AGE_STEP_S
        if one.peer in new and older:
            return False
    return True
