"""What systemd is told, at a real datagram socket."""

from __future__ import annotations

import asyncio
import re
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.runtime.process.notify import Notify
from anycastd.runtime.process.unit import ENDS_WITHIN_S, READY_WITHIN_S, STUCK_AFTER_S, Unit, sentence
from tests.unit import status_builder as build


class Systemd:
    """The other end, on a path or an abstract name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[dict[str, str]]:
        """Return what came since it was last asked."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self._socket.recv(65536).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.splitlines()))

    def environ(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, **more}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(f"@anycastd-test-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield made
    made.close()


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def unit_of(notify: Notify, clock: Clock) -> Unit:
    return Unit(notify, clock, lambda: 10.0)


def test_ready_when_what_is_ours_is_good_and_the_state_in_one_line(systemd: Systemd) -> None:
    notify = Notify.of(systemd.environ(), 7)
    unit = unit_of(notify, Clock())
    unit.see(build.starting())
    (first,) = systemd.heard()
    assert set(first) == {"STATUS"}
    assert "not ready: " in first["STATUS"]
    unit.see(build.serving())
    assert [set(message) for message in systemd.heard()] == [{"STATUS"}, {"READY"}]
    unit.see(build.serving())
    assert systemd.heard() == []
    notify.close()


def test_what_is_outside_delays_ready_but_never_forbids_it(systemd: Systemd) -> None:
    clock = Clock()
    notify = Notify.of(systemd.environ(), 7)
    unit = unit_of(notify, clock)
    unit.see(build.starting())
    clock.now_s += READY_WITHIN_S
    unit.see(build.starting())
    assert [message for message in systemd.heard() if "READY" in message] == [{"READY": "1"}]
    notify.close()


def test_the_line_counts_what_an_operator_looks_for() -> None:
    assert re.fullmatch(
        r"fra AS64500: ready; 2/2 prefixes announced \(1 lowered\), "
        r"\d/\d tunnels healthy, \d/\d sessions up, \d alarms?",
        sentence(build.serving()),
    )
    assert sentence(replace(build.serving(), stopping=True)).startswith("fra AS64500: stopping; ")


def test_a_reload_says_when_it_began_and_that_it_ended_also_when_it_fails(systemd: Systemd) -> None:
    notify = Notify.of(systemd.environ(), 7)
    unit = unit_of(notify, Clock())
    with unit.reloading():
        pass
    assert systemd.heard() == []
    unit.see(build.serving())
    systemd.heard()
    before = time.monotonic_ns() // 1000
    with pytest.raises(ValueError, match="bad"), unit.reloading():
        raise ValueError("bad")
    began, ended = systemd.heard()
    assert began["RELOADING"] == "1"
    assert before <= int(began["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert ended == {"READY": "1"}
    notify.close()


def test_while_leaving_it_asks_for_more_time_and_tells_nothing_else(systemd: Systemd) -> None:
    notify = Notify.of(systemd.environ(), 7)
    unit = unit_of(notify, Clock())
    unit.stopping("leave")
    unit.see(build.serving())
    unit.pet()
    assert systemd.heard() == [
        {"STOPPING": "1", "STATUS": "ending: leave"},
        {"EXTEND_TIMEOUT_USEC": "10000000", "WATCHDOG": "1"},
        {"EXTEND_TIMEOUT_USEC": "10000000", "WATCHDOG": "1"},
    ]
    notify.close()


def test_an_end_that_hangs_is_for_systemd_to_end(systemd: Systemd) -> None:
    clock = Clock()
    notify = Notify.of(systemd.environ(), 7)
    unit = unit_of(notify, clock)
    unit.stopping("hand over", 30.0)
    clock.now_s += 30.0 + ENDS_WITHIN_S - 1.0
    unit.pet()
    assert all("EXTEND_TIMEOUT_USEC" in message for message in systemd.heard()[1:])
    clock.now_s += 2.0
    unit.pet()
    assert systemd.heard() == []
    notify.close()


def test_no_sign_of_life_while_the_control_loop_stands_still(systemd: Systemd) -> None:
    clock = Clock()
    notify = Notify.of(systemd.environ(WATCHDOG_USEC="3000000"), 7)
    unit = unit_of(notify, clock)
    clock.now_s += STUCK_AFTER_S - 1
    unit.pet()
    assert systemd.heard() == [{"WATCHDOG": "1"}]
    clock.now_s += 1
    unit.pet()
    assert systemd.heard() == []
    unit.turned()
    unit.pet()
    assert systemd.heard() == [{"WATCHDOG": "1"}]
    notify.close()


async def test_no_sign_of_life_while_the_event_loop_is_held_up(systemd: Systemd) -> None:
    notify = Notify.of(systemd.environ(WATCHDOG_USEC="60000"), 7)
    loop = asyncio.get_running_loop()
    unit = Unit(notify, loop.time, lambda: 10.0)
    running = asyncio.create_task(unit.run())
    await asyncio.wait([running], timeout=0.1)
    assert len(systemd.heard()) >= 2
    select.select([], [], [], 0.2)
    assert systemd.heard() == []
    await asyncio.wait([running], timeout=0.05)
    assert systemd.heard() != []
    unit.close()
    await asyncio.wait_for(running, 5)


def test_what_the_environment_says_is_for_us_alone(systemd: Systemd) -> None:
    environ = systemd.environ(WATCHDOG_USEC="30000000", WATCHDOG_PID="7", HOME="/")
    notify = Notify.of(environ, 7)
    assert environ == {"HOME": "/"}
    assert notify.watchdog_s == 30.0
    notify.close()
    other = Notify.of(systemd.environ(WATCHDOG_USEC="30000000", WATCHDOG_PID="8"), 7)
    assert other.watchdog_s is None
    other.close()
    for text in ("", "0", "-1", "soon"):
        strange = Notify.of({"WATCHDOG_USEC": text}, 7)
        assert (strange.watchdog_s, strange.heard, strange.send(READY=1)) == (None, False, False)


def test_a_manager_that_does_not_read_or_is_gone_costs_nothing(systemd: Systemd) -> None:
    notify = Notify.of(systemd.environ(), 7)
    sent = sum(notify.send(STATUS=f"line {number}\nand more") for number in range(5000))
    assert 0 < sent < 5000
    assert systemd.heard()[0] == {"STATUS": "line 0 and more"}
    systemd.close()
    assert not notify.send(READY=1)
    notify.close()
