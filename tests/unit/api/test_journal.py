"""Decisions and events over real sockets: pages, resumed streams, slow and too many readers."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from anycastd.api.app import Server, serve
from anycastd.api.door.tokens import Door
from anycastd.api.shapes import journal as shapes
from anycastd.model.access import Role, TokenSpec
from anycastd.model.journal import EntryKind, LostWhy
from anycastd.model.topology import ApiConfig, JournalConfig
from anycastd.policy.snapshot import decode, replay
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.daemon import Daemon
from tests.unit.journal_world import PREFIX, QUICK, Running, made, running, until

OTHER = ip_network("2001:db8::/48")


@dataclass
class Face:
    """A served journal, and a client on each socket."""

    world: Running
    server: Server
    tcp: aiohttp.ClientSession
    unix: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def decide(self, count: int, prefix: Any = PREFIX) -> None:
        for number in range(count):
            snapshot = made(prefix, now_s=1000.0 + number)
            decision = snapshot.decision
            self.world.journal.note(
                EntryKind.DECISION,
                str(prefix),
                before="NORMAL",
                after=decision.level.name,
                reason=decision.reason.value,
                hold=decision.hold.value if decision.hold else "",
                snapshot=snapshot,
            )

    async def get(self, target: str, status: int = 200) -> Any:
        async with self.tcp.get(f"{self.url}{target}") as response:
            assert response.status == status, await response.text()
            return await response.json()


@asynccontextmanager
async def served(
    tmp_path: Path, config: JournalConfig = QUICK, api: ApiConfig | None = None, door: Door | None = None
) -> AsyncIterator[Face]:
    path = tmp_path / "api.sock"
    api = replace(api or ApiConfig(), port=0, socket=str(path))
    async with running(tmp_path, config) as world:
        await until("the file is open", lambda: world.journal.opened)
        server = await serve(Daemon(build.serving()), api, Metrics(), door=door, history=world.journal)
        local = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession() as tcp, aiohttp.ClientSession(connector=local) as unix:
            yield Face(world, server, tcp, unix)
        await server.close()


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with served(tmp_path) as face:
        yield face


class Stream:
    """One reader, by aiohttp's client."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._lines = response.content

    async def line(self) -> str:
        return (await asyncio.wait_for(self._lines.readline(), 10.0)).decode().rstrip("\n")

    async def next(self) -> tuple[str, str, Any]:
        """Return the id, the name and the data of the next event; comments are passed over."""
        found: dict[str, str] = {}
        while True:
            line = await self.line()
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                found[name] = value
            elif not line and "event" in found:
                return found.get("id", ""), found["event"], json.loads(found["data"])


@asynccontextmanager
async def reading(face: Face, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with face.tcp.get(f"{face.url}/v1/events{query}", headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        stream = Stream(response)
        assert await stream.line() == ": anycastd"
        yield stream


async def test_decisions_are_listed_by_page_filtered_and_shown_whole(face: Face) -> None:
    face.decide(5)
    face.decide(2, OTHER)
    await face.world.written()
    seen, target = list[int](), "/v1/decisions?limit=2"
    token: str | None = ""
    while token is not None:
        body = await face.get(target + (f"&next_token={token}" if token else ""))
        shapes.JournalDecisions.model_validate(body)
        seen += [one["number"] for one in body["decisions"]]
        token = body["next_token"]
        face.decide(1)
        await face.world.written()
    assert seen == [7, 6, 5, 4, 3, 2, 1], "what came meanwhile moved no page"
    one = await face.get("/v1/decisions?prefix=2001:db8::/48&reason=settling&since=1h&limit=1")
    assert [(d["prefix"], d["hold"], d["level"]) for d in one["decisions"]] == [(str(OTHER), "settling", "DEPREF")]
    assert (await face.get("/v1/decisions?since=2100-01-01T00:00:00Z"))["decisions"] == []
    whole = await face.get(f"/v1/decisions/{one['decisions'][0]['number']}")
    shapes.WholeDecision.model_validate(whole)
    assert replay(decode(whole)) == made(OTHER, 1001.0).decision


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v1/decisions/99", 404, "no_such_decision"),
        ("/v1/decisions/1", 404, "no_such_decision"),
        ("/v1/decisions/x", 400, "bad_parameter"),
        ("/v1/decisions?prefix=203.0.113.1/24", 400, "bad_parameter"),
        ("/v1/decisions?reason=bad_luck", 400, "bad_parameter"),
        ("/v1/decisions?since=yesterday", 400, "bad_parameter"),
        ("/v1/decisions?limit=0", 400, "bad_parameter"),
        ("/v1/decisions?next_token=-1", 400, "bad_parameter"),
        ("/v1/decisions?colour=red", 400, "unknown_parameter"),
        ("/v1/journal?types=decision,bad", 400, "bad_parameter"),
        ("/v1/events?types=decisions", 400, "bad_parameter"),
        ("/v1/events?after=x", 400, "bad_parameter"),
    ],
)
async def test_what_is_not_understood_or_not_there_is_said(face: Face, target: str, status: int, code: str) -> None:
    face.world.journal.note(EntryKind.ALARM, "x")
    await face.world.written()
    assert (await face.get(target, status))["error"]["code"] == code


