"""Reading every counter."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import TypeVar

from anycastd.actuators.nft import codec, wire
from anycastd.actuators.nft.bites import rest
from anycastd.actuators.nft.channel import Channel
from anycastd.actuators.nft.filters import COUNTER
from anycastd.actuators.nft.layout import LAYOUTS, Field
from anycastd.actuators.nft.picture import Picture
from anycastd.actuators.nft.thread import KernelThread
from anycastd.model.address import Address
from anycastd.model.nft import Count, Counters, Key, NamedCounter, NftSet, PopCounter, PopTotals

COUNTED = tuple(name for name, layout in LAYOUTS.items() if layout.counter)
OPENED = (NftSet.NEW4, NftSet.NEW6)
METERED = tuple(name for name in COUNTED if name not in OPENED)
"""What every reading has: new connections are read only when there are many."""
OBJECT_TABLE, OBJECT_NAME, OBJECT_TYPE, OBJECT_DATA = 1, 2, 3, 4
OBJECT_COUNTER = 1
Name = TypeVar("Name", NamedCounter, PopCounter)


async def read(thread: KernelThread, table: str, picture: Picture) -> Counters:
    """Read the counters of what passed and was dropped, and those with names; ActuatorTransient if that fails."""
    at_s = time.monotonic()
    elements = await _read_sets(thread, table, picture, METERED)
    return Counters(at_s, elements, await read_named(thread, table))


async def read_opened(thread: KernelThread, table: str, picture: Picture) -> Counters:
    """Read how many connections were opened to each EIP; ActuatorTransient if that fails."""
    begun_s: list[float] = []
    # when the thread comes to it: behind another job the rates would be of another span
    await thread.ask(lambda _: begun_s.append(time.monotonic()))
    return Counters(begun_s[0], await _read_sets(thread, table, picture, OPENED))


async def _read_sets(
    thread: KernelThread, table: str, picture: Picture, names: Sequence[NftSet]
) -> dict[NftSet, Mapping[Address, Count]]:
    """Read the counters of all elements of some sets, a bite at a time."""
    return {name: await read_set(thread, table, name, picture.keys(name)) for name in names}


async def read_named(thread: KernelThread, table: str) -> dict[NamedCounter, Count]:
    """Read the counters of drops that belong to no EIP."""
    return _of((await _named(thread, table))[1], NamedCounter)


async def read_totals(thread: KernelThread, table: str) -> PopTotals:
    """Read the POP's totals; ActuatorTransient if that fails."""
    at_s, named = await _named(thread, table)
    dropped = sum(count.packets for count in _of(named, NamedCounter).values())
    filtered = sum(count.packets for name, count in named.items() if name.startswith(COUNTER))
    return PopTotals(at_s, _of(named, PopCounter), dropped + filtered)


async def read_filters(thread: KernelThread, table: str) -> dict[str, Count]:
    """Read the counters of blackholes and flow rules by their names, those of rules that have ended too."""
    named = (await _named(thread, table))[1]
    return {name: count for name, count in named.items() if name.startswith(COUNTER)}


async def _named(thread: KernelThread, table: str) -> tuple[float, dict[str, Count]]:
    """Return what the counters say, and when they were read."""

    def ask(channel: Channel) -> tuple[float, list[bytes]]:
        # not when it was asked for: behind another job the rates would be of another span
        return time.monotonic(), channel.dump(lambda sequence: _named_request(table, sequence))

    at_s, datagrams = await thread.ask(ask)
    return at_s, _counts(datagrams)


def _of(named: Mapping[str, Count], names: type[Name]) -> dict[Name, Count]:
    return {one: named[one.value] for one in names if one.value in named}


async def read_some(
    thread: KernelThread, table: str, names: Sequence[NftSet], addresses: Sequence[Address]
) -> Counters:
    """Read the counters of a few EIPs in some sets: as quick as they are few; ActuatorTransient if that fails."""

    def ask(channel: Channel) -> tuple[float, dict[NftSet, list[bytes]]]:
        at_s, found = time.monotonic(), {}
        for name in names:
            version = 6 if LAYOUTS[name].key == (Field.IPV6,) else 4
            keys = [codec.encode_key(name, one) for one in addresses if one.version == version]
            if keys:
                found[name] = channel.get(table, name, keys)
        return at_s, found

    elements: dict[NftSet, dict[Address, Count]] = {}
    at_s, answers = await thread.ask(ask)
    for name, datagrams in answers.items():
        reader, here = wire.ElementReader(), elements.setdefault(name, {})
        for data in datagrams:
            for rows in reader.counters(data):
                for key, packets, octets in rows:
                    address = codec.decode_key(name, key)
                    if isinstance(address, IPv4Address | IPv6Address):
                        here[address] = Count(packets, octets)
    return Counters(at_s, elements)


async def read_set(
    thread: KernelThread, table: str, name: NftSet, known: Mapping[bytes, Key] = MappingProxyType({})
) -> dict[Address, Count]:
    """Read the counters of one set's elements; `known` are its keys by their bytes."""
    datagrams = await thread.ask(lambda channel: channel.dump(lambda sequence: wire.dump_set(table, name, sequence)))
    found: dict[Address, Count] = {}
    reader, wide = wire.ElementReader(), LAYOUTS[name].key_bytes
    for data in datagrams:
        for rows in reader.counters(data):
            for key, packets, octets in rows:
                if len(key) == wide:
                    address = known.get(key) or codec.decode_key(name, key)
                    if isinstance(address, IPv4Address | IPv6Address):
                        found[address] = Count(packets, octets)
            await rest()
    return found


def _named_request(table: str, sequence: int) -> bytes:
    body = wire.text(OBJECT_TABLE, table) + wire.attribute(OBJECT_TYPE, OBJECT_COUNTER.to_bytes(4, "big"))
    return wire.request(wire.GETOBJ, wire.NLM_F_DUMP, sequence, body)


def _counts(datagrams: list[bytes]) -> dict[str, Count]:
    found: dict[str, Count] = {}
    for data in datagrams:
        for reply in wire.replies(data):
            have = wire.values(data, reply.body, reply.end) if reply.type >> 8 == wire.SUBSYSTEM else {}
            counter = have.get(OBJECT_NAME, b"").rstrip(b"\0").decode(errors="replace")
            if counter:
                numbers = wire.values(have[OBJECT_DATA], 0, len(have[OBJECT_DATA]))
                octets, packets = (int.from_bytes(numbers.get(what, b""), "big") for what in (1, 2))
                found[counter] = Count(packets, octets)
    return found
