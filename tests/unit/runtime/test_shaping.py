"""The control loop tells when what is shaped changes, and only then."""

from __future__ import annotations

from dataclasses import replace

from anycastd.model.eip import Bandwidth, Shaping
from tests.unit.runtime.world import A, World, config, eip_of


def test_who_shapes_is_told_of_each_change_of_what_is_shaped() -> None:
    world = World(config())
    world.answer("")
    steering, told = world.control.forwarder.steering, list[int]()
    steering.on_shaped = lambda: told.append(len(steering.plane.shaped))
    eip = world.control.config.eips[eip_of(A)]

    def put(bandwidth: Bandwidth) -> list[int]:
        told.clear()
        steering.put(replace(eip, bandwidth=bandwidth), world.now_s)
        world.settle()
        world.settle()
        return told

    assert put(Bandwidth(out_bps=10**6)) == []
    assert put(Bandwidth(out_bps=10**6, shaping=Shaping.HTB)) == [1]
    assert put(Bandwidth(out_bps=10**6, in_bps=10**6, shaping=Shaping.HTB)) == []
    assert put(Bandwidth(out_bps=2 * 10**6, shaping=Shaping.HTB)) == [1]
    assert put(Bandwidth()) == [0]
