"""What the control loop believes of health: verdicts in, the view and the value of every `announce_when` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anycastd.health.assess import Index, assess, index_of
from anycastd.health.common_cause import CommonCause
from anycastd.health.rules import Value
from anycastd.health.tracker import Tracker
from anycastd.model.address import BackendId, CheckId, Prefix, RegionName
from anycastd.model.checks import ProbeSpec
from anycastd.model.decision import Truth
from anycastd.model.health import CheckState, Health, HealthView, SelfTestView
from anycastd.model.operator import Drained, Forced, Interventions
from anycastd.model.probe import ProbeResult
from anycastd.model.topology import Config, Rule
from anycastd.policy.condition import evaluate

Group = tuple[Rule, int]
"""Prefixes with the same condition and IP version share one evaluation."""
_WORTH = {Truth.FALSE: 0, Truth.UNKNOWN: 1, Truth.TRUE: 2}


@dataclass(slots=True)
class Verdict:
    """One result's effect: the states around it, and the region to assess anew (None: a self-test)."""

    before: CheckState
    after: CheckState
    region: RegionName | None


class Beliefs:
    """Health, kept up to date by the region; knows no clock and does no I/O."""

    def __init__(self, config: Config, now_s: float) -> None:
        self.tracker = Tracker()
        self.common_cause = CommonCause(config.self_test)
        self.values: dict[Group, Value] = {}
        self._touched: set[BackendId] = set()
        self.drained, self._forced = Drained(), Forced()
        self.view = self.usable = assess(config, index_of(config), {}, now_s)
        """What is believed; `usable` is the same, but that what is drained is no use: conditions count that."""
        self.configure(config, now_s)

    def configure(self, config: Config, now_s: float) -> None:
        """Take a configuration; unchanged checks keep their verdicts."""
        self.config = config
        self.tracker.configure((*config.probes, *config.self_test.probes), now_s)
        self._self_ids = tuple(spec.id for spec in config.self_test.probes)
        if self.common_cause.spec != config.self_test:
            self.common_cause = CommonCause(config.self_test)
        self._index: Index = index_of(config)
        self._touched.clear()
        self.groups: dict[Group, list[Prefix]] = {}
        for prefix, spec in config.prefixes.items():
            self.groups.setdefault((spec.announce_when, prefix.version), []).append(prefix)
        # the view before lends the times: a reload does not make a tunnel look as if it had just changed
        self._assess(now_s)
        self.values = {group: self._value(group) for group in self.groups}

    def _assess(
        self, now_s: float, test: SelfTestView | None = None, only: frozenset[RegionName] | None = None
    ) -> None:
        states, test = self.tracker.states, test or self.view.self_test
        touched, forced, backends = None if only is None else self._touched, self._forced, self.config.backends
        self.view = assess(self.config, self._index, states, now_s, self.view, test, only, touched, forced)
        self._touched = {id_ for id_ in self._touched if only is not None and backends[id_].region not in only}
        self.usable = self.view
        if self.drained:
            self.usable = self._without(self.drained, now_s)

    def _without(self, drained: Drained, now_s: float) -> HealthView:
        forced = self._forced.with_drained(drained.within(self.config))
        states, test = self.tracker.states, self.view.self_test
        return assess(self.config, self._index, states, now_s, self.view, test, forced=forced)

    def order(self, interventions: Interventions, now_s: float) -> list[Sequence[Prefix]]:
        """Take what operators ordered; return the prefixes whose `announce_when` changed its value, as `refresh`."""
        self.drained, self._forced = interventions.drained, interventions.forced
        return self.refresh(now_s)

    def lost_by(self, interventions: Interventions, now_s: float) -> dict[Prefix, str]:
        """Return the prefixes that could be served no more if this were ordered, each with why."""
        states, forced = self.tracker.states, interventions.forced
        forced = forced.with_drained(interventions.drained.within(self.config))
        test = self.view.self_test
        view = assess(self.config, self._index, states, now_s, self.view, test, forced=forced)
        lost: dict[Prefix, str] = {}
        for group, prefixes in self.groups.items():
            value = evaluate(self.config, prefixes[0], group[0], view, states)
            if value.truth is Truth.FALSE and self.values[group].truth is not Truth.FALSE:
                lost |= dict.fromkeys(prefixes, value.detail)
        return lost

    def helpless(self, now_s: float) -> frozenset[Prefix]:
        """Return the prefixes whose `announce_when` would come to more without what was ordered of what serves them."""
        if not self.drained and self._forced == Forced():
            return frozenset()
        states = self.tracker.states
        view = assess(self.config, self._index, states, now_s, self.view, self.view.self_test)
        found: set[Prefix] = set()
        for group, prefixes in self.groups.items():
            free, now = evaluate(self.config, prefixes[0], group[0], view, states), self.values[group]
            if (_WORTH[free.truth], _WORTH[free.well]) > (_WORTH[now.truth], _WORTH[now.well]):
                found.update(prefixes)
        return frozenset(found)

    def _value(self, group: Group) -> Value:
        return evaluate(self.config, self.groups[group][0], group[0], self.usable, self.tracker.states)

    def feed(self, result: ProbeResult) -> Verdict | None:
        """Take one probe result; None for a check that is not configured."""
        fed = self.tracker.feed(result)
        spec = self.tracker.spec(result.check)
        if fed is None or spec is None:
            return None
        before, after = fed
        if after.health is Health.UNHEALTHY and before.health is not Health.UNHEALTHY and spec.region is not None:
            self.common_cause = self.common_cause.saw_bad(result.ended_s, spec.target, spec.region)
        if after.health is not before.health and spec.backend is not None:
            self._touched.add(spec.backend)
        return Verdict(before, after, spec.region)

    def refresh(self, now_s: float, only: frozenset[RegionName] | None = None) -> list[Sequence[Prefix]]:
        """Assess again (`only` these regions, or all); return the prefixes whose `announce_when` changed its value.

        They come in rows that have the condition in common, those that cannot be served now first.
        """
        self_checks = self.self_checks
        self.common_cause = self.common_cause.wake(now_s, self_checks)
        was_suspect = self.view.self_test.suspect_until_s is not None
        test = self.common_cause.view(self_checks)
        self._assess(now_s, test, only)
        changed: list[Group] = []
        for group in self.groups:
            value = self._value(group)
            if value != self.values[group]:
                self.values[group] = value
                changed.append(group)
        if was_suspect != (test.suspect_until_s is not None):
            changed = list(self.groups)
        changed.sort(key=lambda group: self.values[group].truth is not Truth.FALSE)
        return [self.groups[group] for group in changed]

    @property
    def self_checks(self) -> tuple[CheckState, ...]:
        """Return the states of the self-test targets."""
        states = self.tracker.states
        return tuple(states[id_] for id_ in self._self_ids)

    def value_for(self, prefix: Prefix) -> Value:
        """Return the value of a prefix's `announce_when`."""
        return self.values[(self.config.prefixes[prefix].announce_when, prefix.version)]

    def broken(self) -> tuple[CheckId, ...]:
        """Return the checks of which we cannot tell anything by our own fault."""
        return tuple(id_ for id_, state in self.tracker.states.items() if state.health is Health.UNKNOWN)

    def spec(self, check: CheckId) -> ProbeSpec | None:
        """Return what a check is."""
        return self.tracker.spec(check)
