"""S10: a file on trial is taken back when less is announced with it, and kept when it is well or confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from anycastd.actuators.disk import Disk
from anycastd.api.ports import ReloadOutcome
from anycastd.model.decision import Level
from anycastd.model.operator import Drain, DrainPhase, DrainScope, Interventions
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.spread import Extra, Shed
from anycastd.model.status import Alarm
from anycastd.model.topology import Config, PrefixTimers
from anycastd.policy.bake import Announced, gone, less, words_of
from anycastd.policy.draining import level_of_phase
from anycastd.runtime.alarms import Reported
from anycastd.runtime.loop.spreading import Spreading
from anycastd.runtime.reloading import reloads
from anycastd.runtime.reloading.reloads import Reloads
from anycastd.runtime.reloading.trial import announced
from anycastd.simulation.clock import run
from tests.unit.runtime.world import UP, A, B, World, config

STEP_S = 0.1
OLD = config(timers=PrefixTimers(settle_s=0.5))
NEW = replace(OLD, digest="new")


class Daemon:
    """A daemon of which the loop is real; what it is told is noted."""

    def __init__(self) -> None:
        self.path, self.config, self.fleet = "anycastd.yaml", OLD, Fleet()
        self.world = World(OLD)
        self.control, self.reported, self.frozen = self.world.control, Reported(), ""
        self.noted: list[tuple[bool, str]] = []
        self.metrics = SimpleNamespace(reload=lambda applied: None)
        self.circumstances = SimpleNamespace(config_error="")
        self.scribe = SimpleNamespace(reload=lambda digest, applied, detail: self.noted.append((applied, detail)))
        self.orders = SimpleNamespace(holds=self.holds)
        self.reloads = Reloads(self)  # type: ignore[arg-type]
        self.trials: list[bool] = []

    async def holds(self) -> str:
        return self.frozen

    async def apply(self, new: Config, *, confirmed: bool) -> None:
        self.trials.append(self.reloads.on_trial)
        self.config = new
        self.control.configure(new, self.world.now_s)

    async def live(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            await asyncio.sleep(STEP_S)
            self.world.now_s += STEP_S
            self.control.on_due(self.world.now_s)
            self.world.settle()

    def answer(self, why: Why) -> None:
        for id_ in list(self.world.probes.specs):
            for _ in range(3):
                at_s = self.world.now_s
                self.control.on_result(ProbeResult(id_, why, at_s - 0.01, at_s), at_s)
        self.world.settle()

    def order(self, orders: Interventions) -> None:
        self.control.take(orders, self.world.now_s)
        self.control.step(self.world.now_s)
        self.world.settle()

    async def try_file(self, bake_s: float = 30.0) -> ReloadOutcome:
        return await self.reloads.reload(None, dry_run=False, bake_s=bake_s)

    @property
    def refused(self) -> str:
        return self.reported.details.get((Alarm.CONFIG_REFUSED, self.path), "")


class Fleet:
    """The fleet's word on who tries a file."""

    def __init__(self) -> None:
        self.refusal, self.ended = "", 0

    async def try_alone(self, for_s: float) -> str:
        return self.refusal

    async def tried(self) -> None:
        self.ended += 1


