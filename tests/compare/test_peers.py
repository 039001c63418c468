"""Faults that break our nearest peers, done to each by its adapter and judged at a raw BGP listener.

`make compare` runs it and writes docs/comparison.md. Of us it is asserted that all is well; what the others do is
written down as it was seen.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bench.configs import server
from tests.bench.world import Program, Row, Rows, World, world
from tests.compare.announcers import PREFIX, Announcer, AnycastHealthchecker, Ours, kill, present, processes, versions
from tests.compare.page import Findings
from tests.lab.test_dampening import damping
from tests.wait import NotInTimeError, wait_until

# soak as well, so that nothing else that runs tests runs these
pytestmark = [pytest.mark.compare, pytest.mark.soak, pytest.mark.timeout(180)]

WATCHED_S = 25.0
RESTART_S = 1.0
SERVER_PROGRAM = Path(__file__).with_name("server.py")


@dataclass
class Bout:
    """One announcer, its server and its router."""

    made: World
    who: Announcer
    sink: Program
    server: Program
    heard: list[Row] = field(default_factory=list)

    def listen(self) -> list[Row]:
        """Return all that the router heard of the prefix, and what became of its sessions."""
        self.heard += self.sink.rows.new()
        return [row for row in self.heard if row.get("prefix") == PREFIX or row["kind"] in ("open", "closed")]

    def has(self) -> Row | None:
        """Return the route as the router has it now."""
        route = None
        for row in self.listen():
            route = row if row["kind"] == "announce" else None
        return route

    def set(self, mode: str) -> float:
        """Make the server well or ill; return when it was."""
        self.server.tell(mode=mode)
        found: list[Row] = []

        def told() -> bool:
            found.extend(row for row in self.server.rows.new() if row["kind"] == mode)
            return bool(found)

        wait_until(f"the server is {mode}", 5, told)
        return float(found[0]["t"])

    def worse_after_s(self, since_s: float, within_s: float = WATCHED_S) -> float | None:
        """Return how long after a time the router was told to use others, or None if it was not."""

        def worse() -> float | None:
            for row in self.listen():
                longer = row["kind"] == "announce" and len(row["as_path"]) > 1
                if row["t"] >= since_s and (longer or row["kind"] in ("withdraw", "closed")):
                    return max(float(row["t"]) - since_s, 0.001)
            return None

        with suppress(NotInTimeError):
            return wait_until("worse", within_s, worse)
        return None

    def well(self) -> None:
        """Wait until the route is as it is when all is well."""
        wait_until("the route is well", 40, lambda: (one := self.has()) is not None and len(one["as_path"]) == 1)

    def wait(self, seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let time pass."""
        end_s = time.monotonic() + seconds

        def over() -> bool:
            meanwhile()
            return time.monotonic() > end_s

        wait_until("the time is over", seconds + 10, over)


def serving(made: World) -> Program:
    """Start the server, and give those who need one a route to it."""
    made.run("ip", "-n", made.pop, "route", "add", "10.20.0.0/16", "via", "10.100.0.2")
    process = made.spawn(made.far, [sys.executable, str(SERVER_PROGRAM), server(0)], "server.jsonl")
    program = Program(process, Rows(made.directory / "server.jsonl"))
    made.programs.append(program)
    wait_until("the server listens", 10, program.rows.new)
    return program


@contextmanager
def bout(kind: type[Announcer], mode: str = "normal", *, default_timers: bool = False) -> Iterator[Bout]:
    """Bring an announcer up with a server in this state."""
    with world(1) as made:
        sink, server, who = made.sink(), serving(made), kind()
        if default_timers and isinstance(who, Ours):
            who.timers = {}
        one = Bout(made, who, sink, server)
        if mode != "normal":
            one.set(mode)
        who.start(made)
        if mode == "normal":
            one.well()
        yield one


EVERYBODY = pytest.mark.parametrize("kind", present(), ids=lambda kind: kind().name.replace(" ", "-"))


@pytest.fixture(scope="module")
def findings() -> Iterator[Findings]:
    """What was found, written to the pages that ANYCASTD_COMPARED names."""
    load = os.getloadavg()[0]
    found = Findings()
    yield found
    found.about = f"{datetime.now(UTC).date().isoformat()}, {versions()}; two cores, load {load:.1f} at the start."
    found.write(os.environ.get("ANYCASTD_COMPARED"))


def shown(seconds: float | None) -> str:
    """Return a time as the page has it."""
    return f"**never** in {WATCHED_S:.0f} s" if seconds is None else f"{seconds:.1f} s"


@EVERYBODY
@pytest.mark.parametrize("mode", ["refuse", "error500", "silent", "half"])
def test_a_server_that_fails_is_left(kind: type[Announcer], mode: str, findings: Findings) -> None:
    with bout(kind) as one:
        one.wait(3.0)
        took_s = one.worse_after_s(one.set(mode))
    words = {"half": "brownout: every second request fails", "silent": "takes the connection, never answers"}
    findings.add(f"server: {words.get(mode, mode)}", one.who.name, shown(took_s))
    if kind is Ours:
        # a brownout must fill 40 % of a window of 20 probes
        assert took_s is not None
        assert took_s < (20.0 if mode == "half" else 3.5)


