"""A standby in the rules: silent it counts for nobody, leaving it asks the guard, alone it comes back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from anycastd.model.bgp import BgpObserved, Route, SessionState, SessionView, SpeakerState
from anycastd.model.decision import Level, Memory, Reason, Truth
from anycastd.model.fleet import Claim, NotCounted, Others, Uncounted
from anycastd.model.spread import Extra
from anycastd.model.topology import Config, PrefixSpec
from anycastd.policy.claims import claim_of
from anycastd.policy.desired import level_of, route_for
from anycastd.policy.draft import Facts, Order
from anycastd.policy.engine import decide
from tests.unit.policy.pops import TWO, UP, V4, pop

SPEC = PrefixSpec(prefix=ip_network("203.0.113.0/24"), min_announcers=1)
SILENT, LEAVING, CALLED = (Order(level, False, "") for level in (Level.WITHDRAWN, Level.DEPREF, Level.NORMAL))
ALONE = Others(pops=2, uncounted=(Uncounted("lon", NotCounted.GONE),))
SEEN = Others(pops=2, present=("lon",), normal=("lon",), uncounted=(Uncounted("lon", NotCounted.NOT_ECHOED),))


def facts(call: Order, fleet: Others | None = SEEN, condition: Truth = Truth.TRUE, **more: object) -> Facts:
    return replace(Facts(now_s=1000.0, spec=SPEC, condition=condition, fleet=fleet, standby=call), **more)  # type: ignore[arg-type]


ABSENT, HERE = Memory(), Memory(level=Level.NORMAL, was_announced=True, fine_since_s=0.0)


def test_a_silent_standby_stays_away_and_is_called_in_at_once() -> None:
    decision, memory = decide(facts(SILENT), ABSENT)
    assert (decision.level, decision.reason, decision.hold) == (Level.WITHDRAWN, Reason.STANDBY, None)
    decision, _ = decide(facts(CALLED), memory)
    assert (decision.level, decision.reason) == (Level.NORMAL, Reason.SERVING)


def test_called_again_it_is_normal_if_it_was_fine_all_the_time_and_slow_if_not() -> None:
    away = Memory(was_announced=True, fine_since_s=0.0)
    assert decide(facts(CALLED), away)[0].level is Level.NORMAL
    assert decide(facts(CALLED), replace(away, fine_since_s=950.0))[0].level is Level.DEPREF


def test_called_on_it_announces_no_more_than_health_allows() -> None:
    assert decide(facts(CALLED, condition=Truth.FALSE), ABSENT)[0].level is Level.WITHDRAWN
    assert decide(facts(CALLED, condition=Truth.FALSE), HERE)[0].level is Level.DEPREF


@pytest.mark.parametrize("call", [LEAVING, SILENT])
def test_it_leaves_by_way_of_depref(call: Order) -> None:
    decision, memory = decide(facts(call), HERE)
    assert decision.level is Level.DEPREF
    assert memory.epoch == HERE.epoch + 1, "others must see that it leaves"


def test_it_withdraws_only_when_others_confirm_it() -> None:
    leaving = replace(HERE, level=Level.DEPREF, epoch=7)
    decision, _ = decide(facts(SILENT), leaving)
    assert (decision.level, decision.hold) == (Level.DEPREF, Reason.NOT_ENOUGH_ANNOUNCERS)
    confirmed = replace(SEEN, entry=7, counted=("lon",), uncounted=())
    decision, _ = decide(facts(SILENT, confirmed), leaving)
    assert (decision.level, decision.trail[-1].reason) == (Level.WITHDRAWN, Reason.OTHERS_CONFIRMED)
    decision, _ = decide(facts(SILENT, None), leaving)
    assert (decision.level, decision.hold) == (Level.DEPREF, Reason.STATIC_GUARD)


def test_while_too_few_others_are_there_it_comes_uncalled() -> None:
    decision, _ = decide(facts(SILENT, ALONE), ABSENT)
    assert decision.level is Level.DEPREF


def test_by_hand_it_announces_uncalled() -> None:
    ordered = Order(Level.NORMAL, False, "ops")
    assert decide(facts(SILENT, override=ordered), ABSENT)[0].level is Level.NORMAL


def test_extras_cost_a_change_once_and_only_at_normal() -> None:
    extras = (Extra(UP, 1),)
    decision, memory = decide(facts(CALLED, extras=extras), HERE)
    assert decision.extras == extras
    assert memory.penalty.plain == 500.0
    assert decide(facts(CALLED, extras=extras), memory)[1].penalty.plain == 500.0
    assert decide(facts(LEAVING, extras=extras), HERE)[0].extras == ()


def sent(config: Config, route: Route | None) -> BgpObserved:
    routes = {UP: {} if route is None else {V4: route}}
    return BgpObserved(SpeakerState.READY, routes, {UP: SessionView(SessionState.ESTABLISHED)})


@pytest.mark.parametrize(("prepend", "claim"), [(None, Claim.GONE), (0, Claim.NORMAL), (1, Claim.DEPREF)])
def test_the_beacon_says_no_more_than_what_is_so(prepend: int | None, claim: Claim) -> None:
    config = pop({"eu": TWO})
    spec, neighbor = config.prefixes[V4], config.neighbors[UP]
    decision = decide(Facts(now_s=1000.0, spec=spec, condition=Truth.TRUE), HERE)[0]
    route = None if prepend is None else route_for(neighbor, spec, Level.NORMAL, extra=Extra(UP, prepend))
    assert claim_of(config, decision, sent(config, route)) is claim


@pytest.mark.parametrize("prepend", [1, 2, 3])
@pytest.mark.parametrize("asn", [64496, 64500])
def test_a_longer_path_that_is_known_is_no_lower_level(prepend: int, asn: int) -> None:
    config = pop({"eu": TWO})
    spec, neighbor = config.prefixes[V4], replace(config.neighbors[UP], asn=asn, local_asn=64500)
    extra = Extra(UP, prepend, ("64496:3",))
    route = route_for(neighbor, spec, Level.NORMAL, extra=extra)
    assert route is not None
    assert level_of(neighbor, spec, route, extra) is Level.NORMAL
    assert level_of(neighbor, spec, route) is Level.DEPREF
    below = route_for(neighbor, spec, Level.DEPREF, extra=extra)
    assert below == route_for(neighbor, spec, Level.DEPREF)
