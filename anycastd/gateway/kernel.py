"""The gateway's kernel, by the tools `ip` and `nft`: what is there of ours, and how it is changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from anycastd.errors import ActuatorTransient
from anycastd.gateway.render import DEFAULTS, MAIN, VERSIONS, Route, Rule
from anycastd.gateway.spec import TABLE

TOOL_WITHIN_S = 30.0
SYSCTLS = Path("/proc/sys")
_FAILED = re.compile(r"Command failed -:(\d+)")
_NAMED_TABLES = {"main": MAIN, "default": 253, "local": 255}


def run(words: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool; ActuatorTransient if it is not there or does not end."""
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(
            words, input=text, env=env, capture_output=True, text=True, timeout=TOOL_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"{words[0]}: {error}"
        raise ActuatorTransient(message) from error


def _asked(words: Sequence[str]) -> Any:
    done = run(words)
    if done.returncode:
        message = f"{' '.join(words)}: {done.stderr.strip()}"
        raise ActuatorTransient(message)
    return json.loads(done.stdout or "[]")


def routes_of(protocol: int) -> frozenset[Route]:
    """Return every route of our protocol, in all tables."""
    found = []
    for version in VERSIONS:
        # -N: names of protocols and tables would come from files of the machine
        rows = _asked(("ip", "-N", "-j", "-d", f"-{version}", "route", "show", "table", "all", "proto", str(protocol)))
        found += [_route(row, version) for row in rows]
    return frozenset(found)


def _route(row: dict[str, Any], version: int) -> Route:
    prefix = DEFAULTS[version] if row["dst"] == "default" else ip_network(row["dst"])
    table = row.get("table", MAIN)
    number = _NAMED_TABLES.get(str(table)) or int(table)
    where = (prefix, number, int(row.get("metric", 0)))
    if row.get("type") in ("blackhole", "6"):
        return Route(*where)
    hops = tuple(ip_address(hop["gateway"]) for hop in row.get("nexthops", (row,)) if "gateway" in hop)
    # to backends the kernel chooses the device, to a POP we do
    return Route(*where, hops, None if number == MAIN else row.get("dev"))


def rules_of(protocol: int) -> frozenset[Rule]:
    """Return every rule of our protocol; one of another shape than ours has mark 0."""
    found = []
    for version in VERSIONS:
        for row in _asked(("ip", "-N", "-j", "-d", f"-{version}", "rule", "show")):
            if str(row.get("protocol")) == str(protocol):
                found.append(Rule(version, int(row.get("fwmark", "0"), 16), int(row["priority"])))
    return frozenset(found)


def batch(version: int, lines: Iterable[str]) -> list[str]:
    """Do lines of `ip -batch`, going on after one that fails; return what failed and why."""
    lines = list(lines)
    if not lines:
        return []
    done = run(("ip", f"-{version}", "-force", "-batch", "-"), "\n".join(lines) + "\n")
    problems, said = [], ""
    for line in done.stderr.splitlines():
        if (failed := _FAILED.match(line)) is not None:
            problems.append(f"{lines[int(failed[1]) - 1]}: {said or 'failed'}")
            said = ""
        else:
            said = line.removeprefix("RTNETLINK answers: ").removeprefix("Error: ")
    if done.returncode and not problems:
        problems.append(f"ip: {done.stderr.strip()}")
    return problems


def nft_table() -> str | None:
    """Return our table as nft shows it, None if there is none."""
    done = run(("nft", "list", "table", "inet", TABLE))
    return done.stdout if done.returncode == 0 else None


def nft(script: str) -> list[str]:
    """Take a script in whole, or nothing of it; return why not."""
    done = run(("nft", "-f", "-"), script)
    return [f"nft: {line}" for line in done.stderr.splitlines()[:5]] if done.returncode else []


def sysctl(key: str) -> int | None:
    """Return a sysctl by its path below /proc/sys; None where there is none."""
    try:
        return int((SYSCTLS / key).read_text())
    except (OSError, ValueError):
        return None


def set_sysctl(key: str, value: int) -> list[str]:
    """Write a sysctl; return why not."""
    try:
        (SYSCTLS / key).write_text(f"{value}\n")
    except OSError as error:
        return [f"{key}: {(error.strerror or '').lower()}"]
    return []