@EVERYBODY
def test_a_checker_killed_while_its_server_fails_leaves_nothing_stale(
    kind: type[Announcer], findings: Findings
) -> None:
    with bout(kind) as one:
        since_s = one.set("refuse")
        assert kill(one.made, one.who.checker, signal.SIGKILL)
        one.wait(RESTART_S)
        one.who.again(one.made)
        took_s = one.worse_after_s(since_s)
    findings.add("checker killed (-9) as its server fails", one.who.name, shown(took_s))
    assert kind is not Ours or took_s is not None


@EVERYBODY
def test_a_speaker_that_was_killed_announces_again(kind: type[Announcer], findings: Findings) -> None:
    with bout(kind) as one:
        one.wait(2.0)
        at_s = time.monotonic()
        assert kill(one.made, one.who.speaker, signal.SIGKILL)
        one.wait(RESTART_S)
        one.who.again(one.made)
        back = None
        with suppress(NotInTimeError):
            wait_until("back", WATCHED_S, lambda: (row := one.has()) is not None and row["t"] > at_s)
            back = next(row["t"] for row in one.listen() if row["kind"] == "announce" and row["t"] > at_s) - at_s
    findings.add("BGP speaker killed: the route is back after", one.who.name, shown(back))
    assert kind is not Ours or back is not None


@EVERYBODY
def test_a_speaker_that_hangs_as_the_server_fails_is_told_later(kind: type[Announcer], findings: Findings) -> None:
    with bout(kind) as one:
        if kind is AnycastHealthchecker:
            (one.made.directory / "hang").write_text("4", encoding="ascii")
            since_s = one.set("refuse")
        else:
            since_s = one.set("refuse")
            pids = processes(one.made, one.who.speaker)
            kill(one.made, one.who.speaker, signal.SIGSTOP)
            one.wait(4.0)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        took_s = one.worse_after_s(since_s)
    findings.add("BGP speaker hangs for 4 s as the server fails", one.who.name, shown(took_s))
    assert kind is not Ours or took_s is not None


@EVERYBODY
def test_told_to_stop_it_withdraws(kind: type[Announcer], findings: Findings) -> None:
    with bout(kind) as one:
        since_s = time.monotonic()
        # a service manager stops ExaBGP, which ends its healthcheck
        kill(one.made, one.who.speaker if "ExaBGP" in one.who.name else one.who.checker, signal.SIGTERM)
        took_s = one.worse_after_s(since_s, 12.0)
    findings.add("told to stop (SIGTERM): withdrawn after", one.who.name, shown(took_s) if took_s else "**never**")
    assert kind is not Ours or took_s is not None


@EVERYBODY
def test_nothing_is_announced_before_a_good_check(kind: type[Announcer], findings: Findings) -> None:
    with bout(kind, "refuse") as one:
        wait_until("the session is up", 30, lambda: any(row["kind"] == "open" for row in one.listen()))
        one.wait(8.0)
        said = [row for row in one.listen() if row["kind"] == "announce"]
    findings.add("started while the server refuses", one.who.name, "**announced**" if said else "not announced")
    assert kind is not Ours or not said


@EVERYBODY
def test_while_nothing_changes_nothing_is_said(kind: type[Announcer], findings: Findings) -> None:
    with bout(kind) as one:
        one.wait(3.0)
        before = len(one.listen())
        one.wait(15.0)
        said = len(one.listen()) - before
    findings.add("UPDATEs in 15 s while nothing changes", one.who.name, str(said))
    assert kind is not Ours or said == 0


def flap(server: Program, wait: Callable[[float], None]) -> None:
    """Let the server be down and up, three seconds each."""
    for number in range(10):
        server.tell(mode="normal" if number % 2 else "refuse")
        wait(3.0)


@EVERYBODY
def test_a_flapping_server_costs_few_updates(kind: type[Announcer], findings: Findings) -> None:
    with bout(kind, default_timers=True) as one:
        one.wait(2.0)
        before = len(one.listen())
        flap(one.server, one.wait)
        said = len(one.listen()) - before
    findings.add("UPDATEs while the server is down and up for 3 s, 5 times", one.who.name, str(said))
    assert kind is not Ours or said <= 3


@EVERYBODY
def test_a_flapping_server_is_not_suppressed_by_a_router_that_damps(kind: type[Announcer], findings: Findings) -> None:
    with world(1) as made, damping(made, "1 750 2000 4") as router:
        server, who = serving(made), kind()
        if isinstance(who, Ours):
            who.timers = {}
        who.start(made)
        wait_until("announced", 40, lambda: router.look(PREFIX).path[PREFIX] == 1)
        damped: set[str] = set()

        def wait(seconds: float) -> None:
            end_s = time.monotonic() + seconds

            def over() -> bool:
                damped.update(router.look().damped)
                return time.monotonic() > end_s

            wait_until("the time is over", seconds + 10, over)

        flap(server, wait)
    findings.add(
        "the same at a router with `bgp dampening 1`", who.name, "**suppressed**" if damped else "not suppressed"
    )
    assert kind is not Ours or not damped
