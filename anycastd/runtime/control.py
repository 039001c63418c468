"""Where the stages meet. Read this file first.

    probe result -> verdict -> health view -> path and decision -> wanted -> diff with observed -> actions -> observed

`on_result` is the fast way: one region, and the prefixes it touches. `on_due` decides what waited for its time.
`on_observed` follows a change of what ExaBGP or the kernel hold. `step` goes the whole way over everything, at a tick.
All are level-triggered: what was lost shows up the next time. Many are taken a bite at a time. Only `now_s` is a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from anycastd.model.address import Prefix
from anycastd.model.attack import AttackView
from anycastd.model.decision import Decision, Level, Memory
from anycastd.model.operator import Interventions
from anycastd.model.probe import ProbeResult
from anycastd.model.topology import Config
from anycastd.policy.engine import decide
from anycastd.policy.snapshot import Snapshot
from anycastd.runtime.loop.announcer import Announcer
from anycastd.runtime.loop.backlog import BITE, Backlog
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.breaker import Breaker
from anycastd.runtime.loop.doubts import Doubts
from anycastd.runtime.loop.due import Due
from anycastd.runtime.loop.forwarder import Forwarder
from anycastd.runtime.loop.ports import Bgp, KernelPort, NftPort, Probes, Record
from anycastd.runtime.loop.prefix_facts import facts_of, told_less
from anycastd.runtime.loop.spreading import Spreading
from anycastd.runtime.loop.takeover import adopted, missing_too_many, retired
from anycastd.runtime.loop.under_attack import UnderAttack


class Control:
    """Holds beliefs, decisions and memories; everything that acts is passed in. `wake` asks to be stepped at a time."""

    def __init__(
        self,
        config: Config,
        memories: Mapping[Prefix, Memory],
        *,
        probes: Probes,
        bgp: Bgp,
        kernel: KernelPort,
        nft: NftPort,
        record: Record,
        wake: Callable[[float], None],
        now_s: float,
    ) -> None:
        self._probes, self._record, self._wake, self.attacks = probes, record, wake, UnderAttack()
        self.announcer = Announcer(bgp, record.acted)
        self.forwarder = Forwarder(kernel, nft, record)
        self.beliefs, self._backlog, self._due, self._doubts = Beliefs(config, now_s), Backlog(), Due(), Doubts()
        self.memories, self.spread = dict(memories), Spreading()
        self.decisions: dict[Prefix, Decision] = {}
        self.levels: dict[Prefix, Level] = {}
        self.adopted, self.stopping, self.orders, self.breaker = False, False, Interventions(), Breaker(memories, now_s)
        self._configure(config, {}, now_s)

    def configure(self, config: Config, now_s: float) -> None:
        """Take a new configuration: what did not change keeps its verdicts, decisions and routes."""
        gone = {p: spec.timers.linger_s for p, spec in self.config.prefixes.items() if p not in config.prefixes}
        self.beliefs.configure(config, now_s)
        self._configure(config, gone, now_s)
        for prefix in gone:
            self.decisions.pop(prefix, None)
            self.levels.pop(prefix, None)
            self._due.forget(prefix)
        self.memories = retired(self.memories, gone, config, now_s)
        new = {p: self.memories.get(p, Memory()) for p in config.prefixes if p not in self.decisions}
        if self.adopted:
            self.memories |= adopted(config, self.announcer.observed, new, now_s, only=new)
        self.step(now_s)

    def _configure(self, config: Config, gone_linger_s: dict[Prefix, float], now_s: float) -> None:
        self.config = config
        self._backlog.keep(config.prefixes.keys())
        self.announcer.configure(config, gone_linger_s, now_s)
        self.forwarder.configure(config, self.beliefs, gone_linger_s, now_s)
        self._probes.set_probes((*config.probes, *config.self_test.probes))

    def take(self, orders: Interventions, now_s: float) -> None:
        """Take what operators ordered; the next step follows it."""
        self.orders = orders
        self._backlog.add_rows(self.beliefs.order(orders, now_s), now_s)
        self.forwarder.steering.set_drained(orders.drained, now_s)
        self.announcer.freeze(bool(orders.hold))

    def take_attack(self, view: AttackView, now_s: float) -> None:
        """Take what is seen of attacks, when it changes; what it is about is decided at the next look (I6)."""
        self._backlog.add(self.attacks.take(view, self.config), now_s)
        self.forwarder.steering.set_attacked(self.attacks.eips, now_s)
        self._wake(now_s)

    def on_result(self, result: ProbeResult, now_s: float) -> None:
        """Take one probe result; if it changed a verdict, act on it before anything else is done."""
        self._record.result(result)
        if (verdict := self.beliefs.feed(result)) is None:
            return
        if verdict.after.is_pending is not verdict.before.is_pending:
            self._probes.pending(result.check, verdict.after.is_pending)
        if verdict.after.health is verdict.before.health:
            return
        self._doubts.add(verdict.region, result.ended_s)
        self._look(now_s)
        self._record.verdict(verdict)

    def _look(self, now_s: float) -> None:
        """Look at the regions that verdicts are about, and act, now or when they have rested."""
        if (doubted := self._doubts.take(self.config.regions, now_s)) is None:
            if (next_s := self._doubts.next_s()) is not None:
                self._wake(next_s)
            return
        changed = self.beliefs.refresh(now_s, doubted.regions)
        self.forwarder.act(self.beliefs, now_s)
        if sum(map(len, changed)) <= BITE:
            self._decide(dict.fromkeys((p for row in changed for p in row), doubted.seen_s), now_s)
        else:
            self._backlog.add_rows(changed, doubted.seen_s)
            self._decide(self._backlog.bite(), now_s, many=True)
            self._wake(now_s)

    def on_observed(self, now_s: float, prefixes: Collection[Prefix] | None = None) -> None:
        """Follow a change of what is observed, of these prefixes or of any: take over, decide, put right."""
        if not self.adopted and self.announcer.observed.routes is not None:
            self.memories |= adopted(self.config, self.announcer.observed, self.memories, now_s, self.spread.sheds)
            self.announcer.spared = missing_too_many(self.config, self.announcer.observed)
            self.adopted = True
            self._backlog.add(self.config.prefixes, now_s)
        self.announcer.freeze(bool(self.orders.hold))
        # what others announce was looked at with the file before, when one is being taken
        self._backlog.add([p for p in self.announcer.look_at(prefixes) if p in self.config.prefixes], now_s)
        self._backlog.add(told_less(self, prefixes), now_s)
        self._due.ask()
        self.on_due(now_s)

    def on_due(self, now_s: float) -> None:
        """Decide a bite of what waits or has fallen due; with nothing waiting any more, compare a bite of routes."""
        self._look(now_s)
        if (suspect_until_s := self.beliefs.view.self_test.suspect_until_s) is not None and suspect_until_s <= now_s:
            self._backlog.add_rows(self.beliefs.refresh(now_s, frozenset()), now_s)
        if not self._backlog:
            self.forwarder.act(self.beliefs, now_s)
            self._backlog.add(self._due.take(now_s), now_s)
        self._decide(self._backlog.bite(), now_s, many=self._backlog.is_many)
        if self._backlog or (self.adopted and self.announcer.work(self.config, self._due.undecided, now_s)):
            self._wake(now_s)
        for at_s in (self.announcer.next_s(), self.forwarder.next_s(), suspect_until_s, self._due.next_s()):
            if at_s is not None and at_s > now_s:
                self._wake(at_s)

    def step(self, now_s: float) -> None:
        """Go the whole way over everything."""
        self.beliefs.refresh(now_s)
        self.forwarder.keep(self.announcer.spared, now_s)
        self.forwarder.act(self.beliefs, now_s, anew=True)
        self._backlog.add(self.config.prefixes, now_s)
        self.on_observed(now_s)

    def stop(self, now_s: float) -> None:
        """Ask every prefix to leave, as far as `may_withdraw()` lets it."""
        self.stopping, self.announcer.spared = True, frozenset()
        self.step(now_s)

    def _decide(self, seen_s: Mapping[Prefix, float], now_s: float, *, many: bool = False) -> None:
        for prefix in seen_s:
            before, memory = self.decisions.get(prefix), self.memories.get(prefix, Memory())
            after, self.memories[prefix] = decide(facts := facts_of(self, prefix, now_s), memory)
            self.decisions[prefix], self.levels[prefix] = after, after.level
            self._due.note(after)
            self.breaker.note(memory.level, after, now_s)
            if before is None or before.gist != after.gist:
                self._record.decided(before, Snapshot(facts, memory, after), seen_s[prefix])
            if after.wake_at_s is not None:
                self._wake(after.wake_at_s)
        self.announcer.learn(self.config, self.decisions, seen_s.keys())
        if self.adopted:
            self.announcer.act(seen_s.keys(), now_s, many=many)
