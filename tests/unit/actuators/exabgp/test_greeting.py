"""Which ExaBGP runs: told by its launcher through the bridge, and judged."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.actuators.exabgp import bridge, files
from anycastd.actuators.exabgp.dump import Hello
from anycastd.actuators.exabgp.events import DeadManFired, Degraded, LinesDropped
from anycastd.actuators.exabgp.greeting import installed, told_by
from anycastd.actuators.exabgp.launcher import VERSION
from anycastd.actuators.exabgp.versions import complaint, is_proven
from anycastd.model.topology import BgpConfig, Launch

HELLO = Hello(pid=2, exabgp=1, dropped=0, dead_man=None, config="", uptime_s=1.0)


@pytest.mark.parametrize(
    ("running", "here", "said"),
    [
        ("5.0.15", "5.0.15", ""),
        ("5.0.15", "", ""),
        ("", "5.0.15", ""),
        ("5.0.14", "5.0.15", "ExaBGP 5.0.14 runs, 5.0.15 is installed; to replace it, sessions come up anew: END"),
        ("4.2.25", "5.0.15", "ExaBGP 4.2.25 runs, which was never tried: its answers may be understood wrongly"),
        ("6.0.0", "6.0.0", "ExaBGP 6.0.0 runs, which was never tried: its answers may be understood wrongly"),
        ("unknown", "5.0.15", "ExaBGP unknown runs, which was never tried: its answers may be understood wrongly"),
    ],
)
def test_another_version_is_told(running: str, here: str, said: str) -> None:
    assert complaint(running, here, "END") == said


def test_a_hello_tells_what_was_done_without_a_daemon_and_which_exabgp_it_is() -> None:
    old, bgp = replace(HELLO, version="5.0.13", dead_man="depref", dropped=3), BgpConfig()
    fired, dropped, told = told_by(old, bgp)
    assert (fired, dropped) == (DeadManFired("depref"), LinesDropped(3))
    assert isinstance(told, Degraded)
    assert told.detail.startswith(f"ExaBGP 5.0.13 runs, {installed()} is installed; ")
    assert told.detail.endswith(": kill -TERM 1")
    *_, told = told_by(old, replace(bgp, launch=Launch.SERVICE))
    assert isinstance(told, Degraded)
    assert told.detail.endswith(": systemctl kill --signal=TERM anycastd-bgp")
    *_, told = told_by(old, replace(bgp, exabgp="/opt/other/exabgp"))
    assert told == Degraded("version", ""), "ours says nothing of another"
    assert list(told_by(HELLO, bgp)) == [Degraded("version", "")], "the bridge of an older release does not say"


def test_the_launcher_tells_the_bridge_the_version_of_the_exabgp_that_it_starts(tmp_path: Path) -> None:
    program = tmp_path / "exabgp"
    program.write_text(f"import os; print(os.environ[{bridge.VERSION!r}])")
    launched = [sys.executable, str(files.LAUNCHER_SOURCE), str(program)]
    told = subprocess.run(launched, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    assert VERSION == bridge.VERSION
    assert told == installed()
    assert is_proven(told)
