"""`announce_when`, truth by truth: any, all, N and N %, of regions, tunnels and backends, in both families."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from anycastd.model.address import RegionName
from anycastd.model.decision import Truth
from anycastd.model.health import Health
from anycastd.model.topology import Condition, Need, Scope
from anycastd.policy.condition import evaluate
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
