"""`announce_when`, truth by truth: any, all, N and N %, of regions, tunnels and backends, in both families."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from anycastd.model.address import CheckId, Family, RegionName
from anycastd.model.decision import Truth
from anycastd.model.health import CheckState, Health
from anycastd.model.topology import AtLeast, Condition, Group, Member, MemberKind, Need, Rule, Scope
from anycastd.policy.condition import counted, evaluate
from tests.unit.policy.pops import TWO, V4, V6, Place, believed, pop

OK, BAD, NEW, BLIND = Health.HEALTHY, Health.UNHEALTHY, Health.INITIAL, Health.UNKNOWN
T, F, U = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
ANY, ALL, TWO_OF, HALF = Need(), Need(all=True), Need(count=2), Need(percent=50)
CONFIG = pop({"r1": Place({"a": "4"}, {"w": 4}), "r2": Place({"a": "4"}, {"w": 4}), "r3": Place({"a": "4"}, {"w": 4})})


def value(condition: Condition, states: dict[str, Health]) -> Truth:
    return evaluate(CONFIG, V4, condition, believed(CONFIG, states))[0]


@pytest.mark.parametrize(
    ("states", "of_any", "of_all", "of_two", "of_half"),
    [
        ((OK, OK, OK), T, T, T, T),
        ((OK, OK, BAD), T, F, T, T),
        ((OK, BAD, BAD), T, F, F, F),
        ((BAD, BAD, BAD), F, F, F, F),
        ((OK, OK, BLIND), T, U, T, T),
        ((OK, BLIND, BLIND), T, U, U, U),
        ((OK, BAD, BLIND), T, F, U, U),
        ((BAD, BAD, BLIND), U, F, F, F),
        ((BLIND, BLIND, BLIND), U, U, U, U),
        ((NEW, NEW, NEW), U, U, U, U),
        ((OK, NEW, BAD), T, F, U, U),
    ],
)
@pytest.mark.parametrize("scope", [Scope.REGIONS, Scope.TUNNELS])
def test_truth_table(
    scope: Scope, states: tuple[Health, ...], of_any: Truth, of_all: Truth, of_two: Truth, of_half: Truth
) -> None:
    told = {f"tunnel/r{number}": state for number, state in enumerate(states, start=1)}
    got = [value(Condition(scope=scope, need=need), told) for need in (ANY, ALL, TWO_OF, HALF)]
    assert got == [of_any, of_all, of_two, of_half]


@pytest.mark.parametrize(
    ("states", "expected"),
    [((OK, OK, OK), T), ((OK, BAD, BAD), F), ((OK, OK, BAD), T), ((OK, BAD, BLIND), U), ((BLIND, BAD, BAD), F)],
)
def test_truth_table_of_backends(states: tuple[Health, ...], expected: Truth) -> None:
    told = {f"backend/r{number}": state for number, state in enumerate(states, start=1)}
    assert value(Condition(scope=Scope.BACKENDS, need=TWO_OF), told) is expected


def test_backends_behind_dead_tunnels_count_as_lost() -> None:
    told = {"tunnel": BAD, "backend": BAD}
    assert value(Condition(scope=Scope.BACKENDS), told) is F


def test_backends_behind_tunnels_that_we_cannot_see_are_unknown() -> None:
    assert value(Condition(scope=Scope.BACKENDS), {"tunnel": BLIND, "backend": BLIND}) is U


def test_only_the_regions_that_are_named_count() -> None:
    condition = Condition(regions=(RegionName("r2"),))
    assert value(condition, {"tunnel/r1": BAD, "tunnel/r3": BAD}) is T
    assert value(condition, {"tunnel/r2": BAD}) is F


def test_more_than_there_are_is_never_enough() -> None:
    assert value(Condition(need=Need(count=4)), {}) is F


def test_a_family_that_no_tunnel_carries_cannot_be_served() -> None:
    truth, detail, *_ = evaluate(CONFIG, V6, Condition(), believed(CONFIG, {}))
    assert (truth, detail) == (F, "0 of 0 regions usable, any wanted")


@pytest.mark.parametrize(("tunnel_b", "ipv4", "ipv6"), [(OK, T, T), (BAD, T, F), (NEW, T, U), (BLIND, T, U)])
def test_a_family_is_not_served_by_the_tunnels_of_the_other(tunnel_b: Health, ipv4: Truth, ipv6: Truth) -> None:
    """IPv4 goes over a, IPv6 over b: with b down the region is usable, but not for an IPv6 prefix."""
    config = pop({"eu": Place({"a": "4", "b": "6"}, {"web-1": 4})})
    view = believed(config, {"tunnel/eu/b": tunnel_b})
    assert evaluate(config, V4, Condition(), view)[0] is ipv4
    assert evaluate(config, V6, Condition(), view)[0] is ipv6


def test_tunnels_of_the_other_family_do_not_count() -> None:
    config = pop({"eu": Place({"a": "4", "b": "6", "c": "46"}, {"web-1": 4})})
    view = believed(config, {"tunnel/eu/a": BAD})
    both = Condition(scope=Scope.TUNNELS, need=ALL)
    assert evaluate(config, V6, both, view)[0] is T
    assert evaluate(config, V4, both, view)[0] is F


def test_first_verdicts_are_awaited_only_while_something_is_initial() -> None:
    assert evaluate(CONFIG, V4, Condition(), believed(CONFIG, {"tunnel/r1": NEW}))[2]
    assert not evaluate(CONFIG, V4, Condition(), believed(CONFIG, {"tunnel/r1": BLIND}))[2]


def test_the_sentence_names_what_is_missing() -> None:
    detail = evaluate(CONFIG, V4, Condition(need=ALL), believed(CONFIG, {"tunnel/r2": BAD})).detail
    assert detail == "2 of 3 regions usable, all wanted; not usable: r2"
    detail = evaluate(CONFIG, V4, Condition(need=ALL), believed(CONFIG, {"tunnel/r2": BLIND})).detail
    assert detail == "cannot tell yet of regions: r2"


def test_the_order_of_the_configuration_does_not_matter() -> None:
    told = {"tunnel/eu": BAD, "backend/us/web-1": BAD}
    values = set()
    for order in (("eu", "us"), ("us", "eu")):
        config = pop({"eu": TWO, "us": TWO}, order=order)
        for scope in Scope:
            values.add(
                (
                    scope,
                    evaluate(config, ip_network("203.0.113.0/24"), Condition(scope, ALL), believed(config, told))[0],
                )
            )
    assert len(values) == len(Scope)


def tunnel(name: str) -> Member:
    return Member(MemberKind.TUNNEL, name)


def said(rule: Rule, states: dict[str, Health], checks: dict[CheckId, CheckState] | None = None) -> tuple[Truth, str]:
    value = evaluate(CONFIG, V4, rule, believed(CONFIG, states), checks)
    return value.truth, value.detail


BOTH = AtLeast(ALL, (Condition(Scope.TUNNELS, Need(count=2)), AtLeast(Need(), (tunnel("r1/a"), tunnel("r2/a")))))


def test_a_composed_rule_says_which_part_is_missing() -> None:
    assert said(BOTH, {}) == (T, "tunnels usable: r1/a, r2/a, r3/a; tunnel r1/a usable; tunnel r2/a usable")
    assert said(BOTH, {"tunnel/r1": BAD, "tunnel/r2": BAD}) == (
        F,
        "0 of 2 parts hold, all wanted; missing: (1 of 3 tunnels usable, at least 2 wanted; not usable: r1/a, r2/a), "
        "(0 of 2 parts hold, any wanted; missing: (tunnel r1/a not usable), (tunnel r2/a not usable))",
    )
    assert said(BOTH, {"tunnel/r1": BAD, "tunnel/r3": BAD}) == (
        F, "1 of 2 parts hold, all wanted; missing: (1 of 3 tunnels usable, at least 2 wanted; not usable: r1/a, r3/a)",
    )  # fmt: skip
    assert said(BOTH, {"tunnel/r1": BAD, "tunnel/r2": BLIND}) == (
        U, "cannot tell yet of tunnels: r2/a; cannot tell yet of tunnel r2/a",
    )  # fmt: skip


def test_groups_name_their_members() -> None:
    group = Group("ways", Need(percent=60), (tunnel("r1/a"), tunnel("r2/a"), Member(MemberKind.REGION, "r3")))
    assert said(group, {"tunnel/r2": BAD}) == (T, "members of group ways usable: r1/a, r3")
    assert said(group, {"tunnel/r2": BAD, "tunnel/r3": BAD}) == (
        F, "1 of 3 members of group ways usable, at least 60 % wanted; not usable: r2/a, r3",
    )  # fmt: skip


def test_members_of_the_other_family_do_not_count_in_a_group() -> None:
    config = pop({"eu": Place({"a": "4", "b": "6", "c": "46"}, {"web-1": 4})})
    group = Group("ways", ALL, (tunnel("eu/a"), tunnel("eu/b"), tunnel("eu/c")))
    view = believed(config, {"tunnel/eu/a": BAD})
    assert evaluate(config, V6, group, view).detail == "members of group ways usable: eu/b, eu/c"
    assert evaluate(config, V4, group, view).truth is F


def test_a_check_that_a_rule_names() -> None:
    check = Member(MemberKind.CHECK, "self/gateway/ping")
    id_ = CheckId("self/gateway/ping")
    assert said(check, {}, {id_: CheckState(id_, OK)}) == (T, "check self/gateway/ping usable")
    assert said(check, {}, {id_: CheckState(id_, BAD)}) == (F, "check self/gateway/ping not usable")
    assert said(check, {}) == (U, "cannot tell yet of check self/gateway/ping")


def test_what_is_degraded_counts_and_is_told() -> None:
    view = believed(CONFIG, {"tunnel/r1": Health.DEGRADED, "tunnel/r2": BAD, "tunnel/r3": BAD})
    value = evaluate(CONFIG, V4, Condition(), view)
    assert (value.truth, value.well, value.detail) == (T, F, "regions usable: r1 (degraded)")
    value = evaluate(CONFIG, V4, Condition(need=Need(count=2)), view)
    assert (value.truth, value.well) == (F, F)


def test_the_regions_that_a_rule_looks_at() -> None:
    family = Family.IPV4_UNICAST
    assert counted(CONFIG, BOTH, family) == ("r1", "r2", "r3")
    assert counted(CONFIG, AtLeast(ALL, (tunnel("r3/a"), tunnel("r1/a"))), family) == ("r1", "r3")
    backend = Member(MemberKind.BACKEND, "r2/web-1")
    path = Member(MemberKind.CHECK, "tunnel/r1/a/path")
    assert counted(CONFIG, Group("g", ALL, (backend, path)), family) == ("r1", "r2")
    # the self-test is of no region: any of them may carry the prefix
    assert counted(CONFIG, Member(MemberKind.CHECK, "self/gateway/ping"), family) == ("r1", "r2", "r3")
