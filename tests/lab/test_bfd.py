"""BFD over real vxlan tunnels, with FRR's bfdd and with BIRD: the whole daemon, and its BFD process alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.checks import Via
from anycastd.model.probe import Why
from anycastd.probes.bfd.foreign import COMMANDS
from tests.lab.bfd_engine import PEERS, asking, spec, spec_via
from tests.lab.bfd_load import Load
from tests.lab.bfd_stage import PYTHON, BfdStage, bfd_stage
from tests.lab.unit_stage import CONFINED, DAEMON, UNITS
from tests.wait import wait_until

HOLD = """
import socket, time
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.bind(("0.0.0.0", 3784))
print("held", flush=True)
time.sleep(600)
"""
LOAD_S, NICE = 30, 19
"""The loops take what the other tests leave of both cores: busy they are all the same."""
TUNNEL = ("10.255.1.1", "fd00:1::1")
pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
CONFIG = """
pop: {{name: fra, asn: 64500, router_id: 192.0.2.1}}
neighbors: {{transit: {{address: 192.0.2.2, asn: 64496, local_address: 192.0.2.1}}}}
checks: {{alive: {{bfd: {timers}}}, ping: {{icmp: {{interval: 1s}}}}}}
regions:
  eu:
    tunnels:
      t1:
        {{device: vx-frr, local: 10.255.1.1, local6: "fd00:1::1", far_end: 10.255.1.2, far_end6: "fd00:1::2",
          checks: [alive]}}
    backends: {{web: {{address: 10.255.1.2, checks: [ping]}}}}
prefixes: {{203.0.113.0/24: {{}}}}
api: {{port: 8179, socket: {at}/api.sock, group: root}}
bgp: {{user: nobody, socket: {at}/exabgp.sock, directory: {at}/bgp, reactor_speed: 1}}
bfd: {{socket: {at}/bfd.sock, replace_after: 4s}}
state_dir: {at}/state
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[BfdStage]:
    """The tunnels, with both routers at their far ends."""
    with bfd_stage() as made:
        made.start_frr(50)
        made.start_bird(50)
        yield made


QUICK, PATIENT = "{interval: 300ms}", "{interval: 500ms, multiplier: 20}"
"""The second is for what another process must be started for in time: on a busy machine that takes seconds."""


class Daemon:
    """A real daemon in the POP's namespace."""

    def __init__(self, stage: BfdStage, timers: str) -> None:
        self.stage, self.at = stage, stage.directory / "daemon"
        for name in ("", "state"):
            (self.at / name).mkdir(exist_ok=True)
        self.config = self.at / "anycastd.yaml"
        self.config.write_text(CONFIG.format(at=self.at, timers=timers), encoding="utf-8")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        program = str(PYTHON.with_name("anycastd"))
        self.process = self.stage.run(self.stage.pop, program, "run", "-c", str(self.config))
        return self.process

    def ask(self, path: str) -> Any:
        """Return what the API says, None while it does not answer."""
        argv = ("curl", "-s", "--unix-socket", str(self.at / "api.sock"), f"http://localhost{path}")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def checks(self) -> dict[str, dict[str, Any]]:
        """Return the BFD checks by the IP version."""
        found = {one["id"]: one for one in (self.ask("/v1/checks") or {"checks": []})["checks"]}
        return {("6" if id_.endswith("#6") else "4"): one for id_, one in found.items() if "/alive" in id_}

    def alarms(self) -> dict[str, str]:
        """Return what each standing alarm says."""
        return {one["alarm"]: one["detail"] for one in (self.ask("/v1/status") or {"alarms": []})["alarms"]}

    def pid(self) -> int | None:
        """Return the BFD process; a stopped one is one."""
        ours = os.fsencode(self.at / "bfd.sock")
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and ours in (entry / "cmdline").read_bytes().split(b"\0"):
                    return int(entry.name)
        return None

    def said(self, word: str) -> list[str]:
        """Return the lines of the daemon's log with a word."""
        return [line for line in self.stage.log(self.process).splitlines() if word in line]

    def health(self) -> set[str]:
        """Return what the BFD checks are."""
        return {one["health"] for one in self.checks().values()}


