"""BFD over real vxlan tunnels, with FRR's bfdd and with BIRD: the whole daemon, and its BFD process alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bfd_stage import PYTHON, BfdStage, bfd_stage
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
CONFIG = """
pop: {{name: fra, asn: 64500, router_id: 192.0.2.1}}
neighbors: {{transit: {{address: 192.0.2.2, asn: 64496, local_address: 192.0.2.1}}}}
checks: {{alive: {{bfd: {{interval: 300ms}}}}, ping: {{icmp: {{interval: 1s}}}}}}
regions:
  eu:
    tunnels:
      t1:
        {{device: vx-frr, local: 10.255.1.1, local6: "fd00:1::1", far_end: 10.255.1.2, far_end6: "fd00:1::2",
          checks: [alive]}}
    backends: {{web: {{address: 10.255.1.2, checks: [ping]}}}}
prefixes: {{203.0.113.0/24: {{}}}}
api: {{port: 8179, socket: {at}/api.sock, group: root}}
bgp: {{user: nobody, socket: {at}/exabgp.sock, directory: {at}/bgp}}
bfd: {{socket: {at}/bfd.sock, replace_after: 2s}}
state_dir: {at}/state
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[BfdStage]:
    """The tunnels, with both routers at their far ends."""
    with bfd_stage() as made:
        made.start_frr()
        made.start_bird()
        yield made


class Daemon:
    """A real daemon in the POP's namespace."""

    def __init__(self, stage: BfdStage) -> None:
        self.stage, self.at = stage, stage.directory / "daemon"
        for name in ("", "state"):
            (self.at / name).mkdir(exist_ok=True)
        self.config = self.at / "anycastd.yaml"
        self.config.write_text(CONFIG.format(at=self.at), encoding="utf-8")
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

    def health(self) -> set[str]:
        """Return what the BFD checks are."""
        return {one["health"] for one in self.checks().values()}


@pytest.fixture
def daemon(stage: BfdStage) -> Iterator[Daemon]:
    """A daemon whose tunnel is up."""
    made = Daemon(stage)
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
    print(daemon.checks())
    peers = stage.frr_peers()
    assert {peers[peer]["status"] for peer in ("10.255.1.1", "fd00:1::1")} == {"up"}
    stage.cut()
    wait_until("both down", 10, lambda: daemon.health() == {"UNHEALTHY"})
    checks = daemon.checks()
    print(checks)
    print(daemon.ask("/v1/regions"), daemon.ask("/v1/tunnels"))
    stage.mend()
    wait_until("both up again", 20, lambda: daemon.health() == {"HEALTHY"})