def play(main: Callable[[Daemon], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(path: str, old: Config, expected: int | None, disk: Disk) -> tuple[Config, ReloadOutcome]:
        return NEW, ReloadOutcome(True, ("something",))

    monkeypatch.setattr(reloads, "reload_config", read)

    async def whole() -> None:
        daemon = Daemon()
        daemon.answer(Why.ANSWERED)
        await daemon.live(1.0)
        assert daemon.control.levels == {A: Level.NORMAL, B: Level.NORMAL}
        await main(daemon)

    run(whole(), start_s=1000.0)


def test_a_file_that_is_well_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        assert (await daemon.try_file()).applied
        assert daemon.config is NEW
        assert "a file bakes" in (await daemon.try_file()).problems[0]
        await daemon.live(31.0)
        assert daemon.config is NEW and not daemon.reloads.is_baking
        assert daemon.fleet.ended == 1
        assert not daemon.reloads.confirm()

    play(main, monkeypatch)


def test_a_file_is_on_trial_from_before_it_is_in_force_until_after_it_was_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.answer(Why.TIMEOUT)
        await daemon.live(10.0)
        assert (daemon.config, daemon.trials) == (OLD, [True, True])
        assert not daemon.reloads.on_trial
        await daemon.try_file(bake_s=0.0)
        assert (daemon.trials, daemon.reloads.on_trial) == ([True, True, False], False)

    play(main, monkeypatch)


def test_a_file_that_does_harm_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.answer(Why.TIMEOUT)
        await daemon.live(10.0)
        assert daemon.control.levels[A] is Level.WITHDRAWN
        assert daemon.config is OLD, "at once: a prefix is gone"
        assert "taken back: 203.0.113.0/24: not announced any more" in daemon.refused
        assert [applied for applied, _ in daemon.noted] == [True, False]

    play(main, monkeypatch)


def test_at_the_end_it_is_taken_back_if_anything_is_announced_less(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        stay = replace(OLD.prefixes[B], prefix=A)
        monkeypatch.setitem(NEW.prefixes, A, stay)
        await daemon.try_file()
        daemon.answer(Why.TIMEOUT)
        await daemon.live(20.0)
        assert daemon.config is NEW
        daemon.frozen = "somebody works"
        await daemon.live(20.0)
        assert daemon.config is NEW, "not while frozen"
        daemon.frozen = ""
        await daemon.live(1.0)
        assert daemon.config is OLD
        assert "announced less than before" in daemon.refused

    play(main, monkeypatch)


def test_what_is_confirmed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        assert daemon.reloads.confirm()
        await daemon.live(1.0)
        daemon.answer(Why.TIMEOUT)
        await daemon.live(60.0)
        assert daemon.config is NEW and daemon.refused == ""

    play(main, monkeypatch)


def test_what_is_confirmed_while_a_freeze_keeps_it_is_not_taken_back_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file(bake_s=600.0)
        daemon.answer(Why.TIMEOUT)
        await daemon.live(1.0)
        daemon.frozen = "by hand"
        await daemon.live(20.0)
        assert daemon.reloads.confirm()
        daemon.frozen = ""
        await daemon.live(5.0)
        assert daemon.config.digest == "new"
        assert not daemon.reloads.is_baking

    play(main, monkeypatch)


def test_what_is_being_taken_back_cannot_be_confirmed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        said: list[bool] = []

        async def slowly(new: Config, *, confirmed: bool) -> None:
            await asyncio.sleep(STEP_S)
            said.append(daemon.reloads.confirm())
            daemon.config = new

        await daemon.try_file(bake_s=600.0)
        monkeypatch.setattr(daemon, "apply", slowly)
        daemon.answer(Why.TIMEOUT)
        await daemon.live(20.0)
        assert (daemon.config, said) == (OLD, [False])

    play(main, monkeypatch)


def test_what_was_refused_of_what_is_gone_is_no_alarm_after_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        daemon.reported.raise_(Alarm.COMMAND_REFUSED, f"{A} to gone", "error")
        assert (await daemon.reloads.reload(None, dry_run=False, bake_s=0.0)).applied
        assert not daemon.reported.details

    play(main, monkeypatch)


def test_what_cannot_be_told_is_no_good_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.world.speaker.observed = replace(daemon.world.speaker.observed, routes=None)
        await daemon.live(31.0)
        assert daemon.config is OLD
        assert "not known" in daemon.refused
        assert "not known" in (await daemon.try_file()).problems[0]

    play(main, monkeypatch)


def test_one_pop_at_a_time_tries_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        daemon.fleet.refusal = "single_flight: sin tries a new file"
        outcome = await daemon.try_file()
        assert (outcome.applied, outcome.problems) == (False, (daemon.fleet.refusal,))
        assert daemon.config is OLD
        assert (await daemon.try_file(bake_s=0.0)).applied, "a plain reload asks nobody"

    play(main, monkeypatch)


def drained(phase: DrainPhase, scope: DrainScope = DrainScope.POP, name: str = "") -> Interventions:
    """Return a drain that an operator forced."""
    one = Drain(
        id="d", scope=scope, name=name, owner="o", reason="r", forced=True, began_s=0, phase_since_s=0, phase=phase
    )
    return Interventions(drains=(one,))


@pytest.mark.parametrize("phase", [DrainPhase.DEPREF, DrainPhase.GSHUT, DrainPhase.WITHDRAW])
@pytest.mark.parametrize("scope", [DrainScope.POP, DrainScope.NEIGHBOR])
def test_a_drain_meanwhile_is_no_harm_of_the_file(
    phase: DrainPhase, scope: DrainScope, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        await daemon.live(5.0)
        daemon.order(drained(phase, scope, UP if scope is DrainScope.NEIGHBOR else ""))
        await daemon.live(30.0)
        assert all(level_of_phase(phase) is sent[UP] for sent in sent_of(daemon).values())
        assert daemon.config is NEW and daemon.refused == ""

    play(main, monkeypatch)


def test_what_comes_back_slowly_from_a_drain_is_no_harm_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.order(drained(DrainPhase.WITHDRAW))
        await daemon.live(10.0)
        daemon.order(Interventions())
        await daemon.live(21.0)
        assert Level.NORMAL not in daemon.control.levels.values(), "still on its way when the verdict falls"
        assert daemon.config is NEW and daemon.refused == ""

    play(main, monkeypatch)


def test_a_region_drained_meanwhile_is_no_harm_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        every = tuple(
            one for region in OLD.regions for one in drained(DrainPhase.DRAINING, DrainScope.REGION, region).drains
        )
        daemon.order(Interventions(drains=every))
        await daemon.live(31.0)
        assert daemon.control.levels[A] is Level.WITHDRAWN
        assert daemon.config is NEW and daemon.refused == ""

    play(main, monkeypatch)


def test_health_that_does_more_than_a_drain_asks_for_is_the_files_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.order(drained(DrainPhase.DEPREF))
        await daemon.live(2.0)
        daemon.answer(Why.TIMEOUT)
        await daemon.live(10.0)
        assert daemon.control.levels[A] is Level.WITHDRAWN
        assert daemon.config is OLD
        assert "taken back: 203.0.113.0/24: not announced any more" in daemon.refused

    play(main, monkeypatch)


def test_a_daemon_that_leaves_takes_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        await daemon.reloads.stop()
        daemon.control.stop(daemon.world.now_s)
        await daemon.live(10.0)
        assert Level.NORMAL not in daemon.control.levels.values()
        assert daemon.config is NEW and not daemon.reloads.is_baking and daemon.refused == ""

    play(main, monkeypatch)


@pytest.mark.parametrize("frozen", ["", "somebody works"])
def test_a_trial_ends_with_the_daemon_and_takes_nothing_back_behind_it(
    frozen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed over or left, ExaBGP is not ours any more: whatever speaks against the file, it stays."""

    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.frozen = frozen
        daemon.answer(Why.TIMEOUT)
        await daemon.live(5.0 if frozen else 1.0)
        assert daemon.config is NEW
        await daemon.reloads.stop()
        daemon.frozen = ""
        await daemon.live(60.0)
        assert daemon.config is NEW and not daemon.reloads.is_baking and daemon.refused == ""
        assert daemon.noted[-1] == (True, reloads.UNJUDGED) and daemon.fleet.ended == 1
        assert (await daemon.try_file()).problems == (reloads.ENDING,)

    play(main, monkeypatch)


def test_a_file_that_is_being_taken_back_is_back_before_the_daemon_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it, a configuration in place that ExaBGP was not told of, is for nobody to find."""

    async def main(daemon: Daemon) -> None:
        begun = asyncio.Event()

        async def slowly(new: Config, *, confirmed: bool) -> None:
            begun.set()
            await asyncio.sleep(5.0)
            daemon.config = new

        await daemon.try_file(bake_s=600.0)
        monkeypatch.setattr(daemon, "apply", slowly)
        daemon.answer(Why.TIMEOUT)
        living = asyncio.ensure_future(daemon.live(4.0))
        await begun.wait()
        await daemon.reloads.stop()
        await living
        assert daemon.config is OLD and "taken back" in daemon.refused and daemon.fleet.ended == 1

    play(main, monkeypatch)


def sent_of(daemon: Daemon) -> Announced:
    found = announced(daemon.control)
    assert found is not None
    return {prefix: {UP: Level.WITHDRAWN} | dict(sent) for prefix, sent in found.items()}


def test_what_a_playbook_adds_to_a_route_is_no_less(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(daemon: Daemon) -> None:
        await daemon.try_file()
        daemon.control.spread = Spreading({A: Shed(extras=(Extra(UP, prepend=2),))})
        daemon.control.step(daemon.world.now_s)
        await daemon.live(31.0)
        assert daemon.control.decisions[A].extras
        assert sent_of(daemon)[A] == {UP: Level.NORMAL}
        assert daemon.config is NEW and daemon.refused == ""

    play(main, monkeypatch)


def test_what_the_file_takes_away_is_no_harm() -> None:
    before = {A: {UP: Level.NORMAL}, B: {UP: Level.DEPREF}}
    assert gone(before, {}, [B], {}) == (B,)
    assert gone(before, {}, [B], {(B, UP): Level.GSHUT}) == (B,)
    assert gone(before, {}, [B], {(B, UP): Level.WITHDRAWN}) == ()
    assert gone(before, {A: Level.DEPREF, B: Level.GSHUT}, [A, B], {}) == ()
    assert less(before, {}, {A: frozenset()}, {}) == ()
    assert less(before, {A: {UP: Level.DEPREF}, B: {UP: Level.NORMAL}}, {A: {UP}, B: {UP}}, {}) == (A,)
    assert less(before, {A: {UP: Level.DEPREF}}, {A: {UP}}, {(A, UP): Level.DEPREF}) == ()
    assert less(before, {A: {UP: Level.GSHUT}}, {A: {UP}}, {(A, UP): Level.DEPREF}) == (A,)
    assert words_of([A, B, A, B], "gone") == f"{A}, {B}, {A} and 1 more: gone"
