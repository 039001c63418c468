"""The daemon's end, with a process that the test plays: silent, of another release, with sessions of every kind."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.address import CheckId
from anycastd.model.checks import BfdOptions, CheckKind, CheckSpec, ProbeSpec, Timing
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import BfdConfig, Launch
from anycastd.probes.bfd.packet import State
from anycastd.probes.engine import Engine
from tests.lab.bgp_stage import eventually
from tests.wait import AT_LEAST_S

CHECK = CheckSpec(
    name="alive",
    kind=CheckKind.BFD,
    options=BfdOptions(),
    timing=Timing(interval_s=0.1, timeout_s=0.3, rise=1, fall=1),
)
SPEC = ProbeSpec(id=CheckId("alive"), check=CHECK, target=ip_address("192.0.2.2"), source=ip_address("192.0.2.1"))
KEY = ["192.0.2.1", "192.0.2.2", False]
UP: dict[str, Any] = {
    "key": KEY, "state": State.UP, "diag": 0, "since_s": 1.0, "was_up": True, "downs": 0, "transmit_us": 300_000,
    "detection_us": 900_000, "remote_state": State.UP, "remote_diag": 0, "left": False, "demanded": False,
    "resume": [1, 2, 300_000, 300_000, 3],
}  # fmt: skip


class Played:
    """The process's end of the connections, and what the engine made of it."""

    def __init__(self, path: Path, **config: float) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.listener.setblocking(False)
        # kept open: one that closes is killed, and it is us who play it
        self.connections: list[socket.socket] = []
        self.results: list[ProbeResult] = []
        self.alarms: list[str | None] = []
        self.engine = Engine(
            asyncio.get_running_loop(),
            self.results.append,
            dict,
            bfd=BfdConfig(launch=Launch.SERVICE, socket=str(path), **config),
            on_bfd=self.alarms.append,
        )
        self.engine.set_probes([SPEC])

    async def caller(self) -> socket.socket:
        """Return the next connection of the daemon."""
        loop = asyncio.get_running_loop()
        one, _ = await asyncio.wait_for(loop.sock_accept(self.listener), AT_LEAST_S)
        self.connections.append(one)
        return one

    async def ordered(self, one: socket.socket) -> list[dict[str, Any]]:
        """Return the sessions that are ordered on a connection."""
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 65536), AT_LEAST_S)
        sessions: list[dict[str, Any]] = json.loads(data)["sessions"]
        return sessions

    def say(self, one: socket.socket, **said: Any) -> None:
        """Say a line."""
        one.sendall(json.dumps(said).encode() + b"\n")

    async def last(self, why: Why, words: str) -> None:
        """Wait for a result with these words."""
        await eventually(
            f"{why}: {words}",
            AT_LEAST_S,
            lambda: self.results and self.results[-1].why is why and words in self.results[-1].detail,
        )

    def close(self) -> None:
        """Let go of everything."""
        self.engine.close(leave=True)
        for one in (self.listener, *self.connections):
            one.close()


@pytest.fixture
async def played(tmp_path: Path) -> AsyncIterator[Played]:
    made = Played(tmp_path / "bfd.sock", silent_after_s=0.5, replace_after_s=600.0)
    yield made
    made.close()


async def test_what_is_told_is_the_result_and_a_change_is_told_at_once(played: Played) -> None:
    one = await played.caller()
    (wanted,) = await played.ordered(one)
    assert (wanted["here"], wanted["peer"], wanted["tx_us"], wanted["resume"]) == (*KEY[:2], 300_000, None)
    played.say(one, hello={"pid": 1, "version": "0.0", "realtime": True, "locked": True})
    # more than we know, of a later release
    played.say(one, state={**UP, "colour": "green"})
    await played.last(Why.ANSWERED, "Up, sent each 300 ms, down after 900 ms of silence")
    played.say(one, beat={"late_s": 0.1, "late_worst_s": 0.2, "sent": 3, "heard": 2, "unsent": 0, "discarded": {}})
    played.say(one, state={**UP, "state": State.DOWN, "diag": 1, "remote_state": State.DOWN, "resume": [1, 0, 1, 1, 3]})
    await played.last(Why.BFD_DOWN, "Down: control detection time expired; nothing is heard of 192.0.2.2")
    view = played.engine.bfd
    assert view is not None
    assert (view.realtime, view.sessions, view.sent) == (True, {"Down": 1}, 3)


