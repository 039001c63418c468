"""Pages of EIPs: filtered, in the order of their addresses, a bite at a time so that nothing waits for thousands."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from anycastd.api.endpoints.asked import count, one_of, parameter, word
from anycastd.api.ports import Eips, Shown
from anycastd.config.binding_rules import region_of
from anycastd.config.values.net import read_prefix
from anycastd.model.address import Address, Prefix
from anycastd.model.eip import Eip, EipStatus
from anycastd.resources.records import Place, address_at, parsed, place_of

FILTERS = ("status", "prefix", "region", "backend", "address", "limit", "next_token")
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
BITE = 50
_TOKEN = re.compile(r"([46])-([0-9a-f]{1,32})\Z")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which EIPs a page shall have; None = all."""

    status: EipStatus | None
    prefix: Prefix | None
    region: str | None
    backend: str | None
    address: Address | None
    limit: int
    begin: Place

    def holds(self, eip: Eip) -> bool:
        """Return whether an EIP fits, as far as it can be told without its status."""
        targets = eip.binding.targets if eip.binding is not None else ()
        return (
            (self.address is None or eip.address == self.address)
            and (self.prefix is None or eip.address in self.prefix)
            and (self.backend is None or any(target.backend == self.backend for target in targets))
            and (self.region is None or any(region_of(target.backend) == self.region for target in targets))
        )


def wanted_of(request: web.Request, eips: Eips) -> Wanted:
    """Return the filters of a request; BadRequestError says which is not understood."""
    prefix = parameter(request, "prefix", read_prefix)
    begin = parameter(request, "next_token", _place) or (0, 0)
    if prefix is not None:
        begin = max(begin, place_of(prefix.network_address))
    return Wanted(
        status=parameter(request, "status", word(EipStatus)),
        prefix=prefix,
        region=parameter(request, "region", one_of(eips.config.regions, "region")),
        backend=parameter(request, "backend", one_of(eips.config.backends, "backend")),
        address=parameter(request, "address", _address),
        limit=parameter(request, "limit", count(1, MAX_LIMIT)) or DEFAULT_LIMIT,
        begin=begin,
    )


def _address(text: str) -> Address:
    address = parsed(text)
    if address is None:
        message = f"{text[:64]!r} is not an address"
        raise ValueError(message)
    return address


def token_of(place: Place) -> str:
    """Return the token of a page that begins at a place."""
    return f"{place[0]}-{place[1]:x}"


def _place(text: str) -> Place:
    found = _TOKEN.match(text)
    if found is None or int(found[2], 16) >> (32 if found[1] == "4" else 128):
        message = f"{text[:64]!r} is no token of ours"
        raise ValueError(message)
    return int(found[1]), int(found[2], 16)


async def page_of(eips: Eips, wanted: Wanted) -> tuple[list[Shown], str | None]:
    """Return a page, and the token of the next one if there is more."""
    if wanted.address is not None:
        only = place_of(wanted.address)
        found = [shown for place in [only] if only >= wanted.begin and (shown := _fitting(eips, wanted, place))]
        return found, None
    page, begin = list[Shown](), wanted.begin
    while True:
        last = begin
        for place in _bite(eips, wanted, begin):
            last = (place[0], place[1] + 1)
            shown = _fitting(eips, wanted, place)
            if shown is not None and len(page) == wanted.limit:
                return page, token_of(place)
            if shown is not None:
                page.append(shown)
        if last == begin:
            return page, None
        begin = last
        await asyncio.sleep(0)


def _bite(eips: Eips, wanted: Wanted, begin: Place) -> Iterator[Place]:
    """Yield some of the next places; asked anew for each bite, for EIPs come and go meanwhile."""
    places = eips.records.places
    at = bisect_left(places, begin)
    end = None if wanted.prefix is None else place_of(wanted.prefix.broadcast_address)
    for place in places[at : at + BITE]:
        if end is not None and place > end:
            return
        yield place


def _fitting(eips: Eips, wanted: Wanted, place: Place) -> Shown | None:
    eip = eips.records.get(address_at(place))
    if eip is None or not wanted.holds(eip):
        return None
    shown = eips.show(str(eip.address))
    return shown if shown is not None and wanted.status in (None, shown.view.status) else None
