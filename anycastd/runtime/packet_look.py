"""Looks at a few packets of what is not NORMAL, and keeps a sketch of each; bounded whatever comes in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from math import ceil, log2
from typing import Protocol

from anycastd.attack.packet import sampled
from anycastd.attack.shape import Sketch
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address, Prefix
from anycastd.model.attack import Shape

MOST_EIPS = 32
"""Of those that are not NORMAL, so many with the most packets are looked at."""

log = logging.getLogger(__name__)


class Picker(Protocol):
    """Who picks packets; see `actuators.dataplane.packet_sample.PacketSample`."""

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

    def look(self, pop_packets: float | None, eips: Mapping[Address, float], per_s: int, now_s: float) -> None:
        """Take in what was picked, and pick of what is not NORMAL now: packets a second of each; None: the POP is."""
        for data in self._picker.take():
            self._add(data, now_s)
        busiest = sorted(eips, key=lambda one: (-eips[one], int(one)))[:MOST_EIPS]
        self._eips = {one: self._eips.get(one) or Sketch(now_s) for one in busiest}
        if pop_packets is None and not busiest:
            self._pop = None
            self._pick((), 0.0)
            return
        self._pop = self._pop or Sketch(now_s)
        targets = [ip_network(one) for one in busiest] or list(self._prefixes())
        coming = sum(eips[one] for one in busiest) if busiest else pop_packets or 0.0
        self._pick(targets, share_of(coming, per_s))

    def _add(self, data: bytes, now_s: float) -> None:
        packet = sampled(data)
        if packet is None or self._pop is None:
            return
        self._pop.add(packet, now_s)
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