async def test_silence_is_unknown_with_an_alarm_and_never_down(played: Played) -> None:
    one = await played.caller()
    await played.ordered(one)
    played.say(one, state=UP)
    await played.last(Why.ANSWERED, "Up")
    await played.last(Why.BFD_UNKNOWN, "has said nothing for")
    assert any(alarm is not None and "unknown, not down" in alarm for alarm in played.alarms)
    played.say(one, state=UP)
    await played.last(Why.ANSWERED, "Up")
    assert {result.why for result in played.results} == {Why.ANSWERED, Why.BFD_UNKNOWN}


async def test_a_session_that_does_not_come_up_is_waited_for_and_then_down(played: Played) -> None:
    one = await played.caller()
    await played.ordered(one)
    new = {**UP, "state": State.DOWN, "was_up": False, "remote_state": State.DOWN, "resume": [1, 0, 1, 1, 3]}
    played.say(one, state=new)
    await played.last(Why.BFD_DOWN, "Down, never up so far; nothing is heard of 192.0.2.2")
    assert {result.why for result in played.results} <= {Why.BFD_DOWN, Why.BFD_UNKNOWN}


@pytest.mark.parametrize(
    ("said", "why", "words"),
    [
        ({"trouble": 98, "what": "UDP port 3784 (IPv4)"}, Why.BFD_UNKNOWN, "UDP port 3784 (IPv4): Address already in"),
        ({"trouble": 99, "what": "no socket"}, Why.NO_ADDRESS, "no socket: Cannot assign requested address"),
        ({**UP, "state": State.DOWN, "left": True}, Why.BFD_UNKNOWN, "on purpose (AdminDown)"),
        ({**UP, "state": State.DOWN, "demanded": True}, Why.BFD_UNKNOWN, "asks for demand mode"),
        ({**UP, "state": State.DOWN, "diag": 3, "remote_state": State.DOWN, "remote_diag": 1}, Why.BFD_DOWN,
         "Down: neighbor signaled session down; 192.0.2.2 says Down, control detection time expired"),
    ],
)  # fmt: skip
async def test_whose_fault_it_is(played: Played, said: dict[str, Any], why: Why, words: str) -> None:
    one = await played.caller()
    await played.ordered(one)
    played.say(one, state={"key": KEY, **said})
    await played.last(why, words)


async def test_a_check_that_changes_without_its_session_asks_anew(played: Played) -> None:
    one = await played.caller()
    await played.ordered(one)
    played.say(one, state=UP)
    await played.last(Why.ANSWERED, "Up")
    later = replace(SPEC, check=replace(CHECK, timing=replace(CHECK.timing, timeout_s=9.0)))
    played.engine.set_probes([later])
    (wanted,) = await played.ordered(one)
    assert wanted["peer"] == "192.0.2.2"
    seen = len(played.results)
    played.say(one, state=UP)
    await eventually("told anew", AT_LEAST_S, lambda: len(played.results) > seen)
    assert {result.why for result in played.results} == {Why.ANSWERED}


async def test_a_thousand_sessions_that_go_down_together_hold_nobody_up(played: Played) -> None:
    one = await played.caller()
    await played.ordered(one)
    peers = [ip_address(0xC6120000 + number) for number in range(1000)]
    patient = replace(CHECK, timing=Timing(interval_s=3600.0, timeout_s=3600.0, rise=1, fall=1))
    played.engine.set_probes([replace(SPEC, id=CheckId(str(peer)), check=patient, target=peer) for peer in peers])
    played.results.clear()
    lines = [json.dumps({"state": {**UP, "key": [KEY[0], str(peer), False]}}).encode() for peer in peers]
    one.setblocking(False)
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(one, b"\n".join(lines) + b"\n"))
    most, seen = 0, set[str]()
    while len(seen) < len(peers):
        await asyncio.sleep(0)
        most = max(most, len(played.results))
        seen |= {result.check for result in played.results}
        played.results.clear()
    await sending
    assert 0 < most <= 64, "in one turn of the loop"


async def test_without_a_session_the_process_is_told_so(played: Played) -> None:
    one = await played.caller()
    await played.ordered(one)
    played.engine.set_probes([])
    assert await played.ordered(one) == []
    assert played.engine.bfd is None