async def test_entries_of_all_kinds_are_listed(face: Face) -> None:
    face.decide(1)
    face.world.journal.note(EntryKind.SESSION, "transit-a", after="down", detail="hold timer")
    await face.world.written()
    body = await face.get("/v1/journal")
    shapes.JournalEntries.model_validate(body)
    assert [one["kind"] for one in body["entries"]] == ["session", "decision"]
    only = await face.get("/v1/journal?types=session,alarm&subject=transit-a")
    assert [one["detail"] for one in only["entries"]] == ["hold timer"]


async def test_a_file_that_cannot_be_read_is_503(face: Face) -> None:
    await face.world.written()
    for one in face.world.journal.path.parent.glob("journal.db*"):
        one.unlink()
    body = await face.get("/v1/decisions", 503)
    assert body["error"]["code"] == "JournalUnavailable"
    assert "no such file" in body["error"]["message"]


async def test_events_come_as_they_happen_on_both_sockets(face: Face) -> None:
    async with reading(face, "?types=decision,alarm") as tcp, face.unix.get("http://localhost/v1/events") as response:
        unix = Stream(response)
        assert await unix.line() == ": anycastd"
        face.world.journal.note(EntryKind.CHECK, "not asked for")
        face.decide(1)
        number, name, data = await tcp.next()
        assert (number, name, data["subject"]) == ("2", "decision", str(PREFIX))
        shapes.JournalEntry.model_validate(data)
        assert [(await unix.next())[:2] for _ in range(2)] == [("1", "check"), ("2", "decision")]


async def test_an_idle_reader_is_sent_a_comment(face: Face) -> None:
    async with reading(face) as stream:
        assert [await stream.line() for _ in range(4)] == ["retry: 2000", "", ": alive", ""]


