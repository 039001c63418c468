"""The EIPs on the status page."""

from __future__ import annotations

from typing import Any

from anycastd.cli.eip_render import STATUS_EIPS, speed_text, status_eip_lines


def eip(address: str, *ways: tuple[str, float], out_bps: int | None = None) -> dict[str, Any]:
    shares = [{"backend": backend, "percent": percent} for backend, percent in ways]
    return {
        "address": address,
        "status": "BIND",
        "placement": {"shares": shares},
        "association": None,
        "bandwidth": {"in_bps": None, "out_bps": out_bps, "shaping": "police"},
    }


def busy(address: str, in_bps: int, out_bps: int, used_percent: float | None) -> dict[str, Any]:
    way = {
        "in": {"bps": in_bps, "utilisation_percent": None},
        "out": {"bps": out_bps, "utilisation_percent": used_percent},
    }
    return {"address": address, "rates": way}


def test_the_busiest_come_first_with_their_rates_and_what_is_nearly_full() -> None:
    page = {
        "eips": [
            eip("203.0.113.9", ("eu/web-1", 100.0)),
            eip("203.0.113.10", ("eu/web-1", 67.0), ("eu/web-2", 33.0), out_bps=200_000_000),
        ]
    }
    traffic = {"eips": 2, "busiest": [busy("203.0.113.10", 41_000_000, 188_000_000, 94.0)]}
    assert status_eip_lines(page, traffic, colour=False) == [
        "EIP           STATUS  TO                     IN         OUT  LIMIT (in/out)",
        "203.0.113.10  BIND    eu/web-1 67 %   41 Mbit/s  188 Mbit/s  -/200mbit       out at 94 %",
        "                      eu/web-2 33 %",
        "203.0.113.9   BIND    eu/web-1 100 %          0           0  -",
    ]


def test_many_are_counted() -> None:
    page = {"eips": [eip(f"203.0.113.{number}", ("eu/web-1", 100.0)) for number in range(STATUS_EIPS + 5)]}
    lines = status_eip_lines(page, {"eips": 10_000, "busiest": []}, colour=False)
    assert lines[-1] == f"and {10_000 - STATUS_EIPS} more: anycastd eip list"
    assert len(lines) == STATUS_EIPS + 2


def test_without_eips_there_is_no_table() -> None:
    assert status_eip_lines({"eips": []}, {"eips": 0, "busiest": []}, colour=False) == []


def test_rates_are_told_in_their_unit() -> None:
    told = [speed_text(bps) for bps in (0, 640, 64_000, 1_500_000, 188_400_000, 999_600_000, 12_340_000_000)]
    assert told == ["0", "640 bit/s", "64 kbit/s", "1.5 Mbit/s", "188 Mbit/s", "1 Gbit/s", "12.3 Gbit/s"]
