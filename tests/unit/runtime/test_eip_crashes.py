"""Whatever is asked, and wherever the process dies: after the next start plane, kernel and store say the same.

A change is there wholly or not at all; what was acknowledged, or committed, is there.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from anycastd.api.ports import DialRequest, Done, Request
from anycastd.model.address import Address, RegionName
from anycastd.model.eip import Eip, EipId, EipStatus, EipView, Source, TaskId, TaskState
from anycastd.model.nft import DropElement, NftObserved, NftSet
from anycastd.model.topology import Config
from anycastd.reconcile.eip_plane import EipPlane
from anycastd.resources import codec
from anycastd.resources.commands import (
    Allocate,
    Associate,
    Dial,
    Disassociate,
    EipCommand,
    Modify,
    Release,
    Restore,
)
from anycastd.resources.tasks import SETTLED
from anycastd.runtime.eips.steady import STEADY_S
from anycastd.runtime.eips.tasks import KEEP_S
from tests.unit import status_builder
from tests.unit.reconcile.filter import Tables, apply, observed, tables, ways
from tests.unit.runtime.eip_world import ONE, SIX, TWO, Died, Fuse, World, bound_to, with_file

T = TypeVar("T")
STEPS = 7
"""A change has at most so many steps at which the process can die."""

names = st.sampled_from([str(ONE), str(TWO), str(SIX)])
bindings = st.sampled_from(
    [bound_to("eu-central/web-1"), bound_to("us-east/web-1", "eu-central/web-2"), bound_to("eu-central/none")]
)
commands: st.SearchStrategy[EipCommand] = st.one_of(
    st.sampled_from([Allocate(address=ONE), Allocate(address=TWO), Allocate(address=SIX)]),
    st.builds(Associate, names, bindings, st.booleans()),
    st.builds(Disassociate, names),
    st.builds(Modify, eip=names, in_bps=st.sampled_from([None, 10**6, 1]), description=st.sampled_from(["", "a"])),
    st.builds(Release, names),
    st.builds(Restore, names),
)
fuses = st.none() | st.integers(0, STEPS) | st.integers(0, 20)
keys = st.none() | st.sampled_from(["k1", "k2"])

IN_FILE = Eip(id=EipId("eip-0000000f"), address=ONE, binding=bound_to("us-east/web-1"), source=Source.FILE)


class Crashes(RuleBasedStateMachine):
    """Commands, reloads, purges and dials, each with a death somewhere on its way, or none."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.runner = asyncio.Runner()
        self.world = World(self.directory / "anycastd.db", self.config())
        self.done: set[TaskId] = set()
        self.furnish()
        self.run(self.world.begin())

    def config(self) -> Config:
        return status_builder.config()

    def furnish(self) -> None:
        """Set up what a machine needs besides."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.world.end())
        self.runner.close()
        shutil.rmtree(self.directory)

    def stored(self) -> dict[Address, Eip]:
        """Return what the file of the store says."""
        items = self.run(self.world.store.snapshot(codec.EIPS)).items
        eips = [codec.decode_eip(item.value or "") for item in items.values()]
        return {eip.address: eip for eip in eips}

    def dying(self, work: Coroutine[Any, Any, T], fuse: int | None) -> T | None:
        """Do work with a fuse lit; if the process dies, return None and begin its next life."""
        self.world.fuse.left = fuse
        try:
            outcome = self.run(work)
        except Died:
            self.run(self.world.restart())
            return None
        self.world.fuse.left = None
        return outcome

    @rule(command=commands, fuse=fuses, key=keys)
    def change(self, command: EipCommand, fuse: int | None, key: str | None) -> None:
        before = self.stored()
        request = Request(command=command, key=key, digest=repr(command))
        planned = self.run(self.world.desk.change(replace(request, dry_run=True)))
        replay = key is not None and key in self.world.desk._book.answers
        outcome = self.dying(self.world.desk.change(request), fuse)
        after = self.stored()
        changed = {address for address in before.keys() | after.keys() if before.get(address) != after.get(address)}
        if replay or not isinstance(planned, Done):
            assert changed == set()
            return
        wanted = planned.shown.view.eip
        if outcome is None and fuse == 0:
            # it died before the commit
            assert changed == set()
        elif planned.changes:
            assert changed == {wanted.address}
        if changed:
            assert replace(after[wanted.address], id=wanted.id) == wanted
            assert command.verb == "allocate" or after[wanted.address].id == wanted.id

    @rule(seconds=st.sampled_from([1.0, 3600.0, 100_000.0]), fuse=fuses)
    def time_passes(self, seconds: float, fuse: int | None) -> None:
        before = self.stored()
        self.world.wait(seconds)
        self.dying(self.world.desk.tick(), fuse)
        # so long a start watches the clock before it forgets anything
        self.world.wait(STEADY_S)
        self.run(self.world.desk.tick())
        gone = before.keys() - self.stored().keys()
        kept_s = self.world.config.eip.keep_released_s
        assert gone == {
            eip.address
            for eip in before.values()
            if eip.released_unix_s is not None and eip.released_unix_s + kept_s <= self.world.wall_s
        }

    @rule(in_file=st.booleans())
    def reload(self, in_file: bool) -> None:
        plain = self.config()
        self.world.config = with_file(plain, [IN_FILE]) if in_file else plain
        self.world.desk.configure(self.world.config)

    @rule(percentage=st.none() | st.integers(0, 100), fuse=fuses)
    def dial(self, percentage: int | None, fuse: int | None) -> None:
        self.dying(self.world.desk.dial(DialRequest(command=Dial(RegionName("us-east"), percentage))), fuse)

    @rule()
    def restart(self) -> None:
        self.run(self.world.restart())

    @rule(takes=st.none() | st.integers(0, 3) | st.integers(60, 72))
    def hold(self, takes: int | None) -> None:
        """Let the kernel take only so many changes at a time, or all of them again; a restart lets all of them."""
        self.world.plane.hold(takes)
        self.world.plane.act()
        self.world.desk.on_observed()

    @rule(address=st.sampled_from([ONE, TWO]), takes=st.none() | st.integers(0, 3))
    def come_and_go(self, address: Address, takes: int | None) -> None:
        """Bind an EIP, and unbind and release it at once, while the kernel takes so many changes at a time."""
        name = str(address)
        for command in (Allocate(address=address), Restore(name), Associate(name, bound_to("eu-central/web-1"))):
            self.run(self.world.desk.change(Request(command=command)))
        self.hold(takes)
        for leaving in (Disassociate(name), Release(name)):
            self.run(self.world.desk.change(Request(command=leaving)))

    def is_held(self) -> bool:
        return bool(self.world.plane.held)

    @invariant()
    def all_say_the_same(self) -> None:
        in_force = {**self.stored(), **self.world.config.eips}
        if not self.is_held():
            self.kernel_agrees(in_force)
        self.is_told_truly(in_force)
        assert dict(self.world.desk.records.stored) == self.stored()
        assert {eip.address: eip for eip in self.world.desk.records} == in_force
        items = self.run(self.world.store.snapshot(codec.DIALS)).items
        dials = {key.removeprefix(codec.DIALS): codec.decode_dial(item.value or "") for key, item in items.items()}
        assert self.world.plane.dials == self.world.desk.dials == dials
        tasks = self.world.desk.tasks()
        assert self.is_held() or [task for task in tasks if task.state is TaskState.RUNNING] == []
        made = {(task.eip, task.generation) for task in tasks}
        lately = [e for e in self.stored().values() if e.changed_unix_s > self.world.wall_s - KEEP_S]
        assert {(eip.id, eip.generation) for eip in lately} <= made

    def is_told_truly(self, in_force: dict[Address, Eip]) -> None:
        """A task is done, and a status says so, only when the kernel has all of it, and nothing else of the EIP."""
        done = {task.id: task for task in self.world.desk.tasks() if task.state is TaskState.SUCCESS}
        lately = {(task.eip, task.generation) for id_, task in done.items() if id_ not in self.done}
        self.done = set(done)
        for address, eip in in_force.items():
            shown = self.world.desk.show(str(address))
            assert shown is not None
            if shown.view.status in SETTLED or (eip.id, eip.generation) in lately:
                self.kernel_has(eip)

    def kernel_has(self, eip: Eip) -> None:
        assert self.world.plane.kernel[eip.address] == eip

    def kernel_agrees(self, in_force: dict[Address, Eip]) -> None:
        assert self.world.plane.wanted == in_force
        assert self.world.plane.kernel == in_force


class FilterPlane:
    """The real plane over a packet filter that outlives the daemon; it may die between any two changes of it."""

    def __init__(self, config: Config, fuse: Fuse, there: Tables) -> None:
        self.inner = EipPlane(config, status_builder.serving().health, 1000.0)
        self._fuse, self._there = fuse, there
        self.dials: dict[RegionName, int] = {}
        self._takes: int | None = None

    @property
    def held(self) -> bool:
        return self._takes is not None

    def hold(self, takes: int | None) -> None:
        """Take only so many changes of each that are asked for together."""
        self._takes = takes

    def put(self, eip: Eip, now_s: float) -> None:
        self._fuse.step()
        self.inner.put(eip, now_s)

    def drop(self, address: Address, now_s: float) -> None:
        self._fuse.step()
        self.inner.drop(address, now_s)

    def set_dials(self, dials: dict[RegionName, int], now_s: float) -> None:
        self._fuse.step()
        self.dials = dict(dials)
        self.inner.set_dials(dials, now_s)

    def act(self) -> None:
        # what was changed is read back and followed, as the control loop does
        while changes := self.inner.changes(observed(self._there)):
            for change in changes[: self._takes]:
                self._fuse.step()
                # what is gone is not asked of the kernel again
                if not isinstance(change, DropElement) or change.key in self._there[change.set]:
                    apply(self._there, [change])
            if self.held:
                break

    def view(self, address: Address, seen: NftObserved) -> EipView | None:
        return self.inner.view(address, observed(self._there))


class CrashesOverFilter(Crashes):
    """The same with the real plane and the elements of a packet filter."""

    def config(self) -> Config:
        config = super().config()
        regions = {name: replace(one, number=n) for n, (name, one) in enumerate(config.regions.items(), start=1)}
        return replace(config, regions=regions)

    def furnish(self) -> None:
        self.there = tables()
        self.world.make_plane = lambda config, fuse: FilterPlane(config, fuse, self.there)

    def kernel_has(self, eip: Eip) -> None:
        address, wanted = eip.address, self.world.plane.inner.wanted
        for name in NftSet:
            assert (address in self.there[name]) is (address in wanted[name]), (eip, name)
            assert self.there[name].get(address) == wanted[name].get(address), (eip, name)
        assert ways(self.there, address) == ways(tables(wanted), address)
        assert (ways(self.there, address) is not None) is eip.carries

    def kernel_agrees(self, in_force: dict[Address, Eip]) -> None:
        plane = self.world.plane.inner
        assert self.there == tables(plane.wanted)
        views = {view.eip.address: view for view in plane.views(observed(self.there))}
        assert {address: view.eip for address, view in views.items()} == in_force
        assert self.there[NftSet.IN4].keys() | self.there[NftSet.IN6].keys() == in_force.keys()
        for address, eip in in_force.items():
            where = ways(self.there, address)
            assert (where is not None) is eip.carries
            assert views[address].status in (EipStatus.BIND if eip.carries else EipStatus.UNBIND, EipStatus.OFFLINING)
            targets = eip.binding.targets if eip.binding is not None else ()
            allowed = {self.world.config.backends[target.backend].address for target in targets}
            assert {way.backend for way in where or ()} <= allowed


def live(machine: type[Crashes], examples: int, steps: int) -> None:
    checks = [HealthCheck.too_slow]
    found = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(machine, settings=found)


MACHINES = pytest.mark.parametrize("machine", [Crashes, CrashesOverFilter])


@MACHINES
def test_crashes(machine: type[Crashes]) -> None:
    live(machine, 15, 15)


@pytest.mark.slow
@pytest.mark.timeout(170)
@MACHINES
def test_many_crashes(machine: type[Crashes]) -> None:
    live(machine, 100, 40)
