"""ExaBGP's files when two things happen at once: a start and a reload, or a change and a disk without room."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from anycastd.actuators.exabgp import supervisor as supervising
from anycastd.actuators.exabgp.events import Degraded, SpeakerEvent
from anycastd.actuators.exabgp.files import LOG_LIMIT_BYTES, Files
from anycastd.actuators.exabgp.speaker import Speaker
from anycastd.errors import ActuatorTransient
from anycastd.model.address import NeighborName
from anycastd.model.topology import BgpConfig, Neighbor, Pop
from tests.wait import AT_LEAST_S

OLD = Neighbor(
    name=NeighborName("up"),
    address=ip_address("127.0.0.2"),
    asn=64501,
    local_address=ip_address("127.0.0.1"),
    local_asn=64500,
)
NEW = replace(OLD, name=NeighborName("up2"), address=ip_address("127.0.0.3"))
PROGRAM = f"""#!{sys.executable} -S
import os, sys, time
directory = os.path.dirname(sys.argv[2])
if sys.argv[1] == "validate":
    try:
        os.mkdir(os.path.join(directory, "first"))
        gate = "first gate"
    except FileExistsError:
        gate = "gate"
    while not os.path.exists(os.path.join(directory, gate)):
        time.sleep(0.01)
else:
    time.sleep(60)
"""


def speaker_in(directory: Path, told: list[SpeakerEvent]) -> Speaker:
    """Return a speaker whose ExaBGP takes its time to read a file, and then says nothing."""
    program = directory / "exabgp"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    bgp = BgpConfig(directory=str(directory / "bgp"), socket=str(directory / "sock"), exabgp=str(program), listen=False)
    pop = Pop(name="fra", asn=64500, router_id=IPv4Address("192.0.2.1"))
    return Speaker(bgp, pop, {OLD.name: OLD}, on_change=lambda prefixes: None, on_event=told.append)


async def until(what: str, so: Callable[[], object]) -> None:
    end_s = asyncio.get_running_loop().time() + AT_LEAST_S
    while not so():
        assert asyncio.get_running_loop().time() < end_s, what
        await asyncio.sleep(0.01)


async def test_a_reload_while_exabgp_is_being_started_is_taken_whole(tmp_path: Path) -> None:
    """Both write the same candidate: what the start was about to put in place must not be the other's."""
    speaker = speaker_in(tmp_path, [])
    files, supervisor = speaker.supervisor.files, speaker.supervisor
    await speaker.start()
    try:
        await until("the start has its file checked", files.candidate.exists)
        reload = asyncio.create_task(speaker.reconfigure({NEW.name: NEW}))
        for _ in range(20):
            await asyncio.sleep(0.01)
        (files.directory / "first gate").touch()
        await until("the start has put its file in place", files.conf.exists)
        (files.directory / "gate").touch()
        await reload
        wanted = await supervisor.render({NEW.name: NEW})
        assert files.read_conf() == wanted
        await until(
            "ExaBGP runs with it", lambda: supervisor.running and supervisor.state.config == supervisor.digest(wanted)
        )
    finally:
        await speaker.stop(withdraw=False)


async def test_a_file_that_cannot_be_written_refuses_the_change_and_changes_nothing(tmp_path: Path) -> None:
    speaker = speaker_in(tmp_path, [])
    await speaker.start()
    files = speaker.supervisor.files
    try:
        (files.directory / "first gate").touch()
        await until("ExaBGP runs", lambda: speaker.supervisor.running)
        before = files.read_conf()
        # nothing can be written beside it, as on a full disk
        (files.directory / f".{files.candidate.name}.part").mkdir()
        with pytest.raises(ActuatorTransient, match="cannot be written"):
            await speaker.reconfigure({NEW.name: NEW})
        assert speaker.neighbors == {OLD.name: OLD}
        assert files.read_conf() == before
    finally:
        await speaker.stop(withdraw=False)


def test_a_log_that_is_too_long_never_fills_the_disk(tmp_path: Path) -> None:
    """What raises here would end the talk with ExaBGP, at each dump anew."""
    files = Files(str(tmp_path), "")
    files.log.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    (tmp_path / ".exabgp.log.1.part").mkdir()
    files.trim_log()
    assert files.log.stat().st_size == 0


async def test_what_cannot_be_written_into_exabgps_file_is_told_and_tried_again(tmp_path: Path) -> None:
    """Whatever goes wrong with a start: a supervision that ended in silence would leave the POP without an ExaBGP."""
    directory = tmp_path / "été"
    directory.mkdir()
    told: list[SpeakerEvent] = []
    speaker = speaker_in(directory, told)
    await speaker.start()
    try:
        await until(
            "it is told", lambda: [one for one in told if isinstance(one, Degraded) and "launch" in one.subject]
        )
        (degraded, *_) = (one for one in told if isinstance(one, Degraded) and one.subject == "launch")
        assert "plain characters" in degraded.detail
    finally:
        await speaker.hand_over()


async def test_a_supervision_that_fails_begins_again_and_tells_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "LAST_DELAY_S", 0.05)
    told: list[SpeakerEvent] = []
    speaker = speaker_in(tmp_path, told)
    raised: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    (tmp_path / "bgp").mkdir()
    (tmp_path / "bgp" / "first").mkdir()
    (tmp_path / "bgp" / "gate").touch()

    render = speaker.supervisor.render

    def unforeseen(neighbors: object) -> bytes:
        monkeypatch.setattr(speaker.supervisor, "render", render)
        return "md5-password été".encode("ascii")

    monkeypatch.setattr(speaker.supervisor, "render", unforeseen)
    await speaker.start()
    try:
        await until("ExaBGP runs all the same", lambda: speaker.supervisor.running)
        details = [one.detail for one in told if isinstance(one, Degraded) and one.subject == "launch"]
        assert details[0].startswith("UnicodeEncodeError")
        assert not any("md5" in one for one in details)
        assert [context["message"] for context in raised] == ["the supervision of ExaBGP failed"]
    finally:
        await speaker.stop(withdraw=False)
