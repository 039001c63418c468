"""The end that was asked for (SIGTERM): every prefix leaves that may; the others stay with an ExaBGP that runs on."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from anycastd.model.address import Prefix
from anycastd.model.bgp import BgpObserved, SpeakerState
from anycastd.model.decision import Level
from anycastd.model.topology import Config
from anycastd.runtime.control import Control
from anycastd.telemetry.logs import log_event

log = logging.getLogger("anycastd")

WITHIN_S = 10.0
LOOK_EACH_S = 0.02
HEARTBEATS = 3


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
    loop, fleet = asyncio.get_running_loop(), control.config.fleet
    gshut_s = longest_gshut_s(control.config)
    # a POP that hears us has said so within three heartbeats, or is not counted any more
    patience_s = WITHIN_S if fleet is None else min(HEARTBEATS * fleet.heartbeat_s + 1.0, WITHIN_S)
    begun_s = loop.time()
    control.stop(begun_s)
    stay: list[Prefix] = []
    while loop.time() < begun_s + gshut_s + WITHIN_S:
        if _is_gone(control, speaker.observed):
            return True
        stay = [prefix for prefix, one in control.decisions.items() if one.level is not Level.WITHDRAWN]
        if stay and loop.time() > begun_s + gshut_s + patience_s:
            detail = f"not enough others are confirmed: {len(stay)} prefixes stay with ExaBGP, depreferenced: {stay[0]}"
            log_event(log, "leaving_held", level=logging.WARNING, detail=detail)
            return False
        await asyncio.sleep(LOOK_EACH_S)
    log_event(log, "leaving_unconfirmed", level=logging.WARNING, detail="ExaBGP did not confirm every withdrawal")
    return not stay and (fleet is None or speaker.observed.routes is not None)


def longest_gshut_s(config: Config) -> float:
    """Return how long the most patient prefix waits in GSHUT, in seconds."""
    return max((spec.timers.gshut_wait_s for spec in config.prefixes.values()), default=0.0)


def _is_gone(control: Control, observed: BgpObserved) -> bool:
    """Return whether no upstream has anything of ours; our beacon, which says so, goes last.

    In a fleet what an ExaBGP holds that has not said so yet is not gone: to end it would withdraw that unasked (I1).
    """
    if observed.routes is None and control.config.fleet is not None:
        return observed.speaker is SpeakerState.ABSENT
    observers = {name for name, neighbor in control.config.neighbors.items() if neighbor.is_observer}
    left = [name for name, routes in (observed.routes or {}).items() if routes and name not in observers]
    return not left and not any(name not in observers for name, _ in observed.in_flight)