@pytest.fixture
def daemon(stage: BfdStage, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon whose tunnel is up."""
    made = Daemon(stage, getattr(request, "param", QUICK))
    try:
        wait_until("both sessions up", 30, lambda: made.health() == {"HEALTHY"})
        yield made
    finally:
        stage.mend()
        if made.process.poll() is None:
            made.process.terminate()
            made.process.wait(30)
        Path(made.at / "memory.json").unlink(missing_ok=True)


def test_a_silently_cut_tunnel_is_unhealthy_by_bfd_alone(stage: BfdStage, daemon: Daemon) -> None:
    stage.cut()
    wait_until("both down", 10, lambda: daemon.health() == {"UNHEALTHY"})
    details = {version: one["last"]["detail"] for version, one in daemon.checks().items()}
    assert details == {
        "4": "Down: control detection time expired; nothing is heard of 10.255.1.2",
        "6": "Down: control detection time expired; nothing is heard of fd00:1::2",
    }
    tunnel = daemon.ask("/v1/tunnels")["tunnels"][0]
    assert (tunnel["health"], tunnel["reason"]) == ("UNHEALTHY", "check_failed")
    assert tunnel["why"].startswith("alive: bfd down (Down: control detection time expired")
    stage.mend()
    wait_until("both up again", 20, lambda: daemon.health() == {"HEALTHY"})


def counted(stage: BfdStage, what: str) -> dict[str, int]:
    """Return what FRR counted of each of the daemon's sessions: `session-down`, `control-packet-input`."""
    return {one["peer"]: one[what] for one in stage.frr_counters() if one["peer"] in TUNNEL}


def downs(stage: BfdStage) -> dict[str, int]:
    """Return how often FRR saw each of the daemon's sessions go down."""
    return counted(stage, "session-down")


@pytest.mark.parametrize("daemon", [PATIENT], indirect=True)
def test_a_killed_bfd_process_is_replaced_and_nobody_sees_it(stage: BfdStage, daemon: Daemon) -> None:
    before, pid = downs(stage), daemon.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until("another one", 10, lambda: daemon.pid() not in (None, pid))
    wait_until("an alarm", 10, lambda: "bfd_process" in daemon.alarms())
    assert "the BFD process has ended" in daemon.alarms()["bfd_process"]
    heard = counted(stage, "control-packet-input")
    wait_until("it goes on with both", 20, lambda: all(
        count > heard[peer] + 2 for peer, count in counted(stage, "control-packet-input").items()
    ))  # fmt: skip
    wait_until("both sessions are known again", 20, lambda: daemon.health() == {"HEALTHY"})
    # a new process takes up to a second to start, and so long nothing is known of them
    assert daemon.said("UNHEALTHY") == []
    assert daemon.said('"after": "DEPREF"') == []
    assert downs(stage) == before, "the peer has seen nothing"


def test_a_bfd_process_that_stands_still_is_unknown_never_down_and_replaced(stage: BfdStage, daemon: Daemon) -> None:
    pid = daemon.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_until("another one", 30, lambda: daemon.pid() not in (None, pid))
    wait_until("both sessions up", 30, lambda: daemon.health() == {"HEALTHY"})
    assert "bfd_process" in daemon.alarms()
    assert [line for line in daemon.said('"verdict"') if "UNKNOWN" in line and "bfd_unknown" in line]
    assert daemon.said("UNHEALTHY") == []


@pytest.mark.parametrize("daemon", [PATIENT], indirect=True)
def test_a_blocked_or_killed_daemon_keeps_its_sessions_up(stage: BfdStage, daemon: Daemon) -> None:
    before, pid = downs(stage), daemon.pid()
    heard = counted(stage, "control-packet-input")
    os.kill(daemon.process.pid, signal.SIGSTOP)
    # each packet 0.5 s or so after the last: for longer than a second nothing of the daemon runs
    wait_until("packets all the same", 20, lambda: all(
        count > heard[peer] + 4 for peer, count in counted(stage, "control-packet-input").items()
    ))  # fmt: skip
    os.kill(daemon.process.pid, signal.SIGCONT)
    wait_until("it answers", 20, lambda: daemon.health() == {"HEALTHY"})
    assert daemon.pid() == pid
    daemon.process.kill()
    daemon.process.wait()
    daemon.start()
    wait_until("both sessions up", 30, lambda: daemon.health() == {"HEALTHY"})
    assert daemon.pid() == pid, "the next daemon found the process"
    daemon.process.send_signal(signal.SIGUSR2)
    assert daemon.process.wait(30) == 0
    daemon.start()
    wait_until("both sessions up", 30, lambda: daemon.health() == {"HEALTHY"})
    assert daemon.pid() == pid
    assert downs(stage) == before
    # to leave is another thing: the peer is told
    daemon.process.terminate()
    assert daemon.process.wait(30) == 0
    wait_until("taken down at the peer", 10, lambda: {stage.frr_peers()[one]["status"] for one in TUNNEL} == {"down"})
    assert {stage.frr_peers()[one]["remote-diagnostic"] for one in TUNNEL} == {"administratively down"}


EVERY = tuple(PEERS)


async def test_every_kind_of_session_comes_up_with_frr_and_bird_and_is_down_after_a_cut(stage: BfdStage) -> None:
    async with asking(stage, *(spec(stage, name) for name in EVERY)) as asked:
        await asked.until("all up", lambda: asked.all_are(Why.ANSWERED, *EVERY))
        negotiated = "Up, sent each 300 ms, down after 900 ms of silence"
        await asked.until("all at their pace", lambda: {asked.detail(name) for name in EVERY} == {negotiated})
        assert {peer["status"] for peer in stage.frr_peers().values()} == {"up"}
        assert set(stage.bird_peers().values()) == {"Up"}
        stage.cut()
        await asked.until("all down", lambda: asked.all_are(Why.BFD_DOWN, *EVERY))
        assert {asked.detail(name).split(";")[0] for name in EVERY} == {"Down: control detection time expired"}
        stage.mend()
        await asked.until("all up again", lambda: asked.all_are(Why.ANSWERED, *EVERY))
        assert asked.whys(*EVERY) == {Why.ANSWERED, Why.BFD_DOWN}
        view = asked.engine.bfd
        assert view is not None
        assert (view.downs, view.sessions) == (len(EVERY), {"Up": len(EVERY)})


async def test_a_peer_that_leaves_on_purpose_says_nothing_of_the_path(stage: BfdStage) -> None:
    async with asking(stage, spec(stage, "frr4")) as asked:
        await asked.until("up", lambda: asked.all_are(Why.ANSWERED, "frr4"))
        peer = "peer 10.255.1.1 local-address 10.255.1.2 interface tun0"
        stage.configure_frr("bfd", peer, "shutdown")
        try:
            await asked.until("left", lambda: asked.all_are(Why.BFD_UNKNOWN, "frr4"))
            assert asked.detail("frr4") == "10.255.1.2 has taken the session down on purpose (AdminDown)"
        finally:
            stage.configure_frr("bfd", peer, "no shutdown")
        await asked.until("up again", lambda: asked.all_are(Why.ANSWERED, "frr4"))
        assert asked.whys("frr4") == {Why.ANSWERED, Why.BFD_UNKNOWN}


async def test_new_timers_are_agreed_on_without_a_flap_and_a_wrong_key_is_not_up(stage: BfdStage) -> None:
    async with asking(stage, spec(stage, "frr4"), spec(stage, "bird4")) as asked:
        await asked.until("up", lambda: asked.all_are(Why.ANSWERED, "frr4", "bird4"))
        asked.engine.set_probes([spec(stage, "frr4", 0.5, 4)])
        await asked.until("slower", lambda: "each 500 ms" in asked.detail("frr4"))
        # on a starved machine the process of the sessions may be UNKNOWN for a moment; down is what none may be
        assert Why.BFD_DOWN not in asked.whys("frr4")
        (stage.directory / "key").write_text("another", encoding="ascii")
        asked.engine.set_probes([spec(stage, "frr4", 0.5, 4), spec(stage, "bird4")])
        await asked.until("never up", lambda: asked.all_are(Why.BFD_DOWN, "bird4"))
        assert Why.BFD_DOWN not in asked.whys("frr4")
        view = asked.engine.bfd
        assert view is not None
        assert view.discarded["auth_digest"] > 0


async def test_a_port_that_another_program_holds_is_named(stage: BfdStage) -> None:
    holder = stage.run(stage.pop, str(PYTHON), "-c", HOLD)
    wait_until("the port is held", 10, lambda: "held" in stage.log(holder))
    try:
        async with asking(stage, spec(stage, "frr4")) as asked:
            await asked.until("unknown", lambda: asked.all_are(Why.BFD_UNKNOWN, "frr4"))
            assert asked.detail("frr4") == "UDP port 3784 (IPv4): Address already in use"
            holder.kill()
            holder.wait()
            await asked.until("up", lambda: asked.all_are(Why.ANSWERED, "frr4"))
            assert asked.whys("frr4") == {Why.BFD_UNKNOWN, Why.ANSWERED}
    finally:
        holder.kill()


async def test_frr_and_bird_of_this_machine_are_asked_and_what_they_do_not_say_is_unknown(
    stage: BfdStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = ("/usr/bin/env", "ip", "netns", "exec")
    tools = {
        Via.FRR: (*inside, stage.frr, "vtysh", "--vty_socket", str(stage.directory / "frr"), *COMMANDS[Via.FRR][2:]),
        Via.BIRD: (*inside, stage.bird, "birdc", "-s", str(stage.directory / "bird.ctl"), *COMMANDS[Via.BIRD][2:]),
    }
    monkeypatch.setattr("anycastd.probes.bfd.foreign.COMMANDS", tools)
    asked_of = [spec_via("frr", "10.255.1.1"), spec_via("bird", "fd00:2::1"), spec_via("bird", "192.0.2.99", "nobody")]
    async with asking(stage, spec(stage, "frr4"), spec(stage, "bird6"), *asked_of) as asked:
        await asked.until("both say up", lambda: asked.all_are(Why.ANSWERED, "frr", "bird"))
        await asked.until("unknown", lambda: asked.all_are(Why.BFD_UNKNOWN, "nobody"))
        assert asked.detail("nobody") == "BIRD has no session with 192.0.2.99"
        stage.cut()
        await asked.until("both say down", lambda: asked.all_are(Why.BFD_DOWN, "frr", "bird"))
        assert asked.detail("frr").startswith("down: control detection time expired")
        stage.mend()
        await asked.until("both say up", lambda: asked.all_are(Why.ANSWERED, "frr", "bird"))


def test_under_its_unit_it_has_real_time_scheduling_locked_memory_and_no_other_right(stage: BfdStage) -> None:
    at = stage.directory / "unit"
    at.mkdir()
    shutil.chown(at, DAEMON, DAEMON)
    program = (str(PYTHON), "-m", "anycastd.probes.bfd.process", str(at / "bfd.sock"))
    confined = (str(PYTHON), str(CONFINED), str(UNITS / "anycastd-bfd.service"), DAEMON, DAEMON, str(at))
    process = stage.run(stage.pop, *confined, *program)
    wait_until("it listens", 20, lambda: (at / "bfd.sock").exists())
    here, peer, multihop = PEERS["frr4"]
    wanted = {"here": here, "peer": peer, "multihop": multihop, "min_ttl": 255, "tx_us": 50_000, "rx_us": 50_000,
              "multiplier": 3, "auth": None, "resume": None}  # fmt: skip
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        # bound a moment before it listens
        wait_until("it takes us", 20, lambda: caller.connect_ex(str(at / "bfd.sock")) == 0)
        caller.sendall(json.dumps({"sessions": [wanted], "alone_s": None}).encode() + b"\n")
        hellos: list[dict[str, Any]] = []
        state: dict[str, Any] = {}
        for line in caller.makefile("rb"):
            said = json.loads(line)
            hellos += [said["hello"]] if "hello" in said else []
            state = said.get("state", state)
            if state.get("state") == 3 and state["transmit_us"] == 50_000:
                break
    assert (hellos[-1]["realtime"], hellos[-1]["locked"]) == (True, True), stage.log(process)
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{hellos[-1]['pid']}/status").read_text().splitlines())
    assert status["CapEff"].strip() == f"{1 << 14 | 1 << 23:016x}", "CAP_IPC_LOCK, CAP_SYS_NICE"
    assert (status["NoNewPrivs"], status["Seccomp"], status["Uid"].split()[0]) == ("1", "2", "1")
    process.terminate()
    assert process.wait(20) == 0
    wait_until("taken down at the peer", 10, lambda: stage.frr_peers()[here]["status"] == "down")
    assert stage.frr_peers()[here]["remote-diagnostic"] == "administratively down"


@pytest.fixture(scope="module", autouse=True)
def load(request: pytest.FixtureRequest) -> Iterator[Load | None]:
    """The load, begun with the first test of this file and waited for by the last: it takes no time of its own."""
    names = {item.name for item in request.session.items}
    made = Load(LOAD_S, NICE) if test_with_both_cores_busy_for_30_s_nobody_cries_wolf.__name__ in names else None
    yield made
    if made is not None:
        made.close()


@pytest.mark.timeout(300)
def test_with_both_cores_busy_for_30_s_nobody_cries_wolf(load: Load) -> None:
    """Four sessions at 300 ms x 3 and four at 100 ms x 3. What the machine itself did is no test of ours: once more."""
    found = load.found()
    print(found)
    for _ in range(2):
        if found.wolf and found.was_held_up:
            found = Load(LOAD_S, NICE).found()
            print(found)
    assert not found.wolf, found
    assert found.realtime


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_five_minutes_with_both_cores_busy() -> None:
    found = Load(300, 0).found()
    print(found)
    assert not found.wolf, found
