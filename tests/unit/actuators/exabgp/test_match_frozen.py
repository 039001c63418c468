"""An adopted ExaBGP whose neighbors are not those of the file, while announcements are frozen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from anycastd.actuators.exabgp import reload
from anycastd.actuators.exabgp.events import Degraded
from anycastd.model.address import NeighborName
from anycastd.model.topology import Neighbor


async def rendered(neighbors: Mapping[NeighborName, Neighbor]) -> bytes:
    return b""


class Adopted:
    """A speaker whose ExaBGP runs with another file."""

    supervisor = SimpleNamespace(
        state=SimpleNamespace(config="old-1"), render=rendered, digest=lambda rendered: "new-1"
    )

    def __init__(self) -> None:
        self.neighbors: Mapping[NeighborName, Neighbor] = {}
        self.frozen, self.done = True, False
        self.told: list[Degraded] = []
        self.heard = asyncio.Event()

    def is_held(self) -> bool:
        return self.frozen

    def report(self, event: Degraded) -> None:
        self.told.append(event)
        self.heard.set()

    async def reconfigure(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        assert not self.frozen
        self.done = True


async def test_its_neighbors_stay_until_the_freeze_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "THAWED_EACH_S", 0.001)
    speaker = Adopted()
    matching = asyncio.create_task(reload.match(speaker))  # type: ignore[arg-type]
    await asyncio.wait_for(speaker.heard.wait(), 5.0)
    assert (speaker.done, bool(speaker.told[0].detail)) == (False, True)
    speaker.frozen = False
    await matching
    assert (speaker.done, speaker.told[-1]) == (True, Degraded("frozen", ""))
