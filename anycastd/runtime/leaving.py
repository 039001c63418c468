"""The end that was asked for (SIGTERM): every prefix leaves that may; the others stay with an ExaBGP that runs on."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from anycastd.model.bgp import BgpObserved
from anycastd.model.decision import Level
from anycastd.runtime.control import Control
from anycastd.telemetry.logs import log_event

log = logging.getLogger("anycastd")

WITHIN_S = 10.0
LOOK_EACH_S = 0.02


class Speaker(Protocol):
    """ExaBGP, as far as leaving is concerned."""

    @property
    def observed(self) -> BgpObserved:
        """Return what it says it holds."""
        ...


async def leave(control: Control, speaker: Speaker) -> bool:
    """Withdraw what may leave and wait until ExaBGP says so; the kernel goes on forwarding (I5).

    Return False if others did not confirm it for some prefix (I1): then ExaBGP must not be ended, which would take
    that prefix off the air unasked.
    """
    loop = asyncio.get_running_loop()
    waits_s = [spec.timers.gshut_wait_s for spec in control.config.prefixes.values()]
    control.stop(loop.time())
    end_s = loop.time() + WITHIN_S + max(waits_s, default=0.0)
    while loop.time() < end_s:
        if _is_gone(control, speaker.observed):
            return True
        await asyncio.sleep(LOOK_EACH_S)
    stay = [str(prefix) for prefix, one in control.decisions.items() if one.level is not Level.WITHDRAWN]
    if stay:
        detail = (
            f"{len(stay)} prefixes stay, depreferenced, with ExaBGP: not enough others are confirmed: {stay[0]} ..."
        )
        log_event(log, "leaving_held", level=logging.WARNING, detail=detail)
        return False
    log_event(log, "leaving_unconfirmed", level=logging.WARNING, detail="ExaBGP did not confirm every withdrawal")
    return True


def _is_gone(control: Control, observed: BgpObserved) -> bool:
    """Return whether no upstream has anything of ours; our beacon, which says so, goes last."""
    observers = {name for name, neighbor in control.config.neighbors.items() if neighbor.is_observer}
    left = [name for name, routes in (observed.routes or {}).items() if routes and name not in observers]
    return not left and not any(name not in observers for name, _ in observed.in_flight)
