"""S22, the judging: a table of looks, each with what came of the action."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from anycastd.model.decision import Level
from anycastd.model.effect import Action, Effect, Look
from anycastd.model.safety import EffectConfig
from anycastd.policy.effect import judge

SPEC = EffectConfig()
N, D, G, W = Level.NORMAL, Level.DEPREF, Level.GSHUT, Level.WITHDRAWN
DOWN = Action(ip_network("203.0.113.0/24"), N, D, 1000.0, baseline_bps=100e6)
GONE, BACK = replace(DOWN, before=D, after=W), replace(DOWN, before=D, after=N, baseline_bps=1e6, normal_bps=100e6)
SENT = Look(60.0, as_decided=True, established=1, rate_bps=50e6)


@pytest.mark.parametrize(
    ("action", "look", "effect", "words"),
    [
        (DOWN, SENT, Effect.EFFECT_SEEN, "100.0 Mbit/s before, 50.0 Mbit/s now"),
        (DOWN, replace(SENT, rate_bps=89e6), Effect.EFFECT_SEEN, ""),
        (DOWN, replace(SENT, rate_bps=91e6), Effect.TRAFFIC_STAYED, "it should have fallen by 10 %"),
        (replace(DOWN, after=G), replace(SENT, rate_bps=91e6), Effect.TRAFFIC_STAYED, ""),
        (DOWN, replace(SENT, after_s=10.0, rate_bps=100e6), Effect.EFFECT_NOT_MEASURED, "traffic says nothing yet"),
        (DOWN, replace(SENT, rate_bps=None), Effect.EFFECT_NOT_MEASURED, ""),
        (replace(DOWN, baseline_bps=0.9e6), replace(SENT, rate_bps=0.9e6), Effect.EFFECT_NOT_MEASURED, "too little"),
        (replace(DOWN, baseline_bps=None), SENT, Effect.EFFECT_NOT_MEASURED, "too little"),
        (DOWN, replace(SENT, as_decided=False), Effect.ROUTE_NOT_SENT, "ExaBGP does not send what was decided"),
        (DOWN, replace(SENT, after_s=10.0, as_decided=False), Effect.ROUTE_NOT_SENT, ""),
        (DOWN, replace(SENT, established=0), Effect.NO_SESSION, "no neighbor"),
        (GONE, replace(SENT, established=0, rate_bps=1e6), Effect.EFFECT_SEEN, ""),
        (GONE, SENT, Effect.TRAFFIC_STAYED, "it should have fallen by 80 %"),
        (GONE, replace(SENT, rate_bps=19e6), Effect.EFFECT_SEEN, ""),
        (BACK, SENT, Effect.EFFECT_SEEN, "100.0 Mbit/s when it was last NORMAL"),
        (BACK, replace(SENT, rate_bps=9e6), Effect.TRAFFIC_DID_NOT_COME, "10 % of it should have come"),
        (replace(BACK, normal_bps=None), replace(SENT, rate_bps=0.0), Effect.EFFECT_NOT_MEASURED, "not known"),
        (replace(BACK, before=W, after=D), replace(SENT, rate_bps=0.0), Effect.EFFECT_NOT_MEASURED, "not known"),
        (replace(BACK, before=W), replace(SENT, established=0), Effect.NO_SESSION, ""),
    ],
)
def test_what_came_of_it(action: Action, look: Look, effect: Effect, words: str) -> None:
    found, detail = judge(action, look, SPEC)
    assert found is effect
    assert words in detail
    assert detail.startswith(f"{action.before.name} -> {action.after.name}, {look.after_s:.0f} s ago")


def test_what_is_missing_is_told_from_what_is_not_known() -> None:
    assert {effect for effect in Effect if not effect.is_missing} == {Effect.EFFECT_SEEN, Effect.EFFECT_NOT_MEASURED}
