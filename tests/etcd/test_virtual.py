"""POPs on a shared store through long faults, in virtual time: what was accepted is never lost, nothing is unbound."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest

from anycastd.api.ports import Done, Request
from anycastd.resources.commands import Allocate
from anycastd.store.etcd import kept
from anycastd.store.port import StoreUnavailable
from tests.etcd.stores import PopDesk, config_of, pop_desk, pop_store
from tests.etcd.virtual import MEMBERS, Cluster, Gateway, InlineLoop, Unreachable

TIMERS = {"heartbeat_s": 3.0, "stale_after_s": 9.0, "presence_s": 10.0, "attempt_s": 1.0, "commit_within_s": 4.0}
SETTLED_S = 40.0
"""After a heal: a member rests 5 s, a stream is stale after 9 s, an attempt takes 1 s."""


class Fleet:
    """Two POPs on one cluster, and what was accepted: address -> bound or not."""

    def __init__(self, cluster: Cluster, directory: Path, stack: AsyncExitStack) -> None:
        self.cluster, self._directory, self._stack = cluster, directory, stack
        self.pops: dict[str, PopDesk] = {}
        self.accepted: dict[str, bool] = {}
        self.unsure: set[str] = set()
        """Changes that were refused for want of an answer: they may have been made."""
        self.had: dict[str, set[str]] = {}
        """What each POP knew to be bound when it was looked at last, but for what was to be changed since."""
        self.generations: dict[str, int] = {}

    async def join(self, name: str) -> PopDesk:
        config = config_of(*(f"http://{member}:2379" for member in MEMBERS), **TIMERS)
        made = pop_desk(config, name, self._directory, gateway=Gateway(self.cluster))
        self.pops[name] = await self._stack.enter_async_context(made)
        return self.pops[name]

    async def change(self, name: str, address: str, *, bind: bool) -> str:
        pop = self.pops[name]
        for had in self.had.values():
            had.discard(address)
        why = await (pop.bind(address) if bind else pop.unbind(address))
        if not why:
            self.accepted[address], self.generations[address] = bind, self._generation(pop, address)
        elif why.startswith("503"):
            self.unsure.add(address)
        return why

    def look(self) -> None:
        """No POP may have lost what it had and nobody touched since."""
        for name, pop in self.pops.items():
            lost = self.had.setdefault(name, set()) - pop.bound
            assert not lost, f"{name} lost {lost}"
            sure = {address for address, bound in self.accepted.items() if bound} - self.unsure
            self.had[name] = {a for a in pop.bound & sure if self._generation(pop, a) == self.generations[a]}

    @staticmethod
    def _generation(pop: PopDesk, address: str) -> int:
        eip = pop.desk.records.find(address)
        return eip.generation if eip is not None else 0

    def look_settled(self) -> None:
        """Both POPs are as the store is, and as was accepted."""
        first, second = self.pops.values()
        assert first.bound == second.bound
        assert {a for a, bound in self.accepted.items() if bound} - self.unsure <= first.bound
        assert not {a for a, bound in self.accepted.items() if not bound} - self.unsure & first.bound
        for pop in self.pops.values():
            assert not pop.store.trouble, pop.store.trouble
            assert pop.made.complaints == {}


def run(main: Callable[[Fleet], Coroutine[Any, Any, None]], directory: Path, seed: int = 1) -> None:
    async def whole() -> None:
        async with AsyncExitStack() as stack:
            fleet = Fleet(Cluster(Random(seed)), directory, stack)
            for name in ("fra", "sin"):
                await fleet.join(name)
            await main(fleet)

    with asyncio.Runner(loop_factory=lambda: InlineLoop(1000.0)) as runner:
        runner.run(whole())


def test_ten_minutes_without_a_majority_change_nothing(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        for number in range(10, 20):
            assert await fleet.change("fra", f"203.0.113.{number}", bind=True) == ""
        await asyncio.sleep(1.0)
        before = fleet.pops["sin"].bound
        assert len(before) == 10
        wanted = [dict(pop.plane.wanted) for pop in fleet.pops.values()]
        asked = fleet.cluster.asked
        fleet.cluster.cut |= {"m1", "m2"}
        for minute in range(10):
            await asyncio.sleep(60.0)
            why = await fleet.change("fra", f"203.0.113.{50 + minute}", bind=True)
            assert why.startswith("503") and "nothing was changed" in why
            assert [dict(pop.plane.wanted) for pop in fleet.pops.values()] == wanted
            assert all(pop.bound == before for pop in fleet.pops.values())
        # two POPs, three members: heartbeat, stream and this test's own changes; no storm of tries
        assert (fleet.cluster.asked - asked) / 600.0 < 5.0
        fleet.cluster.cut.clear()
        fleet.unsure.clear()
        await asyncio.sleep(SETTLED_S)
        assert await fleet.change("sin", "203.0.113.99", bind=True) == ""
        await asyncio.sleep(1.0)
        fleet.look_settled()

    run(main, tmp_path)


def test_a_pop_that_starts_without_the_store_serves_what_it_applied(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        for number in range(10, 15):
            await fleet.change("fra", f"203.0.113.{number}", bind=True)
        await asyncio.sleep(1.0)
        fleet.cluster.cut |= {"m1", "m2"}
        begun_s = asyncio.get_running_loop().time()
        # another life of the same POP, on the same disk
        again = await fleet.join("sin")
        assert asyncio.get_running_loop().time() == begun_s
        assert again.bound == fleet.pops["fra"].bound and len(again.bound) == 5
        assert (await fleet.change("sin", "203.0.113.60", bind=True)).startswith("503")

    run(main, tmp_path)


@contextmanager
def no_writing(fleet: Fleet, name: str) -> Iterator[None]:
    """Let nothing be written to what a POP keeps, as while its disk is full: another process holds the file locked."""
    with closing(sqlite3.connect(fleet.pops[name].store._file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a lock waited for no longer than it takes to see it."""
    monkeypatch.setattr(kept, "BUSY_WITHIN_S", 0.0)


