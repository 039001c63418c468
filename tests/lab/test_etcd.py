"""Three members, each in a namespace, killed, cut off, emptied and restored under POPs that bind: nothing is lost.

The POPs are real desks of EIPs on real stores; their plane has at once what is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from anycastd.model.store import StoreConfig
from tests.etcd.stores import PopDesk, config_of, pop_desk, until
from tests.lab.etcd_stage import Stage, etcd_stage, inside

pytestmark = pytest.mark.lab
POPS = ("fra", "sin")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with etcd_stage(("fra",), members=3) as made:
        made.start_members()
        yield made


@pytest.fixture
def within(stage: Stage) -> Iterator[None]:
    """Have the test's own sockets in a POP's namespace, with a cluster that is whole before and after."""
    stage.heal()
    with inside(stage.pops["fra"].netns):
        yield


class Fleet:
    """Two POPs, and the addresses that were bound without a refusal."""

    def __init__(self, config: StoreConfig, directory: Path) -> None:
        self._config, self._directory, self._stack = config, directory, AsyncExitStack()
        self.accepted: set[str] = set()
        self.refused: dict[str, str] = {}
        self.fra: PopDesk
        self.sin: PopDesk

    async def __aenter__(self) -> Fleet:
        self.fra, self.sin = [await self.join(pop) for pop in POPS]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def join(self, pop: str) -> PopDesk:
        return await self._stack.enter_async_context(pop_desk(self._config, pop, self._directory))

    async def bind(self, pop: PopDesk, first: int, count: int, every_s: float = 0.0) -> None:
        for number in range(first, first + count):
            address = f"203.0.113.{number}"
            why = await pop.bind(address)
            if why:
                self.refused[address] = why
            else:
                self.accepted.add(address)
            await asyncio.sleep(every_s)

    async def until_both_have_all(self, what: str, deadline_s: float = 30.0) -> float:
        return await until(what, lambda: self.accepted <= self.fra.bound & self.sin.bound, deadline_s)


def fleet_of(stage: Stage, directory: Path, name: str, *, first: int = 0, commit_within_s: float = 4.0) -> Fleet:
    """Return POPs that ask member number `first` first, below keys of their own."""
    order = (*stage.endpoints[first:], *stage.endpoints[:first])
    return Fleet(config_of(*order, prefix=f"/{name}", commit_within_s=commit_within_s), directory)


def held_for(pop: PopDesk, words: str) -> bool:
    """Return whether a POP applies nothing, and says these words."""
    return bool(pop.store.held) and words in pop.store.held


async def test_while_the_leader_dies_every_bind_is_done_or_refused_and_none_is_lost(
    stage: Stage, within: None, tmp_path: Path
) -> None:
    leader = stage.leader()
    async with fleet_of(stage, tmp_path, "leader", first=stage.members.index(leader)) as fleet:
        await fleet.bind(fleet.fra, 10, 5)
        binding = asyncio.create_task(fleet.bind(fleet.fra, 20, 20, 0.1))
        await asyncio.sleep(0.3)
        leader.kill()
        await binding
        took_s = await fleet.until_both_have_all("both have what was accepted")
        # an election is shorter than `commit_within`: nothing is refused
        assert fleet.refused == {}
        assert fleet.fra.bound == fleet.sin.bound == fleet.accepted
        print(f"leader killed: 20 binds, 0 refused; the other POP had the last after {took_s:.2f} s")


async def test_a_member_that_is_cut_off_silently_is_left_for_another(
    stage: Stage, within: None, tmp_path: Path
) -> None:
    member = stage.members[0]
    async with fleet_of(stage, tmp_path, "cut") as fleet:
        await fleet.bind(fleet.fra, 10, 3)
        await fleet.until_both_have_all("both have the first")
        assert fleet.fra.store.member == fleet.sin.store.member == member.client
        stage.cut(member)
        await fleet.bind(fleet.sin, 20, 5)
        took_s = await fleet.until_both_have_all("the stream went on at another member")
        assert fleet.refused == {}
        assert fleet.fra.store.member != member.client
        print(f"member cut silently: 5 binds, 0 refused; both POPs had all after {took_s:.2f} s (stale_after 1 s)")


async def without_majority(stage: Stage, directory: Path, name: str, length_s: float) -> None:
    """Cut two of three members off for a time: everything stays, nothing can be changed; then it can."""
    async with fleet_of(stage, directory, name, commit_within_s=2.0) as fleet:
        await fleet.bind(fleet.fra, 10, 5)
        await fleet.until_both_have_all("both have the first")
        before, drops = set(fleet.accepted), fleet.fra.plane.acts
        stage.cut(*stage.members[1:])
        end_s = asyncio.get_running_loop().time() + length_s
        await fleet.bind(fleet.fra, 30, 1)
        assert "nothing was changed" in fleet.refused["203.0.113.30"]
        assert await fleet.fra.unbind("203.0.113.10") != ""
        while asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(0.2)
            assert before <= fleet.fra.bound & fleet.sin.bound
            assert before == {str(address) for address, eip in fleet.sin.plane.wanted.items() if eip.carries}
        assert fleet.fra.made.complaints and fleet.fra.plane.acts >= drops
        stage.cut()
        await asyncio.to_thread(stage.wait_healthy)
        await until("it can be bound again", lambda: not fleet.fra.store.trouble, 30)
        await fleet.bind(fleet.fra, 40, 3)
        assert set(fleet.refused) == {"203.0.113.30"}
        await fleet.until_both_have_all("both have all")
        await until("the alarm ends", lambda: not fleet.fra.made.complaints and not fleet.sin.made.complaints)


async def test_without_a_majority_nothing_changes_and_nothing_can_be_changed(
    stage: Stage, within: None, tmp_path: Path
) -> None:
    await without_majority(stage, tmp_path, "majority", 3.0)


@pytest.mark.soak
async def test_without_a_majority_for_a_minute(stage: Stage, within: None, tmp_path: Path) -> None:
    await without_majority(stage, tmp_path, "minute", 60.0)


async def test_a_cluster_restored_from_an_older_snapshot_takes_no_binding_away(
    stage: Stage, within: None, tmp_path: Path
) -> None:
    async with fleet_of(stage, tmp_path, "restored") as fleet:
        await fleet.bind(fleet.fra, 10, 5)
        await fleet.until_both_have_all("both have the first")
        saved = tmp_path / "snapshot"
        stage.members[0].ctl("snapshot", "save", str(saved))
        await fleet.bind(fleet.fra, 20, 10)
        await fleet.until_both_have_all("both have all")
        await asyncio.sleep(2 * fleet.fra.store.heartbeat_s)
        stage.restore(saved)
        for pop in (fleet.fra, fleet.sin):
            await until("it is held", partial(held_for, pop, ""), 30)
            assert "nothing is applied or changed until: anycastd fleet accept" in pop.store.held
            assert pop.bound == fleet.accepted
        assert "fleet accept" in await fleet.fra.unbind("203.0.113.10")
        # what stands here fills the store again; the other POP takes that
        missing, differed = await fleet.fra.store.overwrite(await here(fleet.fra), last=True, dry_run=False)
        # of tasks only how they ended may differ
        assert missing >= 10 and differed <= 5
        await until("it is applied", lambda: not fleet.fra.store.trouble, 30)
        assert fleet.sin.bound == fleet.accepted and fleet.sin.store.accept()
        await until("the other too", lambda: not fleet.sin.store.trouble, 30)
        await fleet.bind(fleet.sin, 40, 2)
        assert fleet.refused == {}
        await fleet.until_both_have_all("both have all, and more")
        assert fleet.fra.bound == fleet.sin.bound == fleet.accepted


async def here(pop: PopDesk) -> dict[str, str]:
    """Return what a POP has applied."""
    return {key: item.value or "" for key, item in (await pop.store.dump(here=True)).items.items()}


async def test_another_cluster_at_the_same_addresses_is_not_believed(
    stage: Stage, within: None, tmp_path: Path
) -> None:
    async with fleet_of(stage, tmp_path, "foreign") as fleet:
        await fleet.bind(fleet.fra, 10, 4)
        await fleet.until_both_have_all("both have all")
        stage.begin_anew("another")
        for pop in (fleet.fra, fleet.sin):
            await until("it is held", partial(held_for, pop, "the cluster is"), 30)
            assert pop.bound == fleet.accepted
        await fleet.bind(fleet.fra, 20, 1)
        assert "the cluster is" in fleet.refused["203.0.113.20"]
        # a POP that starts now believes what it kept, and not the stranger
        again = await fleet.join("sin")
        assert again.bound == fleet.accepted
        await until("it is held", lambda: bool(again.store.held), 30)
        assert again.bound == fleet.accepted


async def test_bindings_deleted_past_the_api_stay(stage: Stage, within: None, tmp_path: Path) -> None:
    async with fleet_of(stage, tmp_path, "deleted") as fleet:
        await fleet.bind(fleet.fra, 10, 4)
        await fleet.until_both_have_all("both have all")
        stage.members[0].ctl("del", "--prefix", "/deleted/data/eips/")
        await until("it is held", lambda: "4 of 4 bound EIPs were deleted" in fleet.sin.store.held)
        assert fleet.sin.bound == fleet.accepted
        assert fleet.fra.store.accept()
        await until("who accepts it unbinds", lambda: not fleet.fra.bound)
        assert fleet.sin.bound == fleet.accepted
