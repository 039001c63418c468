"""What the meter must know of each EIP, made from the records when it is asked for: 10,000 at once hold the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from anycastd.model.address import Address
from anycastd.model.eip import Eip
from anycastd.model.traffic import EipStanding
from anycastd.resources.records import Records


class Standings(Mapping[Address, EipStanding]):
    """By address, of the records of this moment; the same object until the EIP changes.

    To ask for an EIP takes some 1 us: who goes through them all does so a bite at a time, never by `items()`.
    """

    def __init__(self, records: Callable[[], Records]) -> None:
        self._records = records
        self._known: dict[Address, tuple[Eip, EipStanding]] = {}

    def __getitem__(self, address: Address) -> EipStanding:
        eip = self._records().get(address)
        if eip is None:
            self._known.pop(address, None)
            raise KeyError(address)
        known = self._known.get(address)
        if known is None or known[0] is not eip:
            known = self._known[address] = (eip, EipStanding.of(eip))
        return known[1]

    def __iter__(self) -> Iterator[Address]:
        return iter(self._records().addresses())

    def __len__(self) -> int:
        return len(self._records())
