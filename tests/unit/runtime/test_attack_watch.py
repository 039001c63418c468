"""The watch at work, in virtual time: what is told when, to whom, and what outlives it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from anycastd.actuators.dataplane.losses import Losses
from anycastd.errors import ActuatorTransient
from anycastd.model.address import Address, Prefix
from anycastd.model.attack import AttackReason, AttackState, AttackView, Standing
from anycastd.model.attack_config import AttackConfig, DetectConfig
from anycastd.model.conntrack import ConntrackStats
from anycastd.model.nft import Count, Counters, NftSet, PopCounter, PopTotals
from anycastd.model.status import Alarm
from anycastd.model.traffic import Totals
from anycastd.runtime.alarms import Reported
from anycastd.runtime.attack.alert import Sources
from anycastd.runtime.attack.packet_look import MOST_EIPS, PacketLook, share_of
from anycastd.runtime.attack.watch import SAVE_EACH_S, AttackWatch, Told
from tests.unit.attack.packets import udp
from tests.unit.attack.readings import A, B, Eips

NORMAL, ELEVATED, ATTACK = AttackState
OURS = ip_network("203.0.113.0/24")
CONFIG = AttackConfig(detect=replace(DetectConfig(), warm_up_s=0.0))
QUIET = Totals(in_packets=1000, in_bytes=500_000)
FLOOD = Totals(in_packets=90_000, in_bytes=6_000_000)


class Picker:
    """Gives the packets that were put in."""

    def __init__(self) -> None:
        self.targets: tuple[Prefix, ...] = ()
        self.share, self.closed, self.refuses, self.window_s = 0.0, False, False, 1.0
        self.packets: deque[bytes] = deque()

    def look_at(self, targets: Sequence[Prefix], share: float) -> None:
        if self.refuses:
            raise ActuatorTransient("Operation not permitted")
        self.targets, self.share = tuple(targets), share

    def take(self) -> list[bytes]:
        found = list(self.packets)
        self.packets.clear()
        return found

    def close(self) -> None:
        self.closed = True


class Pop:
    """A POP whose seconds pass when told to."""

    def __init__(self, directory: Path, config: AttackConfig = CONFIG) -> None:
        self.now_s, self.directory, self.config = 1000.0, directory, config
        self.eips, self.picker, self.reported = Eips(A, B), Picker(), Reported()
        self.arrived, self.unreadable, self.asked, self.latency_ms = Count(), False, 0, 5.0
        self.opened: dict[Address, int] = {A: 0, B: 0}
        self.opened_read = 0
        self.changes: list[tuple[str, AttackState, AttackState]] = []
        self.alone: list[list[Address]] = []
        self.views: list[tuple[float, AttackView]] = []
        self.watch = self.start()

    def start(self) -> AttackWatch:
        sources = Sources(
            self.totals, self.conntrack, Losses, lambda: self.latency_ms, self.ask, self.read_opened, self.some,
            lambda: 0.001,
        )  # fmt: skip
        told = Told(self.reported, self.changed, "fra")
        look = PacketLook(self.picker, lambda: [OURS])
        self.watch = AttackWatch(self.config, sources, told, look, str(self.directory), lambda: self.now_s)
        self.watch.listeners.append(lambda view, now_s: self.views.append((now_s, view)))
        return self.watch

    async def totals(self) -> PopTotals:
        if self.unreadable:
            raise ActuatorTransient("the socket is full")
        opened = Count(sum(self.opened.values()))
        return PopTotals(self.now_s, {PopCounter.ARRIVED4: self.arrived, PopCounter.OPENED: opened})

    async def read_opened(self) -> Counters:
        if self.unreadable:
            raise ActuatorTransient("the socket is full")
        self.opened_read += 1
        return Counters(self.now_s, {NftSet.NEW4: {one: Count(count) for one, count in self.opened.items()}})

    async def conntrack(self) -> ConntrackStats:
        raise ActuatorTransient("no such table")

    async def some(self, addresses: Sequence[Address]) -> Counters:
        self.alone.append(list(addresses))
        counts = {one: Count(*self.eips.totals[one][:2]) for one in addresses}
        return Counters(self.now_s, {NftSet.IN4: counts})

    def ask(self) -> None:
        self.asked += 1

    def changed(self, subject: Address | None, before: AttackState, after: Standing) -> None:
        self.changes.append((str(subject or "pop"), before, after.state))

    async def second(self, count: int = 1, **rates: Totals) -> None:
        """Let seconds pass in which EIPs `a` and `b` carry so much; every EIP is read in each."""
        carried = {"a": A, "b": B}
        for _ in range(count):
            self.now_s += 1.0
            sample = self.eips.reading(1.0, {carried[name]: totals for name, totals in rates.items()})
            for totals in rates.values():
                self.arrived += Count(totals.in_packets, totals.in_bytes)
            self.watch.take(sample)
            await self.watch.look_at_eips()
            await self.watch.look()

    @property
    def alarms(self) -> dict[tuple[Alarm, str], str]:
        return self.reported.details


@pytest.fixture
async def pop(tmp_path: Path) -> Pop:
    made = Pop(tmp_path)
    await made.second(30, a=QUIET, b=QUIET)
    return made


async def test_from_a_flood_to_the_end_of_its_alarm(pop: Pop) -> None:
    assert (pop.views, pop.alarms, pop.asked) == ([], {}, 0)
    assert not pop.picker.targets
    await pop.second(3, a=FLOOD, b=QUIET)
    assert pop.asked > 0
    assert pop.watch.view.eips.keys() == {A}
    assert pop.watch.view.of(OURS).state is ATTACK
    assert pop.watch.view.pop.state is ATTACK
    assert set(pop.alarms) == {(Alarm.ATTACK, "fra"), (Alarm.ATTACK, str(A))}
    assert "90.0 kpps (usual 1.00 kpps, 90 times)" in pop.alarms[Alarm.ATTACK, str(A)]
    assert list(pop.picker.targets) == [OURS]
    await pop.second(6, a=FLOOD, b=QUIET)
    assert list(pop.picker.targets) == [ip_network(A)]
    assert pop.picker.share == 1 / 512
    await pop.second(130, a=QUIET, b=QUIET)
    assert pop.watch.view.eips == {}
    assert pop.alarms == {}
    assert not pop.picker.targets
    for who in ("pop", str(A)):
        steps = [(before, after) for one, before, after in pop.changes if one == who]
        assert steps == [(NORMAL, ATTACK), (ATTACK, ELEVATED), (ELEVATED, NORMAL)]
    assert [view.of(OURS).state for _, view in pop.views][-1] is NORMAL


async def test_what_is_picked_is_shown_of_whom_it_is(pop: Pop) -> None:
    await pop.second(2, a=FLOOD, b=QUIET)
    pop.picker.packets.extend(udp("198.51.100.9", str(A), 53) for _ in range(100))
    pop.picker.packets.append(b"not a packet")
    await pop.second(1, a=FLOOD, b=QUIET)
    shape = pop.watch.view.eips[A].shape
    assert shape is not None
    assert (shape.sampled, shape.protocols[0].value, shape.ports[0].value) == (100, "udp", "53")
    assert pop.watch.view.pop.shape == shape
    assert "udp 100 % to port 53" in pop.watch.view.eips[A].detail


async def test_who_most_packets_go_to_is_read_alone_and_is_seen_before_all_are_read(pop: Pop) -> None:
    begun_s = pop.now_s
    for _ in range(5):
        pop.now_s += 0.5
        pop.arrived += Count(45_000, 3_000_000)
        pop.eips.reading(0.5, {A: FLOOD, B: QUIET})
        pop.picker.packets.extend(udp("198.51.100.9", str(A), 53) for _ in range(95))
        pop.picker.packets.extend(udp("198.51.100.9", str(B), 53) for _ in range(5))
        await pop.watch.look()
        if A in pop.watch.view.eips:
            break
    assert pop.watch.view.eips[A].state is ATTACK
    assert pop.watch.view.eips[A].rate.packets == 90_000.0
    assert pop.now_s - begun_s == 1.5
    assert pop.alone == [[A]] * 2
    assert pop.asked == 1


async def test_new_connections_are_read_when_there_are_many_and_judged_of_each_eip(pop: Pop) -> None:
    assert pop.opened_read == 0
    few = Totals(in_packets=7_000, in_bytes=420_000)
    for _ in range(5):
        pop.opened[A] += 7_000
        await pop.second(a=few, b=QUIET)
    assert pop.opened_read > 1
    standing = pop.watch.view.eips[A]
    assert (standing.state, standing.reasons) == (ATTACK, (AttackReason.CONNECTIONS_ABOVE_USUAL,))
    assert standing.rate.connections == 7_000.0
    assert standing.usual.connections is not None
    assert standing.usual.connections < 700.0
    assert "new connections 7.00 k/s" in standing.detail
    assert pop.watch.view.pop.state is NORMAL, "7,000 are nothing unusual for all EIPs together"
    pop.unreadable = True
    await pop.watch.look_at_eips()
    assert pop.watch.view.eips[A].state is ATTACK
    pop.unreadable = False
    await pop.second(130, a=QUIET, b=QUIET)
    assert pop.watch.view.eips == {}


async def test_a_suspect_whose_traffic_is_as_usual_is_none(pop: Pop) -> None:
    for _ in range(8):
        pop.now_s += 0.5
        pop.arrived += Count(45_000, 3_000_000)
        pop.eips.reading(0.5, {A: QUIET, B: QUIET})
        pop.picker.packets.extend(udp("198.51.100.9", str(A), 53) for _ in range(100))
        await pop.watch.look()
    assert pop.alone
    assert pop.watch.view.eips == {}
    assert pop.watch.view.pop.state is ATTACK


async def test_where_no_eip_stands_out_all_prefixes_are_looked_at(pop: Pop) -> None:
    for _ in range(3):
        pop.now_s += 1.0
        pop.arrived += Count(300_000, 20_000_000)
        await pop.watch.look()
    assert pop.watch.view.pop.state is ATTACK
    assert list(pop.picker.targets) == [OURS]


async def test_packets_that_may_not_be_looked_at_stop_nothing(pop: Pop) -> None:
    pop.picker.refuses = True
    await pop.second(3, a=FLOOD, b=QUIET)
    assert pop.watch.view.eips[A].state is ATTACK
    assert pop.watch.view.eips[A].shape is None


async def test_counters_that_cannot_be_read_change_nothing(pop: Pop) -> None:
    await pop.second(3, a=FLOOD, b=QUIET)
    pop.unreadable = True
    pop.now_s += 500.0
    await pop.watch.look()
    assert pop.watch.view.pop.state is ATTACK


async def test_an_operator_forces_a_state_and_takes_it_back(pop: Pop) -> None:
    pop.watch.order(B, ATTACK)
    standing = pop.watch.view.eips[B]
    assert (standing.state, standing.reasons) == (ATTACK, (AttackReason.ORDERED,))
    assert pop.changes == [(str(B), NORMAL, ATTACK)]
    await pop.second(3, a=FLOOD, b=QUIET)
    pop.watch.order(A, NORMAL)
    assert pop.watch.view.eips.keys() == {B}
    pop.watch.order(A, None)
    pop.watch.order(B, None)
    assert pop.watch.view.eips.keys() == {A}
    pop.watch.order(None, ATTACK)
    assert pop.watch.view.pop.reasons == (AttackReason.ORDERED,)


async def test_switched_off_all_is_normal(pop: Pop) -> None:
    await pop.second(3, a=FLOOD, b=QUIET)
    pop.watch.configure(AttackConfig(detect=replace(CONFIG.detect, enabled=False)))
    await pop.watch.look()
    assert (pop.watch.view.eips, pop.watch.view.pop.state, pop.alarms) == ({}, NORMAL, {})
    assert not pop.picker.targets


async def test_what_is_usual_outlives_a_restart(tmp_path: Path) -> None:
    pop = Pop(tmp_path, AttackConfig())
    await pop.second(700, a=QUIET, b=QUIET)
    assert (tmp_path / "usual.json").exists()
    assert SAVE_EACH_S < 700
    await pop.watch.close()
    pop.start()
    await pop.second(4, a=FLOOD, b=QUIET)
    assert pop.watch.view.eips[A].state is ATTACK
    assert pop.watch.view.eips[A].usual.packets == pytest.approx(1000.0, rel=0.01)


async def test_a_file_that_is_broken_is_none(tmp_path: Path) -> None:
    for text in ("", "[]", '{"format": 1}', '{"format": 2}', '{"format": 1, "pop": [1, 2, 3, NaN], "eips": {}}',
                 '{"format": 1, "pop": [1, 1e300, 3, 4], "eips": {}}'):  # fmt: skip
        (tmp_path / "usual.json").write_text(text)
        pop = Pop(tmp_path)
        await pop.second(2, a=QUIET)
        assert pop.watch.view.pop.state is NORMAL


async def test_a_disk_that_is_full_is_an_alarm_until_there_is_room(tmp_path: Path) -> None:
    pop = Pop(tmp_path / "file")
    (tmp_path / "file").write_text("no directory")
    await pop.watch.save()
    assert [alarm for alarm, _ in pop.alarms] == [Alarm.STATE_NOT_SAVED]
    (tmp_path / "file").unlink()
    await pop.watch.save()
    assert pop.alarms == {}


def test_only_so_many_eips_are_looked_at_the_busiest() -> None:
    picker = Picker()
    look = PacketLook(picker, lambda: [OURS])
    many: dict[Address, float] = {ip_address("10.0.0.0") + n: float(n) for n in range(100)}
    look.look(None, many, 200, 0.0)
    assert len(picker.targets) == MOST_EIPS
    assert ip_network("10.0.0.99/32") in picker.targets
    assert ip_network("10.0.0.1/32") not in picker.targets


@pytest.mark.parametrize(("coming", "share"), [(0.0, 1.0), (200.0, 1.0), (201.0, 0.5), (800.0, 0.25), (1e6, 2.0**-13)])
def test_the_share_that_is_picked(coming: float, share: float) -> None:
    assert share_of(coming, 200) == share
