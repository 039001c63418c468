"""Properties of drains, overrides and the freeze: whatever health does, and wherever the daemon is killed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from hypothesis import example, given, settings
from hypothesis import strategies as st

from anycastd.model.decision import Decision, Level, Memory, Reason, Truth
from anycastd.model.operator import Drain, DrainPhase, DrainScope, Interventions
from anycastd.model.topology import LastResort, PrefixSpec
from anycastd.policy.budget import PLAIN_LIMIT, STRICT_LIMIT, decayed
from anycastd.policy.draft import Facts, Order
from anycastd.policy.draining import level_of_phase
from anycastd.policy.engine import decide
from tests.unit.runtime.world import Speaker, World

SPEC = PrefixSpec(prefix=ip_network("203.0.113.0/24"))
PHASES = (DrainPhase.DEPREF, DrainPhase.GSHUT, DrainPhase.WITHDRAW, DrainPhase.LINGER)
SOME = settings(max_examples=60, deadline=None)
FEW = settings(max_examples=12, deadline=None)

WAITS_S = st.floats(0.1, 2000.0)
TRUTHS = st.sampled_from(list(Truth))


@dataclass
class Life:
    """A prefix's life: time passes, something is believed, something is ordered."""

    spec: PrefixSpec
    now_s: float = 1000.0
    memory: Memory = field(default_factory=lambda: Memory(level=Level.NORMAL, was_announced=True))
    decision: Decision | None = None

    def live(self, wait_s: float, condition: Truth, **orders: object) -> Decision:
        self.now_s += wait_s
        facts = Facts(now_s=self.now_s, spec=self.spec, condition=condition, **orders)  # type: ignore[arg-type]
        self.decision, self.memory = decide(facts, self.memory)
        penalty = decayed(self.memory.penalty, self.now_s, self.spec.timers.half_life_s)
        assert penalty.plain < PLAIN_LIMIT
        assert penalty.strict < STRICT_LIMIT
        return self.decision


SPECS = st.sampled_from([SPEC, replace(SPEC, last_resort=LastResort.WITHDRAW)])
HISTORY = st.lists(st.tuples(WAITS_S, TRUTHS), min_size=1, max_size=12)


@given(SPECS, HISTORY, HISTORY)
@SOME
def test_a_freeze_never_changes_a_level(
    spec: PrefixSpec, before: list[tuple[float, Truth]], frozen: list[tuple[float, Truth]]
) -> None:
    life = Life(spec)
    for wait_s, condition in before:
        life.live(wait_s, condition)
    level, penalty = life.memory.level, life.memory.penalty
    for wait_s, condition in frozen:
        order = Order(Level.WITHDRAWN, True, "forced out")
        decision = life.live(wait_s, condition, frozen="incident", drain=order)
        assert decision.level is level
        # what another rule keeps where it is anyhow is told with that rule's reason, and that it is frozen too
        held = decision.hold in (Reason.FROZEN, Reason.CHANGE_BUDGET) and "anycastd unfreeze" in decision.would_change
        assert level is Level.WITHDRAWN or held
    assert life.memory.penalty == penalty


@given(SPECS, st.booleans(), st.lists(st.tuples(WAITS_S, TRUTHS, st.booleans()), min_size=4, max_size=20))
@SOME
def test_a_drain_only_goes_down_and_never_past_the_guard(
    spec: PrefixSpec, forced: bool, steps: list[tuple[float, Truth, bool]]
) -> None:
    life, phase, lowest = Life(spec), 0, Level.NORMAL
    for wait_s, condition, onward in steps:
        phase = min(phase + onward, len(PHASES) - 1)
        cap = level_of_phase(PHASES[phase])
        decision = life.live(wait_s, condition, drain=Order(cap, forced, "drained"))
        assert decision.level <= Level.DEPREF
        may = forced or spec.last_resort is LastResort.WITHDRAW
        if not may:
            assert decision.level is Level.DEPREF
        elif decision.hold is None:
            assert decision.level <= cap
        if condition is not Truth.TRUE or spec.last_resort is LastResort.STAY:
            # one that health had withdrawn may come back, depreferenced, while the drain is no further
            assert decision.level <= lowest or lowest is Level.WITHDRAWN
        lowest = min(lowest, decision.level)


