"""The EIPs that most packets go to when the POP's totals jump: read alone, again and again, until it is known who.

Reading every EIP takes a second where there are ten thousand; a handful takes a millisecond.
"""

from __future__ import annotations

from collections.abc import Collection

from anycastd.attack.eips import EipWatch
from anycastd.attack.opened import opened_of
from anycastd.attack.pop import Risen
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, Rate
from anycastd.model.attack_config import DetectConfig
from anycastd.model.nft import Count, Counters, NftSet

ARRIVING = (
    (NftSet.IN4, NftSet.IN6),
    (NftSet.LIMIT_IN4, NftSet.LIMIT_IN6),
    (NftSet.IDLE4, NftSet.IDLE6),
    (NftSet.DARK4, NftSet.DARK6),
)
"""Where packets to an EIP are counted: let through, above its limit, not bound, without a path."""

Seen = tuple[int, int, int, int, int]
"""Packets and bytes that arrived, packets above the limit, packets dropped, connections opened."""


class Suspects:
    """Of one alert, which began at `since_s` (monotonic), when the POP's rates had risen so."""

    def __init__(self, since_s: float, risen: Risen | None = None) -> None:
        self._since_s, self._risen = since_s, risen
        self._before: dict[Address, tuple[float, Seen]] = {}
        self._calm_until_s: dict[Address, float] = {}

    def feed(
        self,
        counters: Counters,
        addresses: Collection[Address],
        watch: EipWatch,
        hurts: Collection[AttackReason],
        config: DetectConfig,
    ) -> None:
        """Take in a reading of these alone, and let the watch judge each by what came since the reading before.

        Who is above from its first reading on was so since the alert began: that is why it is a suspect.
        """
        for address in addresses:
            now, at_s = _arrived(counters, address), counters.at_s
            before_s, before = self._before.get(address, (at_s, now))
            self._before[address] = (at_s, now)
            grown = [new - old for new, old in zip(now, before, strict=True)]
            span_s = at_s - before_s
            if span_s <= 0.0 or min(grown) < 0:
                continue
            packets, octets, limited, dropped, opened = grown
            connections = None if opened_of(counters, address) is None else opened / span_s
            rate = Rate(packets / span_s, octets * 8.0 / span_s, connections, dropped / span_s)
            calm_until_s = self._calm_until_s.get(address)
            lasted_s = at_s - (self._since_s if calm_until_s is None else calm_until_s)
            risen = self._risen if calm_until_s is None else None
            if not watch.suspect(address, rate, limited / span_s, lasted_s, at_s, hurts, config, risen):
                self._calm_until_s[address] = at_s

    def calm_until(self, address: Address, at_s: float) -> None:
        """Take in that one was as usual until then, if nothing is known of it yet."""
        self._calm_until_s.setdefault(address, at_s)


def _arrived(counters: Counters, address: Address) -> Seen:
    passed, limited, idle, dark = (
        counters.elements.get(names[address.version == 6], {}).get(address, Count()) for names in ARRIVING
    )
    dropped = limited + idle + dark
    whole = passed + dropped
    opened = opened_of(counters, address) or Count()
    return whole.packets, whole.bytes, limited.packets, dropped.packets, opened.packets
