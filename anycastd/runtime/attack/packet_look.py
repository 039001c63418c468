"""Looks at a few packets of what is not NORMAL, and keeps a sketch of each; bounded whatever comes in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from math import ceil, log2
from typing import Protocol

from anycastd.attack.packet import sampled
from anycastd.attack.shape import Sketch
from anycastd.attack.top import Top
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address, Prefix
from anycastd.model.attack import Shape

MOST_SUSPECTS, SUSPECTED_SHARE, SUSPECTED_FROM = 8, 0.1, 20
MOST_EIPS = 32
"""Of those that are not NORMAL, so many with the most packets are looked at."""

log = logging.getLogger(__name__)


class Picker(Protocol):
    """Who picks packets; see `actuators.dataplane.packet_sample.PacketSample`. It hears so long after each `take`."""

    window_s: float

    def look_at(self, targets: Sequence[Prefix], share: float) -> None:
        """Pick a share of the packets to these, and of no others; ActuatorTransient if that cannot be."""
        ...

    def take(self) -> list[bytes]:
        """Return what was picked since the last time."""
        ...

    def close(self) -> None:
        """Pick no more."""
        ...


class PacketLook:
    """`prefixes` are ours, looked at as a whole where the POP is not NORMAL and no EIP stands out."""

    def __init__(self, picker: Picker, prefixes: Callable[[], Sequence[Prefix]]) -> None:
        self._picker, self._prefixes = picker, prefixes
        self._pop: Sketch | None = None
        self._eips: dict[Address, Sketch] = {}
        self._refused = False
        self._wide: Top[Address] | None = None

    def look(
        self, pop_packets: float | None, eips: Mapping[Address, float], per_s: int, now_s: float, *, wide: bool = False
    ) -> None:
        """Take in what was picked, and pick of what is not NORMAL now: packets a second of each; None: the POP is.

        `wide`: pick of all that comes to our prefixes, to see where most of it goes.
        """
        for data in self._picker.take():
            self._add(data, now_s)
        busiest = sorted(eips, key=lambda one: (-eips[one], int(one)))[:MOST_EIPS]
        self._eips = {one: self._eips.get(one) or Sketch(now_s) for one in busiest}
        if pop_packets is None and not busiest:
            self._pop = self._wide = None
            self._pick((), 0.0)
            return
        self._pop = self._pop or Sketch(now_s)
        all_of_it = wide or not busiest
        self._wide = (self._wide or Top(MOST_EIPS)) if wide else None
        targets = list(self._prefixes()) if all_of_it else [ip_network(one) for one in busiest]
        coming = pop_packets or 0.0 if all_of_it else sum(eips[one] for one in busiest)
        self._pick(targets, share_of(coming * self._picker.window_s, per_s))

    def _add(self, data: bytes, now_s: float) -> None:
        packet = sampled(data)
        if packet is None or self._pop is None:
            return
        self._pop.add(packet, now_s)
        if self._wide is not None:
            self._wide.add(packet.destination)
        if (sketch := self._eips.get(packet.destination)) is not None:
            sketch.add(packet, now_s)

    def _pick(self, targets: Sequence[Prefix], share: float) -> None:
        try:
            self._picker.look_at(targets, share)
        except ActuatorTransient as error:
            if not self._refused:
                log.warning("%s", error, extra={"reason": "packets_not_sampled"})
            self._refused = True
        else:
            self._refused = False

    def suspects(self) -> list[Address]:
        """Return where a tenth or more of what was picked wide goes, at most MOST_SUSPECTS; none of too few."""
        if self._wide is None or self._wide.total < SUSPECTED_FROM:
            return []
        least = self._wide.total * SUSPECTED_SHARE
        found = sorted(self._wide.certain().items(), key=lambda item: (-item[1], int(item[0])))
        return [address for address, count in found if count >= least][:MOST_SUSPECTS]

    def pop(self) -> Shape | None:
        """Return the shape of what comes to all that is looked at."""
        return self._pop.shape() if self._pop else None

    def of(self, address: Address) -> Shape | None:
        """Return the shape of what comes to an EIP."""
        sketch = self._eips.get(address)
        return sketch.shape() if sketch else None

    def close(self) -> None:
        """Pick no more."""
        self._picker.close()


def share_of(coming: float, per_s: int) -> float:
    """Return the share of `coming` that is about `per_s` a second; a power of two, so that it seldom changes."""
    return 1.0 if coming <= per_s else 2.0 ** -ceil(log2(coming / per_s))
