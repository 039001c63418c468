"""Fifty POPs and 10,000 EIPs on one etcd: a start, the steady cost, and 1,000 binds at once. Only by `make soak`:

.venv/bin/python -m pytest -q -s -m soak -p no:randomly tests/etcd/test_storm.py

One POP binds; the stores of the 49 others are real, in five processes (ANYCASTD_PROCESSES), so that a bind does not
wait for those of 48 others in one queue. All share this machine with etcd: how busy that was is said with the figures.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.eip import Eip, EipId
from anycastd.resources import codec
from anycastd.store.port import Write
from tests.etcd.member import PR_SET_PDEATHSIG, Member, one_member
from tests.etcd.stores import free_ports, pop_store
from tests.etcd.storm_pops import config_at
from tests.unit.runtime.eip_world import bound_to

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
POPS, EIPS, BINDS, STEADY_S = 50, 10_000, 1_000, 20.0
PROCESSES = int(os.environ.get("ANYCASTD_PROCESSES", "5"))
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def cpu_s(member: Member) -> float:
    """Return the processor time that etcd took."""
    assert member.process is not None
    fields = Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def watch_messages(member: Member) -> float:
    """Return how many messages etcd has sent to watchers, by its own count."""
    with urllib.request.urlopen(f"{member.client}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    what = "grpc_server_msg_sent_total", 'grpc_service="etcdserverpb.Watch"'
    (found,) = (line for line in lines if line.startswith(what[0]) and what[1] in line)
    return float(found.rpartition(" ")[2])


def busy_s() -> float:
    """Return the time that all processors together were busy."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) * TICK_S


def eip(number: int, *, bound: bool) -> Eip:
    """Return one of the EIPs."""
    address = ip_address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    binding = bound_to("eu-central/web-1") if bound else None
    return Eip(id=EipId(f"eip-{number:08x}"), address=address, binding=binding, generation=1 + bound)


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile of some values."""
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


@dataclass
class Pops:
    """The processes of all POPs but the one that binds."""

    processes: list[subprocess.Popen[str]]

    async def ask(self, order: object) -> list[dict[str, Any]]:
        """Tell all of them, and return what they answer, while our own store's heartbeat goes on."""
        for one in self.processes:
            assert one.stdin is not None
            one.stdin.write(f"{order}\n")
            one.stdin.flush()
        return list(await asyncio.gather(*(asyncio.to_thread(self._answer, one) for one in self.processes)))

    @staticmethod
    def _answer(one: subprocess.Popen[str]) -> dict[str, Any]:
        assert one.stdout is not None
        return dict(json.loads(one.stdout.readline()))

    async def cpu_s(self) -> float:
        """Return the processor time that all of them took."""
        return float(sum(said["cpu_s"] for said in await self.ask("mark")))


@contextmanager
def pops_at(client: str) -> Iterator[Pops]:
    """Start them; they end with the test, whatever happens to it."""
    names = [f"pop{number}" for number in range(1, POPS)]
    words = [sys.executable, "-m", "tests.etcd.storm_pops", client]
    with_names = [[*words, *names[first::PROCESSES]] for first in range(PROCESSES)]
    libc = ctypes.CDLL(None)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
             "preexec_fn": lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)}  # fmt: skip
    made = Pops([subprocess.Popen(argv, cwd=ROOT, text=True, **pipes) for argv in with_names])  # type: ignore[call-overload]
    try:
        yield made
    finally:
        for one in made.processes:
            one.kill()
            one.communicate(timeout=60)


async def test_a_thousand_binds_reach_fifty_pops(tmp_path: Path) -> None:
    with one_member(tmp_path, free_ports(2)) as member, pops_at(member.client) as pops:
        async with pop_store(config_at(member.client), "pop0", tmp_path) as here:
            writer = here.store
            await writer.snapshot("/")
            for first in range(0, EIPS, 100):
                eips = [eip(number, bound=False) for number in range(first, first + 100)]
                await writer.commit([Write(codec.key_of(one.address), codec.encode_eip(one)) for one in eips], {})
            begun_s = time.monotonic()
            started = await pops.ask("start")
            all_started_s = time.monotonic() - begun_s
            assert [count for said in started for count in said["eips"]] == [EIPS] * (POPS - 1)
            steady = await _steady(member, pops)
            storm = await _storm(member, pops, writer)
            starts_s = [took_s for said in started for took_s in said["starts_s"]]
            begin = {"snapshot of 10,000 EIPs, median s": round(percentile(starts_s, 50), 2),
                     "all 49 started at once, s": round(all_started_s, 1)}  # fmt: skip
            print(json.dumps({"processes": PROCESSES, **begin, **steady, **storm}, indent=1))
            assert here.complaints == {}


async def _steady(member: Member, pops: Pops) -> dict[str, float]:
    etcd_s, theirs_s, sent = cpu_s(member), await pops.cpu_s(), watch_messages(member)
    await asyncio.sleep(STEADY_S)
    return {
        "steady: etcd, share of a core": round((cpu_s(member) - etcd_s) / STEADY_S, 3),
        "steady: one POP's store, share of a core": round((await pops.cpu_s() - theirs_s) / STEADY_S / (POPS - 1), 4),
        "steady: watch messages a second": round((watch_messages(member) - sent) / STEADY_S),
    }


async def _storm(member: Member, pops: Pops, writer: Any) -> dict[str, float]:
    etcd_s, theirs_s, sent, busy = cpu_s(member), await pops.cpu_s(), watch_messages(member), busy_s()
    begun_s, done_s = time.monotonic(), dict[str, float]()
    for number in range(BINDS):
        one = eip(number, bound=True)
        key = codec.key_of(one.address)
        await writer.commit([Write(key, codec.encode_eip(one))], {})
        done_s[key] = time.monotonic()
    committed_s = time.monotonic() - begun_s
    heard = await pops.ask(BINDS)
    last_s = {key: max(said["last_s"][key] for said in heard) for key in done_s}
    every_s = max(last_s.values()) - begun_s
    late_ms = [1000 * (last_s[key] - at_s) for key, at_s in done_s.items()]
    assert all(not said["complaints"] for said in heard), heard
    return {
        "1,000 binds committed, s": round(committed_s, 2),
        "1,000 binds at every POP, s": round(every_s, 2),
        "commit to the last of 49 POPs, p50 ms": round(percentile(late_ms, 50), 1),
        "commit to the last of 49 POPs, p99 ms": round(percentile(late_ms, 99), 1),
        "storm: etcd, cpu s": round(cpu_s(member) - etcd_s, 2),
        "storm: 49 POPs' stores, cpu s": round(sum(said["cpu_s"] for said in heard) - theirs_s, 2),
        "storm: watch messages": round(watch_messages(member) - sent),
        "storm: processors busy, of all": round((busy_s() - busy) / every_s / (os.cpu_count() or 1), 2),
    }
