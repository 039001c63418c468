"""The HTTP API over real sockets: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import aiohttp
import jsonschema
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from anycastd.api.app import Server, serve
from anycastd.api.door import local_socket
from anycastd.api.endpoints.state import VIEWS
from anycastd.api.errors import ApiUnavailable
from anycastd.api.openapi.document import SHAPES
from anycastd.api.ports import OrderDone, OrderRequest, ReloadOutcome, Request
from anycastd.api.shapes import answers as schema
from anycastd.api.shapes import safety as schema_safety
from anycastd.api.shapes.shape import LevelName
from anycastd.model.bgp import SpeakerState
from anycastd.model.decision import Level
from anycastd.model.operator import DrainScope, OverrideKind, State
from anycastd.model.topology import ApiConfig
from anycastd.resources.commands import Allocate
from anycastd.resources.orders import DrainCommand, Lasting, OverrideCommand
from anycastd.runtime.journal.journal import JOURNAL, Journal
from anycastd.store.journal_file import JournalFile
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.daemon import Daemon, Meter
from tests.unit.journal_world import QUICK, Told, decision
from tests.unit.runtime.eip_world import ONE, World
from tests.unit.runtime.filter_world import Scene as Filtering
from tests.unit.runtime.filter_world import flow, hole
from tests.unit.runtime.order_world import order_desk
from tests.wait import wait_until

DOCS = Path(__file__).parents[3] / "docs" / "api.md"


@dataclass
class Face:
    """A served daemon, and two clients: one on each socket."""

    daemon: Daemon
    server: Server
    path: Path
    task: str
    drain: str
    override: str
    tcp: aiohttp.ClientSession
    unix: aiohttp.ClientSession
    blackhole: str
    rule: str

    async def get(self, target: str, *, status: int = 200, **headers: str) -> Any:
        async with self.tcp.get(f"http://127.0.0.1:{self.server.port}{target}", headers=headers) as response:
            assert response.status == status, await response.text()
            return await response.json()


@pytest_asyncio.fixture
async def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Face]:
    monkeypatch.setattr(local_socket, "LOOK_EACH_S", 0.02)
    daemon, path = Daemon(build.serving()), tmp_path / "run" / "api.sock"
    world = World(tmp_path / "anycastd.db")
    task = (await (await world.begin()).change(Request(command=Allocate(address=ONE)))).task  # type: ignore[union-attr]
    assert task is not None
    history = JournalFile(tmp_path / JOURNAL)
    history.append([decision(1)])
    history.close()
    journal = Journal(tmp_path / JOURNAL, QUICK, Told())
    orders, _ = order_desk(tmp_path)
    lasting = Lasting(owner="ann")
    drained = await orders.change(
        OrderRequest(command=DrainCommand(scope=DrainScope.POP, lasting=lasting), owner="ann")
    )
    forced = OverrideCommand(kind=OverrideKind.TUNNEL, name="eu/a", state=State.UP, lasting=lasting)
    overridden = await orders.change(OrderRequest(command=forced, owner="ann"))
    assert isinstance(drained, OrderDone)
    assert isinstance(overridden, OrderDone)
    api = ApiConfig(port=0, socket=str(path))
    filters = Filtering(tmp_path)
    held = [(await filters.order(command)).id for command in (hole(), flow())]
    server = await serve(
        daemon, api, Metrics(), world.desk, Meter(), history=journal, orders=orders, filters=filters.desk
    )
    local = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession() as tcp, aiohttp.ClientSession(connector=local) as unix:
        yield Face(daemon, server, path, task.id, drained.id, overridden.id, tcp, unix, *held)
    await server.close()
    await journal.close()
    await world.end()


async def test_every_view_answers_in_the_shape_it_promises(face: Face) -> None:
    for state in (build.serving(), build.isolated(), build.starting(), build.ordered(), build.in_a_fleet()):
        face.daemon.state = state
        for view in VIEWS:
            SHAPES[view.path].model_validate(await face.get(view.path), strict=False)
        for prefix in state.prefixes:
            schema.Explanation.model_validate(await face.get(f"/v1/explain?prefix={prefix}"))
            schema.Prefix.model_validate(await face.get(f"/v1/prefixes/{prefix}"))


def test_the_names_of_levels_are_those_of_the_model() -> None:
    assert set(get_args(LevelName)) == {level.name for level in Level}


async def test_both_sockets_answer_the_same(face: Face) -> None:
    async with face.unix.get("http://localhost/v1/status") as response:
        assert await response.json() == await face.get("/v1/status")


async def test_times_are_wall_clock_times_made_from_the_status(face: Face) -> None:
    body = await face.get("/v1/status")
    assert body["now"] == "2026-09-21T14:13:20.250Z"
    assert body["started_at"] == "2026-09-18T10:08:20.250Z"
    assert body["uptime_s"] == 273900.0


async def test_a_host_header_that_is_not_ours_is_refused(face: Face) -> None:
    for host in ("localhost", "localhost:8179", "127.0.0.1:80", "[::1]:8179", "LOCALHOST"):
        assert await face.get("/healthz", Host=host) == {"alive": True}
    for host in ("evil.example", "localhost.evil.example:8179", "", "10.0.0.1", "[::2]:80"):
        body = await face.get("/healthz", status=403, Host=host)
        assert body["error"]["code"] == "host_refused"


async def test_an_unknown_query_parameter_is_refused(face: Face) -> None:
    for target in ("/healthz", "/readyz", "/v1/openapi.json", "/v1/prefixes/203.0.113.0/24", "/v1/explain"):
        body = await face.get(f"{target}?verbose=1", status=400)
        assert body["error"]["code"] == "unknown_parameter"
        assert "verbose" in body["error"]["message"]
    for view in VIEWS:
        await face.get(f"{view.path}?limit=1", status=400)
    body = await face.get("/v1/explain?prefix=203.0.113.0/24&prefix=10.0.0.0/8", status=400)
    assert body["error"]["code"] == "repeated_parameter"


async def test_a_prefix_is_found_however_its_slash_is_written(face: Face) -> None:
    for target in ("203.0.113.0/24", "203.0.113.0%2F24", "203.0.113.77"):
        assert (await face.get(f"/v1/prefixes/{target}"))["prefix"] == "203.0.113.0/24"
    assert (await face.get("/v1/prefixes/2001:db8:113::%2f48"))["preference"] == "DEPREF 3"
    unknown = await face.get("/v1/prefixes/10.0.0.0/8", status=404)
    assert "203.0.113.0/24" in unknown["error"]["message"]
    assert (await face.get("/v1/prefixes/203.0.113.1/24", status=400))["error"]["code"] == "not_a_prefix"
    assert (await face.get("/v1/explain?prefix=web", status=400))["error"]["code"] == "not_a_prefix"
    assert (await face.get("/v1/explain", status=400))["error"]["code"] == "missing_parameter"


async def test_what_is_not_there_is_said_in_json(face: Face) -> None:
    assert (await face.get("/v2/status", status=404))["error"]["code"] == "not_found"
    async with face.tcp.delete(f"http://127.0.0.1:{face.server.port}/v1/status") as response:
        assert response.status == 405
        assert (await response.json())["error"]["code"] == "method_not_allowed"
        assert "GET" in response.headers["Allow"]


async def test_alive_is_not_ready(face: Face) -> None:
    assert (await face.get("/readyz"))["ready"] is True
    good = face.daemon.state
    face.daemon.state = replace(good, bgp=replace(good.bgp, speaker=SpeakerState.WEDGED))
    assert await face.get("/healthz") == {"alive": True}
    body = await face.get("/readyz", status=503)
    schema.Readiness.model_validate(body)
    assert [c["condition"] for c in body["conditions"] if not c["ok"]] == ["speaker"]


async def test_reload_is_taken_on_the_unix_socket_only(face: Face) -> None:
    async with face.tcp.post(f"http://127.0.0.1:{face.server.port}/v1/reload") as response:
        assert response.status == 403
        assert str(face.path) in (await response.json())["error"]["message"]
    assert face.daemon.asked == []
    async with face.unix.post("http://localhost/v1/reload?dry_run=true&expect_removals=2") as response:
        assert response.status == 200
        schema.Reloaded.model_validate(await response.json())
    assert face.daemon.asked == [(2, True)]


async def test_a_file_is_tried_and_confirmed(face: Face) -> None:
    async with face.unix.post("http://localhost/v1/reload?bake_s=60") as response:
        assert response.status == 200
    assert face.daemon.bakes == [60.0]
    for status, changes in ((200, ["confirmed"]), (409, None)):
        async with face.unix.post("http://localhost/v1/reload?confirm=true") as response:
            assert (response.status, (await response.json()).get("changes")) == (status, changes)
    assert face.daemon.asked == [(None, False)]


async def test_the_breaker_is_reset_on_the_unix_socket_and_shown(face: Face) -> None:
    async with face.tcp.post(f"http://127.0.0.1:{face.server.port}/v1/breaker/reset") as response:
        assert response.status == 403
    async with face.unix.post("http://localhost/v1/breaker/reset?x=1") as response:
        assert response.status == 400
    assert face.daemon.resets == []
    for was_tripped in (True, False):
        async with face.unix.post("http://localhost/v1/breaker/reset") as response:
            assert schema_safety.BreakerReset.model_validate(await response.json()).was_tripped is was_tripped
    assert len(face.daemon.resets) == 2
    assert (await face.get("/v1/status"))["breaker"]["tripped"] is False


async def test_a_reload_that_is_refused_lists_every_problem(face: Face) -> None:
    problems = ("anycastd.yaml:3:1: pop: asn is missing", "2 prefixes would disappear")
    face.daemon.outcome = ReloadOutcome(False, problems=problems)
    async with face.unix.post("http://localhost/v1/reload") as response:
        assert response.status == 409
        body = await response.json()
    schema.Error.model_validate(body)
    assert body["error"]["problems"] == list(problems)


async def test_an_error_of_our_own_reaches_the_loop_which_raises_the_alarm(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, told = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: told.append(context))

    async def broken(**_: object) -> ReloadOutcome:
        raise KeyError("gone")

    monkeypatch.setattr(face.daemon, "reload", broken)
    async with face.unix.post("http://localhost/v1/reload") as response:
        assert response.status == 500
    assert [type(one["exception"]) for one in told] == [KeyError]
    reader, writer = await asyncio.open_connection("127.0.0.1", face.server.port)
    writer.write(b"GET \x00 HTTP/9.9\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()
    assert len(told) == 1, "what a client does wrong is no fault of ours"


@pytest.mark.parametrize("query", ["dry_run=yes", "expect_removals=-1", "expect_removals=", "expect_removals=٣", "x=1",
                                   "bake_s=1m", "bake_s=999999"])  # fmt: skip
async def test_a_reload_that_is_not_understood_is_not_begun(face: Face, query: str) -> None:
    async with face.unix.post(f"http://localhost/v1/reload?{query}") as response:
        assert response.status == 400
    assert face.daemon.asked == []


async def test_metrics_are_served(face: Face) -> None:
    async with face.tcp.get(f"http://127.0.0.1:{face.server.port}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        names = {family.name for family in text_string_to_metric_families(await response.text())}
    assert {"anycastd_ready", "anycastd_prefix_state"} <= names


async def test_the_openapi_document_describes_what_is_served(face: Face) -> None:
    document = await face.get("/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    shapes = document["components"]["schemas"]
    for shape in shapes.values():
        jsonschema.Draft202012Validator.check_schema(shape)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in shapes
    for path, operations in document["paths"].items():
        target = path.replace("{cidr}", "203.0.113.0/24").replace("{eip}", str(ONE))
        target = target.replace("{task}", face.task).replace("{region}", "us-east").replace("{number}", "1")
        ids = {"overrides": face.override, "blackholes": face.blackhole, "flowspec": face.rule, "drains": face.drain}
        for name, id_ in ids.items():
            target = target.replace(f"{name}/{{id}}", f"{name}/{id_}")
        for method in operations:
            async with face.unix.request(method, f"http://localhost{target}") as response:
                assert response.status not in (404, 405), path
    validator = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Overview", **document})
    validator.validate(await face.get("/v1/status"))


async def test_every_endpoint_is_in_the_page_on_the_api(face: Face) -> None:
    page = DOCS.read_text(encoding="utf-8")
    document = await face.get("/v1/openapi.json")
    assert [path for path in document["paths"] if f"`{path}" not in page and f" {path}" not in page] == []


async def test_the_socket_is_for_owner_and_group_and_goes_with_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    server = await serve(Daemon(build.serving()), ApiConfig(port=0, socket=str(path)), Metrics())
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await server.close()
    assert not path.exists()


async def test_a_socket_left_by_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = await serve(Daemon(build.serving()), ApiConfig(port=0, socket=str(path)), Metrics())
    unix = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
    async with unix, unix.get("http://localhost/healthz") as response:
        assert response.status == 200
    await server.close()


async def test_a_socket_on_which_somebody_answers_is_left_alone(face: Face) -> None:
    with pytest.raises(ApiUnavailable, match="another daemon answers"):
        await serve(Daemon(build.serving()), ApiConfig(port=0, socket=str(face.path)), Metrics())
    async with face.unix.get("http://localhost/healthz") as response:
        assert response.status == 200


async def test_a_socket_whose_file_is_removed_is_made_again(face: Face) -> None:
    before = face.path.stat()
    for _ in range(2):
        face.path.unlink()
        await asyncio.to_thread(wait_until, "it is there again", 20.0, face.path.exists)
        async with face.unix.get("http://localhost/v1/status", headers={"Connection": "close"}) as response:
            assert await response.json() == await face.get("/v1/status")
    after = face.path.stat()
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)
    face.path.unlink()
    face.path.write_text("another's")
    await face.server.close()
    assert face.path.read_text() == "another's"


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious")
    with pytest.raises(ApiUnavailable, match="not a socket"):
        await serve(Daemon(build.serving()), ApiConfig(port=0, socket=str(path)), Metrics())
    assert path.read_text() == "precious"


async def test_a_port_that_is_taken_leaves_no_socket_behind(face: Face, tmp_path: Path) -> None:
    path = tmp_path / "second.sock"
    with pytest.raises(ApiUnavailable, match=f"127.0.0.1:{face.server.port}: Address already in use"):
        await serve(Daemon(build.serving()), ApiConfig(port=face.server.port, socket=str(path)), Metrics())
    assert not path.exists()
