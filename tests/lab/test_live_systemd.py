"""The shipped units under systemd itself, as the first process of a machine that is made for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.live_systemd import Machine, cgroup_root, configure, live_systemd
from tests.lab.unit_stage import PREFIXES
from tests.wait import wait_until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(180),
    pytest.mark.skipif(cgroup_root() is None, reason="this machine has no unified hierarchy of control groups"),
]
BOTH = set(PREFIXES.values())
DAEMON, SPEAKER, BFD = "anycastd.service", "anycastd-bgp.service", "anycastd-bfd.service"
MORE = "198.51.100.0/24"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with live_systemd() as made:
        made.run("systemctl", "start", BFD, SPEAKER, DAEMON)
        wait_until("both prefixes at the router", 60, lambda: made.stage.announced() == BOTH)
        yield made
        print(made.journal()[-20000:])


def is_ready(machine: Machine) -> bool:
    shown = machine.shown(DAEMON, "ActiveState", "SubState", "StatusText")
    assert (shown["ActiveState"], shown["SubState"]) == ("active", "running"), shown
    assert "1/1 sessions up" in shown["StatusText"], shown
    return True


def versions(machine: Machine) -> dict[str, int]:
    """Return what counts the UPDATEs that the router had of each route."""
    return {prefix: path["version"] for prefix, path in machine.stage.routes().items()}


def test_systemd_has_started_all_three_with_their_rights_and_limits(machine: Machine) -> None:
    wait_until("ready, and says what it does", 60, lambda: is_ready(machine))
    users = {unit: machine.run("ps", "-o", "user=,cls=", "-p", str(machine.main_pid(unit))).split()
             for unit in (DAEMON, SPEAKER, BFD)}  # fmt: skip
    assert users == {DAEMON: ["anycastd", "TS"], SPEAKER: ["exabgp", "TS"], BFD: ["anycastd", "RR"]}
    for unit, rights in ((DAEMON, 1 << 12 | 1 << 13), (SPEAKER, 1 << 10), (BFD, 1 << 14 | 1 << 23)):
        status = machine.run("cat", f"/proc/{machine.main_pid(unit)}/status")
        assert f"CapEff:\t{rights:016x}" in status, unit
        assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status, unit
    assert machine.shown(BFD, "ControlGroup")["ControlGroup"] == f"/system.slice/{BFD}"


def test_reload_restart_and_a_kill_are_done_without_an_update(machine: Machine) -> None:
    wait_until("ready", 60, lambda: is_ready(machine))
    text = configure(*BOTH, MORE)
    machine.run("sh", "-c", 'printf %s "$1" > /etc/anycastd/anycastd.yaml', "sh", text)
    machine.run("systemctl", "reload", DAEMON)
    wait_until("the new prefix", 60, lambda: machine.stage.announced() == {*BOTH, MORE})
    before, first = versions(machine), machine.main_pid(DAEMON)
    machine.run("systemctl", "restart", DAEMON)
    second = machine.main_pid(DAEMON)
    assert second != first
    wait_until("ready again", 60, lambda: is_ready(machine))
    machine.run("kill", "-KILL", str(second))
    wait_until("started again", 60, lambda: machine.main_pid(DAEMON) not in (0, second))
    wait_until("ready again", 60, lambda: is_ready(machine))
    assert machine.shown(DAEMON, "NRestarts") == {"NRestarts": "1"}
    assert versions(machine) == before, "the router heard nothing of it"


def test_a_daemon_that_stands_still_is_ended_by_the_watchdog_and_started_again(machine: Machine) -> None:
    wait_until("ready", 60, lambda: is_ready(machine))
    before, pid = versions(machine), machine.main_pid(DAEMON)
    machine.run("kill", "-STOP", str(pid))
    wait_until("another one", 60, lambda: machine.main_pid(DAEMON) not in (0, pid))
    wait_until("ready again", 60, lambda: is_ready(machine))
    assert "Watchdog timeout" in machine.journal()
    assert versions(machine) == before


def test_a_killed_exabgp_comes_back_and_a_killed_bfd_process_too(machine: Machine) -> None:
    wait_until("ready", 60, lambda: is_ready(machine))
    for unit in (SPEAKER, BFD):
        pid = machine.main_pid(unit)
        machine.run("kill", "-KILL", str(pid))
        wait_until("another one", 60, lambda unit=unit, pid=pid: machine.main_pid(unit) not in (0, pid))  # type: ignore[misc]
    wait_until("everything at the router, not stale", 60, lambda: machine.stage.announced() >= BOTH)
    wait_until("ready again", 60, lambda: is_ready(machine))


def test_a_drain_while_a_file_bakes_does_not_take_the_file_back(machine: Machine) -> None:
    wait_until("ready", 60, lambda: is_ready(machine))
    verb = "/opt/anycastd/bin/anycastd"
    machine.run(verb, "reload", "--bake", "3s")
    machine.run(verb, "drain", "pop", "--force", "--reason", "maintenance")
    wait_until("depreferenced", 60, lambda: all(
        len(path["path"].split()) > 1 for path in machine.stage.routes().values()
    ))  # fmt: skip
    wait_until("the verdict", 60, lambda: '"reload_kept"' in machine.journal())
    assert "taken back" not in machine.journal()
    machine.run(verb, "undrain", "pop")


def test_a_stop_withdraws_and_exabgp_lives_on(machine: Machine) -> None:
    wait_until("ready", 60, lambda: is_ready(machine))
    speaker = machine.main_pid(SPEAKER)
    machine.run("systemctl", "stop", DAEMON)
    shown = machine.shown(DAEMON, "ActiveState", "Result")
    assert shown == {"ActiveState": "inactive", "Result": "success"}
    wait_until("nothing at the router", 30, lambda: machine.stage.routes(4) | machine.stage.routes(6) == {})
    assert machine.main_pid(SPEAKER) == speaker
    machine.run("systemctl", "stop", SPEAKER, BFD)
    assert machine.shown(SPEAKER, "Result") == machine.shown(BFD, "Result") == {"Result": "success"}
