"""How soon it is known who is flooded, at worst: the real watch in virtual time, from every moment between its looks.

And what is too short to be one: it raises nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anycastd.actuators.dataplane.losses import Losses
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address
from anycastd.model.attack import AttackReason, AttackState
from anycastd.model.attack_config import EIP_BOUNDS, AttackConfig, DetectConfig
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.eip import EipId
from anycastd.model.nft import Count, Counters, NftSet, PopCounter, PopTotals
from anycastd.model.traffic import EipStanding, EipTraffic, Rates, Sample, Totals
from anycastd.runtime.alarms import Reported
from anycastd.runtime.attack.alert import Sources
from anycastd.runtime.attack.packet_look import PacketLook
from anycastd.runtime.attack.watch import AttackWatch, Told
from anycastd.simulation.clock import VirtualLoop
from tests.unit.attack.packets import udp
from tests.unit.runtime.test_attack_watch import Picker

MANY, VICTIM = 40, ip_address("203.0.113.7")
ADDRESSES: list[Address] = [ip_address("203.0.113.1") + n for n in range(MANY)]
BASE_S, READ_S = 20.0, 0.05
"""How long it is calm first, and what each answer of the kernel takes."""
PACKETS, OPENED, BYTES = 1_000.0, 20.0, 500
"""What each EIP carries and opens each second."""
CONFIG = AttackConfig(detect=replace(DetectConfig(), warm_up_s=0.0))


class Loop(VirtualLoop):
    """What goes to a thread is done at once."""

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: object) -> Any:
        done = self.create_future()
        done.set_result(func(*args))
        return done


@dataclass(frozen=True)
class Flood:
    """From `begin_s` to `end_s` so many packets a second more to the victim, and so many of them open something."""

    begin_s: float
    packets: float
    opened: float
    end_s: float = 1e9

    def passed_s(self, at_s: float) -> float:
        """Return for how long it was on until then."""
        return max(0.0, min(at_s, self.end_s) - self.begin_s)


class Pop:
    """A POP in a steady state, into which one flood comes."""

    def __init__(self, directory: Path, flood: Flood) -> None:
        loop = asyncio.get_running_loop()
        self.flood, self.now, self.picker = flood, loop.time, Picker()
        self.changes: list[tuple[float, str, AttackState]] = []
        self.reasons: tuple[AttackReason, ...] = ()
        self.seen = asyncio.Event()
        sources = Sources(
            self.totals, self.conntrack, Losses, lambda: None, lambda: None, self.opened, self.some, lambda: 0.2
        )
        look = PacketLook(self.picker, lambda: [ip_network("203.0.113.0/24")])
        told = Told(Reported(), self.changed, "fra")
        self.watch = AttackWatch(CONFIG, sources, told, look, str(directory), self.now)

    def count(self, address: Address) -> tuple[int, int]:
        """Return how many packets have come for an EIP, and how many have opened a connection."""
        at_s = self.now()
        more_s = self.flood.passed_s(at_s) if address == VICTIM else 0.0
        return int(PACKETS * at_s + self.flood.packets * more_s), int(OPENED * at_s + self.flood.opened * more_s)

    async def totals(self) -> PopTotals:
        at_s, (packets, opened) = self.now(), self.count(VICTIM)
        packets, opened = packets + int(39 * PACKETS * at_s), opened + int(39 * OPENED * at_s)
        self._pick()
        await asyncio.sleep(READ_S)
        arrived = Count(packets, packets * BYTES)
        return PopTotals(at_s, {PopCounter.ARRIVED4: arrived, PopCounter.OPENED: Count(opened)})

    def _pick(self) -> None:
        """Let a look find packets as they come now."""
        if self.picker.targets:
            on = self.flood.begin_s < self.now() < self.flood.end_s
            share = self.flood.packets / (self.flood.packets + MANY * PACKETS) if on else 0.0
            to = [VICTIM] * int(100 * share) + ADDRESSES * 2
            self.picker.packets.extend(udp("198.51.100.9", str(one), 53) for one in to)

    async def opened(self) -> Counters:
        at_s, found = self.now(), {one: Count(self.count(one)[1]) for one in ADDRESSES}
        await asyncio.sleep(READ_S)
        return Counters(at_s, {NftSet.NEW4: found})

    async def some(self, addresses: Sequence[Address]) -> Counters:
        at_s, found = self.now(), {one: self.count(one) for one in addresses}
        await asyncio.sleep(READ_S)
        arrived = {one: Count(packets, packets * BYTES) for one, (packets, _) in found.items()}
        return Counters(at_s, {NftSet.IN4: arrived, NftSet.NEW4: {one: Count(had) for one, (_, had) in found.items()}})

    async def conntrack(self) -> ConntrackStats:
        raise ActuatorTransient("no such table")

    def changed(self, subject: Address | None, _before: AttackState, after: Any) -> None:
        self.changes.append((self.now(), str(subject or "pop"), after.state))
        if subject == VICTIM:
            self.reasons = after.reasons
            self.seen.set()

    async def meter(self) -> None:
        """Read every EIP each five seconds."""
        while True:
            shown = {}
            for number, one in enumerate(ADDRESSES):
                packets, _ = self.count(one)
                counts = tuple(Totals(in_packets=packets, in_bytes=packets * BYTES))
                shown[one] = EipTraffic(EipStanding(EipId(f"eip-{number:08x}")), number, 0.0, counts, tuple(Rates()))
            self.watch.take(Sample(self.now(), self.now(), 5.0, shown, Totals(), Rates(), {}))
            await asyncio.sleep(5.0)


def lived(directory: Path, flood: Flood, until_s: float) -> Pop:
    """Let a POP live with a flood."""

    async def live() -> Pop:
        pop = Pop(directory, flood)
        tasks = [asyncio.create_task(pop.watch.run()), asyncio.create_task(pop.meter())]
        with suppress(TimeoutError):
            await asyncio.wait_for(pop.seen.wait(), until_s)
        for task in tasks:
            task.cancel()
        return pop

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(live())


PHASES = [n / 8 for n in range(8)]
FLOOR = EIP_BOUNDS.floor_connections
KINDS = {
    "connections, just too many": (0.0, 1.02 * FLOOR), "connections, twice": (0.0, 2.0 * FLOOR),
    "connections, twenty times": (0.0, 20.0 * FLOOR), "packets, just too many": (1.02 * EIP_BOUNDS.floor_packets, 0.0),
    "packets, five times": (5.0 * EIP_BOUNDS.floor_packets, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_is_an_attack_within_three_seconds_whenever_it_begins(kind: str, tmp_path: Path) -> None:
    packets, opened = KINDS[kind]
    took = []
    for phase in PHASES:
        # the meter's five seconds and the looks' one drift against each other, and so do the phases against both
        flood = Flood(BASE_S + phase * 5.37, packets + opened, opened)
        pop = lived(tmp_path, flood, flood.begin_s + 30.0)
        (seen_s,) = [at_s for at_s, who, state in pop.changes if who == str(VICTIM) and state is AttackState.ATTACK]
        took.append(seen_s - flood.begin_s)
        if opened:
            assert AttackReason.CONNECTIONS_ABOVE_USUAL in pop.reasons
    print(f"\nmeasured: {kind}: {min(took):.2f} to {max(took):.2f} s")
    assert max(took) <= 3.0


@pytest.mark.parametrize("times", [1.2, 2.0, 3.0])
def test_a_burst_of_a_second_is_none(times: float, tmp_path: Path) -> None:
    for phase in PHASES:
        begin_s = BASE_S + phase * 5.37
        flood = Flood(begin_s, times * FLOOR, times * FLOOR, begin_s + 0.95)
        assert lived(tmp_path, flood, begin_s + 12.0).changes == []
