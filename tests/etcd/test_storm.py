"""Fifty POPs and 10,000 EIPs on one etcd: a start, the steady cost, and 1,000 binds at once. Only by `make soak`.

The POPs are real stores in one process: their own load is measured with the time it takes, and makes that longer.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.model.eip import Eip, EipId
from anycastd.resources import codec
from anycastd.store.port import Write
from tests.etcd.member import Member, one_member
from tests.etcd.stores import PopStore, config_of, free_ports, pop_store, until
from tests.unit.runtime.eip_world import bound_to

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
POPS, EIPS, BINDS, STEADY_S = 50, 10_000, 1_000, 20.0
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def cpu_s(member: Member) -> float:
    """Return the processor time that etcd took."""
    assert member.process is not None
    fields = Path(f"/proc/{member.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def eip(number: int, *, bound: bool) -> Eip:
    """Return one of the EIPs."""
    address = ip_address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    binding = bound_to("eu-central/web-1") if bound else None
    return Eip(id=EipId(f"eip-{number:08x}"), address=address, binding=binding, generation=1 + bound)


class Watcher:
    """One POP that hears of binds."""

    def __init__(self, pop: PopStore) -> None:
        self.pop, self.at_s = pop, dict[str, float]()

    async def listen(self, revision: int) -> None:
        async for batch in self.pop.store.watch("/", revision):
            now_s = time.monotonic()
            for key, item in batch.items.items():
                # what a desk does with it
                if codec.decode_eip(item.value or "").binding is not None:
                    self.at_s[key] = now_s


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


async def test_a_thousand_binds_reach_fifty_pops(tmp_path: Path) -> None:
    with one_member(tmp_path, free_ports(2)) as member:
        config = config_of(member.client, heartbeat_s=3.0, stale_after_s=30.0, presence_s=10.0, commit_within_s=10.0)
        async with AsyncExitStack() as stack:
            pops = [await stack.enter_async_context(pop_store(config, f"pop{n}", tmp_path)) for n in range(POPS)]
            writer = pops[0].store
            await writer.snapshot("/")
            for first in range(0, EIPS, 100):
                eips = [eip(number, bound=False) for number in range(first, first + 100)]
                await writer.commit([Write(codec.key_of(one.address), codec.encode_eip(one)) for one in eips], {})
            watchers, starts_s = [Watcher(pop) for pop in pops[1:]], []
            for watcher in watchers:
                begun_s = time.monotonic()
                snapshot = await watcher.pop.store.snapshot("/")
                starts_s.append(time.monotonic() - begun_s)
                assert len(snapshot.items) == EIPS
                task = asyncio.create_task(watcher.listen(snapshot.revision))
                stack.callback(task.cancel)
            before_s = cpu_s(member)
            await asyncio.sleep(STEADY_S)
            steady = (cpu_s(member) - before_s) / STEADY_S
            before_s, own_s, begun_s = cpu_s(member), time.process_time(), time.monotonic()
            done_s: dict[str, float] = {}
            for number in range(BINDS):
                one = replace(eip(number, bound=True))
                key = codec.key_of(one.address)
                await writer.commit([Write(key, codec.encode_eip(one))], {})
                done_s[key] = time.monotonic()
            storm_s = time.monotonic() - begun_s
            await until("every POP has every bind", lambda: all(len(w.at_s) == BINDS for w in watchers), 120)
            every_s = time.monotonic() - begun_s
            late_s = [max(w.at_s[key] for w in watchers) - at_s for key, at_s in done_s.items()]
            figures = {
                "snapshot of 10,000 EIPs, median s": round(percentile(starts_s, 50), 3),
                "etcd, steady, share of a core": round(steady, 3),
                "1,000 binds committed, s": round(storm_s, 2),
                "1,000 binds at every POP, s": round(every_s, 2),
                "commit to the last of 49 POPs, p50 ms": round(1000 * percentile(late_s, 50), 1),
                "commit to the last of 49 POPs, p99 ms": round(1000 * percentile(late_s, 99), 1),
                "etcd, cpu s in the storm": round(cpu_s(member) - before_s, 2),
                "50 POPs' stores, cpu s in the storm": round(time.process_time() - own_s, 2),
            }
            print(json.dumps(figures, indent=1))
            assert all(pop.complaints == {} for pop in pops)
