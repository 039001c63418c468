"""After the POP's totals jumped: who is it about. Looks at a few EIPs, and at new connections, until it is known.

By construction an EIP is an ATTACK at most two and a half intervals after its flood began, and what the looks take. The
totals show a flood of one EIP once it filled half an interval at the floor, that is after one and a half at most; from
then it is looked twice an interval. `confirm_s` (1.25) is reached with the second of those looks if the rise itself was
above the bounds (it counts as half an interval), else with the third, but then the rise was seen half an interval
earlier.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf

from anycastd.actuators.dataplane.losses import Losses
from anycastd.actuators.nft.bites import rest
from anycastd.attack import openers
from anycastd.attack.allowance import Allowance
from anycastd.attack.eips import EipWatch
from anycastd.attack.openers import Openers, may_be_some
from anycastd.attack.pop import PopWatch
from anycastd.attack.suspects import Suspects
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason
from anycastd.model.attack_config import DetectConfig
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.nft import Counters, PopTotals

ALERT_S = 4.0
"""How long it is looked for who it is about after the POP's totals jumped."""
PACE = 0.5
"""Of the interval, meanwhile."""
MOST_OPENERS = 8

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sources:
    """Where numbers come from: what awaits the kernel raises ActuatorTransient, `losses` blocks and raises OSError."""

    totals: Callable[[], Awaitable[PopTotals]]
    conntrack: Callable[[], Awaitable[ConntrackStats]]
    losses: Callable[[], Losses]
    latency_ms: Callable[[], float | None]
    read_eips: Callable[[], None]
    """Has every EIP read soon; the reading comes by `AttackWatch.take`."""
    read_opened: Callable[[], Awaitable[Counters]]
    """Reads how many connections were opened to each EIP."""
    read_some: Callable[[Sequence[Address]], Awaitable[Counters]]
    """Reads a few EIPs alone."""
    reading_cost_s: Callable[[], float]


@dataclass(slots=True)
class _Search:
    """What one alert knows."""

    suspects: Suspects
    openers: Openers
    is_new: bool = True
    cost_s: float = inf


class Alert:
    """`suspects` are the EIPs that most packets go to, as a sample says; `clock` is monotonic."""

    def __init__(self, sources: Sources, suspects: Callable[[], Sequence[Address]], clock: Callable[[], float]) -> None:
        self._sources, self._named, self._clock = sources, suspects, clock
        self._until_s, self._opened_cost_s = 0.0, 0.0
        self._readings, self._opened_readings = Allowance(), Allowance(openers.AT_ONCE)
        self._search: _Search | None = None

    def is_on(self, now_s: float) -> bool:
        """Return whether it is looked for somebody."""
        return now_s < self._until_s

    def pace(self, now_s: float) -> float:
        """Return by which part of the interval to look again."""
        return PACE if self.is_on(now_s) else 1.0

    def end(self) -> None:
        """Look for nobody any more."""
        self._until_s, self._search = 0.0, None

    def note(self, pop: PopWatch, at_s: float, now_s: float) -> None:
        """Take in the POP's reading of `at_s`: an alert begins, goes on, or ends."""
        if pop.jumped:
            self._until_s = now_s + ALERT_S
        if not self.is_on(now_s):
            self.end()
        elif self._search is None:
            self._search = _Search(Suspects(at_s, pop.risen), Openers(at_s, pop.risen))

    async def look(self, pop: PopWatch, eips: EipWatch, pains: Sequence[AttackReason], config: DetectConfig) -> None:
        """Read new connections, those EIPs that most packets go to, and all once, in case they are many.

        What cannot be read changes no state.
        """
        if (search := self._search) is None:
            return
        try:
            if may_be_some(pop.rate.connections, config):
                await self._look_for_openers(search, eips, pains, config)
            if addresses := list(dict.fromkeys([*self._named(), *list(search.openers.above)[:MOST_OPENERS]])):
                counters = await self._sources.read_some(addresses)
                search.suspects.feed(counters, addresses, eips, pains, config)
        except ActuatorTransient as error:
            log.warning("counters not read: %s", error, extra={"reason": "counters_not_read"})
        # last, as what is asked of the kernel meanwhile waits for it
        if search.is_new and self._readings.take(self._clock(), self._sources.reading_cost_s()):
            self._sources.read_eips()
        search.is_new = False

    async def _look_for_openers(
        self, search: _Search, eips: EipWatch, pains: Sequence[AttackReason], config: DetectConfig
    ) -> None:
        if not self._opened_readings.take(self._clock(), self._opened_cost_s):
            return
        before_s = time.process_time()
        counters = await self._sources.read_opened()
        for _ in search.openers.steps(counters, eips, pains, config):
            await rest()
        # the least of an alert: meanwhile the daemon does other work too, above all the reading of everything
        search.cost_s = min(search.cost_s, time.process_time() - before_s)
        self._opened_cost_s = search.cost_s
        for address, since_s in search.openers.above.items():
            search.suspects.calm_until(address, since_s)
