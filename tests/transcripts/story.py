"""Plays a story: lines that say what happens, answered by what the pure core makes of it.

    check PATTERN[,PATTERN] ok|fail|broken xN every SECONDS   results of every check whose id matches a pattern;
                                                              fail/5: one in five fails, the others pass
    wait SECONDS                                              time passes; decisions fall due
    kernel ready|behind          whether the routes of prefixes were read back
    exabgp seen|away             whether it is known what ExaBGP holds
    told to leave                SIGTERM
    explain PREFIX               the present decision with its trail

Whatever is believed or decided anew is printed. Only model, health, policy and config are used: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from ipaddress import ip_network

from anycastd.health.assess import assess, index_of
from anycastd.health.common_cause import CommonCause
from anycastd.health.tracker import Tracker
from anycastd.model.address import Prefix, RegionName
from anycastd.model.decision import Decision, Memory, Step, TunnelOrder
from anycastd.model.eip import Binding, Placement, Target
from anycastd.model.health import BackendView, Health, RegionView, TunnelView
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Config
from anycastd.policy.condition import evaluate
from anycastd.policy.draft import Facts
from anycastd.policy.engine import decide
from anycastd.policy.placement import place
from anycastd.policy.tunnel_order import order

WHY = {"ok": Why.ANSWERED, "fail": Why.TIMEOUT, "broken": Why.NO_DEVICE}
TOOK_S = 0.01


class Story:
    """The pure core, driven by lines of text."""

    def __init__(self, config: Config) -> None:
        self.config, self.now_s = config, 0.0
        self.tracker, self.cause = Tracker(), CommonCause(config.self_test)
        self.specs = {spec.id: spec for spec in (*config.probes, *config.self_test.probes)}
        self.tracker.configure(self.specs.values(), 0.0)
        self.index = index_of(config)
        self.view = assess(config, self.index, self.tracker.states, 0.0)
        self.memories = {prefix: Memory() for prefix in config.prefixes}
        self.decisions: dict[Prefix, Decision] = {}
        self.orders: dict[RegionName, TunnelOrder] = {}
        self.placement: Placement | None = None
        self.ready, self.seen, self.stopping = True, True, False
        self.told: list[str] = []
        self.verbs: dict[str, Callable[..., None]] = {
            "check": self.check,
            "wait": self.wait,
            "kernel": self.kernel,
            "exabgp": self.exabgp,
            "told": self.told_to_leave,
            "explain": self.explain,
        }

    def play(self, line: str) -> list[str]:
        """Return what comes of one line."""
        verb, *words = line.split()
        self.told = []
        self.verbs[verb](*words)
        return self.told

    def check(self, patterns: str, outcome: str, times: str, _every: str, gap: str) -> None:
        said, _, each = outcome.partition("/")
        for number in range(int(times.removeprefix("x"))):
            self._pass(seconds(gap))
            why = WHY[said] if not each or number % int(each) == 0 else Why.ANSWERED
            for id_, spec in self.specs.items():
                if not any(fnmatchcase(id_, pattern) for pattern in patterns.split(",")):
                    continue
                result = ProbeResult(id_, why, self.now_s - TOOK_S, self.now_s)
                fed = self.tracker.feed(result)
                assert fed
                turned = fed[1].health is Health.UNHEALTHY and fed[0].health is not Health.UNHEALTHY
                if turned and spec.region is not None:
                    self.cause = self.cause.saw_bad(self.now_s, spec.target, spec.region)
            self.look()

    def wait(self, gap: str) -> None:
        self._pass(seconds(gap))
        self.look()

    def kernel(self, word: str) -> None:
        self.ready = {"ready": True, "behind": False}[word]
        self.look()

    def exabgp(self, word: str) -> None:
        self.seen = {"seen": True, "away": False}[word]
        self.look()

    def told_to_leave(self, *_: str) -> None:
        self.stopping = True
        self.look()

    def explain(self, prefix: str) -> None:
        decision = self.decisions[ip_network(prefix)]
        hold = f", held by {decision.hold}" if decision.hold else ""
        self.told.append(f"{prefix} is {decision.level.name}: {decision.reason}{hold}")
        self.told += [f"    {_step(step)}" for step in decision.trail]
        self.told += [f"    would change it: {sentence}" for sentence in decision.would_change]

    def _pass(self, gap_s: float) -> None:
        end_s = round(self.now_s + gap_s, 6)
        while True:
            due = [d.wake_at_s for d in self.decisions.values() if d.wake_at_s is not None and d.wake_at_s <= end_s]
            if not due:
                break
            self.now_s = max(min(due), self.now_s)
            self.look()
        self.now_s = end_s

    def look(self) -> None:
        """Assess and decide everything anew; tell what is different."""
        states = self.tracker.states
        self_checks = [states[spec.id] for spec in self.config.self_test.probes]
        self.cause = self.cause.wake(self.now_s, self_checks)
        before = self.view
        test = self.cause.view(self_checks)
        self.view = assess(self.config, self.index, states, self.now_s, before, test)
        for what in ("tunnels", "backends", "regions"):
            old, new = getattr(before, what), getattr(self.view, what)
            self.told += [
                self._at(_health(what[:-1], old[id_], new[id_])) for id_ in new if _differ(old[id_], new[id_])
            ]
        if (before.fault, before.fault_detail) != (self.view.fault, self.view.fault_detail):
            self._tell(f"fault {self.view.fault} {self.view.fault_detail}".rstrip())
        for region in self.config.regions:
            self._order(region)
        self._place()
        for prefix in self.config.prefixes:
            self._decide(prefix)

    def _order(self, region: RegionName) -> None:
        before = self.orders.get(region)
        after = self.orders[region] = order(self.config, region, 4, self.view, before, self.now_s)
        if before is None or before.tunnels != after.tunnels:
            self._tell(f"tunnels {region} {_listed(before)} -> {_listed(after)}: {after.reason}")

    def _place(self) -> None:
        """Place the packets of an EIP that is bound to every backend."""
        binding = Binding(targets=tuple(Target(backend=id_) for id_ in self.config.backends))
        before = self.placement
        after = self.placement = place(self.config, binding, 4, self.view, {}, before, self.now_s)
        if before is None or (before.shares, before.reason) != (after.shares, after.reason):
            shares = ", ".join(share.path.backend for share in after.shares) or "nowhere"
            self._tell(f"eip -> {shares} {after.reason.value}: {after.detail}")

    def _decide(self, prefix: Prefix) -> None:
        spec = self.config.prefixes[prefix]
        value = evaluate(self.config, prefix, spec.announce_when, self.view, self.tracker.states)
        facts = Facts(
            now_s=self.now_s,
            spec=spec,
            condition=value.truth,
            well=value.well,
            detail=value.detail,
            first_checks=value.first,
            data_plane_ready=self.ready and any(one.tunnels for one in self.orders.values()),
            bgp_observed=self.seen,
            checker_suspect=self.view.self_test.suspect_until_s is not None,
            suspect_detail=self.view.self_test.detail,
            stopping=self.stopping,
        )
        was = self.memories[prefix].level
        before = self.decisions.get(prefix)
        after, self.memories[prefix] = decide(facts, self.memories[prefix])
        self.decisions[prefix] = after
        if before is None or (before.level, before.reason, before.hold) != (after.level, after.reason, after.hold):
            hold = f" (held: {after.hold})" if after.hold else ""
            self._tell(f"decide {prefix} {was.name} -> {after.level.name} {after.reason}{hold}")
            self.told += [f"    {_step(step)}" for step in after.trail]

    def _tell(self, what: str) -> None:
        self.told.append(self._at(what))

    def _at(self, what: str) -> str:
        return f"t={self.now_s:.1f} {what}"


View = TunnelView | BackendView | RegionView


def _differ(old: View, new: View) -> bool:
    return (old.health, old.reason) != (new.health, new.reason)


def _health(what: str, old: View, new: View) -> str:
    name = new.name if isinstance(new, RegionView) else new.id
    return f"health {what} {name} {old.health} -> {new.health} {new.reason}"


def _listed(order: TunnelOrder | None) -> str:
    return ", ".join(order.tunnels) if order is not None and order.tunnels else "-"


def _step(step: Step) -> str:
    return f"{step.rule}: {step.before.name} -> {step.after.name} {step.reason}" + (
        f" ({step.evidence})" if step.evidence else ""
    )


def seconds(text: str) -> float:
    """Return a duration such as 200ms, 5s, 10m."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    message = f"not a duration: {text}"
    raise ValueError(message)


def blocks(text: str) -> Iterator[tuple[list[str], list[str], str]]:
    """Yield each block of a story: its comments, its commands, and the answer that was recorded."""
    for block in text.strip().split("\n\n"):
        head, _, answer = block.partition("\n----\n")
        head = head.removesuffix("\n----")
        lines = head.splitlines()
        yield [one for one in lines if one.startswith("#")], [one for one in lines if not one.startswith("#")], answer


def told(config: Config, text: str) -> str:
    """Return the story with every answer as it is now."""
    story, parts = Story(config), []
    for comments, commands, _ in blocks(text):
        lines = [*comments, *commands]
        if commands:
            answers = [answer for command in commands for answer in story.play(command)]
            lines += ["----", *(answers or ["nothing"])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
