"""What other POPs carry, for the capacity gate (S7), from what was last read of the fleet's store."""

from __future__ import annotations

from typing import Any, cast

from anycastd.api.ports import Clocks
from anycastd.resources.fleet import Presence
from anycastd.resources.fleet_budget import FleetSeen
from anycastd.runtime.alarms import Reported
from anycastd.runtime.fleet.desk import FleetDesk
from tests.unit.runtime.world import World


def presence(pop: str, in_bps: float, out_bps: float) -> Presence:
    return Presence(
        pop=pop, version="0", config="", at_unix_s=0.0, started_unix_s=0.0, state="serving", in_bps=in_bps,
        out_bps=out_bps,
    )  # fmt: skip


def test_the_busier_direction_of_the_others_counts_and_nothing_while_the_store_is_away() -> None:
    own = presence("fra", 9e9, 9e9)
    no_store = cast(Any, None)  # it is not asked: what was last read counts
    desk = FleetDesk(no_store, World().control, Reported(), lambda: own, lambda: Clocks(0.0, 0.0))
    desk.seen = FleetSeen(present={"fra": own, "ams": presence("ams", 1e9, 4e9), "lon": presence("lon", 3e9, 2e9)})
    assert desk.loads_bps() == {"ams": 4e9, "lon": 3e9}
    desk._tell("no member answers")
    assert desk.loads_bps() == {}