SHUT_AFTER_A_WITHDRAWAL = [
    (1.0, Truth.TRUE, DrainPhase.WITHDRAW, True), (1412.0, Truth.TRUE, DrainPhase.DEPREF, False),
    (1412.0, Truth.TRUE, DrainPhase.DEPREF, False), (1.0, Truth.TRUE, DrainPhase.WITHDRAW, True),
    (1.0, Truth.TRUE, DrainPhase.GSHUT, True),
]  # fmt: skip


@given(SPECS, st.lists(st.tuples(WAITS_S, TRUTHS, st.sampled_from(PHASES), st.booleans()), max_size=10))
@example(SPEC, SHUT_AFTER_A_WITHDRAWAL)
@SOME
def test_what_is_undone_returns_by_slow_start_and_within_the_budget(
    spec: PrefixSpec, steps: list[tuple[float, Truth, DrainPhase, bool]]
) -> None:
    life = Life(spec)
    for wait_s, condition, phase, drained in steps:
        drain = Order(level_of_phase(phase), True, "drained") if drained else None
        life.live(wait_s, condition, drain=drain)
    before = life.memory
    first = life.live(1.0, Truth.TRUE)
    assert first.level in (Level.DEPREF, Level.NORMAL)
    if first.level is Level.NORMAL and before.level is not Level.NORMAL and before.was_announced:
        # its time at DEPREF is over just now
        assert life.now_s - before.level_since_s >= spec.timers.return_after_s
    for _ in range(200):
        life.live(60.0, Truth.TRUE)
    assert life.memory.level is Level.NORMAL


def of_pop(phase: DrainPhase) -> Interventions:
    drain = Drain(
        id="d", scope=DrainScope.POP, owner="ann", reason="r", began_s=0.0, phase_since_s=0.0, phase=phase, forced=True
    )
    return Interventions((drain,))


@given(st.lists(st.integers(0, 8), min_size=1, max_size=3), st.floats(0.0, 300.0))
@FEW
def test_a_daemon_killed_after_any_step_ends_at_the_same_place(kills: list[int], wait_s: float) -> None:
    orders = [Interventions(), *map(of_pop, PHASES), of_pop(DrainPhase.DRAINED)]
    steps: list[tuple[Interventions, float]] = [(one, wait_s) for one in orders]
    steps += [(orders[-1], 3600.0), (Interventions(), wait_s), (Interventions(), 7200.0)]
    ends = []
    for killed in ((), tuple(kills)):
        world = World()
        world.answer("")
        for number, (order, pause_s) in enumerate(steps):
            world.control.take(order, world.now_s)
            world.control.step(world.now_s)
            if number in killed:
                # what was said is acknowledged or lost with the daemon; the file of orders is written before
                world.speaker.ack()
                held = len(world.speaker.said)
                observed = replace(world.speaker.observed, eor_owed=frozenset())
                world = World(
                    speaker=Speaker(observed=observed, said=world.speaker.said),
                    kernel=world.kernel,
                    nft=world.nft,
                    memories=world.control.memories,
                    orders=order,
                    now_s=world.now_s,
                )
                assert world.speaker.said[held:] == []
                world.answer("")
            world.settle()
            world.wait(pause_s)
            if number == 6:
                ends.append(dict(world.control.levels))
        ends.append(dict(world.control.levels))
    assert ends[:2] == ends[2:]
    assert set(ends[0].values()) == {Level.WITHDRAWN}
    assert set(ends[1].values()) == {Level.NORMAL}
