"""Sessions and what is owed them, repairs, refusals, dead-man lines, files, and finding processes."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from anycastd.actuators.exabgp import dead_man, process
from anycastd.actuators.exabgp.dump import Session, SessionEvent
from anycastd.actuators.exabgp.files import Files, Owner, State
from anycastd.actuators.exabgp.refused import Refusals
from anycastd.actuators.exabgp.repair import Repairs
from anycastd.actuators.exabgp.sessions import Sessions
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import Announce, DeadManStage, Route, SessionState, Withdraw
from anycastd.model.topology import Neighbor
from tests.wait import wait_until

A = NeighborName("a")
PEER = ip_address("10.9.0.2")
NEIGHBOR = Neighbor(name=A, address=PEER, asn=65001, local_address=ip_address("10.9.0.1"), local_asn=65000)
OWED = {(A, Family.IPV4_UNICAST)}
P = ip_network("198.51.100.0/24")
ANNOUNCE = Announce(A, Route(P, "10.9.0.1", (65000,)))
WITHDRAW = Withdraw(A, P, "10.9.0.1")
UP, DOWN = SessionState.ESTABLISHED, SessionState.DOWN


def session(state: SessionState, age_s: float) -> Session:
    return Session(PEER, state, age_s, frozenset(), 0)


def test_end_of_rib_is_owed_at_each_up_until_it_was_sent() -> None:
    sessions = Sessions({A: NEIGHBOR})
    sessions.begin(100.0, {})
    assert not sessions.owed
    sessions.take_event(SessionEvent(PEER, UP, ""), 101.0)
    assert sessions.owed == OWED
    sessions.sent(A, Family.IPV4_UNICAST, 102.0)
    assert not sessions.owed
    sessions.take_event(SessionEvent(PEER, DOWN, "notification sent (4,0)"), 103.0)
    assert sessions.views[A].reason == "notification sent (4,0)"
    sessions.take_event(SessionEvent(PEER, UP, ""), 104.0)
    assert sessions.owed == OWED
    sessions.lost(105.0)
    assert not sessions.owed
    assert sessions.take_event(SessionEvent(ip_address("10.9.0.9"), UP, ""), 106.0) is None


@pytest.mark.parametrize(("sent_s", "owed"), [(None, True), (50.0, True), (90.5, False), (95.0, False)])
def test_an_adopted_session_is_owed_what_was_not_sent_since_it_came_up(sent_s: float | None, owed: bool) -> None:
    sessions = Sessions({A: NEIGHBOR})
    sessions.begin(100.0, {} if sent_s is None else {"a ipv4-unicast": sent_s})
    (change,) = sessions.take_all([session(UP, 9.0)], 100.0)
    assert change.state is UP
    assert bool(sessions.owed) is owed
    assert not sessions.take_all([session(UP, 12.0)], 103.0)


def test_a_flap_that_nobody_saw_is_found_by_the_age() -> None:
    sessions = Sessions({A: NEIGHBOR})
    sessions.begin(100.0, {})
    sessions.take_event(SessionEvent(PEER, UP, ""), 100.0)
    sessions.sent(A, Family.IPV4_UNICAST, 101.0)
    assert not sessions.take_all([session(UP, 99.0)], 200.0)
    assert sessions.take_all([session(UP, 10.0)], 200.0)
    assert sessions.owed == OWED
    assert [one.state for one in sessions.take_all([session(DOWN, 1.0)], 210.0)] == [DOWN]


def test_repairs_only_after_two_changes() -> None:
    repairs = Repairs()
    repairs.changed(ANNOUNCE)
    assert repairs.came_up(A) is None
    repairs.changed(ANNOUNCE)
    repairs.changed(ANNOUNCE)
    assert repairs.came_up(A) == []
    repairs.changed(ANNOUNCE)
    repairs.changed(WITHDRAW)
    assert repairs.came_up(A) == [WITHDRAW]
    assert repairs.came_up(A) is None


def test_refusals_hold_the_same_back_for_a_while() -> None:
    refusals = Refusals()
    assert refusals.may(ANNOUNCE, 1.0)
    refusals.add(ANNOUNCE, 1.0)
    assert not refusals.may(ANNOUNCE, 5.0)
    assert refusals.may(WITHDRAW, 5.0)
    assert refusals.may(ANNOUNCE, 11.0)
    refusals.clear(WITHDRAW)
    assert refusals.may(ANNOUNCE, 5.0)


def test_dead_man_lines_leave_out_what_cannot_be_said() -> None:
    wrong = Announce(A, Route(P, "fd09::1", (65000,)))
    unknown = Withdraw(NeighborName("gone"), P, "10.9.0.1")
    (stage,) = dead_man.encode([DeadManStage("depref", 30.0, (ANNOUNCE, wrong, unknown, WITHDRAW))], {A: PEER})
    assert stage == {
        "action": "depref",
        "after_s": 30.0,
        "lines": [
            "neighbor 10.9.0.2 announce route 198.51.100.0/24 next-hop 10.9.0.1 origin igp as-path [ 65000 ]",
            "neighbor 10.9.0.2 withdraw route 198.51.100.0/24 next-hop 10.9.0.1",
        ],
    }


def test_files_state_lock_and_modes(tmp_path: Path) -> None:
    files = Files(str(tmp_path / "bgp"), str(tmp_path / "sock"))
    files.take_lock()
    owner = Owner(os.geteuid(), os.getegid())
    with pytest.raises(ActuatorRejected, match=f"pid {os.getpid()}"):
        Files(str(tmp_path / "bgp"), str(tmp_path / "sock")).take_lock()
    files.give_to(owner)
    files.write_candidate(b"secret", owner)
    assert files.candidate.stat().st_mode & 0o777 == 0o600
    files.adopt_candidate()
    assert files.conf.read_bytes() == b"secret"
    assert files.read_state() == State()
    files.write_state(State(7, 8, "x-y", {"a ipv4-unicast": 1.5}), owner)
    assert files.read_state() == State(7, 8, "x-y", {"a ipv4-unicast": 1.5})
    for broken in ("[", files.state.read_text().replace("1.5", "NaN")):
        files.state.write_text(broken)
        assert files.read_state() == State()
    files.release_lock()
    files.take_lock()
    files.release_lock()


def test_a_long_log_is_moved_aside_while_it_is_written(tmp_path: Path) -> None:
    files = Files(str(tmp_path), str(tmp_path / "sock"))
    descriptor = files.open_log()
    os.write(descriptor, b"x" * (5 << 20) + b"\nlast words\n")
    assert files.log_tail().endswith("last words")
    files.trim_log()
    os.write(descriptor, b"new\n")
    os.close(descriptor)
    assert files.log.read_bytes() == b"new\n"
    assert files.log.with_suffix(".log.1").stat().st_size == 4 << 20


def test_a_process_is_found_by_what_it_serves_and_not_by_its_number(tmp_path: Path) -> None:
    conf = tmp_path / "exabgp.conf"
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)", "server"]
    ours = subprocess.Popen([*sleeper, str(conf)])
    other = subprocess.Popen([*sleeper, str(conf) + ".other"])
    try:
        wait_until("it runs", 5, lambda: [one.pid for one in process.find(conf)] == [ours.pid])
        (found,) = process.find(conf)
        assert found.start == process.start_of(ours.pid)
    finally:
        for one in (ours, other):
            one.kill()
            one.wait()
    assert process.find(conf) == []
    assert process.start_of(ours.pid) is None


def test_exabgp_is_started_on_its_own_interpreter(tmp_path: Path) -> None:
    files = Files(str(tmp_path), str(tmp_path / "sock"))
    script = tmp_path / "exabgp"
    script.write_text("#!/usr/bin/python3\n")
    assert process.server_command(str(script), files)[:3] == ("/usr/bin/python3", str(files.launcher), str(script))
    script.write_text("#!/bin/sh\n")
    assert process.server_command(str(script), files) == (str(script), "server", str(files.conf))
    script.unlink()
    assert process.server_command(str(script), files)[0] == str(script)
