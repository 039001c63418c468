"""What a reload changes, and what it refuses to lose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anycastd.config.change import carried_over, compare, refuse
from anycastd.config.load import load
from anycastd.errors import ConfigError
from anycastd.model.address import BackendId, CheckId, NeighborName, RegionName
from anycastd.model.eip import Binding, Eip, EipId, Mode, Target
from anycastd.model.topology import Config, PrefixSpec
from tests.unit.config.places import EXAMPLE, SMALLEST, load_text


@pytest.fixture(scope="module")
def config() -> Config:
    return load(str(EXAMPLE))


def with_prefixes(config: Config, count: int, first: int = 0) -> Config:
    """Return the configuration with so many prefixes."""
    prefixes = [ip_network(f"10.0.{number}.0/24") for number in range(first, first + count)]
    return replace(config, prefixes={prefix: PrefixSpec(prefix=prefix) for prefix in prefixes})


def with_eips(config: Config, count: int, bound: int | None = None) -> Config:
    """Return the configuration with so many EIPs, the first `bound` of them bound (default: all)."""
    addresses = [ip_address(f"203.0.113.{number}") for number in range(count)]
    binding = Binding(targets=(Target(backend=BackendId("eu-central/web-1")),))
    some = {
        address: Eip(id=EipId("eip-00000000"), address=address, binding=binding if number < limit else None)
        for limit in [count if bound is None else bound]
        for number, address in enumerate(addresses)
    }
    return replace(config, eips=some)


def test_nothing_changed(config: Config) -> None:
    change = compare(config, replace(config, digest="another", warnings=("one",)))
    assert not change
    assert change.sentences == ()
    assert refuse(config, config, change) == ()


def test_everything_that_can_differ_is_told(config: Config, tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    new = load_text(
        text.replace("hold_time: 9s ", "hold_time: 30s ")
        .replace("  198.18.0.0/24:", "  198.18.9.0/24:")
        .replace("interval: 500ms            #", "interval: 400ms            #")
        .replace("      web-2:", "      web-3:")
        .replace("eu-central/web-2", "eu-central/web-3")
        .replace("  203.0.113.14: {}", "  203.0.113.15: {}")
        .replace("mode: masquerade ", "mode: dnat ")
        .replace("# number: 31 ", "number: 32 ")
        .replace("traffic_dial: 100% ", "traffic_dial: 50% ")
        .replace("conntrack_alarm: 80% ", "conntrack_alarm: 70% ")
        .replace("level: info ", "level: debug ")
        .replace("forward_metric: 100 ", "forward_metric: 101 ")
        .replace("asn: 64500  ", "asn: 64501  ")
        .replace("port: 8179", "port: 8180")
        .replace("state_dir: /var/lib/anycastd ", "state_dir: /srv/anycastd "),
        tmp_path,
    )
    change = compare(config, new)
    assert change.prefixes.added == (ip_network("198.18.9.0/24"),)
    assert change.prefixes.removed == (ip_network("198.18.0.0/24"),)
    assert change.neighbors.changed == ("transit-a", "transit-b", "rr-1", "rr-2")
    assert change.backends.added == ("eu-central/web-3",)
    assert change.backends.removed == ("eu-central/web-2",)
    assert CheckId("tunnel/eu-central/euc-1/ping") in change.probes.changed
    assert CheckId("backend/eu-central/web-2/web@euc-1") in change.probes.removed
    assert CheckId("backend/eu-central/web-3/web@euc-1") in change.probes.added
    assert change.regions.changed == ("eu-central",)
    assert change.eips.added == (ip_address("203.0.113.15"),)
    assert change.eips.removed == (ip_address("203.0.113.14"),)
    assert change.eips.changed == (ip_address("203.0.113.10"), ip_address("203.0.113.11"))
    assert change.settings == ("eip.conntrack_alarm", "kernel.forward_metric")
    assert change.needs_restart == ("pop.asn", "api.port", "logging.level", "state_dir")
    assert change.removals == 3
    assert "EIPs removed: 203.0.113.14" in change.sentences
    assert "region eu-central: number 31 -> 32, mode masquerade -> dnat; connections through it begin anew" in (
        change.sentences
    )
    assert "region eu-central: traffic dial 100 % -> 50 %" in change.sentences
    assert "prefixes removed: 198.18.0.0/24" in change.sentences
    assert "needs a restart, unchanged until then: pop.asn, api.port, logging.level, state_dir" in change.sentences


def test_only_another_number_ends_the_connections_of_a_region(config: Config) -> None:
    name, region = next(iter(config.regions.items()))
    other = replace(region, mode=Mode.DNAT if region.mode is not Mode.DNAT else Mode.ROUTED)
    change = compare(config, replace(config, regions={**config.regions, name: other}))
    (sentence,) = change.regions_in_words
    assert sentence.endswith("; connections that stand go on as they are")


def test_what_needs_a_restart_is_carried_over_and_nothing_else(config: Config) -> None:
    new = replace(
        config,
        pop=replace(config.pop, asn=64999),
        api=replace(config.api, port=1),
        bgp=replace(config.bgp, user="nobody", reconcile_s=7.0),
        kernel=replace(config.kernel, protocol=99, forward_metric=7),
        state_dir="/elsewhere",
    )
    change = compare(config, new)
    assert change.needs_restart == ("pop.asn", "api.port", "bgp.user", "kernel.protocol", "state_dir")
    assert change.settings == ("bgp.reconcile", "kernel.forward_metric")
    kept = carried_over(config, new)
    assert compare(config, kept).needs_restart == ()
    assert compare(config, kept).settings == change.settings
    assert compare(new, carried_over(new, new)).sentences == ()


SHRINKING = [
    (1, 1, False), (1, 0, True), (2, 1, False), (2, 0, True), (3, 2, False), (3, 1, True), (9, 8, False),
    (9, 7, True),
    (10, 9, False), (10, 8, True), (20, 18, False), (20, 17, True), (25, 23, False), (25, 22, True),
    (100, 90, False), (100, 89, True), (5, 9, False),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "refused"), SHRINKING)
@pytest.mark.parametrize("grown", [with_prefixes, with_eips])
def test_how_many_prefixes_and_eips_may_go(
    config: Config, grown: Callable[[Config, int], Config], before: int, after: int, refused: bool
) -> None:
    old, new = grown(config, before), grown(config, after)
    problems = refuse(old, new, compare(old, new))
    assert bool(problems) is refused


@pytest.mark.parametrize(("before", "after", "refused"), SHRINKING)
def test_how_many_eips_may_lose_their_binding(config: Config, before: int, after: int, refused: bool) -> None:
    old, new = with_eips(config, 120, before), with_eips(config, 120, after)
    # the last one is unbound by people every day, as it is not gone
    refused = refused and before - after > 1
    change = compare(old, new)
    assert change.removals == max(before - after, 0)
    assert bool(refuse(old, new, change)) is refused
    assert refuse(old, new, change, expected_removals=change.removals) == ()


def test_a_refusal_for_eips_names_them(config: Config) -> None:
    old, new = with_eips(config, 4), with_eips(config, 2, 0)
    change = compare(old, new)
    assert [(problem.path, problem.message) for problem in refuse(old, new, change)] == [
        ("eips", "2 of 4 EIPs are gone (203.0.113.2, 203.0.113.3); if that is meant: "
         "anycastd reload --expect-removals 4"),
        ("eips", "2 of 4 EIPs are bound no longer, or blocked (203.0.113.0, 203.0.113.1); if that is meant: "
         "anycastd reload --expect-removals 4"),
    ]  # fmt: skip
    (problem,) = refuse(old, new, change, expected_removals=2)
    assert problem.message == (
        "2 removals were expected, this file makes 4: EIPs removed: 203.0.113.2, 203.0.113.3; "
        "EIPs bound no longer, or blocked: 203.0.113.0, 203.0.113.1"
    )


def test_blocking_many_is_stopping_them(config: Config) -> None:
    old = with_eips(config, 4)
    new = replace(old, eips={address: replace(eip, blocked=True) for address, eip in old.eips.items()})
    assert len(compare(old, new).eips_stopped) == 4
    assert compare(new, old).eips_stopped == ()
    assert refuse(old, new, compare(old, new)) != ()


def test_all_prefixes_replaced_is_all_gone(config: Config) -> None:
    old, new = with_prefixes(config, 1), with_prefixes(config, 1, first=100)
    (problem,) = refuse(old, new, compare(old, new))
    assert str(problem.message) == (
        "1 of 1 prefixes are gone (10.0.0.0/24); if that is meant: anycastd reload --expect-removals 1"
    )


def test_a_refusal_says_how_to_confirm_and_the_number_confirms(config: Config) -> None:
    old, new = with_prefixes(config, 20), with_prefixes(config, 5)
    change = compare(old, new)
    (problem,) = refuse(old, new, change)
    assert problem.path == "prefixes"
    assert "15 of 20 prefixes are gone" in problem.message
    assert "and 5 more" in problem.message
    assert problem.message.endswith("anycastd reload --expect-removals 15")
    assert refuse(old, new, change, expected_removals=15) == ()
    for wrong in (0, 14, 16):
        (problem,) = refuse(old, new, change, expected_removals=wrong)
        assert f"{wrong} removals were expected, this file makes 15" in problem.message


def test_a_wrong_number_refuses_even_what_would_be_let_through(config: Config) -> None:
    (problem,) = refuse(config, config, compare(config, config), expected_removals=1)
    assert problem.message == "1 removals were expected, this file makes 0: nothing is removed"
    assert refuse(config, config, compare(config, config), expected_removals=0) == ()


@pytest.mark.parametrize("section", ["neighbors", "regions", "tunnels", "backends"])
def test_all_of_a_kind_gone_is_refused(config: Config, section: str) -> None:
    nothing: Any = {section: {}}
    new = replace(config, **nothing)
    problems = refuse(config, new, compare(config, new))
    assert [problem.path for problem in problems] == [section]
    assert f"all {len(getattr(config, section))} {section} are gone" in problems[0].message


@pytest.mark.parametrize(("count", "moved", "refused"), [(1, 1, True), (3, 1, False), (3, 2, True), (30, 3, False)])
def test_prefixes_that_leave_all_their_neighbors_count_as_gone(
    config: Config, count: int, moved: int, refused: bool
) -> None:
    a, b, c = (NeighborName(name) for name in ("transit-a", "transit-b", "offline"))
    old = with_prefixes(config, count)
    old = replace(old, prefixes={p: replace(spec, neighbors=(a, b)) for p, spec in old.prefixes.items()})
    one_less = replace(old, prefixes={p: replace(spec, neighbors=(b, c)) for p, spec in old.prefixes.items()})
    assert compare(old, one_less).uprooted == ()
    some = list(old.prefixes)[:moved]
    new = replace(old, prefixes={p: replace(s, neighbors=(c,)) if p in some else s for p, s in old.prefixes.items()})
    change = compare(old, new)
    assert change.uprooted == tuple(some)
    assert change.removals == moved
    problems = refuse(old, new, change)
    assert bool(problems) is refused
    assert refuse(old, new, change, expected_removals=moved) == ()
    if refused:
        assert f"{moved} of {count} prefixes keep none of their neighbors" in problems[0].message
        (wrong,) = refuse(old, new, change, expected_removals=0)
        assert "prefixes that keep none of their neighbors: " in wrong.message


def test_one_of_several_may_go(config: Config) -> None:
    new = replace(
        config,
        neighbors={name: one for name, one in config.neighbors.items() if name != NeighborName("transit-b")},
        regions={name: one for name, one in config.regions.items() if name != RegionName("us-east")},
    )
    change = compare(config, new)
    assert change.removals == 2
    assert refuse(config, new, change) == ()


def test_a_self_test_probe_that_changed_is_told(config: Config) -> None:
    first, *rest = config.self_test.probes
    moved = replace(config.self_test, probes=(replace(first, target=ip_address("192.0.2.9")), *rest))
    assert compare(config, replace(config, self_test=moved)).probes.changed == (first.id,)


def test_an_empty_file_never_gets_as_far_as_the_guard(tmp_path: Path) -> None:
    for text in ("", "{}", SMALLEST.partition("prefixes:")[0]):
        with pytest.raises(ConfigError, match=r"is (empty|missing)"):
            load_text(text, tmp_path)
