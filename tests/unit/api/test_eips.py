"""EIPs over a real server on a unix socket, with a real desk and a real store behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from anycastd.api.app import Server, serve
from anycastd.api.endpoints.listing import BITE
from anycastd.api.ports import Done, Request
from anycastd.api.shapes import answers as schema
from anycastd.api.shapes import eips as shapes
from anycastd.api.shapes import traffic as shapes_traffic
from anycastd.model.eip import Eip, EipId, Source
from anycastd.model.topology import ApiConfig
from anycastd.resources.commands import Allocate
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.daemon import Daemon, Meter
from tests.unit.runtime.eip_world import ONE, TWO, World, bound_to, with_file

WEB = {"targets": [{"backend": "eu-central/web-1"}]}
TWO_BACKENDS: dict[str, Any] = {
    "targets": [
        {"backend": "eu-central/web-1", "weight": 100, "priority": 1},
        {"backend": "us-east/web-1", "weight": 50, "priority": 2, "mode": "dnat",
         "ports": [{"transport": "tcp", "port": 80, "to_port": 8080}]},
    ],
    "spread": "ordered", "affinity": "source", "when_unhealthy": "drop",
}  # fmt: skip


@dataclass
class Face:
    """A served desk and a client on its unix socket."""

    world: World
    server: Server
    unix: aiohttp.ClientSession
    daemon: Daemon

    async def ask(
        self, method: str, target: str, body: Any = None, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> Any:
        async with self.unix.request(method, f"http://localhost{target}", json=body, headers=headers) as response:
            answer = await response.json()
            assert response.status == status, answer
            self.headers = response.headers
            if status >= 400:
                schema.Error.model_validate(answer)
        return answer

    async def problems(self, method: str, target: str, body: Any, status: int) -> list[str]:
        answer = await self.ask(method, target, body, status=status)
        return [answer["error"]["code"], *answer["error"]["problems"]]


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    world, path = World(tmp_path / "anycastd.db"), tmp_path / "api.sock"
    await world.begin()
    api = ApiConfig(port=0, socket=str(path))
    daemon = Daemon(build.serving())
    server = await serve(daemon, api, Metrics(), world.desk, Meter())
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as unix:
        yield Face(world, server, unix, daemon)
    await server.close()
    await world.end()


async def test_the_life_of_an_eip_over_http(face: Face) -> None:
    body = {"address": str(ONE), "bandwidth": {"in_bps": 10**8}, "ping": "pop", "description": "shop"}
    made = await face.ask("POST", "/v1/eips", body, status=202)
    shapes.Changed.model_validate(made)
    assert (made["eip"]["status"], made["task"]["state"], made["changes"]) == (
        "CREATING",
        "RUNNING",
        ["203.0.113.10 allocated"],
    )
    assert face.headers["ETag"] == '"1"'
    assert face.headers["Location"] == f"/v1/tasks/{made['task']['id']}"
    bound = await face.ask("PUT", f"/v1/eips/{made['eip']['id']}/association?wait=5s", TWO_BACKENDS)
    shapes.Changed.model_validate(bound)
    assert (bound["task"]["state"], bound["eip"]["status"]) == ("SUCCESS", "BIND")
    expected = {
        **TWO_BACKENDS,
        "targets": [{"mode": None, "ports": [], **target} for target in TWO_BACKENDS["targets"]],
    }
    assert bound["eip"]["association"] == expected
    shown = await face.ask("GET", f"/v1/eips/{ONE}")
    shapes.EipShape.model_validate(shown)
    assert shown == bound["eip"]
    assert (shown["prefix"], shown["bandwidth"]["in_bps"], shown["ping"]) == ("203.0.113.0/24", 10**8, "pop")
    await face.ask("DELETE", f"/v1/eips/{ONE}/association", status=202)
    released = await face.ask("DELETE", f"/v1/eips/{ONE}?wait=1s")
    assert released["eip"]["status"] == "OFFLINING"
    assert (released["eip"]["released_at"], released["eip"]["restorable_until"]) == (
        "2026-09-21T14:13:20.000Z",
        "2026-09-22T14:13:20.000Z",
    )
    restored = await face.ask("POST", f"/v1/eips/{ONE}/restore?wait=1s")
    assert (restored["eip"]["status"], restored["eip"]["released_at"]) == ("UNBIND", None)
    tasks = await face.ask("GET", f"/v1/tasks?eip={ONE}")
    shapes.TaskList.model_validate(tasks)
    assert [task["verb"] for task in tasks["tasks"]] == [
        "restore",
        "release",
        "disassociate",
        "associate",
        "allocate",
    ]
    one = await face.ask("GET", f"/v1/tasks/{made['task']['id']}")
    assert (one["state"], one["verb"]) == ("SUCCESS", "allocate")


async def test_a_patch_changes_what_is_in_it_and_null_takes_a_limit_away(face: Face) -> None:
    await face.ask(
        "POST", "/v1/eips", {"address": str(ONE), "bandwidth": {"in_bps": 10**6, "out_bps": 10**7}}, status=202
    )
    patch = {"bandwidth": {"out_bps": None}, "description": "half"}
    changed = await face.ask("PATCH", f"/v1/eips/{ONE}", patch, status=202)
    assert changed["eip"]["bandwidth"] == {"in_bps": 10**6, "out_bps": None, "shaping": "police"}
    assert changed["changes"] == [
        "203.0.113.10: limit out changed from 10mbit to none",
        "203.0.113.10: description changed from '' to 'half'",
    ]
    again = await face.ask("PATCH", f"/v1/eips/{ONE}", patch, status=200)
    assert (again["task"], again["changes"], again["eip"]["generation"]) == (None, [], 2)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "told"),
    [
        ("POST", "/v1/eips", {}, 400,
         ["InvalidParameter", "give either an address, or a prefix to take the next free one of"]),
        ("POST", "/v1/eips", {"adress": "203.0.113.9", "ping": "pob"}, 400,
         ["InvalidParameter", "ping: 'pob' is not backend or pop; did you mean 'pop'?",
          "adress: there is no such field; did you mean 'address'?"]),
        ("POST", "/v1/eips", {"address": "203.0.113.10"}, 409,
         ["InvalidAddress.InUse", "address: 203.0.113.10 is allocated already: it is EIP"]),
        ("POST", "/v1/eips", {"address": "192.0.2.9", "bandwidth": {"in_bps": 0}}, 422,
         ["InvalidAddress.OutsidePrefixes", "address: lies in none of the prefixes (203.0.113.0/24)",
          "bandwidth.in_bps: 0 bit/s is not between 64kbit and 400gbit"]),
        ("POST", "/v1/eips", {"prefix": "203.0.113.1/24"}, 400,
         ["InvalidParameter", "prefix: host bits are set; 203.0.113.0/24 is the prefix of that address"]),
        ("PUT", "/v1/eips/203.0.113.10/association", {"targets": []}, 422,
         ["InvalidParameterValue", "targets: is empty; leave it out where nothing is to be bound"]),
        ("PUT", "/v1/eips/203.0.113.10/association",
         {"targets": [{"backend": "eu-central/web-9", "weight": 256}, {"backend": "us-east/web-1", "priority": 0}]},
         422,
         ["InvalidParameterValue", "targets[0].weight: 256 is not between 0 and 255",
          "targets[0].backend: no backend is called 'eu-central/web-9'; did you mean 'eu-central/web-2'?",
          "targets[1].priority: 0 is not between 1 and 100"]),
        ("PUT", "/v1/eips/203.0.113.10/association", {"targets": [{"backend": "eu-central/web-1", "weight": "5"}]}, 400,
         ["InvalidParameter", "targets[0].weight: '5' is not a whole number"]),
        ("PATCH", "/v1/eips/203.0.113.10", {"bandwidth": {"shaping": "htb"}, "blocked": True}, 422,
         ["InvalidParameterValue",
          "bandwidth.shaping: htb shapes on the devices to the clients: eip.uplinks must name them",
          "blocked_reason: say why it is blocked"]),
        ("PATCH", "/v1/eips/203.0.113.99", {"description": "x"}, 404,
         ["InvalidAddressId.NotFound", "no EIP has the id or address '203.0.113.99'"]),
        ("DELETE", "/v1/eips/203.0.113.10/association", None, 409,
         ["InvalidAddressIdStatus.NotPermit", "203.0.113.10 is not bound"]),
        ("PATCH", "/v1/regions/us-eats", {"traffic_dial_percentage": 50}, 404,
         ["InvalidRegion.NotFound", "no region is called 'us-eats'; did you mean 'us-east'?"]),
        ("PATCH", "/v1/regions/us-east", {"traffic_dial_percentage": 101}, 422,
         ["InvalidParameterValue", "traffic_dial_percentage: 101 is not between 0 and 100"]),
        ("PATCH", "/v1/regions/us-east", {}, 400, ["InvalidParameter", "traffic_dial_percentage: is missing"]),
    ],
)  # fmt: skip
async def test_every_mistake_is_told_at_once_and_nothing_is_changed(
    face: Face, method: str, target: str, body: Any, status: int, told: list[str]
) -> None:
    made = await face.world.done(Allocate(address=ONE))
    before = await face.ask("GET", "/v1/eips")
    found = await face.problems(method, target, body, status)
    assert [line.replace(made.shown.view.eip.id, "EIP") for line in found] == told
    assert await face.ask("GET", "/v1/eips") == before


async def test_a_body_that_is_no_json_or_not_wanted(face: Face) -> None:
    for data, told in ((b"{", "the body is not JSON: EOF"), (b"", "a JSON body is needed"), (b"\xff", "not JSON")):
        async with face.unix.post("http://localhost/v1/eips", data=data) as response:
            assert response.status == 400
            assert told in (await response.json())["error"]["message"]
    async with face.unix.delete(f"http://localhost/v1/eips/{ONE}", data=b"{}") as response:
        assert response.status == 400
    async with face.unix.post("http://localhost/v1/eips", data=b"[" * 70_000) as response:
        assert response.status == 413


async def test_the_generation_guards_against_lost_updates(face: Face) -> None:
    await face.ask("POST", "/v1/eips", {"address": str(ONE)}, status=202)
    await face.ask("GET", f"/v1/eips/{ONE}")
    tag = face.headers["ETag"]
    patches = [
        face.unix.patch(f"http://localhost/v1/eips/{ONE}", json={"description": f"{n}"}, headers={"If-Match": tag})
        for n in range(4)
    ]
    statuses = sorted([response.status for response in await asyncio.gather(*patches)])
    assert statuses == [202, 412, 412, 412]
    answer = await face.ask("DELETE", f"/v1/eips/{ONE}", status=412, headers={"If-Match": '"1"'})
    assert answer["error"]["code"] == "PreconditionFailed"
    await face.ask("DELETE", f"/v1/eips/{ONE}", status=400, headers={"If-Match": "1"})
    await face.ask("DELETE", f"/v1/eips/{ONE}", status=202, headers={"If-Match": "*"})


async def test_a_bound_eip_is_only_bound_anew_when_that_is_said(face: Face) -> None:
    await face.ask("POST", "/v1/eips", {"address": str(ONE)}, status=202)
    await face.ask("PUT", f"/v1/eips/{ONE}/association", WEB, status=202)
    other = {"targets": [{"backend": "us-east/web-1"}]}
    assert await face.problems("PUT", f"/v1/eips/{ONE}/association", other, 409) == [
        "InvalidAddressIdStatus.NotPermit",
        "203.0.113.10 is bound to eu-central/web-1; --replace (replace=true) binds it anew, make before break",
    ]
    same = await face.ask("PUT", f"/v1/eips/{ONE}/association", WEB, status=200)
    assert (same["task"], same["eip"]["generation"]) == (None, 2)
    replaced = await face.ask("PUT", f"/v1/eips/{ONE}/association?replace=true&wait=1s", other)
    assert replaced["changes"] == ["203.0.113.10 bound to us-east/web-1 instead of eu-central/web-1"]
    assert (await face.problems("DELETE", f"/v1/eips/{ONE}", None, 409))[1] == (
        "203.0.113.10 is bound to us-east/web-1: disassociate it first"
    )


async def test_an_idempotency_key_gets_the_same_answer(face: Face) -> None:
    key = {"Idempotency-Key": "order-7"}
    first = await face.ask("POST", "/v1/eips", {"prefix": "203.0.113.0/24"}, status=202, headers=key)
    assert "Idempotency-Replayed" not in face.headers
    await face.ask("PUT", f"/v1/eips/{first['eip']['address']}/association", WEB, status=202)
    again = await face.ask("POST", "/v1/eips", {"prefix": "203.0.113.0/24"}, status=202, headers=key)
    assert again == first
    assert face.headers["Idempotency-Replayed"] == "true"
    waited = await face.ask("POST", "/v1/eips?wait=1s", {"prefix": "203.0.113.0/24"}, headers=key)
    assert (waited["task"]["id"], waited["task"]["state"]) == (first["task"]["id"], "SUCCESS")
    assert len((await face.ask("GET", "/v1/eips"))["eips"]) == 1
    other = await face.ask("POST", "/v1/eips", {"prefix": "203.0.113.0/25"}, status=422, headers=key)
    assert other["error"]["code"] == "IdempotencyKeyReused"
    await face.ask("DELETE", f"/v1/eips/{ONE}", status=422, headers=key)
    for bad in ("", "x" * 65, "two words", "ключ"):
        await face.ask("POST", "/v1/eips", {}, status=400, headers={"Idempotency-Key": bad})


async def test_a_dry_run_says_what_would_change(face: Face) -> None:
    answer = await face.ask("POST", "/v1/eips?dry_run=true", {"address": str(ONE)})
    assert (answer["dry_run"], answer["task"], answer["changes"]) == (True, None, ["203.0.113.10 allocated"])
    assert (await face.ask("GET", "/v1/eips"))["eips"] == []
    await face.ask("POST", "/v1/eips?dry_run=yes", {"address": str(ONE)}, status=400)


async def test_waiting_ends_with_the_time_when_the_kernel_does_not_answer(face: Face) -> None:
    face.world.plane.held = True
    answer = await face.ask("POST", "/v1/eips?wait=20ms", {"address": str(ONE)}, status=202)
    assert answer["task"]["state"] == "RUNNING"
    for bad in ("0s", "61s", "soon", "-1s"):
        await face.ask("POST", f"/v1/eips?wait={bad}", {"address": str(TWO)}, status=400)


async def test_pages_and_filters(face: Face) -> None:
    for number in range(BITE + 25):
        await face.world.done(Allocate(address=ip_address(f"203.0.113.{200 - number}")))
    await face.world.done(Allocate(address=ip_address("2001:db8:113::1")))
    for address in ("203.0.113.130", "2001:db8:113::1"):
        eip = face.world.desk.records.get(ip_address(address))
        assert eip is not None
        binding = bound_to("us-east/web-1")
        face.world.desk.records.put(replace(eip, binding=binding))
        face.world.plane.put(replace(eip, binding=binding), 0.0)
    face.world.plane.act()
    seen: list[str] = []
    target = "/v1/eips?limit=30"
    for _ in range(3):
        page = await face.ask("GET", target)
        shapes.EipList.model_validate(page)
        seen += [eip["address"] for eip in page["eips"]]
        target = f"/v1/eips?limit=30&next_token={page['next_token']}"
    assert page["next_token"] is None
    assert seen == [*(f"203.0.113.{number}" for number in range(126, 201)), "2001:db8:113::1"]

    async def found(query: str) -> list[str]:
        page = await face.ask("GET", f"/v1/eips?{query}")
        assert page["next_token"] is None
        return [eip["address"] for eip in page["eips"]]

    assert await found("status=BIND") == ["203.0.113.130", "2001:db8:113::1"]
    assert await found("region=us-east&prefix=203.0.113.0/24") == ["203.0.113.130"]
    assert await found("backend=us-east/web-1&status=UNBIND") == []
    assert await found("backend=eu-central/web-1") == []
    assert await found("address=203.0.113.131") == ["203.0.113.131"]
    assert await found("address=203.0.113.1") == []
    assert await found("prefix=203.0.113.196/30") == [f"203.0.113.{number}" for number in range(196, 200)]
    assert len(await found("limit=1000")) == BITE + 26
    token = (await face.ask("GET", "/v1/eips?status=UNBIND&limit=74"))["next_token"]
    assert token is None


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("state=BIND", "no query parameter is called 'state'; known: status, prefix, region"),
        ("status=", "the query parameter 'status' is empty; leave it out for all"),
        ("status=BOUND", "status: 'BOUND' is not one of CREATING, UNBIND, BINDING"),
        ("status=bind", "did you mean 'BIND'?"),
        ("prefix=203.0.113.1", "prefix: '203.0.113.1' is not a prefix"),
        ("region=us-eats", "region: no region is called 'us-eats'; did you mean 'us-east'?"),
        ("backend=web-1", "backend: no backend is called 'web-1'"),
        ("address=203.0.113", "address: '203.0.113' is not an address"),
        ("limit=0", "limit: '0' is not a whole number from 1 to 1000"),
        ("limit=1001", "limit: '1001' is not a whole number"),
        ("next_token=4-fffffffff", "next_token: '4-fffffffff' is no token of ours"),
        ("limit=1&limit=2", "the query parameter 'limit' is given more than once"),
    ],
)
async def test_a_filter_that_is_not_understood_never_means_all(face: Face, query: str, told: str) -> None:
    answer = await face.ask("GET", f"/v1/eips?{query}", status=400)
    assert told in answer["error"]["message"]


async def test_tasks_are_filtered(face: Face) -> None:
    await face.ask("POST", "/v1/eips", {"address": str(ONE)}, status=202)
    await face.ask("POST", "/v1/eips", {"address": str(TWO)}, status=202)
    for query, count in (("", 2), ("state=SUCCESS", 2), ("state=RUNNING", 0), ("limit=1", 1), (f"eip={TWO}", 1)):
        assert len((await face.ask("GET", f"/v1/tasks?{query}"))["tasks"]) == count, query
    await face.ask("GET", "/v1/tasks?state=DONE", status=400)
    assert (await face.ask("GET", "/v1/tasks/task-0", status=404))["error"]["code"] == "InvalidTaskId.NotFound"
    assert (await face.ask("GET", "/v1/eips/web", status=404))["error"]["code"] == "InvalidAddressId.NotFound"


async def test_an_eip_of_the_file_is_read_only(face: Face) -> None:
    eip = Eip(id=EipId("eip-0000000f"), address=ONE, binding=bound_to("us-east/web-1"), source=Source.FILE)
    face.world.desk.configure(with_file(face.world.config, [eip]))
    assert (await face.ask("GET", "/v1/eips/eip-0000000f"))["source"] == "file"
    told = await face.problems("DELETE", f"/v1/eips/{ONE}/association", None, 409)
    assert told == [
        "UnsupportedOperation.ConfiguredInFile",
        "203.0.113.10 stands in /etc/anycastd/anycastd.yaml: change it there and reload",
    ]
    told = await face.problems("POST", "/v1/eips", {"address": str(ONE)}, 409)
    assert told == ["InvalidAddress.InUse", "address: 203.0.113.10 stands in /etc/anycastd/anycastd.yaml"]


async def test_dials_and_quotas(face: Face) -> None:
    await face.ask("POST", "/v1/eips", {"address": str(ONE)}, status=202)
    quotas = await face.ask("GET", "/v1/quotas")
    shapes.Quotas.model_validate(quotas)
    assert quotas["quotas"][0] == {"quota": "eips", "current": 1, "limit": 20000}
    dialed = await face.ask("PATCH", "/v1/regions/us-east", {"traffic_dial_percentage": 25})
    shapes.DialedShape.model_validate(dialed)
    assert (dialed["traffic_dial_percentage"], dialed["configured_percentage"]) == (25, 100)
    assert face.world.plane.dials == {"us-east": 25}
    back = await face.ask("PATCH", "/v1/regions/us-east?dry_run=true", {"traffic_dial_percentage": None})
    assert (back["traffic_dial_percentage"], back["changes"]) == (
        100,
        ["the dial of us-east changed from 25 % to 100 %"],
    )
    assert face.world.plane.dials == {"us-east": 25}


DIAL = "/v1/regions/us-east"


async def test_a_dial_is_changed_only_at_the_generation_that_was_read(face: Face) -> None:
    async def dial(percent: int | None, tag: str, status: int = 200) -> Any:
        return await face.ask(
            "PATCH", DIAL, {"traffic_dial_percentage": percent}, status=status, headers={"If-Match": tag}
        )

    refused = await dial(50, '"99"', 412)
    assert refused["error"]["problems"] == [
        "the dial of us-east is at generation 0, not at 99: somebody changed it; read it again"
    ]
    assert face.world.plane.dials == {}
    set_ = await dial(50, '"0"')
    tag = face.headers["ETag"]
    assert (tag, set_["generation"] > 0) == (f'"{set_["generation"]}"', True)
    await dial(60, '"0"', 412)
    await dial(50, tag)
    assert face.headers["ETag"] == tag, "nothing changed"
    await dial(60, tag)
    assert face.headers["ETag"] != tag
    # the same percentage again is another dial: what was read in between is not what stands now
    await dial(50, "*")
    await dial(20, tag, 412)
    await face.ask(
        "PATCH", DIAL + "?dry_run=true", {"traffic_dial_percentage": 1}, headers={"If-Match": tag}, status=412
    )
    await dial(20, "7", 400)
    assert face.world.plane.dials == {"us-east": 50}
    gone = await dial(None, "*")
    assert (gone["generation"], face.headers["ETag"]) == (0, '"0"')


async def test_a_key_of_a_dial_gets_the_same_answer_and_changes_once(face: Face) -> None:
    key, half = {"Idempotency-Key": "dial-1"}, {"traffic_dial_percentage": 50}
    first, tag = await face.ask("PATCH", DIAL, half, headers=key), face.headers["ETag"]
    assert "Idempotency-Replayed" not in face.headers
    reset = await face.ask("PATCH", DIAL, {"traffic_dial_percentage": None}, headers={"Idempotency-Key": "dial-2"})
    await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 20})
    for _ in range(2):
        assert await face.ask("PATCH", DIAL, half, headers=key) == first
        assert (face.headers["Idempotency-Replayed"], face.headers["ETag"]) == ("true", tag)
        again = await face.ask("PATCH", DIAL, {"traffic_dial_percentage": None}, headers={"Idempotency-Key": "dial-2"})
        assert again == reset
        assert face.world.plane.dials == face.world.desk.dials == {"us-east": 20}
        # also by the next daemon
        await face.world.desk._load()
    other = await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 51}, headers=key, status=422)
    assert other["error"]["code"] == "IdempotencyKeyReused"
    await face.ask("POST", "/v1/eips", {"address": str(ONE)}, headers=key, status=422)
    # what changed nothing is answered alike too, and what was refused leaves its key free
    late = {"Idempotency-Key": "dial-3"}
    await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 101}, headers=late, status=422)
    same = await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 20}, headers=late)
    assert (same["changes"], same["generation"] > 0) == ([], True)
    await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 30})
    assert await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 20}, headers=late) == same
    assert face.world.desk.dials == {"us-east": 30}


async def test_a_region_is_shown_with_the_generation_of_its_dial(face: Face) -> None:
    dialed = await face.ask("PATCH", DIAL, {"traffic_dial_percentage": 20})
    object.__setattr__(face.daemon.state, "dials", face.world.desk.dials)
    object.__setattr__(face.daemon.state, "dial_generations", face.world.desk.dial_generations)
    shown = await face.ask("GET", DIAL)
    schema.Region.model_validate(shown)
    assert (shown["region"], shown["traffic_dial_percentage"], shown["generation"]) == (
        "us-east",
        20,
        dialed["generation"],
    )
    assert face.headers["ETag"] == f'"{dialed["generation"]}"'
    assert shown in (await face.ask("GET", "/v1/regions"))["regions"]
    missing = await face.ask("GET", "/v1/regions/us-eats", status=404)
    assert missing["error"]["code"] == "InvalidRegion.NotFound"
    await face.ask("GET", DIAL + "?x=1", status=400)


async def test_what_is_not_there_yet_has_no_generation(face: Face) -> None:
    for tag in ('"1"', "*"):
        error = await face.ask("POST", "/v1/eips", {"address": str(ONE)}, headers={"If-Match": tag}, status=400)
        assert error["error"]["message"] == "If-Match: an EIP that is not there yet has no generation"
    assert (await face.ask("GET", "/v1/eips"))["eips"] == []


async def test_changes_are_taken_on_the_unix_socket_only(face: Face) -> None:
    changes = [
        ("POST", "/v1/eips"),
        ("PATCH", f"/v1/eips/{ONE}"),
        ("DELETE", f"/v1/eips/{ONE}"),
        ("POST", f"/v1/eips/{ONE}/restore"),
        ("PUT", f"/v1/eips/{ONE}/association"),
        ("DELETE", f"/v1/eips/{ONE}/association"),
        ("PATCH", "/v1/regions/us-east"),
    ]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{face.server.port}") as tcp:
        for method, target in changes:
            async with tcp.request(method, target, json={}) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (403, "read_only")
        async with tcp.get("/v1/eips") as response:
            assert await response.json() == {"eips": [], "next_token": None}


async def test_a_store_that_fails_is_answered_503_and_when_to_come_again(face: Face) -> None:
    with face.world.store._file._connected() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    made = -1
    response = None
    while response is None or response.status == 202:
        made += 1
        async with face.unix.post("http://localhost/v1/eips", json={"prefix": "203.0.113.0/24"}) as response:
            answer = await response.json()
    assert (response.status, response.headers["Retry-After"], answer["error"]["code"]) == (503, "5", "StoreUnavailable")
    assert "the disk is full" in answer["error"]["message"]
    assert len((await face.ask("GET", "/v1/eips?limit=1000"))["eips"]) == made


async def test_traffic_is_asked_of_who_knows(face: Face) -> None:
    made = await face.world.done(Allocate(address=ONE))
    assert isinstance(made, Done)
    assert await face.ask("GET", f"/v1/eips/{ONE}/traffic?span=1h") == {"eip": made.shown.view.eip.id}
    for query, code, words in (
        ("span=bad", "bad_parameter", "'bad'"),
        ("span=", "bad_parameter", "'span' is empty"),
        ("span=1h&span=2h", "repeated_parameter", "span"),
        ("hours=1", "unknown_parameter", "hours"),
    ):
        error = (await face.ask("GET", f"/v1/eips/{ONE}/traffic?{query}", status=400))["error"]
        assert (error["code"], words in error["message"]) == (code, True), error
    await face.ask("GET", "/v1/eips/eip-1/traffic", status=404)
    shapes_traffic.TrafficShape.model_validate(await face.ask("GET", "/v1/traffic"))
    await face.ask("GET", "/v1/traffic?span=1h", status=400)


async def test_requests_that_race_leave_one_eip(face: Face) -> None:
    same = [face.world.desk.change(Request(command=Allocate(address=ONE), key="k", digest="d")) for _ in range(5)]
    outcomes = await asyncio.gather(*same)
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert len({outcome.task.id for outcome in outcomes if isinstance(outcome, Done) and outcome.task}) == 1
