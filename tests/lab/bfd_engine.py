"""The BFD process in a namespace, and the probe engine that asks it, here in this process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from anycastd.model.address import CheckId
from anycastd.model.checks import BfdAuth, BfdAuthType, BfdOptions, CheckKind, CheckSpec, ProbeSpec, Timing, Via
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import BfdConfig, Launch
from anycastd.probes.bfd.launch import PROGRAM
from anycastd.probes.engine import Engine
from tests.lab.bfd_stage import KEY, PYTHON, BfdStage
from tests.lab.bgp_stage import eventually
from tests.wait import wait_until

ROOT = Path(__file__).parents[2]
TIMING = Timing(interval_s=1.0, timeout_s=5.0, rise=1, fall=1)
PEERS = {
    "frr4": ("10.255.1.1", "10.255.1.2", False),
    "frr6": ("fd00:1::1", "fd00:1::2", False),
    "frr4-far": ("10.99.0.1", "10.99.1.2", True),
    "frr6-far": ("fd99::1", "fd99:1::2", True),
    "bird4": ("10.255.2.1", "10.255.2.2", False),
    "bird6": ("fd00:2::1", "fd00:2::2", False),
    "bird4-far": ("10.99.0.1", "10.99.2.2", True),
    "bird6-far": ("fd99::1", "fd99:2::2", True),
}
"""Every session of the stage: our address, the peer's, and whether it is multihop."""


def spec(stage: BfdStage, name: str, interval_s: float = 0.3, multiplier: int = 3) -> ProbeSpec:
    """Return the check of a peer; BIRD's single hops are authenticated."""
    here, peer, multihop = PEERS[name]
    auth = None
    if name.startswith("bird") and not multihop:
        auth = BfdAuth(BfdAuthType.METICULOUS_SHA1, 1, str(stage.directory / "key"))
    options = BfdOptions(interval_s=interval_s, multiplier=multiplier, multihop=multihop, auth=auth)
    check = CheckSpec(name=name, kind=CheckKind.BFD, options=options, timing=TIMING)
    return ProbeSpec(id=CheckId(name), check=check, target=ip_address(peer), source=ip_address(here))


def spec_via(via: str, peer: str, name: str = "") -> ProbeSpec:
    """Return the check of a session that FRR or BIRD speaks."""
    check = CheckSpec(name=via, kind=CheckKind.BFD, options=BfdOptions(via=Via(via)), timing=TIMING)
    return ProbeSpec(id=CheckId(name or via), check=check, target=ip_address(peer))


@dataclass
class Asked:
    """An engine with what it told."""

    engine: Engine
    stage: BfdStage
    process: subprocess.Popen[bytes]
    results: list[ProbeResult] = field(default_factory=list)
    alarms: list[str | None] = field(default_factory=list)

    def last(self, name: str) -> ProbeResult | None:
        """Return the last result of a check."""
        return next((result for result in reversed(self.results) if result.check == name), None)

    def detail(self, name: str) -> str:
        """Return the last words on a check."""
        result = self.last(name)
        return "" if result is None else result.detail

    def all_are(self, why: Why, *names: str) -> bool:
        """Return whether that is the last word on all of these."""
        found = [self.last(name) for name in names]
        return all(result is not None and result.why is why for result in found)

    def whys(self, *names: str) -> set[Why]:
        """Return everything that was ever said of these."""
        return {result.why for result in self.results if result.check in names}

    async def until(self, what: str, so: Callable[[], object], deadline_s: float = 20.0) -> None:
        """Wait for it, with what was said if it does not come."""
        try:
            await eventually(what, deadline_s, so)
        except AssertionError:
            print(self.engine.bfd, *self.results[-16:], sep="\n")
            raise


def start(stage: BfdStage, path: Path) -> subprocess.Popen[bytes]:
    """Start the process in the POP's namespace, as the daemon does."""
    argv = (str(PYTHON), "-I", "-S", "-c", PROGRAM, str(ROOT), str(path))
    process = stage.run(stage.pop, *argv)
    wait_until("it listens", 10, path.exists)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End the process as a service manager does."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        process.wait(20)


@asynccontextmanager
async def asking(stage: BfdStage, *specs: ProbeSpec) -> AsyncIterator[Asked]:
    """Run a process, and an engine with these checks."""
    key = stage.directory / "key"
    key.write_text(f"{KEY}\n", encoding="ascii")
    key.chmod(0o600)
    path = stage.directory / "bfd.sock"
    process = start(stage, path)
    config = BfdConfig(launch=Launch.SERVICE, socket=str(path), replace_after_s=60.0)
    asked: Asked
    engine = Engine(
        asyncio.get_running_loop(),
        lambda result: asked.results.append(result),
        dict,
        bfd=config,
        on_bfd=lambda detail: asked.alarms.append(detail),
    )
    asked = Asked(engine, stage, process)
    try:
        engine.set_probes(specs)
        yield asked
    finally:
        engine.close(leave=True)
        end(asked.process)
        path.unlink(missing_ok=True)
        stage.mend()
