"""The units without root: a user with two capabilities and a system call filter, ExaBGP by another user with one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.unit_stage import DAEMON, PASSWORD, PREFIXES, PYTHON, Systemd, UnitStage, unit_stage
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
BOTH = set(PREFIXES.values())


@pytest.fixture
def units() -> Iterator[UnitStage]:
    with unit_stage() as made:
        yield made
        made.tell()


def status_of(pid: int) -> dict[str, str]:
    """Return the lines of a process's status."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def adopted(units: UnitStage, daemon: subprocess.Popen[bytes], speaker: subprocess.Popen[bytes]) -> bool:
    """Return whether the daemon says that it drives this very process."""
    return f'"speaker_adopted", "pid": {speaker.pid}}}' in units.log(daemon)


def test_two_users_without_root_do_all_that_a_pop_needs(units: UnitStage) -> None:
    systemd = Systemd(units.directory / "notify")
    speaker = units.speaker()
    daemon = units.daemon(NOTIFY_SOCKET=str(units.directory / "notify"), WATCHDOG_USEC="3000000")
    wait_until("both prefixes at the router", 30, lambda: units.announced() == BOTH)
    wait_until("ready", 10, lambda: systemd.said("READY") == ["1"])
    assert adopted(units, daemon, speaker)

    ours, theirs = status_of(daemon.pid), status_of(speaker.pid)
    assert (ours["Uid"].split(), ours["CapEff"], ours["NoNewPrivs"]) == (["1"] * 4, f"{1 << 12 | 1 << 13:016x}", "1")
    assert (theirs["Uid"].split(), theirs["CapEff"]) == (["65534"] * 4, f"{1 << 10:016x}")
    assert (ours["Seccomp"], theirs["Seccomp"]) == ("2", "2")

    assert "proto 201" in units.say("ip", "route", "show", "type", "blackhole")
    assert "203.0.113.10" in units.say("nft", "list", "table", "inet", "anycastd")
    assert "vxlan id 7" in units.say("ip", "-d", "link", "show", "type", "vxlan")
    liberal = units.say("cat", "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
    assert liberal.strip() == "1"
    ready, _, alarms = systemd.said("STATUS")[-1].partition(", ")[2].rpartition(", ")
    assert (ready, alarms) == ("1/1 tunnels healthy, 1/1 sessions up", "0 alarms"), units.ask("status")
    lines = units.log(daemon) + units.log(speaker)
    assert PASSWORD not in lines
    conf = units.run / "bgp" / "exabgp.conf"
    assert (conf.stat().st_mode & 0o777, conf.group(), conf.owner()) == (0o640, "nogroup", DAEMON)
    wait_until("signs of life", 5, lambda: len(systemd.said("WATCHDOG")) >= 3)

    units.configure(*BOTH, "198.51.100.0/24")
    assert "prefixes added: 198.51.100.0/24" in units.ask("reload")
    assert systemd.said("RELOADING") == ["1"]
    wait_until("the new prefix", 20, lambda: units.announced() == {*BOTH, "198.51.100.0/24"})

    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0, units.log(daemon)
    assert systemd.said("STOPPING") == ["1"]
    assert systemd.said("EXTEND_TIMEOUT_USEC")
    wait_until("nothing at the router", 10, lambda: units.routes(4) | units.routes(6) == {})
    assert speaker.poll() is None, "a service of its own lives on"
    systemd.close()


def test_restarts_of_either_and_a_stop_of_exabgp(units: UnitStage) -> None:
    daemon = units.daemon()
    speaker = units.speaker()
    wait_until("both prefixes at the router", 30, lambda: units.announced() == BOTH)
    before = {prefix: path["version"] for prefix, path in units.routes().items()}

    daemon.send_signal(signal.SIGUSR2)
    assert daemon.wait(20) == 0
    daemon = units.daemon()
    wait_until(
        "the daemon has taken over", 20, lambda: "1/1" in units.ask("status") or "ANNOUNCED" in units.ask("status")
    )
    assert {prefix: path["version"] for prefix, path in units.routes().items()} == before, "no UPDATE"
    assert adopted(units, daemon, speaker)

    os.kill(speaker.pid, signal.SIGKILL)
    speaker.wait(10)
    assert set(units.routes(4) | units.routes(6)) == BOTH, "kept as stale"
    speaker = units.speaker()
    wait_until("both prefixes, no longer stale", 30, lambda: units.announced() == BOTH)

    assert units.speaker("stop").wait(20) == 0
    assert units.routes(4) | units.routes(6) == {}, "withdrawn, and not announced again by the daemon"
    speaker.send_signal(signal.SIGTERM)
    speaker.wait(20)
    assert units.routes(4) | units.routes(6) == {}
    assert daemon.poll() is None
    units.speaker()
    wait_until("both prefixes after a start", 30, lambda: units.announced() == BOTH)


def test_a_missing_right_is_named_with_what_it_is_for(units: UnitStage) -> None:
    program = PYTHON.with_name("anycastd")
    plain = ("setpriv", "--reuid", DAEMON, "--regid", DAEMON, "--clear-groups", "--")
    argv = ("ip", "netns", "exec", units.pop, *plain, str(program), "run", "-c", str(units.config))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 77
    told = [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("anycastd: ")]
    assert [line.split(",")[0] for line in told] == ["CAP_NET_ADMIN is missing", "CAP_NET_RAW is missing"]
    assert "AmbientCapabilities=CAP_NET_ADMIN in the unit" in done.stderr
