"""What the API says of traffic."""

from __future__ import annotations

import json

import pytest

from anycastd.model.nft import Count, NamedCounter, NftSet
from anycastd.model.traffic import Frame, MonthlyRate, Point, Sample, SlotTime, Volume
from anycastd.traffic.views import span_s, traffic_of, traffic_overview
from tests.unit.traffic.kernel import NOON, A
from tests.unit.traffic.test_meter import started

SLOT = int(NOON) // 300


def sample() -> Sample:
    daemon = started(A)
    daemon.kernel.carry(A, 1000, 1_250_000)
    daemon.kernel.carry(A, 20, 2000, NftSet.LIMIT_IN4)
    daemon.kernel.named = {NamedCounter.UNBOUND4: Count(4, 400)}
    daemon.kernel.wait(4.0)
    return daemon.read()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1 h", 3600), ("7d", 604_800)])
def test_a_span_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1h1m", "1h\n", "١h", "1e9s", "9" * 400 + "d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="span is a number"):
        span_s(text)


def test_an_eip_has_rates_limits_totals_drops_and_months() -> None:
    found = traffic_of(A, sample().eips[A], 3600.0, months=(MonthlyRate("2026-08", 8928, 5, 7, True),), connections=7)
    assert found["address"] == "203.0.113.10"
    assert found["since"] == "2026-09-21T14:15:00.000Z"
    assert found["rates"] == {
        "in": {"bps": 2_500_000, "pps": 250.0, "limit_bps": 10_000_000, "utilisation_percent": 25.0},
        "out": {"bps": 0, "pps": 0.0, "limit_bps": None, "utilisation_percent": None},
    }
    assert found["totals"]["in"] == {
        "packets": 1000,
        "bytes": 1_250_000,
        "dropped": {
            "limit": {"packets": 20, "bytes": 2000},
            "unbound": {"packets": 0, "bytes": 0},
            "no_path": {"packets": 0, "bytes": 0},
        },
    }
    assert found["percentile_95"] == [
        {"month": "2026-08", "points": 8928, "complete": True, "in_bps": 5, "out_bps": 7, "larger_bps": 7}
    ]
    assert found["connections"] == 7
    json.dumps(found, allow_nan=False)


def test_the_curve_is_five_minute_points_then_single_readings() -> None:
    traffic = sample().eips[A]._replace(since_unix_s=NOON)
    volume = Volume(in_bytes=3, in_packets=2, limit_out_packets=1)
    frames = [Frame(NOON + 605.0, 5.0, volume), Frame(NOON + 610.0, 5.0, Volume())]
    times = [SlotTime(SLOT - 1, 1, 300.0), SlotTime(SLOT, 1, 300.0), SlotTime(SLOT + 1, 1, 300.0)]
    points = [Point(SLOT + 1, 1, volume), Point(SLOT + 2, 1, volume)]
    found = traffic_of(A, traffic, 3600.0, points=points, times=times, frames=frames)["points"]
    assert [(point["time"][11:19], point["seconds"], point["in"]["bytes"]) for point in found] == [
        ("14:15:00", 300, 0),
        ("14:20:00", 300, 3),
        ("14:25:00", 5.0, 3),
        ("14:25:05", 5.0, 0),
    ]
    assert found[1]["out"] == {"bytes": 0, "packets": 0, "dropped_packets": {"limit": 1}}
    longer = traffic_of(A, traffic, 7200.0, points=points, times=times, frames=frames)["points"]
    assert [point["seconds"] for point in longer] == [300, 300, 300]


def test_the_pop_has_totals_and_the_drops_of_no_eip() -> None:
    found = traffic_overview(sample())
    assert (found["eips"], found["rates"]["in"]["bps"], found["totals"]["in"]["packets"]) == (3, 2_500_000, 1000)
    assert found["dropped_of_no_eip"] == {"unbound4": {"packets": 4, "bytes": 400}}
    assert found["time"] == "2026-09-21T14:15:04.000Z"
    json.dumps(found, allow_nan=False)


def test_before_the_first_reading_there_is_no_time() -> None:
    assert traffic_overview(None)["time"] is None
    assert traffic_overview(None)["eips"] == 0