@pytest.mark.usefixtures("impatient")
def test_what_the_disk_did_not_take_is_kept_later_and_never_passed_over(tmp_path: Path) -> None:
    """A later revision on disk must not stand for a change that is missing: the next start would not ask for it."""

    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(1.0)
        with no_writing(fleet, "sin"):
            await fleet.change("fra", "203.0.113.11", bind=True)
            await fleet.change("fra", "203.0.113.10", bind=False)
            await asyncio.sleep(1.0)
            assert "locked" in fleet.pops["sin"].made.complaints["kept"]
        await fleet.change("fra", "203.0.113.12", bind=True)
        await asyncio.sleep(1.0)
        assert fleet.pops["sin"].made.complaints == {}
        fleet.cluster.cut |= {"m1", "m2"}
        assert (await fleet.join("sin")).bound == fleet.pops["fra"].bound == {"203.0.113.11", "203.0.113.12"}

    run(main, tmp_path)


@pytest.mark.usefixtures("impatient")
def test_a_snapshot_that_the_disk_did_not_take_is_kept_before_what_came_after_it(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(1.0)
        gateway = fleet.pops["sin"].store.gateway  # type: ignore[attr-defined]
        gateway.call_at, call_at = _deaf, gateway.call_at
        await asyncio.sleep(TIMERS["stale_after_s"] + 5.0)
        await fleet.change("fra", "203.0.113.11", bind=True)
        fleet.cluster.compacted = fleet.cluster.revision
        with no_writing(fleet, "sin"):
            gateway.call_at = call_at
            await asyncio.sleep(SETTLED_S)
            assert fleet.pops["sin"].bound == {"203.0.113.10", "203.0.113.11"}
        await fleet.change("fra", "203.0.113.12", bind=True)
        await asyncio.sleep(1.0)
        fleet.cluster.cut |= {"m1", "m2"}
        assert (await fleet.join("sin")).bound == {f"203.0.113.{number}" for number in (10, 11, 12)}

    run(main, tmp_path)


@pytest.mark.usefixtures("impatient")
def test_what_is_kept_is_read_once_it_can_be_though_the_store_stays_away(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(1.0)
        fleet.cluster.cut |= {"m1", "m2"}
        with no_writing(fleet, "sin"):
            again = await fleet.join("sin")
            assert not again.bound
        await again.desk.tick()
        assert again.bound == {"203.0.113.10"}

    run(main, tmp_path)


def test_a_stream_that_ends_as_soon_as_it_has_begun_is_told_of_and_not_begun_in_a_hurry(tmp_path: Path) -> None:
    """As behind a proxy that takes no streams: the POP hears of no change, and must say so."""

    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(1.0)
        gateway = fleet.pops["sin"].store.gateway  # type: ignore[attr-defined]
        stream = gateway.stream

        @asynccontextmanager
        async def cut(member: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
            async def first(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
                yield await anext(lines)
                raise Unreachable(f"{member}: the stream ended", unknown=False)

            async with stream(member, body) as lines:
                yield first(lines)

        gateway.stream = cut
        # what runs ends as stale, when a heartbeat does not come back
        fleet.cluster.life += 1
        await asyncio.sleep(5.0)
        asked = fleet.cluster.asked
        await asyncio.sleep(20.0)
        assert (fleet.cluster.asked - asked) / 20.0 < 10.0
        assert "the stream ended" in "".join(fleet.pops["sin"].made.complaints.values())
        gateway.stream = stream
        await asyncio.sleep(SETTLED_S)
        await fleet.change("fra", "203.0.113.11", bind=True)
        await asyncio.sleep(1.0)
        fleet.look_settled()

    run(main, tmp_path)


def test_heartbeats_of_years_take_no_room_where_nothing_is_compacted(tmp_path: Path) -> None:
    async def main() -> None:
        config = config_of(*MEMBERS, compact_after_s=0.0)
        async with pop_store(config, "fra", tmp_path, beats=False, gateway=Gateway(Cluster(Random(1)))) as made:
            for _ in range(5):
                await made.store.beat("{}")
                await made.store.tidy()
            assert not made.store._seen

    with asyncio.Runner(loop_factory=lambda: InlineLoop(1000.0)) as runner:
        runner.run(main())


@pytest.mark.slow
def test_a_pop_that_is_not_seen_any_more_is_missed_and_nothing_else(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(5.0)
        assert set((await fleet.pops["fra"].store.fleet("/pops/")).items) == {"/pops/fra", "/pops/sin"}
        wanted, acts = dict(fleet.pops["fra"].plane.wanted), fleet.pops["fra"].plane.acts
        fleet.pops["sin"].made.beating.cancel()
        await asyncio.sleep(30.0)
        assert set((await fleet.pops["fra"].store.fleet("/pops/")).items) == {"/pops/fra"}
        assert (fleet.pops["fra"].plane.wanted, fleet.pops["fra"].plane.acts) == (wanted, acts)
        assert fleet.pops["fra"].made.complaints == {}

    run(main, tmp_path)


@pytest.mark.slow
def test_a_heartbeat_that_does_not_come_back_moves_the_stream_to_the_next_member(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(5.0)
        sin = fleet.pops["sin"]
        assert sin.store.member == "m1"
        fleet.cluster.cut.add("m1")
        await fleet.change("fra", "203.0.113.11", bind=True)
        await asyncio.sleep(TIMERS["stale_after_s"] + 2.0)
        assert sin.store.member != "m1" and "203.0.113.11" in sin.bound
        assert sin.made.complaints == {}

    run(main, tmp_path)


@pytest.mark.slow
def test_compacted_history_is_read_anew(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        await fleet.change("fra", "203.0.113.10", bind=True)
        await asyncio.sleep(1.0)
        gateway = fleet.pops["sin"].store.gateway  # type: ignore[attr-defined]
        # one POP alone is cut off from every member, while the other goes on
        gateway.call_at, call_at = _deaf, gateway.call_at
        for number in range(20, 25):
            await fleet.change("fra", f"203.0.113.{number}", bind=True)
        fleet.cluster.compacted = fleet.cluster.revision
        gateway.call_at = call_at
        await asyncio.sleep(SETTLED_S)
        fleet.look_settled()

    run(main, tmp_path)


@pytest.mark.slow
def test_a_request_that_is_sent_again_to_another_pop_gets_the_same_answer(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        fra, sin = fleet.pops["fra"].desk, fleet.pops["sin"].desk
        command = Allocate(prefix=ip_network("203.0.113.0/24"))
        request = Request(command=command, key="key-1", digest="d")
        first = await fra.change(request)
        await asyncio.sleep(1.0)
        again = await sin.change(request)
        assert isinstance(first, Done) and isinstance(again, Done)
        assert again.replayed and again.shown.view.eip.address == first.shown.view.eip.address
        assert len(sin.records) == len(fra.records) == 1

    run(main, tmp_path)


@pytest.mark.slow
def test_a_store_that_is_found_empty_takes_nothing_away(tmp_path: Path) -> None:
    async def main(fleet: Fleet) -> None:
        for number in range(10, 14):
            await fleet.change("fra", f"203.0.113.{number}", bind=True)
        await asyncio.sleep(5.0)
        before = fleet.pops["sin"].bound
        # while nobody looks: emptied, and the history of that forgotten, so that everything must be read anew
        fleet.cluster.cut |= {"m1", "m2", "m3"}
        await asyncio.sleep(20.0)
        fleet.cluster.items = {key: item for key, item in fleet.cluster.items.items() if "/data/" not in key}
        fleet.cluster.revision += 1
        fleet.cluster.compacted = fleet.cluster.revision
        fleet.cluster.cut.clear()
        await asyncio.sleep(SETTLED_S)
        for pop in fleet.pops.values():
            assert pop.bound == before and "no EIP is bound in the store" in pop.store.held
            assert any("fleet accept" in words for words in pop.made.complaints.values())
        assert "fleet accept" in await fleet.change("fra", "203.0.113.10", bind=False)
        missing, _ = await fleet.pops["fra"].store.overwrite(
            {key: item.value or "" for key, item in (await fleet.pops["fra"].store.dump(here=True)).items.items()},
            last=True,
            dry_run=False,
        )
        assert missing >= 4
        await asyncio.sleep(SETTLED_S)
        assert fleet.pops["sin"].store.accept()
        await asyncio.sleep(5.0)
        fleet.unsure.clear()
        fleet.look_settled()
        assert fleet.pops["sin"].bound == before

    run(main, tmp_path)


async def _deaf(*_: object) -> None:
    await asyncio.sleep(1.0)
    message = "cut off"
    raise StoreUnavailable(message)


def storm(seed: int) -> Callable[[Fleet], Coroutine[Any, Any, None]]:
    """Return minutes of cuts, lost answers and changes at both POPs, then peace."""

    async def main(fleet: Fleet) -> None:
        luck, cluster = Random(seed), fleet.cluster
        for _ in range(120):
            deed = luck.random()
            if deed < 0.1:
                cluster.cut = set(luck.sample(MEMBERS, luck.randint(0, 3)))
            elif deed < 0.2:
                cluster.cut = set()
                cluster.lost_answers = luck.choice((0.0, 0.3, 0.7))
            else:
                address = f"203.0.113.{luck.randint(10, 40)}"
                await fleet.change(luck.choice(("fra", "sin")), address, bind=luck.random() < 0.7)
            await asyncio.sleep(luck.choice((0.0, 0.1, 2.0)))
            fleet.look()
        cluster.cut, cluster.lost_answers = set(), 0.0
        await asyncio.sleep(SETTLED_S)
        fleet.look_settled()

    return main


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_through_cuts_and_lost_answers_nothing_that_was_accepted_is_lost(seed: int, tmp_path: Path) -> None:
    run(storm(seed), tmp_path, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_through_very_many_of_them(tmp_path: Path) -> None:
    for seed in range(100, 400):
        directory = tmp_path / str(seed)
        directory.mkdir()
        print("seed", seed)
        run(storm(seed), directory, seed)
