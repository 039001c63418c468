"""When the packet filter is told, and when it is not yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.model.eip import Eip, EipId
from anycastd.model.nft import NftSet
from anycastd.runtime import steering as words
from tests.unit.runtime.world import World


def anew(world: World) -> None:
    """Begin with a packet filter that holds nothing."""
    for elements in world.nft.elements.values():
        elements.clear()
    world.nft.resync += 1


def test_nothing_is_told_before_the_eips_of_a_start_are_here() -> None:
    world = World()
    steering, filled = world.control.forwarder.steering, False
    steering.is_filled = lambda: filled
    anew(world)
    world.answer("")
    assert not any(world.nft.elements.values()), "a prefix alone would be announced, its packets dropped as nobody's"
    filled = True
    world.settle()
    assert world.nft.elements[NftSet.OWN4]
    assert world.nft.elements[NftSet.EIP4]


def test_while_much_is_under_way_the_rest_is_told_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "TOLD_ANEW", 5)
    world = World()
    world.answer("")
    some = next(iter(world.control.config.eips.values()))
    prefix = next(iter(world.control.config.prefixes))
    new = [replace(some, address=prefix[number], id=EipId(f"eip-{number:08x}")) for number in (101, 102)]

    def put(eip: Eip) -> None:
        world.control.forwarder.steering.put(eip, world.now_s)

    put(new[0])
    world.nft.busy = True
    world.settle()
    assert new[0].address in world.nft.elements[NftSet.IN4], "a little is told at once, busy or not"
    anew(world)
    world.nft.busy = False
    monkeypatch.setattr(world.nft, "refuses", True)
    world.settle()
    monkeypatch.setattr(world.nft, "refuses", False)
    world.nft.busy = True
    put(new[1])
    world.settle()
    assert not world.nft.elements[NftSet.IN4]
    world.nft.busy = False
    world.settle()
    assert {eip.address for eip in new} <= world.nft.elements[NftSet.IN4].keys()
