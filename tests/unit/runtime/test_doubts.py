"""A storm of verdicts: the first is followed at once, the others together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from anycastd.model.address import BackendId, CheckId, Prefix, RegionName
from anycastd.model.checks import ProbeSpec
from anycastd.model.health import Health
from anycastd.model.probe import Why
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.doubts import FEW, REST_EACH_S, Doubted, Doubts
from tests.unit.runtime.world import World, config

EU, US = RegionName("eu"), RegionName("us")
MANY = 400


def crowded() -> World:
    """Return a world whose region eu has many backends."""
    made = config()
    first = next(one for one in made.backends.values() if one.region == EU)
    names = [BackendId(f"eu/w{number}") for number in range(MANY)]
    backends = {**made.backends, **{name: replace(first, id=name) for name in names}}
    regions = {**made.regions, EU: replace(made.regions[EU], backends=(*made.regions[EU].backends, *names))}
    probes = list[ProbeSpec](made.probes)
    for name in names:
        for spec in [spec for spec in made.probes if spec.backend == first.id]:
            probes.append(replace(spec, id=CheckId(spec.id.replace(first.id, name)), backend=name))
    return World(replace(made, backends=backends, regions=regions, probes=tuple(probes)))


def test_small_regions_never_rest() -> None:
    doubts, regions = Doubts(), config().regions
    assert doubts.take(regions, 1.0) is None
    for _ in range(3):
        doubts.add(EU, 0.5)
        assert doubts.next_s() is not None
        assert doubts.take(regions, 1.0) == Doubted(frozenset({EU}), 0.5)
    assert doubts.next_s() is None


def test_a_large_region_rests_and_then_everything_is_looked_at_together() -> None:
    doubts, regions = Doubts(), dict(config().regions)
    regions[EU] = replace(regions[EU], backends=tuple(BackendId(f"eu/{n}") for n in range(FEW * 10)))
    rest_s = FEW * 10 * REST_EACH_S
    doubts.add(EU, 1.0)
    assert doubts.take(regions, 1.0) == Doubted(frozenset({EU}), 1.0)
    for region, seen_s in ((EU, 1.001), (US, 1.002), (None, 1.003), (EU, 1.004)):
        doubts.add(region, seen_s)
        assert doubts.take(regions, seen_s) is None
    assert doubts.next_s() == 1.0 + rest_s
    both = Doubted(frozenset({EU, US}), 1.001)
    assert doubts.take(regions, 1.0 + rest_s) == both, "the self-test belongs to no region"
    assert doubts.take(regions, 3.0) is None


@pytest.mark.slow
def test_of_hundreds_of_backends_that_fail_at_once_each_is_seen_with_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    world, looks = crowded(), list[float]()
    world.answer("")
    view = world.control.beliefs.view
    assert {one.health for one in view.backends.values()} == {Health.HEALTHY}
    refresh = Beliefs.refresh

    def counted(self: Beliefs, now_s: float, only: frozenset[RegionName] | None = None) -> list[Sequence[Prefix]]:
        looks.append(now_s)
        return refresh(self, now_s, only)

    monkeypatch.setattr(Beliefs, "refresh", counted)
    world.answer("backend/eu/", Why.TIMEOUT)
    assert len(looks) == 1, "the first is followed at once"
    world.wait(0.1)
    view = world.control.beliefs.view
    assert {one.health for one in view.backends.values() if one.region == EU} == {Health.UNHEALTHY}
    assert len(looks) == 2
    assert view.regions[EU].health is Health.UNHEALTHY
    assert view.regions[US].health is Health.HEALTHY
