"""The views on what the runtime really makes of a running control loop, at each step of its life."""

from __future__ import annotations

from anycastd.api.endpoints.state import READY, VIEWS
from anycastd.api.openapi.document import SHAPES
from anycastd.api.shapes import answers as schema
from anycastd.api.views.explain import explain
from anycastd.api.views.readiness import conditions
from anycastd.model.probe import Why
from anycastd.model.status import Status
from anycastd.runtime.alarms import Alarms, Reported
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.state import Circumstances, build
from anycastd.telemetry.metrics import Metrics
from tests.unit.runtime.world import A, World


def status_of(world: World) -> Status:
    followed = Followed(lambda timer: None)
    return build(world.control, Circumstances("0", 0.0, 0.0), followed, Alarms(), Reported(), world.now_s, 1.79e9)


async def shown(world: World) -> tuple[Status, list[str]]:
    """Hold every face to its shape; return the state and the lines of explain."""
    status = status_of(world)
    for view in (*VIEWS, READY):
        SHAPES[view.path].model_validate(view.make(status))
    assert await Metrics().expose(status, conditions(status))
    explained = explain(status, status.prefixes[A])
    schema.Explanation.model_validate(explained)
    return status, explained["text"]


async def test_every_step_of_a_prefixes_life_can_be_shown() -> None:
    world = World()
    status, lines = await shown(world)
    assert "is not announced yet" in lines[0]
    assert not READY.make(status)["ready"]
    world.answer("")
    status, lines = await shown(world)
    assert "is announced at preference NORMAL to transit-a" in lines[0]
    assert [entry for entry in READY.make(status)["conditions"] if not entry["ok"]] == []
    world.answer("path", Why.TIMEOUT)
    status, lines = await shown(world)
    assert "at preference DEPREF 3" in lines[0]
    assert any("settle" in line and "HOLD" in line for line in lines), lines
