"""Composed rules: as good as trying every way in which the unknown may turn out, and never worse for better health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.health.rules import Leaf, value_of
from anycastd.model.decision import Truth
from anycastd.model.health import Health
from anycastd.model.topology import AtLeast, Condition, Group, Member, MemberKind, Need, Rule, Scope

NAMES = ("eu/a", "eu/b", "us/a", "us/b", "ap/a")
MEMBERS = tuple(Member(MemberKind.TUNNEL, name) for name in NAMES)
NEEDS = st.one_of(
    st.just(Need(all=True)),
    st.integers(1, 4).map(lambda count: Need(count=count)),
    st.integers(1, 100).map(lambda percent: Need(percent=percent)),
)
LEAVES = st.one_of(
    st.sampled_from(MEMBERS),
    st.builds(Condition, st.just(Scope.TUNNELS), NEEDS),
    st.builds(Group, st.just("g"), NEEDS, st.lists(st.sampled_from(MEMBERS), min_size=1, unique=True).map(tuple)),
)
RULES = st.recursive(
    LEAVES, lambda part: st.builds(AtLeast, NEEDS, st.lists(part, min_size=1, max_size=3).map(tuple)), max_leaves=6
)
STATES = st.fixed_dictionaries({name: st.sampled_from(Health) for name in NAMES})
UNDECIDED = (Health.INITIAL, Health.UNKNOWN)
WORST_FIRST = (Health.UNHEALTHY, Health.UNKNOWN, Health.DEGRADED, Health.HEALTHY)
"""INITIAL and UNKNOWN are one to a rule."""


def looked(states: Mapping[str, Health], leaf: Leaf) -> Mapping[str, Health]:
    if isinstance(leaf, Condition):
        return states
    return {member.id: states[member.id] for member in leaf.members}


def holds(rule: Rule, usable: Mapping[str, bool]) -> bool:
    """The rule as it is written down, of what is all decided."""
    if isinstance(rule, Member):
        return usable[rule.id]
    if isinstance(rule, AtLeast):
        parts = [holds(part, usable) for part in rule.parts]
    elif isinstance(rule, Group):
        parts = [usable[member.id] for member in rule.members]
    else:
        parts = list(usable.values())
    if rule.need.all:
        return all(parts)
    if rule.need.percent is not None:
        return sum(parts) * 100 >= rule.need.percent * len(parts)
    return sum(parts) >= (rule.need.count or 1)


def completions(states: Mapping[str, Health], good: tuple[Health, ...]) -> Iterator[dict[str, bool]]:
    options = [(True, False) if state in UNDECIDED else (state in good,) for state in states.values()]
    for chosen in product(*options):
        yield dict(zip(states, chosen, strict=True))


def by_force(rule: Rule, states: Mapping[str, Health], *good: Health) -> Truth:
    found = {holds(rule, usable) for usable in completions(states, good)}
    return Truth.UNKNOWN if len(found) == 2 else Truth.TRUE if found == {True} else Truth.FALSE


@given(RULES, STATES)
@settings(max_examples=150, deadline=None)
def test_a_rule_is_what_every_completion_agrees_on(rule: Rule, states: dict[str, Health]) -> None:
    value = value_of(rule, lambda leaf: looked(states, leaf))
    assert value.truth is by_force(rule, states, Health.HEALTHY, Health.DEGRADED)
    assert value.well is by_force(rule, states, Health.HEALTHY)
    assert value.detail


@given(RULES, STATES, st.sampled_from(NAMES), st.sampled_from(WORST_FIRST))
@settings(max_examples=150, deadline=None)
def test_better_health_never_makes_a_rule_worse(
    rule: Rule, states: dict[str, Health], name: str, better: Health
) -> None:
    was = Health.UNKNOWN if states[name] is Health.INITIAL else states[name]
    if WORST_FIRST.index(better) < WORST_FIRST.index(was):
        return
    before = value_of(rule, lambda leaf: looked(states, leaf))
    after = value_of(rule, lambda leaf: looked({**states, name: better}, leaf))
    order = (Truth.FALSE, Truth.UNKNOWN, Truth.TRUE)
    assert order.index(after.truth) >= order.index(before.truth)
    # what turns out DEGRADED is known not to be well, where it might have been
    if (was, better) != (Health.UNKNOWN, Health.DEGRADED):
        assert order.index(after.well) >= order.index(before.well)
