"""Neighbors with route-flap damping: what they make of our changes, so that the budget (I7) is tested against them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anycastd.model.decision import Level
from tests.property.histories import Moment

HALF_LIFE_S = 900.0
WITHDRAWAL, ATTRIBUTE_CHANGE = 1000.0, 500.0


@dataclass
class Router:
    """RFC 2439 with an exact decay; `suppressed` once the figure of merit has reached the limit."""

    suppress: float = 2000.0
    readvertisement: float = 0.0
    figure: float = 0.0
    updated_s: float = 0.0
    was_sent: bool = False
    highest: float = 0.0

    @property
    def suppressed(self) -> bool:
        return self.highest >= self.suppress

    def decay(self, now_s: float) -> None:
        self.figure *= 0.5 ** ((now_s - self.updated_s) / HALF_LIFE_S)
        self.updated_s = now_s

    def hear(self, now_s: float, before: Level, after: Level) -> None:
        """Take one change of ours."""
        self.decay(now_s)
        if after is Level.WITHDRAWN:
            self.figure += WITHDRAWAL
        elif before is Level.WITHDRAWN:
            self.figure += self.readvertisement if self.was_sent else 0.0
        else:
            self.figure += ATTRIBUTE_CHANGE
        self.was_sent = True
        self.highest = max(self.highest, self.figure)


class FrrRouter(Router):
    """As FRR counts (bgpd/bgp_damp.c): whole seconds, decay in steps of 5 s, the figure cut to an integer."""

    def decay(self, now_s: float) -> None:
        now_s = float(int(now_s))
        steps = int((now_s - self.updated_s) / 5.0)
        self.figure = float(int(self.figure * 0.5 ** (5.0 * steps / HALF_LIFE_S)))
        self.updated_s = now_s


def routers() -> tuple[Router, ...]:
    """Return one router of each reading."""
    return (Router(), FrrRouter(), Router(suppress=3000.0, readvertisement=1000.0))


def tell(router: Router, moments: Iterable[Moment], mrai_s: float = 0.0) -> Router:
    """Let a router hear a history; with `mrai_s`, a change waits until that long after the one before it."""
    free_s = 0.0
    for moment in moments:
        if moment.moved:
            heard_s = max(moment.facts.now_s, free_s)
            free_s = heard_s + mrai_s
            router.hear(heard_s, moment.before.level, moment.after.level)
    return router
