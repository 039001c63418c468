"""Reading sets and rules."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from anycastd.actuators.nft import codec, events, facts, wire
from anycastd.actuators.nft.bites import HASTE
from anycastd.actuators.nft.channel import Channel
from anycastd.actuators.nft.layout import LAYOUTS
from anycastd.actuators.nft.picture import Raw
from anycastd.actuators.nft.thread import KernelThread
from anycastd.model.nft import NftSet

ONE_BYTES = 512
"""A datagram below is that of one element, not of a dump."""
ONES_AT_ONCE = 500


class Stray(NamedTuple):
    """A foreign element that the model has no word for, in the words of nft: a range, or one that matches all."""

    set: NftSet
    text: str


def datagrams_of(channel: Channel, table: str, name: NftSet) -> list[bytes]:
    """Return a set's elements as the kernel tells them; none when there is no such set."""
    return channel.dump(lambda sequence: wire.dump_set(table, name, sequence))


async def read_set(thread: KernelThread, table: str, name: NftSet, rest_s: float = 0.0) -> tuple[Raw, list[Stray]]:
    """Read a whole set, as of `raw_set`."""
    return await raw_set(name, await thread.ask(lambda channel: datagrams_of(channel, table, name)), rest_s)


async def raw_set(name: NftSet, datagrams: list[bytes], rest_s: float = 0.0) -> tuple[Raw, list[Stray]]:
    """Return a set's elements, and the stray ones; lets others run for a turn, or `rest_s`, after each datagram."""
    found: Raw = {}
    bounds: list[tuple[bytes, bool]] = []
    strays: list[Stray] = []
    layout, reader = LAYOUTS[name], wire.ElementReader()
    key_bytes = layout.key_bytes
    value_bytes = codec.LIMIT.size if layout.limit else layout.data_bytes
    for some in _together(datagrams):
        for rows in (wire.single_values(some),) if len(some) > 1 else reader.values(some[0]):
            for key, value, flags in rows:
                if layout.interval and len(key) == key_bytes:
                    bounds.append((key, not flags & wire.INTERVAL_END))
                elif len(key) == key_bytes and len(value) == value_bytes:
                    found[key] = value
                else:
                    strays.append(Stray(name, "*"))
        # without a rest somebody waits for just this
        await (HASTE.rest(rest_s) if rest_s else asyncio.sleep(0))
    for number, one in enumerate(codec.intervals(bounds)):
        if isinstance(one, bytes):
            found[one] = b""
        else:
            strays.append(Stray(name, "-".join(str(ip_address(address)) for address in one)))
        if number % ONES_AT_ONCE == ONES_AT_ONCE - 1:
            await (HASTE.rest(rest_s) if rest_s else asyncio.sleep(0))
    return found, strays


def _together(datagrams: list[bytes]) -> Iterator[list[bytes]]:
    """Yield datagrams alone, but those of one element many at a time."""
    at = 0
    while at < len(datagrams):
        end = at + 1
        while end < len(datagrams) and end - at < ONES_AT_ONCE and len(datagrams[end]) < ONE_BYTES:
            end += 1
        yield datagrams[at:end]
        at = end


def generation(channel: Channel) -> int:
    """Return the present generation of all tables."""
    return events.generation_in(channel.ask(events.generation_request))


def table_facts(channel: Channel, table: str) -> facts.TableFacts:
    """Return what tells whether the table and its rules stand."""
    body = _table(channel, table)
    if body is None:
        return facts.TableFacts()
    chains = channel.dump(facts.chains_request)
    rules = channel.dump(lambda sequence: facts.rules_request(table, sequence))
    return facts.facts(table, body, chains, rules)


def _table(channel: Channel, table: str) -> dict[int, bytes] | None:
    try:
        reply = channel.ask(lambda sequence: facts.table_request(table, sequence))
    except FileNotFoundError:
        return None
    return wire.values(reply.data, reply.body, reply.end)
