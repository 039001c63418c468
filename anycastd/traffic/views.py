"""What the API says of traffic, as JSON values. Times are ISO 8601 UTC, rates bits and packets a second (L3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from heapq import nlargest
from operator import add
from typing import Any

from anycastd.model.address import Address
from anycastd.model.nft import Count
from anycastd.model.traffic import (
    SLOT_S,
    Direction,
    EipTraffic,
    Frame,
    MonthlyRate,
    Point,
    Rates,
    Sample,
    SlotTime,
    Totals,
    Volume,
)
from anycastd.traffic.slots import slot_of

Json = dict[str, Any]
_SPAN = re.compile(r"([0-9]{1,9})\s*([smhd])", re.ASCII)
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BUSIEST = 20
_NOTHING = Count()
RECENT_S = 3600.0
"""Spans up to this are answered by single readings as far as they reach back, longer ones by 5-minute points."""


def span_s(text: str) -> float:
    """Return the seconds that a `span` says (`90s`, `30m`, `1h`, `7d`); ValueError if it says none."""
    if (found := _SPAN.fullmatch(text)) is None:
        message = f"span is a number with s, m, h or d, such as 1h, not {text[:40]!r}"
        raise ValueError(message)
    return float(found[1]) * _UNIT_S[found[2]]


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(round(unix_s, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count(count: Count) -> Json:
    return {"packets": count.packets, "bytes": count.bytes}


def _totals(totals: Totals) -> Json:
    return {
        way.value: {
            **_count(totals.passed(way)),
            "dropped": {cause.value: _count(count) for cause, count in totals.dropped(way).items()},
        }
        for way in Direction
    }


def _rates(rates: Rates) -> Json:
    return {
        "in": {"bps": round(rates.in_bps), "pps": round(rates.in_pps, 1)},
        "out": {"bps": round(rates.out_bps), "pps": round(rates.out_pps, 1)},
    }


def _limited_rates(traffic: EipTraffic) -> Json:
    rates = _rates(traffic.rates)
    limits = ((Direction.IN, traffic.standing.in_limit_bps), (Direction.OUT, traffic.standing.out_limit_bps))
    for way, limit_bps in limits:
        used = traffic.utilisation_percent(way)
        rates[way.value] |= {
            "limit_bps": limit_bps,
            "utilisation_percent": None if used is None else round(used, 1),
        }
    return rates


def _point(begin_unix_s: float, seconds: float, volume: Volume) -> Json:
    return {
        "time": _iso(begin_unix_s),
        "seconds": round(seconds, 3),
        "in": {
            "bytes": volume.in_bytes,
            "packets": volume.in_packets,
            "dropped_packets": {
                "limit": volume.limit_in_packets,
                "unbound": volume.unbound_packets,
                "no_path": volume.no_path_packets,
            },
        },
        "out": {
            "bytes": volume.out_bytes,
            "packets": volume.out_packets,
            "dropped_packets": {"limit": volume.limit_out_packets},
        },
    }


def _month(rate: MonthlyRate) -> Json:
    return {
        "month": rate.month,
        "points": rate.points,
        "complete": rate.complete,
        "in_bps": rate.in_bps,
        "out_bps": rate.out_bps,
        "larger_bps": rate.larger_bps,
    }


def _of_slots(points: Iterable[Point], times: Iterable[SlotTime], since_unix_s: float) -> dict[tuple[int, int], Volume]:
    """Return the volume of each metered slot or run since the EIP is known; slots without a point carried nothing."""
    since = slot_of(since_unix_s)
    found = {(time.slot, time.slots): Volume() for time in times if time.slot + time.slots > since}
    for point in points:
        key = (point.slot, point.slots)
        found[key] = Volume._make(map(add, found.get(key, Volume()), point.values))
    return found


def points_of(
    points: Iterable[Point], times: Iterable[SlotTime], frames: list[Frame], since_unix_s: float
) -> Iterator[Json]:
    """Yield the curve, oldest first: 5-minute points that ended before the first frame, then the frames."""
    first_s = frames[0].unix_s - frames[0].seconds if frames else float("inf")
    for (slot, slots), volume in sorted(_of_slots(points, times, since_unix_s).items()):
        if (slot + slots) * SLOT_S <= first_s:
            yield _point(slot * SLOT_S, slots * SLOT_S, volume)
    for frame in frames:
        yield _point(frame.unix_s - frame.seconds, frame.seconds, frame.volume)


def traffic_of(
    address: Address,
    traffic: EipTraffic,
    span_s: float,
    *,
    points: Iterable[Point] = (),
    times: Iterable[SlotTime] = (),
    frames: Iterable[Frame] = (),
    months: Iterable[MonthlyRate] = (),
    connections: int | None = None,
    filtered: Count = _NOTHING,
    missing: str = "",
) -> Json:
    """Return `/v1/eips/{id}/traffic`: rates, totals, monthly 95th percentiles and the curve of the last `span_s`.

    `frames` are of the span, and used up to RECENT_S. `connections` None: nobody counted them. `filtered`: dropped by
    blackholes and flow rules. `missing` says why stored history is not part of it.
    """
    shown = list(frames) if span_s <= RECENT_S else []
    return {
        "eip": traffic.standing.id,
        "address": str(address),
        "since": _iso(traffic.since_unix_s),
        "span_s": span_s,
        "rates": _limited_rates(traffic),
        "totals": _totals(traffic.totals),
        "filtered": _count(filtered),
        "connections": connections,
        "percentile_95": [_month(rate) for rate in months],
        "history_missing": missing,
        "points": list(points_of(points, times, shown, traffic.since_unix_s)),
    }


def traffic_overview(sample: Sample | None) -> Json:
    """Return the POP's traffic: rates, totals, the drops that belong to no EIP, and the busiest EIPs.

    `time` is None before a reading.
    """
    if sample is None:
        sample = Sample(0.0, 0.0, 0.0, {}, Totals(), Rates(), {})
    return {
        "time": _iso(sample.unix_s) if sample.unix_s else None,
        "eips": len(sample.eips),
        "rates": _rates(sample.pop_rates),
        "totals": _totals(sample.pop),
        "dropped_of_no_eip": {name.value: _count(count) for name, count in sample.named.items()},
        "busiest": [
            {"eip": one.standing.id, "address": str(address), "rates": _limited_rates(one)}
            for address, one in nlargest(BUSIEST, sample.eips.items(), key=_busy)
            if _busy((address, one)) > 0
        ],
    }


def _busy(item: tuple[Address, EipTraffic]) -> float:
    rates = item[1].rates
    return rates.in_bps + rates.out_bps
