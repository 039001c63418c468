"""What every POP says of itself, for the message of a test that failed: read by a person, judged by nobody."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from anycastd.cli.client import AskError, ask
from anycastd.lab.running import Lab
from tests.lab.topology_facts import PREFIX_A4, PREFIX_B6, SITES

COMMAND = "/opt/anycastd/.venv/bin/anycastd"
QUESTIONS = (
    ("status",),
    ("explain", PREFIX_A4),
    ("explain", PREFIX_B6),
    ("events", "--limit", "60"),
)
PATIENCE_S = 20.0


def statements(lab: Lab, pops: Iterable[str] = tuple(SITES)) -> str:
    """Return the machine's load; of every POP the status, explanations, ill checks, last events and processes."""
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda pop: _of_pop(lab, pop), pops))
    return "\n".join([_machine(), *told])


def _of_pop(lab: Lab, pop: str) -> str:
    parts = [f"{pop}: {' '.join(words)}\n{_said(lab, pop, COMMAND, *words)}" for words in QUESTIONS]
    parts.append(f"{pop}: checks that are not HEALTHY\n{_ill_checks(lab, pop)}")
    parts.append(f"{pop}: processes\n{_said(lab, pop, 'ps', '-eo', 'pid,stat,etimes,time,args')}")
    return "\n".join(parts)


def _ill_checks(lab: Lab, pop: str) -> str:
    try:
        checks = ask(f"/proc/{lab.pid(pop)}/root/run/anycastd/api.sock", "/v1/checks")["checks"]
    except AskError as error:
        return str(error)
    return "\n".join(str(one) for one in checks if one["health"] != "HEALTHY")


def _said(lab: Lab, node: str, *argv: str) -> str:
    try:
        done = lab.exec(node, *argv, timeout_s=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S:.0f} s"
    return (done.stdout + done.stderr).strip()


def _machine() -> str:
    """Return how busy the machine is: what starved has other reasons than what did not."""
    pressure = Path("/proc/pressure/cpu")
    waited = pressure.read_text(encoding="ascii").splitlines()[0] if pressure.exists() else "no pressure known"
    return f"machine: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, {waited}"