async def test_a_stream_ends_when_its_token_is_replaced_and_tells_nothing_more(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("r" * 30, encoding="ascii")
    api = ApiConfig(tokens={"watch": TokenSpec(name="watch", role=Role.READ, file=str(file))})
    door = Door(api)
    async with (
        served(tmp_path, api=api, door=door) as face,
        reading(face, Authorization=f"Bearer {'r' * 30}") as shown,
        reading(face) as without,
    ):
        face.decide(1)
        assert (await shown.next())[1] == (await without.next())[1] == "decision"
        file.write_text("s" * 30, encoding="ascii")
        door.take(door.read(api))
        face.decide(1)
        left = [await shown.line() for _ in range(3)]
        assert not any(line.startswith(("data", "event")) for line in left), "told to one who is shut out"
        assert (await without.next())[0] == "2", "reads on loopback need no token"


@pytest.mark.parametrize("how", ["header", "query"])
async def test_a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice(face: Face, how: str) -> None:
    face.decide(500)
    await face.world.written()
    query, headers = ("?after=3", {}) if how == "query" else ("", {"Last-Event-ID": "3"})
    async with reading(face, query, **headers) as stream:
        face.decide(300)
        got = [int((await stream.next())[0]) for _ in range(797)]
        face.decide(1)
        got.append(int((await stream.next())[0]))
    assert got == list(range(4, 802))


async def test_a_reader_is_told_of_what_is_not_kept_any_more(face: Face) -> None:
    face.decide(3)
    await face.world.written()
    async with reading(face, "?after=900") as stream:
        number, name, data = await stream.next()
        shapes.EventGap.model_validate(data)
        assert (number, name, data["reason"]) == ("", "gap", LostWhy.NOT_KEPT.value)
        face.decide(1)
        assert (await stream.next())[0] == "4"


async def test_a_reader_of_a_file_that_cannot_be_read_gets_live_events(face: Face) -> None:
    await face.world.written()
    for one in face.world.journal.path.parent.glob("journal.db*"):
        one.unlink()
    async with reading(face, "?after=1") as stream:
        _, name, data = await stream.next()
        assert (name, data["reason"]) == ("gap", LostWhy.NOT_READABLE.value)
        face.decide(3)
        assert (await stream.next())[1] == "decision"


async def test_a_slow_reader_is_told_what_it_missed_and_disturbs_nobody(tmp_path: Path) -> None:
    config = replace(QUICK, reader_backlog=10, heartbeat_s=10.0)
    async with served(tmp_path, config) as face, reading(face) as quick:
        slow = await _raw(face)
        journal = face.world.journal
        await until("both read", lambda: journal.facts().readers == 2)
        got, sent = 0, 0
        # until the kernel's buffers, aiohttp's and the backlog are full, and then some
        while journal.facts().lost.get(LostWhy.SLOW_READER, 0) < 20:
            for _ in range(5):
                journal.note(EntryKind.ALARM, "x", detail="y" * 30_000)
            sent += 5
            for _ in range(5):
                await quick.next()
                got += 1
            assert sent < 20_000, "it must be noticed at some time"
        assert got == sent
        text = await asyncio.to_thread(_read_until, slow, '"reason":"slow_reader"')
        slow.close()
        gap = json.loads(text[text.rindex("data: ") + 6 :])
        shapes.EventGap.model_validate(gap)
        numbers = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
        assert numbers == list(range(1, len(numbers) + 1)), "what it got has no hole"
        assert (gap["first"], gap["last"] - gap["first"] + 1) == (len(numbers) + 1, gap["lost"])


async def test_a_reader_that_takes_nothing_is_let_go(tmp_path: Path) -> None:
    async with served(tmp_path, replace(QUICK, reader_backlog=10, reader_patience_s=0.2)) as face:
        stuck = await _raw(face)
        journal = face.world.journal
        await until("it reads", lambda: journal.facts().readers == 1)
        for _ in range(600):
            journal.note(EntryKind.ALARM, "x", detail="y" * 30_000)
            if not journal.facts().readers:
                break
            await asyncio.sleep(0.001)
        await until("its place is free", lambda: journal.facts().readers == 0)
        stuck.close()


async def test_one_reader_too_many_is_refused_until_a_place_is_free(tmp_path: Path) -> None:
    async with served(tmp_path, replace(QUICK, max_readers=1)) as face:
        async with reading(face), face.tcp.get(f"{face.url}/v1/events") as refused:
            assert refused.status == 503
            assert refused.headers["Retry-After"]
            assert (await refused.json())["error"]["code"] == "too_many_readers"
        await until("the place is free", lambda: face.world.journal.facts().readers == 0)
        async with reading(face):
            assert face.world.journal.facts().readers == 1


async def test_the_end_of_the_daemon_ends_the_stream_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, replace(QUICK, heartbeat_s=60.0)) as face, reading(face) as stream:
        face.world.journal.note(EntryKind.STOP, "fra")
        begun_s = asyncio.get_running_loop().time()
        await face.server.close()
        assert (await stream.next())[1] == "stop"
        assert asyncio.get_running_loop().time() - begun_s < 0.9


async def _raw(face: Face) -> socket.socket:
    """Return a connection that asked for events, and takes nothing more once they begin."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(10.0)
    await asyncio.to_thread(raw.connect, ("127.0.0.1", face.server.port))
    raw.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    begun = b""
    while not begun.endswith(b"\n\n\r\n"):
        begun += await asyncio.to_thread(raw.recv, 1)
    return raw


def _read_until(raw: socket.socket, word: str) -> str:
    """Return what the connection brings up to the line with a word, without the marks of chunks."""
    text = ""
    with raw.makefile("rb") as stream:
        while word not in text:
            piece = stream.read(int(stream.readline(), 16) + 2)
            text += piece[:-2].decode()
    return text[: text.index("\n\n", text.index(word))]
