"""Where playbooks run and standbys are called: looked at each second, kept on disk, told to the control loop.

    counters, attacks, fleet -> sight -> playbook (pure) -> what is in force -> control loop -> fleet's store
    what POPs say that they call for (store, beacons) -> standby (pure) -> control loop

Each POP decides alone. Nothing that is in force needs the file: were it lost, what is announced stays, and a prefix
with a longer path is taken for a depreferenced one, that returns slowly.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anycastd.api.ports import Clocks
from anycastd.api.views.playbooks import playbooks
from anycastd.attack.playbook import Doing, Run, advance, approved, fitted, is_met, may_begin, shed_of, stopped
from anycastd.attack.standby import Stage, Standby, follow
from anycastd.config.near import did_you_mean
from anycastd.model.address import Prefix
from anycastd.model.attack import AttackState, AttackView
from anycastd.model.decision import Level
from anycastd.model.spread import NOT_SHED, Announce, Playbook, PlayMode, SpreadConfig, SpreadFacts
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.model.traffic import Sample
from anycastd.resources.refusal import Code, Refused, refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.eips.part import Eips
from anycastd.runtime.fleet.calls import BeaconCalls, Calls, NoCalls
from anycastd.runtime.kept import memory_file, spread_file
from anycastd.runtime.kept.disk import StateFile
from anycastd.runtime.kept.spread_file import Kept, Key
from anycastd.runtime.loop.spreading import Spreading
from anycastd.runtime.spread.plan import plan_lines
from anycastd.runtime.spread.sight import Present, Seen, Sights
from anycastd.runtime.traffic.load import LoadMeter
from anycastd.telemetry.logs import log_event

if TYPE_CHECKING:
    from anycastd.runtime.fleet.desk import FleetDesk
    from anycastd.runtime.fleet.link import FleetLink

EACH_S = 1.0
NAMED = 20
"""Waiting runs with an alarm of their own; the others share one."""
AT_ONCE = 50
"""Sights made before the loop is given back: 2 ms."""
SPREAD = "spread.json"
WAITS = frozenset({Doing.WAITS_FOR_APPROVAL, Doing.NO_ROOM_KNOWN, Doing.NO_STEP_LEFT})
TOLD = WAITS | {Doing.OTHER_POP_SHEDS, Doing.BUDGET, Doing.HOLDING, Doing.RETURNING}
"""Of these a journal entry is made when a run comes to it; the others are only times that pass."""

log = logging.getLogger("anycastd")


class Diary(Protocol):
    """Who notes what becomes of runs and standbys: the journal."""

    def playbook(self, prefix: Prefix, name: str, before: str, after: str, reason: str, detail: str) -> None:
        """Take a note."""
        ...


class SpreadDesk:
    """`sample` gives the newest reading of the counters, `present` what POPs say (None: not known; {}: no store of a
    fleet), `calls` who calls on standbys by beacon.
    """

    def __init__(
        self,
        control: Control,
        sample: Callable[[], Sample | None],
        present: Callable[[], Present | None],
        reported: Reported,
        diary: Diary,
        clocks: Callable[[], Clocks],
        calls: Calls | None = None,
    ) -> None:
        self._control, self._sample, self.present = control, sample, present
        self._calls = NoCalls() if calls is None else calls
        self._reported, self._diary, self.clocks = reported, diary, clocks
        self._file = StateFile(Path(control.config.state_dir) / SPREAD, reported)
        self.sights = Sights(control, lambda: control.orders.hold, self._calls.silent)
        self.view: Callable[[], AttackView] = AttackView
        """Says how the POP and its EIPs stand."""
        self.load = LoadMeter()
        self._looking = asyncio.Lock()
        self._is_unsaved = False
        self._books: tuple[Config, Mapping[Key, Playbook], tuple[Prefix, ...]] | None = None
        self.rates_bps: Mapping[Prefix, float] = {}
        self.kept, unread = spread_file.load(self._file.path, memory_file.clocks())
        if unread:
            self._file.not_understood(unread)
        self._tell_control()

    @property
    def config(self) -> SpreadConfig:
        """Return the settings in force."""
        return self._control.config.attack.spread

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            begun_s = self.clocks().now_s
            await self.look()
            # with thousands of prefixes under pressure a look takes a second: then a tenth of the time at most
            await asyncio.sleep(max(EACH_S, 9 * (self.clocks().now_s - begun_s)))

    def seen(self) -> Seen:
        """Return what is seen now that is the same for all prefixes."""
        return Seen(self.view(), self.load.pop_bps(), self.present())

    async def look(self) -> None:
        """Look once: at every playbook for every prefix of its, and at every standby."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        if self.load.take(self._sample()):
            self.rates_bps = await self.load.prefix_bps({prefix for _, prefix in self.books()})
        seen, now_s = self.seen(), self.clocks().now_s
        runs = await self._advanced(seen, now_s)
        standbys = self._followed(seen.present, now_s)
        await self._take(Kept(runs, standbys), seen, now_s)

    def books(self) -> Mapping[Key, Playbook]:
        """Return every playbook with each prefix that it is for; under a new file runs keep the steps there are."""
        config = self._control.config
        if self._books is None or self._books[0] is not config:
            found = {
                (book.name, prefix): book
                for book in self.config.playbooks.values()
                for prefix in book.prefixes or config.prefixes
                if prefix in config.prefixes
            }
            standbys = tuple(p for p, one in config.prefixes.items() if one.announce is Announce.STANDBY)
            self._books = config, found, standbys
            now_s = self.clocks().now_s
            runs = {key: fitted(found[key], run, now_s) if key in found else run for key, run in self.kept.runs.items()}
            self._is_unsaved |= runs != self.kept.runs
            self.kept = Kept(runs, self.kept.standbys)
        return self._books[1]

    @property
    def standbys(self) -> tuple[Prefix, ...]:
        """Return the prefixes that this POP is a standby for."""
        self.books()
        return self._books[2] if self._books is not None else ()

    async def _advanced(self, seen: Seen, now_s: float) -> dict[Key, Run]:
        """Look at what is under way, and at what may begin: with thousands of prefixes, a bite at a time."""
        books, config, runs = self.books(), self._control.config, {}
        worst = max((seen.attack.pop, *seen.attack.eips.values()), key=lambda one: one.state).state
        awake = {book.name for book in self.config.playbooks.values() if may_begin(book, worst, self.percent(seen))}
        for number, key in enumerate(tuple(books if awake else self.kept.runs), 1):
            known, book = self.kept.runs.get(key), books.get(key)
            if book is None or (known is None and book.name not in awake):
                continue
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
                if self._control.config is not config:
                    return dict(self.kept.runs)  # a reload came between: the next look
            run = known or Run()
            sight = self.sights.sight(book, key[1], run, seen, self.rates_bps.get(key[1]), now_s)
            if not (after := advance(book, run, sight, self.config, now_s)).is_idle:
                runs[key] = after
        return runs

    def percent(self, seen: Seen) -> float | None:
        """Return this POP's load, of its capacity; None: it cannot be told."""
        return self.sights.percent(seen.load_bps)

    def _followed(self, present: Present | None, now_s: float) -> dict[Prefix, Standby]:
        control, spec = self._control, self.config
        found = {}
        for prefix in self.standbys:
            known = self.kept.standbys.get(prefix)
            if known is None:
                if not control.adopted or prefix not in control.memories:
                    continue  # it is not known yet whether it is announced
                here = control.memories[prefix].level is not Level.WITHDRAWN
                known = Standby(Stage.JOINED if here else Stage.SILENT, now_s)
            by = self._callers(prefix, present)
            found[prefix] = follow(known, by, now_s, calm_s=spec.standby_calm_s, leave_s=spec.standby_leave_s)
        return found

    def _callers(self, prefix: Prefix, present: Present | None) -> tuple[str, ...] | None:
        """Return who calls on standbys for a prefix; None: it cannot be told."""
        mine = (self.sights.me,) if self._control.spread.sheds.get(prefix, NOT_SHED).calls else ()
        heard, name = self._calls.callers(prefix), str(prefix)
        stored = {pop for pop, one in (present or {}).items() if pop != self.sights.me and name in one.calls}
        by = (*mine, *sorted(stored.union(heard or ())))
        # that nobody calls is the store's to say, where there is one: beacons of an earlier release do not tell
        is_known = present is not None and (bool(present) or heard is not None)
        return by if by or is_known else None

    async def _take(self, kept: Kept, seen: Seen, now_s: float) -> None:
        before, self.kept = self.kept, kept
        if before.gist != kept.gist or self._file.is_doubted:
            await self._save()
        self._note(before, kept)
        self._tell_alarms(kept)
        self._tell_control(seen, now_s)

    async def close(self) -> None:
        """Let go of the file."""
        self._file.disk.close()

    async def _save(self) -> None:
        text = spread_file.encode(self.kept, memory_file.clocks())
        await self._file.save(lambda: text)

    def _tell_control(self, seen: Seen | None = None, now_s: float = 0.0) -> None:
        """Have the control loop follow what is in force; it decides at once if that changed."""
        control, books = self._control, self.books()
        of: dict[Prefix, list[tuple[Playbook, Run]]] = {}
        pressed = set()
        for key, run in self.kept.runs.items():
            if (book := books.get(key)) is None:
                continue
            of.setdefault(key[1], []).append((book, run))
            attacked = seen is not None and seen.attack.of(key[1]).state is AttackState.ATTACK
            if attacked or is_met(book, run, now_s):
                pressed.add(key[1])
        sheds = {p: shed_of(runs, control.config.prefixes[p].neighbors) for p, runs in of.items()}
        sheds = {prefix: shed for prefix, shed in sheds.items() if shed.words}
        standbys = {p: one for p, one in self.kept.standbys.items() if p in control.config.prefixes}
        steps = sum(len(run.taken) for runs in of.values() for _, run in runs)
        self._calls.call(frozenset(prefix for prefix, shed in sheds.items() if shed.calls))
        before, control.spread = control.spread, Spreading(sheds, standbys, frozenset(pressed), steps)
        changed = before.sheds != sheds or {p: (s.stage, s.by) for p, s in before.standbys.items()} != {
            p: (s.stage, s.by) for p, s in standbys.items()
        }
        if changed and seen is not None:
            control.step(now_s)

    def _note(self, before: Kept, after: Kept) -> None:
        for key, run in after.runs.items():
            was = before.runs.get(key, Run())
            outcomes = [taken.outcome for taken in run.taken], [taken.outcome for taken in was.taken]
            moved = len(run.taken) != len(was.taken) or outcomes[0] != outcomes[1]
            if not moved and (run.doing is was.doing or run.doing not in TOLD):
                continue
            steps = (f"step {was.last.step + 1}" if was.last else "", f"step {run.last.step + 1}" if run.last else "")
            outcome = run.last.outcome if run.last is not None and run.last.outcome is not None else None
            detail = run.detail + (f" ({outcome.value})" if outcome is not None else "")
            self._tell(key[1], key[0], *steps, run.doing.value, detail)
        for prefix, one in after.standbys.items():
            known = before.standbys.get(prefix)
            if known is None or known.stage is not one.stage:
                was_stage = "" if known is None else known.stage.value
                self._tell(prefix, "standby", was_stage, one.stage.value, one.stage.value, ", ".join(one.by))

    def _tell(self, prefix: Prefix, name: str, before: str, after: str, reason: str, detail: str) -> None:
        self._diary.playbook(prefix, name, before, after, reason, detail)
        log_event(
            log, "playbook", level=logging.WARNING, prefix=str(prefix), playbook=name, before=before, after=after,
            why=reason, detail=detail,
        )  # fmt: skip

    def _tell_alarms(self, kept: Kept) -> None:
        self._reported.clear(Alarm.PLAYBOOK_WAITS)
        waiting = [(key, run) for key, run in kept.runs.items() if run.doing in WAITS]
        for (name, prefix), run in waiting[:NAMED]:
            self._reported.raise_(Alarm.PLAYBOOK_WAITS, f"{name} {prefix}", f"{run.doing.value}: {run.detail}")
        if (more := len(waiting) - NAMED) > 0:
            self._reported.raise_(Alarm.PLAYBOOK_WAITS, "others", f"{more} more: anycastd attack playbook list")

    def facts(self) -> SpreadFacts:
        """Return what is in force, for the metrics."""
        steps = dict.fromkeys(self.config.playbooks, 0)
        for (name, _), run in self.kept.runs.items():
            steps[name] = steps.get(name, 0) + len(run.taken)
        doing = Counter((name, run.doing.value) for (name, _), run in self.kept.runs.items())
        return SpreadFacts(steps, doing, Counter(one.stage.value for one in self.kept.standbys.values()))

    def listing(self) -> Mapping[str, Any]:
        """Return what there is and what it does, for people and the API."""
        now_s, load_bps = self.clocks().now_s, self.load.pop_bps()
        return playbooks(self.config, self.books(), self.kept.runs, self.kept.standbys, load_bps, now_s)

    def plan(self, name: str, prefix: str | None) -> Refused | tuple[str, ...]:
        """Return what each step would do now, in sentences; nothing changes."""
        meant = self._meant(name, prefix)
        if isinstance(meant, Refused):
            return meant
        books, seen, now_s = self.books(), self.seen(), self.clocks().now_s
        lines: list[str] = []
        for one in meant:
            key = (name, one)
            run, rate_bps = self.kept.runs.get(key, Run()), self.rates_bps.get(one)
            lines += plan_lines(self._control, self.sights, books[key], one, run, seen, rate_bps, now_s)
        return tuple(lines)

    async def play(self, name: str, prefix: str | None, owner: str, *, stop: bool) -> Refused | tuple[str, ...]:
        """Take an operator's word for the next step of a playbook, or for its end; return what became of it."""
        meant = self._meant(name, prefix)
        if isinstance(meant, Refused):
            return meant
        if not stop and self.config.mode is PlayMode.OFF:
            return refused(Code.VALUE, 422, "attack.spread.mode is off")
        if why := self._control.orders.hold:
            return refused(Code.FROZEN, 409, why)
        async with self._looking:
            books, now_s = self.books(), self.clocks().now_s
            runs = dict(self.kept.runs)
            for one in meant:
                run, book = runs.get((name, one), Run()), books[name, one]
                runs[name, one] = stopped(run) if stop else approved(book, run, now_s)
                self._tell(one, name, "", "stop" if stop else "run", "ordered", f"by {owner}")
            self._is_unsaved |= runs != self.kept.runs
            self.kept = Kept(runs, self.kept.standbys)
        await self.look()
        after = (self.kept.runs.get((name, one), Run()) for one in meant)
        return tuple(f"{one}: {run.doing.value}, {run.detail}" for one, run in zip(meant, after, strict=True))

    def _meant(self, name: str, prefix: str | None) -> Refused | tuple[Prefix, ...]:
        """Return the prefixes that are meant, or why there is nothing of that name."""
        known = tuple(self.config.playbooks)
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(known) or 'none'}"
            return refused(Code.ORDER_TARGET, 404, f"no playbook is called {name[:64]!r}{hint}")
        every = tuple(one for book, one in self.books() if book == name)
        if prefix is None:
            return every
        found = tuple(one for one in every if str(one) == prefix)
        if not found:
            what = f"{prefix[:64]!r} is no prefix of playbook {name}: {', '.join(map(str, every))}"
            return refused(Code.ORDER_TARGET, 404, what)
        return found


def spread_of(
    control: Control,
    eips: Eips,
    fleet: FleetDesk | None,
    reported: Reported,
    diary: Diary,
    clocks: Callable[[], Clocks],
    link: FleetLink,
) -> SpreadDesk:
    """Return the desk; the loop is told what was in force before it decides anything."""
    nobody: Present = {}
    present = (lambda: nobody) if fleet is None else fleet.present
    return SpreadDesk(control, lambda: eips.meter.sample, present, reported, diary, clocks, BeaconCalls(link))
