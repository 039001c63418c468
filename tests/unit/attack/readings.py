"""Readings of EIPs and of the POP, made of what they carry."""

from __future__ import annotations

from ipaddress import ip_address

from anycastd.attack.pop import PopCounts
from anycastd.model.address import Address
from anycastd.model.eip import EipId
from anycastd.model.traffic import EipStanding, EipTraffic, Rates, Sample, Totals

A, B, SIX = ip_address("203.0.113.7"), ip_address("203.0.113.8"), ip_address("2001:db8:113::7")


class Eips:
    """EIPs whose counters grow, and readings of them."""

    def __init__(self, *addresses: Address) -> None:
        self.now_s, self._numbers = 1000.0, dict(zip(addresses, range(1, len(addresses) + 1), strict=True))
        self.totals = {address: Totals() for address in addresses}
        self._shown: dict[Address, EipTraffic] = {}

    def anew(self, address: Address) -> None:
        """Let another EIP have the address."""
        self._numbers[address], self.totals[address] = max(self._numbers.values()) + 1, Totals()

    def release(self, address: Address) -> None:
        """Let an EIP go."""
        del self._numbers[address], self.totals[address], self._shown[address]

    def reading(self, seconds: float, rates: dict[Address, Totals]) -> Sample:
        """Let so much be counted per second, and read; who carried nothing is the very same object again."""
        self.now_s += seconds
        for address, number in self._numbers.items():
            grown = rates.get(address)
            if grown is not None:
                counts = zip(self.totals[address], grown, strict=True)
                self.totals[address] = Totals._make(had + int(more * seconds) for had, more in counts)
            shown = self._shown.get(address)
            if grown is not None or shown is None or shown.number != number:
                standing = EipStanding(EipId(f"eip-{number:08x}"))
                self._shown[address] = EipTraffic(standing, number, 0.0, tuple(self.totals[address]), tuple(Rates()))
        return Sample(self.now_s, self.now_s, seconds, dict(self._shown), Totals(), Rates(), {})


class PopCounters:
    """The POP's counters, which grow."""

    def __init__(self) -> None:
        self.now = PopCounts(1000.0, 0, 0, 0, 0)

    def after(
        self, seconds: float, packets: float, *, size: float = 500.0, connections: float = 0.0, dropped: float = 0.0
    ) -> PopCounts:
        """Return a reading after so much per second."""
        was = self.now
        self.now = PopCounts(
            was.at_s + seconds,
            was.packets + int(packets * seconds),
            was.bytes + int(packets * size * seconds),
            was.connections + int(connections * seconds),
            was.dropped_packets + int(dropped * seconds),
        )
        return self.now
