"""Attacks in the API, the metrics and the CLI, of one state."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from anycastd.api.shapes.attack import Attacks, AttackSummary
from anycastd.api.views.attack import attacks, summary
from anycastd.api.views.overview import overview
from anycastd.cli.attack import short, status_lines
from anycastd.cli.render import status_lines as pop_lines
from anycastd.model.attack import AttackReason, AttackState, AttackView, Rate, Shape, Share, Standing
from anycastd.model.status import Status
from anycastd.telemetry.collector import gauges
from tests.unit.status_builder import NOW_S, serving

NORMAL, ELEVATED, ATTACK = AttackState
A, B = ip_address("203.0.113.7"), ip_address("2001:db8:113::7")
SHAPE = Shape(
    1962, 1228.4, (Share("udp", 98.0), Share("tcp ack", 2.0)), (Share("80", 50.0),), (Share("192.0.2.0/24", 4.0),),
    (Share("53", 97.0),), spoofed=True,
)  # fmt: skip
WHY = AttackReason
POP = Standing(
    ATTACK, NOW_S - 12.0, (WHY.PACKETS_ABOVE_USUAL,), Rate(184e3, 1.9e9, 900.0, 167e3), Rate(6.1e3, 40e6, 20.0),
    "184 kpps", SHAPE,
)  # fmt: skip
BAD = Standing(ATTACK, NOW_S - 13.0, (WHY.BITS_ABOVE_USUAL,), Rate(181e3, 1.8e9), Rate(1.2e3, 9.81e6), "181 kpps")
ODD = Standing(ELEVATED, NOW_S - 3.0, (WHY.DROPPED_BY_LIMIT,), Rate(3e3, 1e6), Rate(), "3 kpps")
UNDER = AttackView(NOW_S, POP, {B: ODD, A: BAD})


@pytest.fixture
def under() -> Status:
    return replace(serving(), attack=UNDER)


def test_the_worst_comes_first_and_the_shape_is_as_promised(under: Status) -> None:
    body = attacks(under)
    Attacks.model_validate(body)
    assert body["state"] == "ATTACK"
    assert [one["subject"] for one in body["eips"]] == [str(A), str(B)]
    assert body["pop"]["shape"]["spoofed"]
    assert body["pop"]["rate"]["new_connections"] == 900.0
    assert body["eips"][0]["rate"]["new_connections"] is None
    assert (body["eips"][0]["age_s"], body["eips"][0]["detail"]) == (13.0, "181 kpps")


def test_in_few_words(under: Status) -> None:
    said = summary(under)
    AttackSummary.model_validate(said)
    assert said["text"] == "the POP is ATTACK: 184 kpps; 1 EIPs ATTACK; 1 EIPs ELEVATED"
    calm = summary(serving())
    assert (calm["state"], calm["text"]) == ("NORMAL", "")


def test_the_table_of_the_command(under: Status) -> None:
    lines = status_lines(attacks(under), colour=False)
    assert lines[1].split() == [
        "POP",
        "ATTACK",
        "12",
        "s",
        "184",
        "kpps",
        "6.1",
        "kpps",
        "1.9",
        "Gbit/s",
        "40",
        "Mbit/s",
        "900",
        "/s",
        "91",
        "%",
        "packets_above_usual",
    ]
    assert lines[2].startswith("203.0.113.7")
    assert lines[2].split()[-4:] == ["-", "0", "%", "bits_above_usual"], "nobody counted its new connections"
    assert "to the POP, of 1962 sampled packets of 1228 bytes on average:" in lines
    assert "  from port  53 97 %" in lines
    assert lines[-1] == "  sources look random: nearly every packet has another"


def test_the_line_of_the_page(under: Status) -> None:
    assert any(line.startswith("attack: the POP is ATTACK") for line in pop_lines(overview(under), colour=False))
    assert not any(line.startswith("attack") for line in pop_lines(overview(serving()), colour=False))


def test_the_metrics(under: Status) -> None:
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in gauges(under, [])
        for sample in family.samples
    }
    assert found["anycastd_attack_state", "pop"] == found["anycastd_attack_state", str(A)] == 2.0
    assert found["anycastd_attack_rate", str(A), "packets"] == 181e3
    assert ("anycastd_attack_rate", str(A), "connections") not in found
    assert found["anycastd_attack_usual_rate", "pop", "bits"] == 40e6


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 pps"), (999.4, "999 pps"), (12_345.0, "12.3 kpps"), (5e9, "5 Gpps")]
)
def test_rates_are_short(value: float, text: str) -> None:
    assert short(value, "pps") == text
