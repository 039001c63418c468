"""The speaker with the real ExaBGP, judged by raw BGP listeners and by FRR."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import EndOfRib
from tests.lab.bgp_stage import Stage, announce, eventually, neighbor, stage, withdraw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]


@pytest.fixture
def ex() -> Iterator[Stage]:
    """A namespace of our own."""
    with stage() as made:
        yield made


async def test_announce_replace_withdraw_and_end_of_rib(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), announce(2, "2001:db8:1::/48")])
    await eventually("both routes", 5, lambda: len(sink.table()) == 2)
    one.speaker.apply([announce(2, "198.51.100.0/24", as_path=(65000,) * 4)])
    await eventually("prepended", 5, lambda: len(sink.table()["198.51.100.0/24"]["as_path"]) == 4)
    assert one.speaker.observed.eor_owed == {("n2", family) for family in Family}
    one.speaker.apply([EndOfRib(NeighborName("n2"), family) for family in Family])
    await eventually("End-of-RIB of both families", 5, lambda: len(sink.rows("eor")) == 2)
    await eventually("nothing owed", 5, lambda: not one.speaker.observed.eor_owed)
    one.speaker.apply([withdraw(2, "198.51.100.0/24"), withdraw(2, "2001:db8:1::/48")])
    await eventually("an empty table", 5, lambda: not sink.table())
    assert one.have("n2") == {}
    await one.speaker.stop(withdraw=True)
