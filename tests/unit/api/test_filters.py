"""Blackholes and flow rules over HTTP and by the verbs of the command line, at a real desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from click.testing import CliRunner

from anycastd.api.app import serve
from anycastd.api.shapes.filters import BlackholeList, FlowList, ProposalList
from anycastd.cli.attack import attack
from anycastd.model.topology import ApiConfig
from anycastd.resources.commands import Allocate
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.daemon import Daemon
from tests.unit.runtime.eip_world import World
from tests.unit.runtime.filter_world import EIP, Scene
from tests.unit.runtime.test_filter_desk import under_attack

DNS = {"destination": str(EIP), "protocols": ["udp"], "destination_ports": ["53", "1000-2000"]}


class Face:
    """The desk behind a unix socket."""

    def __init__(self, scene: Scene, path: str, session: aiohttp.ClientSession) -> None:
        self.scene, self.path, self._session = scene, path, session

    async def ask(self, method: str, target: str, body: Any = None, *, status: int = 200, key: str = "") -> Any:
        url, headers = f"http://localhost{target}", {"Idempotency-Key": key} if key else {}
        async with self._session.request(method, url, json=body, headers=headers) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def verb(self, *words: str, exit_code: int = 0) -> str:
        """Run a verb of `anycastd attack`."""

        def run() -> str:
            done = CliRunner().invoke(attack, [*words, "--socket", self.path])
            assert done.exit_code == exit_code, done.output
            return done.output

        return await asyncio.to_thread(run)


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    scene, path = Scene(tmp_path), str(tmp_path / "api.sock")
    world = World(tmp_path / "anycastd.db")
    eips = await world.begin()
    await world.done(Allocate(address=EIP))
    api = ApiConfig(port=0, socket=path)
    server = await serve(Daemon(build.serving()), api, Metrics(), eips, filters=scene.desk)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
        yield Face(scene, path, session)
    await server.close()
    await world.end()


async def test_what_is_set_is_shown_with_where_it_is_sent_and_ended(face: Face) -> None:
    hole = await face.ask("POST", "/v1/blackholes", {"address": str(EIP), "reason": "flood", "ttl_s": 60})
    rule = await face.ask("POST", "/v1/flowspec", {"match": DNS, "reason": "dns", "rate_bps": 10_000_000})
    holes = await face.ask("GET", "/v1/blackholes")
    rules = await face.ask("GET", "/v1/flowspec")
    BlackholeList.model_validate(holes)
    FlowList.model_validate(rules)
    (one,), (other,) = holes["blackholes"], rules["rules"]
    assert (one["id"], one["address"], one["sent"], one["unsent"]) == (hole["id"], str(EIP), ["transit-a"], [])
    assert 0 < one["expires_in_s"] <= 60
    assert (other["id"], other["rate_bps"], other["match"]["destination_ports"]) == (
        rule["id"], 10_000_000, ["53", "1000-2000"],
    )  # fmt: skip
    face.scene.bgp.filters.clear()
    assert (await face.ask("GET", "/v1/blackholes"))["blackholes"][0]["unsent"] == ["transit-a"]
    await face.ask("DELETE", f"/v1/blackholes/{hole['id']}")
    await face.ask("DELETE", f"/v1/flowspec/{rule['id']}?dry_run=true")
    assert [one.id for one in face.scene.desk.filters.standing] == [rule["id"]]


async def test_a_key_is_answered_once_and_a_dry_run_changes_nothing(face: Face) -> None:
    body = {"address": str(EIP), "reason": "flood"}
    told = await face.ask("POST", "/v1/blackholes?dry_run=true", body)
    assert told["changes"] == ["blackhole of 203.0.113.10 is set, for 1h, here and at transit-a"]
    assert face.scene.desk.filters.standing == ()
    first = await face.ask("POST", "/v1/blackholes", body, key="one")
    again = await face.ask("POST", "/v1/blackholes", body, key="one")
    assert (again["id"], again["replayed"]) == (first["id"], True)
    await face.ask("POST", "/v1/blackholes", body | {"ttl_s": 5}, status=422, key="one")


@pytest.mark.parametrize(
    ("target", "body", "status", "told"),
    [
        ("blackholes", {"address": str(EIP)}, 400, "reason: is missing"),
        ("blackholes", {"address": "203.0.113.0/24", "reason": "x"}, 422, "does not appear to be an IPv4 or IPv6"),
        ("blackholes", {"address": "192.0.2.1", "reason": "x"}, 422, "is in none of this POP's prefixes"),
        ("flowspec", {"match": {"destination": "203.0.113.0/24"}, "reason": "x"}, 409, "drops a whole prefix"),
        ("flowspec", {"match": {**DNS, "protocols": ["upd"]}, "reason": "x"}, 422, "did you mean 'udp'"),
        ("flowspec", {"match": {**DNS, "lengths": ["a"]}, "reason": "x"}, 400, "match.lengths[0]"),
        ("flowspec", {"match": {**DNS, "tcp_flags_set": ["nul"]}, "reason": "x"}, 400, "match.tcp_flags_set[0]"),
        ("flowspec", {"match": {**DNS, "ports": ["1"]}, "reason": "x"}, 400, "match.ports: there is no such field"),
        ("flowspec", {"match": DNS, "reason": "x", "neighbors": ["b"]}, 404, "no neighbor is called 'b'"),
    ],
)
async def test_a_refusal_names_the_field_and_the_rule(
    face: Face, target: str, body: Any, status: int, told: str
) -> None:
    answer = await face.ask("POST", f"/v1/{target}", body, status=status)
    assert told in answer["error"]["message"]
    assert face.scene.desk.filters.standing == ()


async def test_the_verbs_set_list_extend_and_release(face: Face) -> None:
    said = await face.verb("mitigate", str(EIP), "--blackhole", "--ttl", "30m", "--reason", "flood")
    assert "blackhole of 203.0.113.10 is set, for 30m, here and at transit-a" in said
    said = await face.verb("mitigate", str(EIP), "--blackhole", "--reason", "flood")
    assert "is renewed, for 1h" in said
    flags = ("--protocol", "tcp", "--flag", "syn", "--flag", "!ack", "--limit", "10mbit")
    said = await face.verb("mitigate", str(EIP), *flags, "--reason", "syn", "--dry-run")
    assert "limit to 10 Mbit/s: tcp (syn) (not ack) to 203.0.113.10 is set" in said
    await face.verb("mitigate", str(EIP), *flags, "--reason", "syn", "--neighbor", "transit-a")
    lines = (await face.verb("filters")).splitlines()
    assert len(lines) == 3
    assert "here, transit-a" in lines[1]
    said = await face.verb("release", str(EIP))
    assert said.count(" ends\n") == 1
    assert "ends in 1s, behind the one before it" in said
    await face.scene.wait(1.0)
    assert await face.verb("filters") == "there are none\n"
    assert await face.verb("release", "--all") == "there are none\n"


async def test_the_verbs_say_what_is_wrong(face: Face) -> None:
    assert "exclude each other" in await face.verb("mitigate", str(EIP), "--drop", "--blackhole", exit_code=2)
    assert "is not a rate" in await face.verb("mitigate", str(EIP), "--limit", "10", "--reason", "x", exit_code=2)
    assert "is not a time" in await face.verb("mitigate", str(EIP), "--drop", "--ttl", "1", exit_code=2)
    assert "give either" in await face.verb("release", exit_code=2)
    await face.verb("release", "flow-9", exit_code=64)
    await face.verb("mitigate", str(EIP), "--drop", "--reason", "x", exit_code=65)
    said = await face.verb("mitigate", str(EIP), "--limit", "1kbit", "--port", "1", "--reason", "", exit_code=65)
    for line in (
        "--limit: 1000 bit/s is neither 0 (drop) nor between 76800 bit/s and",
        "--port: ports are of",
        "--reason: is needed",
    ):
        assert line in said
    for words in ([], ["--apply", "1"]):
        said = await face.verb("mitigate", "203.0.113.99", *words, exit_code=64)
        assert "no EIP has the id or address '203.0.113.99'" in said


async def test_a_proposal_is_shown_and_set_by_its_number(face: Face) -> None:
    assert "nothing is proposed" in await face.verb("mitigate", str(EIP))
    face.scene.desk.attack = under_attack
    found = await face.ask("GET", f"/v1/flowspec/proposals?eip={EIP}")
    ProposalList.model_validate(found)
    said = await face.verb("mitigate", str(EIP))
    assert said.startswith("1. drop: udp to 203.0.113.10 from any port 53  (about 92 % of the packets; dropped: ")
    id_ = (await face.ask("GET", f"/v1/eips/{EIP}"))["id"]
    assert (await face.verb("mitigate", id_)).splitlines()[0] == said.splitlines()[0]
    await face.verb("mitigate", str(EIP), "--apply", "9", exit_code=64)
    assert "is set" in await face.verb("mitigate", str(EIP), "--apply", "1", "--ttl", "10m")
    (rule,) = face.scene.desk.filters.rules
    assert rule.match.source_ports == ((53, 53),)
    await face.ask("GET", "/v1/flowspec/proposals", status=400)
    await face.ask("GET", "/v1/flowspec/proposals?eip=x", status=400)
