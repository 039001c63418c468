"""Where a binding's packets go: every rule as a row of a table, then what holds between two placements."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import Binding, Mode, PlacementReason, Spread
from anycastd.model.health import Health
from tests.unit.policy.eips import BAD, BLIND, CONFIG, NEW, OK, POOR, bound, placed, shares, to

R = PlacementReason
LOCAL = bound("eu/web-1", "eu/web-2")
NEAREST = bound("eu/web-1", "us/web-1", "ap/web-1")
ORDERED = bound("us/web-1", "eu/web-1", "ap/web-1", spread=Spread.ORDERED)
WEIGHTED = bound("eu/web-1", to("us/web-1", 200), to("ap/web-1", 100), spread=Spread.WEIGHTED)
STANDBY = bound("eu/web-1", to("us/web-1", priority=2), to("ap/web-1", priority=3))
LAST = bound("eu/web-1", to("us/web-1", 0))
MS = {"eu": 10.0, "us": 80.0, "ap": 200.0}


@dataclass(frozen=True)
class Row:
    """One situation without a past, and what comes of it."""

    name: str
    binding: Binding
    wanted: dict[str, int]
    reason: PlacementReason
    states: dict[str, Health] = field(default_factory=dict)
    dials: dict[str, int] = field(default_factory=dict)
    detail: str = ""


ROWS = [
    Row("one backend", bound("eu/web-1"), {"eu/web-1": 64}, R.PREFERRED),
    Row("equal weights share equally", LOCAL, {"eu/web-1": 32, "eu/web-2": 32}, R.PREFERRED),
    Row("weights", bound("eu/web-1", to("eu/web-2", 50)), {"eu/web-1": 43, "eu/web-2": 21}, R.PREFERRED),
    Row(
        "the smallest weight gets the smallest share",
        bound(to("eu/web-1", 255), to("eu/web-2", 1)),
        {"eu/web-1": 63, "eu/web-2": 1},
        R.PREFERRED,
    ),
    Row(
        "also among regions",
        bound(to("eu/web-1", 255), to("us/web-1", 1), spread=Spread.WEIGHTED),
        {"eu/web-1": 63, "us/web-1": 1},
        R.PREFERRED,
    ),
    Row("a bad backend's part goes to the others", LOCAL, {"eu/web-2": 64}, R.OTHER_BACKEND, {"eu/web-1": BAD}),
    Row("nearest", NEAREST, {"eu/web-1": 64}, R.PREFERRED, detail="eu is the nearest usable region"),
    Row("the next region", NEAREST, {"us/web-1": 64}, R.OTHER_REGION, {"eu/web-1": BAD}, detail="eu/web-1 UNHEALTHY"),
    Row("a region without tunnels", NEAREST, {"us/web-1": 64}, R.OTHER_REGION, {"eu": BAD}),
    Row("one tunnel left is enough", NEAREST, {"eu/web-1": 64}, R.PREFERRED, {"eu/a": BAD}),
    Row(
        "a region behind degraded tunnels comes after its equals",
        NEAREST,
        {"us/web-1": 64},
        R.PREFERRED,
        {"eu": POOR},
        detail="us is the nearest usable region without a degraded tunnel; nearer: eu",
    ),
    Row("one healthy tunnel is enough", NEAREST, {"eu/web-1": 64}, R.PREFERRED, {"eu/a": POOR}),
    Row(
        "all are degraded",
        NEAREST,
        {"eu/web-1": 64},
        R.PREFERRED,
        {"eu": POOR, "us": POOR, "ap": POOR},
        detail="eu is the nearest usable region, by a degraded tunnel",
    ),
    Row("what the operator ordered stays: priority", STANDBY, {"eu/web-1": 64}, R.PREFERRED, {"eu": POOR}),
    Row("what the operator ordered stays: ordered", ORDERED, {"us/web-1": 64}, R.PREFERRED, {"us": POOR}),
    Row(
        "what the operator ordered stays: weighted",
        WEIGHTED,
        {"eu/web-1": 16, "us/web-1": 32, "ap/web-1": 16},
        R.PREFERRED,
        {"us": POOR},
    ),
    Row(
        "a degraded backend keeps its part",
        WEIGHTED,
        {"eu/web-1": 16, "us/web-1": 32, "ap/web-1": 16},
        R.PREFERRED,
        {"us/web-1": POOR},
    ),
    Row("a bad far region changes nothing", NEAREST, {"eu/web-1": 64}, R.PREFERRED, {"us": BAD}),
    Row("ordered", ORDERED, {"us/web-1": 64}, R.PREFERRED, detail="us is the first usable region"),
    Row(
        "ordered by the first target of each region",
        bound("us/web-1", "eu/web-1", to("us/web-1", mode=Mode.ROUTED), spread=Spread.ORDERED),
        {"us/web-1": 64},
        R.PREFERRED,
    ),
    Row("ordered, first bad", ORDERED, {"eu/web-1": 64}, R.OTHER_REGION, {"us/web-1": BAD}),
    Row("weighted", WEIGHTED, {"eu/web-1": 16, "us/web-1": 32, "ap/web-1": 16}, R.PREFERRED),
    Row("weighted, one bad", WEIGHTED, {"eu/web-1": 32, "ap/web-1": 32}, R.OTHER_REGION, {"us": BAD}),
    Row("first priority", STANDBY, {"eu/web-1": 64}, R.PREFERRED),
    Row("second priority", STANDBY, {"us/web-1": 64}, R.OTHER_PRIORITY, {"eu/web-1": BAD}),
    Row("third priority", STANDBY, {"ap/web-1": 64}, R.OTHER_PRIORITY, {"eu/web-1": BAD, "us": BAD}),
    Row("what we cannot see is not begun", STANDBY, {"us/web-1": 64}, R.OTHER_PRIORITY, {"eu/web-1": BLIND}),
    Row("weight 0 gets nothing", LAST, {"eu/web-1": 64}, R.PREFERRED),
    Row("weight 0 is the last resort", LAST, {"us/web-1": 64}, R.LAST_RESORT, {"eu/web-1": BAD}),
    # dials
    Row(
        "a dial sends its part on",
        NEAREST,
        {"eu/web-1": 32, "us/web-1": 32},
        R.DIALED_AWAY,
        dials={"eu": 50},
        detail="traffic dial: eu 50 %",
    ),
    Row(
        "dials one after the other, what is left in proportion",
        NEAREST,
        {"eu/web-1": 37, "us/web-1": 18, "ap/web-1": 9},
        R.DIALED_AWAY,
        dials={"eu": 50, "us": 50, "ap": 50},
    ),
    Row("a dial over priorities", STANDBY, {"eu/web-1": 16, "us/web-1": 48}, R.DIALED_AWAY, dials={"eu": 25}),
    Row("dial 0 drains", NEAREST, {"us/web-1": 64}, R.DIALED_AWAY, dials={"eu": 0}, detail="traffic dial 0: eu"),
    Row("dial 0 drains a priority", STANDBY, {"us/web-1": 64}, R.DIALED_AWAY, dials={"eu": 0}),
    Row("a lone region takes all", bound("eu/web-1"), {"eu/web-1": 64}, R.PREFERRED, dials={"eu": 10}),
    Row(
        "the dial holds in failover", NEAREST, {"us/web-1": 16, "ap/web-1": 48}, R.OTHER_REGION, {"eu": BAD}, {"us": 25}
    ),
    Row("dial 0 is the last resort", bound("eu/web-1"), {"eu/web-1": 64}, R.LAST_RESORT, dials={"eu": 0}),
    Row("weight 0 goes before dial 0", LAST, {"us/web-1": 64}, R.LAST_RESORT, dials={"eu": 0}),
    Row(
        "weighted with a dial: the others take it up",
        bound("eu/web-1", "us/web-1", spread=Spread.WEIGHTED),
        {"eu/web-1": 21, "us/web-1": 43},
        R.DIALED_AWAY,
        dials={"eu": 50},
    ),
    # nothing usable
    Row(
        "fail open to the best ranked", STANDBY, {"eu/web-1": 64}, R.FAIL_OPEN, {"eu/web-1": BAD, "us": BAD, "ap": BAD}
    ),
    Row("rather where a tunnel leads", STANDBY, {"us/web-1": 64}, R.FAIL_OPEN, {"eu": BAD, "us/web-1": BAD, "ap": BAD}),
    Row("or drop", bound("eu/web-1", drop=True), {}, R.NO_PATH, {"eu/web-1": BAD}, detail="to be dropped"),
    Row(
        "nothing known yet: the preferred",
        STANDBY,
        {"eu/web-1": 64},
        R.AWAITS_CHECKS,
        {"eu": NEW, "us": NEW, "ap": NEW},
    ),
    Row("nothing known yet, or drop", bound("eu/web-1", drop=True), {}, R.NO_PATH, {"eu": NEW}),
    Row(
        "unknown beats bad", bound("eu/web-1", "us/web-1"), {"us/web-1": 64}, R.AWAITS_CHECKS, {"eu": BAD, "us": BLIND}
    ),
    Row("a proven one beats an awaited one", STANDBY, {"us/web-1": 64}, R.OTHER_PRIORITY, {"eu": NEW}),
    # not configured
    Row("a backend that is gone", bound("eu/gone", "eu/web-2"), {"eu/web-2": 64}, R.PREFERRED, detail="eu/gone"),
    Row("of another family", bound("eu/six", "eu/web-2"), {"eu/web-2": 64}, R.PREFERRED, detail="eu/six"),
    Row("all gone", bound("eu/gone", "xx/web-1"), {}, R.NO_PATH, detail="eu/gone, xx/web-1"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_without_a_past(row: Row) -> None:
    placement = placed(row.binding, row.states, dials=row.dials, latency_ms=MS)
    assert (shares(placement), placement.reason) == (row.wanted, row.reason)
    assert row.detail in placement.detail
    assert placement.detail
    assert "\n" not in placement.detail


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_was_decided_is_decided_again(row: Row) -> None:
    first = placed(row.binding, row.states, dials=row.dials, latency_ms=MS)
    assert placed(row.binding, row.states, dials=row.dials, latency_ms=MS, before=first, now_s=2000.0) is first


def test_the_same_backend_for_ipv6() -> None:
    placement = placed(bound("eu/six", "us/six"), {"eu": BAD}, version=6)
    assert (shares(placement), placement.reason) == ({"us/six": 64}, R.OTHER_REGION)


def test_a_quicker_region_must_be_quicker_by_more_than_the_hysteresis() -> None:
    first = placed(NEAREST, latency_ms=MS)
    assert shares(placed(NEAREST, latency_ms=MS | {"us": 4.0}, before=first)) == {"eu/web-1": 64}
    assert shares(placed(NEAREST, latency_ms=MS | {"eu": 20.0, "us": 10.0}, before=first)) == {"eu/web-1": 64}
    assert shares(placed(NEAREST, latency_ms=MS | {"eu": 21.0, "us": 10.0}, before=first)) == {"us/web-1": 64}
    assert shares(placed(NEAREST, latency_ms=MS | {"eu": 11.0, "us": 10.0})) == {"us/web-1": 64}


def test_the_region_that_took_over_keeps_the_packets_of_an_equal_one() -> None:
    equal = {"eu": 10.0, "us": 12.0}
    away = placed(NEAREST, {"eu": BAD}, latency_ms=equal, before=placed(NEAREST, latency_ms=equal))
    assert shares(away) == {"us/web-1": 64}
    assert shares(placed(NEAREST, latency_ms=equal, before=away)) == {"us/web-1": 64}


def test_the_configured_priority_of_a_region_outranks_latency() -> None:
    regions = {name: replace(one, priority=1 if name == "ap" else 2) for name, one in CONFIG.regions.items()}
    first = placed(NEAREST, latency_ms=MS)
    assert shares(placed(NEAREST, latency_ms=MS, config=replace(CONFIG, regions=regions), before=first)) == {
        "ap/web-1": 64
    }


def test_a_region_in_use_is_not_left_while_its_latency_is_not_known_yet() -> None:
    first = placed(NEAREST, latency_ms=MS)
    assert shares(placed(NEAREST, latency_ms={"us": 1.0}, before=first)) == {"eu/web-1": 64}


@pytest.mark.parametrize("state", [BLIND, NEW])
def test_what_is_in_use_stays_in_use_while_nothing_is_known_of_it(state: Health) -> None:
    first = placed(STANDBY)
    for states in ({"eu/web-1": state}, {"eu": state}):
        after = placed(STANDBY, states, before=first)
        assert (shares(after), after.since_s) == ({"eu/web-1": 64}, first.since_s)
        assert "kept while nothing is known" in after.detail


def test_what_is_not_in_use_is_not_begun_while_nothing_is_known_of_it() -> None:
    assert shares(placed(LOCAL, {"eu/web-2": BLIND}, before=placed(LOCAL, {"eu/web-2": BAD}))) == {"eu/web-1": 64}


def test_on_trust_until_the_first_verdict_then_to_what_is_proven() -> None:
    awaiting = placed(STANDBY, {"eu": NEW, "us": NEW, "ap": NEW})
    still = placed(STANDBY, {"eu": NEW}, before=awaiting)
    assert (shares(still), still.reason) == ({"eu/web-1": 64}, R.AWAITS_CHECKS)
    good = placed(STANDBY, before=still)
    assert (shares(good), good.reason, good.since_s) == ({"eu/web-1": 64}, R.PREFERRED, awaiting.since_s)
    for worse in (BAD, BLIND):
        assert shares(placed(STANDBY, {"eu": worse}, before=still)) == {"us/web-1": 64}


def test_with_nothing_usable_the_last_placement_stands_until_one_is() -> None:
    away = placed(STANDBY, {"eu": BAD}, now_s=10.0)
    nothing = {"eu/web-1": BAD, "us": BAD, "ap": BAD}
    after = placed(STANDBY, nothing, before=away)
    assert (shares(after), after.reason, after.since_s) == ({"us/web-1": 64}, R.FAIL_OPEN, 10.0)
    # what was known to be bad and is now not known is not good yet: what is proven goes before it
    other = placed(STANDBY, {"eu/web-1": BAD, "us": BLIND, "ap": OK}, before=after)
    assert (shares(other), other.reason) == ({"ap/web-1": 64}, R.OTHER_PRIORITY)


def test_drop_ends_as_soon_as_one_is_usable() -> None:
    drop = replace(STANDBY, when_unhealthy=bound("eu/web-1", drop=True).when_unhealthy)
    nothing = placed(drop, {"eu": BAD, "us": BAD, "ap": BAD}, before=placed(drop))
    assert (nothing.shares, nothing.reason) == ((), R.NO_PATH)
    assert shares(placed(drop, {"eu": BAD, "us": BAD}, before=nothing)) == {"ap/web-1": 64}


def test_while_we_suspect_ourselves_no_failure_moves_anything() -> None:
    first = placed(NEAREST, latency_ms=MS)
    everything_bad = {"eu": BAD, "us": BAD, "ap": BAD}
    assert placed(NEAREST, everything_bad, suspect=True, before=first) is first
    assert placed(NEAREST, {"eu": BAD}, suspect=True, before=first) is first
    drop = replace(NEAREST, when_unhealthy=bound("eu/web-1", drop=True).when_unhealthy)
    assert shares(placed(drop, everything_bad, suspect=True, before=placed(drop))) == {"ap/web-1": 64}
    # but an EIP that has no path takes the first that there is
    nothing = placed(drop, everything_bad)
    assert shares(placed(drop, {"eu": BAD, "us": BAD}, suspect=True, before=nothing)) == {"ap/web-1": 64}


def test_a_region_is_drained_even_while_we_suspect_ourselves() -> None:
    both = bound("eu/web-1", "us/web-1", spread=Spread.WEIGHTED)
    after = placed(both, {"eu": BAD, "us": BAD}, suspect=True, before=placed(both), dials={"eu": 0})
    assert shares(after) == {"us/web-1": 64}


def test_the_last_placement_without_what_is_no_longer_configured() -> None:
    first = placed(LOCAL)
    backends = {id_: one for id_, one in CONFIG.backends.items() if id_ != "eu/web-1"}
    region = replace(CONFIG.regions[RegionName("eu")], backends=(BackendId("eu/web-2"),))
    config = replace(
        CONFIG,
        backends=backends,
        regions={**CONFIG.regions, region.name: region},
        probes=tuple(one for one in CONFIG.probes if one.backend != "eu/web-1"),
    )
    after = placed(LOCAL, {"eu/web-2": BAD}, before=first, config=config)
    assert (shares(after), after.reason) == ({"eu/web-2": 64}, R.FAIL_OPEN)
    assert "not configured here: eu/web-1" in after.detail
