"""The views as pure functions: sentences, readiness, and what explain says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.api.shapes.answers import Result
from anycastd.api.views.checks import checks, result, tunnels
from anycastd.api.views.explain import MAX_CHECK_LINES, explain
from anycastd.api.views.moments import iso, span
from anycastd.api.views.neighbors import difference, neighbors
from anycastd.api.views.overview import overview
from anycastd.api.views.prefixes import find
from anycastd.api.views.readiness import readiness
from anycastd.api.views.seen import WORDS
from anycastd.model.address import CheckId, NeighborName
from anycastd.model.bgp import Route, SessionState, SessionView
from anycastd.model.decision import Level, PrefixState, Reason
from anycastd.model.fleet import NotCounted
from anycastd.model.health import CheckState, Health, SelfTestView
from anycastd.model.probe import Note, ProbeResult, Why
from anycastd.model.status import Alarm, AlarmView, Status
from anycastd.model.topology import Role
from tests.unit import status_builder as build
from tests.unit.status_builder import NOW_S, TRANSIT_A, TRANSIT_B, V4, V6

ISOLATED = """\
203.0.113.0/24 is announced at preference DEPREF 3 to transit-a and transit-b since 14:12:42 (38 s)
  why        static guard: nobody to ask whether 2 other POPs announce it: it stays, depreferenced
  do         mend tunnels eu-central/euc-1, eu-central/euc-2, us-east/use-1
             if others do announce it: anycastd override prefix 203.0.113.0/24 --level withdrawn --force --reason TEXT
  checks     eu-central/euc-1            path  UNHEALTHY  timeout (no answer within 0.3 s)  since 14:12:42.050
             eu-central/euc-2            path  UNHEALTHY  timeout (no answer within 0.3 s)  since 14:12:42.050
             us-east/use-1               path  UNHEALTHY  timeout (no answer within 0.3 s)  since 14:12:42.050
             eu-central/web-1 via euc-1  web   HEALTHY    12.0 ms                           14:13:20.050
             eu-central/web-2 via euc-1  web   HEALTHY    12.0 ms                           14:13:20.050
             eu-central/web-1 via euc-2  web   HEALTHY    12.0 ms                           14:13:20.050
             eu-central/web-2 via euc-2  web   HEALTHY    12.0 ms                           14:13:20.050
             us-east/web-1 via use-1     web   HEALTHY    12.0 ms                           14:13:20.050
  self-test  ok         its targets answer: the fault is not this machine
  health     pop fra: fault none
             region eu-central: UNHEALTHY  0 of 2 tunnels, 2 of 2 backends healthy
             region us-east: UNHEALTHY  0 of 1 tunnels, 1 of 1 backends healthy
  rules      health         -> WITHDRAWN (unable_to_serve): 0 of 2 regions usable, any wanted; not usable: \
eu-central, us-east
             withdraw_guard -> HOLD at DEPREF 3 (static_guard): nobody to ask whether 2 other POPs announce it: \
it stays, depreferenced
  sent       announce as-path [64500 x4] community 64496:100 to transit-a
             announce as-path [64500 x4] community 64497:100 to transit-b
             14:12:42.248 NORMAL -> DEPREF, decided 2.1 ms after it was seen, commanded 0.4 ms later, \
acknowledged after 2.1 ms
  observed   transit-a: as wanted
             transit-b: as wanted
             last read in full at 14:13:08
  kernel     blackhole in the kernel; the packet filter's rules stand
             region eu-central: through eu-central/euc-1 via 10.255.1.2 dev vx-1 (best first); route in the kernel
             region us-east: through us-east/use-1 via 10.255.3.2 dev vx-3 (best first); route in the kernel
  would change it: enough usable again -> announced, first depreferenced"""

DEGRADED = (
    "eu-central/euc-2 path DEGRADED loss 6 % above 5 % for 12 s since 14:13:07.850",
    "checks us-east/web-1 via use-1 web UNHEALTHY failures 50 % above 40 % for 1 min 15 s since 14:12:05.250",
    "region eu-central: HEALTHY 1 of 2 tunnels, 2 of 2 backends healthy; degraded: 1 of 2 tunnels, 0 of 2 backends",
)

STARTING = """\
203.0.113.0/24 is not announced yet since 14:13:19 (0 s)
  why        first checks: cannot tell yet of regions: eu-central, us-east
  do         nothing: the first verdicts are awaited
  checks     eu-central/euc-1            path  INITIAL  no result yet
             eu-central/web-1 via euc-1  web   INITIAL  no result yet
             eu-central/web-2 via euc-1  web   INITIAL  no result yet
             eu-central/euc-2            path  INITIAL  no result yet
             eu-central/web-1 via euc-2  web   INITIAL  no result yet
             eu-central/web-2 via euc-2  web   INITIAL  no result yet
             us-east/use-1               path  INITIAL  no result yet
             us-east/web-1 via use-1     web   INITIAL  no result yet
  self-test  PENDING    no verdict yet
"""


def told(status: Status) -> str:
    return "\n".join(explain(status, status.prefixes[V4])["text"])


def test_explain_says_why_an_isolated_pop_stays() -> None:
    assert told(build.isolated()) == ISOLATED


def test_explain_and_status_tell_who_is_counted_and_who_is_not() -> None:
    status = build.in_a_fleet()
    text = told(status)
    assert "  fleet      iad: not counted, its beacon stands still" in text
    assert "             sin: counted, NORMAL, and it has seen our present DEPREF" in text
    said = overview(status)
    assert said["guard"] == said["fleet"]["guard"] == "echo"
    assert [(one["pop"], one["why"], one["beacon_age_s"]) for one in said["fleet"]["pops"]] == [
        ("sin", None, 0.4),
        ("iad", "stale", 40.0),
        ("hkg", "not_heard", None),
    ]
    assert said["fleet"]["observers"][0] == {
        "observer": "rr1", "established": True, "heard": 70, "foreign": 1, "unreadable": 2, "flooded": 3
    }  # fmt: skip
    assert set(WORDS) == set(NotCounted)


def test_a_session_with_an_observer_alone_does_not_make_a_pop_ready() -> None:
    status = build.serving()
    rr = replace(status.config.neighbors[TRANSIT_A], name=NeighborName("rr"), role=Role.OBSERVER)
    neighbors = {**status.config.neighbors, rr.name: rr}
    sessions = {rr.name: SessionView(SessionState.ESTABLISHED)}
    seen = replace(
        status, config=replace(status.config, neighbors=neighbors), bgp=replace(status.bgp, sessions=sessions)
    )
    told = {one["condition"]: one for one in readiness(seen)["conditions"]}["sessions"]
    assert (told["ok"], told["reason"]) == (False, "0 of 2 sessions established")


def test_a_pop_alone_says_nothing_of_others() -> None:
    assert "\n  fleet " not in told(build.isolated())
    assert overview(build.isolated())["fleet"]["pops"] == []


def test_explain_works_before_anything_is_known() -> None:
    text = told(build.starting())
    assert text.startswith(STARTING)
    assert "  observed   ExaBGP has not said what it sends\n" in text
    assert "blackhole not known; the packet filter's rules stand" in text


def test_explain_shows_a_route_that_is_not_as_wanted_and_a_session_that_is_down() -> None:
    good = build.serving()
    wanted = good.wanted_routes[TRANSIT_A][V4]
    routes = {TRANSIT_A: {V4: replace(wanted, as_path=(64500,) * 4)}, TRANSIT_B: {}}
    down = {**good.bgp.sessions, TRANSIT_B: SessionView(SessionState.DOWN, NOW_S - 5, "hold timer expired")}
    text = told(replace(good, bgp=replace(good.bgp, routes=routes, sessions=down)))
    assert "transit-a: sent with as-path [64500 x4] community 64496:100, wanted with as-path [64500]" in text
    assert "transit-b: not sent; session down (hold timer expired)" in text


def test_explain_shows_what_is_missing_in_the_kernel() -> None:
    good = build.serving()
    text = told(replace(good, kernel=replace(good.kernel, routes=frozenset())))
    assert "blackhole MISSING; the packet filter's rules stand" in text
    assert "via 10.255.1.2 dev vx-1 (best first); route MISSING" in text


@pytest.mark.parametrize(
    ("state", "level", "words"),
    [
        (PrefixState.FAILED, Level.NORMAL, "is wanted at preference NORMAL, and no established neighbor has it, since"),
        (PrefixState.WITHDRAWN, Level.WITHDRAWN, "is withdrawn since"),
        (PrefixState.WITHDRAWING, Level.WITHDRAWN, "is being withdrawn since"),
        (PrefixState.PENDING, Level.DEPREF, "is being announced at preference DEPREF 3 since"),
    ],
)
def test_the_first_line_tells_every_state(state: PrefixState, level: Level, words: str) -> None:
    status = build.with_views(build.config(), {V4: build.view_of(build.decision(V4, level), state)})
    assert f"203.0.113.0/24 {words}" in explain(status, status.prefixes[V4])["headline"]


def test_of_many_checks_the_failing_ones_are_shown_and_the_rest_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anycastd.api.views.explain.MAX_CHECK_LINES", 4)
    assert MAX_CHECK_LINES == 12
    text = told(build.isolated())
    assert text.count("UNHEALTHY  timeout") == 3
    assert "             and 4 more, all passing\n" in text


def test_a_suspected_checker_is_told() -> None:
    good = build.isolated()
    test = SelfTestView(Health.UNHEALTHY, NOW_S + 20, "5 targets in 2 regions and gateway")
    text = told(replace(good, health=replace(good.health, self_test=test)))
    assert "  self-test  SUSPECT  5 targets in 2 regions and gateway\n" in text


def test_the_time_left_is_counted_now_and_not_when_the_rule_spoke() -> None:
    good = build.serving()
    later = replace(good, now_s=good.now_s + 10, wall_s=good.wall_s + 10)
    assert overview(good)["prefixes"][1]["why"] == "slow start, next step in 19 s"
    assert overview(later)["prefixes"][1]["why"] == "slow start, next step in 9 s"


def test_a_held_change_is_told_with_what_holds_it() -> None:
    why = overview(build.isolated())["prefixes"][0]["why"]
    assert why.startswith("static guard: nobody to ask whether 2 other POPs announce it")


def test_a_bad_tunnel_says_which_check_and_how_it_ended() -> None:
    found = {entry["tunnel"]: entry["why"] for entry in tunnels(build.isolated())["tunnels"]}
    assert found["eu-central/euc-1"] == "path: timeout (no answer within 0.3 s)"


def test_a_check_without_a_result_is_shown_as_initial() -> None:
    entries = checks(build.starting())["checks"]
    assert {entry["health"] for entry in entries} == {"INITIAL"}
    assert entries[-1]["id"] == "self/gateway/path"


def test_neighbors_tell_what_parts_wanted_from_observed() -> None:
    good = build.serving()
    stray = Route(V6, "2001:db8::1", (64500, 64500))
    routes = {TRANSIT_A: {**good.wanted_routes[TRANSIT_A], V6: stray}, TRANSIT_B: {}}
    body = neighbors(replace(good, bgp=replace(good.bgp, routes=routes)))
    first, second = body["neighbors"]
    assert first["routes"] == {"desired": 2, "observed": 2, "as_wanted": 1}
    assert first["differences"][0].startswith("2001:db8:113::/48: sent with as-path [64500 x2], wanted with")
    assert second["differences"] == ["203.0.113.0/24: not sent", "2001:db8:113::/48: not sent"]


def test_before_exabgp_has_told_anything_no_difference_is_claimed() -> None:
    entry = neighbors(build.starting())["neighbors"][0]
    assert (entry["observed"], entry["differences"], entry["routes"]["observed"]) == (None, [], None)


def test_differences_in_words() -> None:
    route = Route(V4, "192.0.2.1", (64500,), med=10)
    assert difference(route, route) == ""
    assert difference(None, route) == "sent, not wanted"
    assert difference(route, replace(route, next_hop="192.0.2.9")) == "sent with next hop 192.0.2.9, wanted 192.0.2.1"
    assert (
        difference(route, replace(route, med=None)) == "sent with as-path [64500], wanted with as-path [64500] med 10"
    )


def broken(status: Status) -> set[str]:
    return {entry["condition"] for entry in readiness(status)["conditions"] if not entry["ok"]}


def test_each_condition_of_readiness_can_fail_alone() -> None:
    good = build.serving()
    assert broken(good) == set()
    assert broken(replace(good, stopping=True)) == {"not_stopping"}
    assert broken(replace(good, bgp=replace(good.bgp, sessions={}))) == {"sessions"}
    assert broken(replace(good, bgp=replace(good.bgp, routes=None))) == {"observation"}
    assert broken(replace(good, kernel=replace(good.kernel, rules=frozenset()))) == {"data_plane"}
    failed = {**good.prefixes, V4: replace(good.prefixes[V4], state=PrefixState.FAILED)}
    assert broken(replace(good, prefixes=failed)) == {"prefixes"}
    assert broken(replace(good, prefixes={})) == {"decided"}
    stage = AlarmView(Alarm.STAGE_FAILED, "watch", NOW_S - 4, "KeyError")
    assert broken(replace(good, alarms=(stage,))) == {"stages"}


def test_a_pop_that_begins_is_not_ready() -> None:
    assert broken(build.starting()) == {"speaker", "observation", "sessions", "data_plane", "decided"}


def test_a_route_over_a_dead_tunnel_is_not_missing() -> None:
    good, dead = build.serving(), build.isolated()
    kept = frozenset(route for route in dead.wanted_kernel_routes if route.device is None)
    assert replace(dead, kernel=replace(dead.kernel, routes=kept)).kernel_missing == 0
    assert replace(good, kernel=replace(good.kernel, routes=kept)).kernel_missing > 0


def test_the_pop_is_serving_partly_silent_or_stopping() -> None:
    good = build.serving()
    gone = replace(good.prefixes[V6], state=PrefixState.WITHDRAWN)
    states = [
        good,
        replace(good, prefixes={**good.prefixes, V6: gone}),
        replace(good, prefixes={V6: gone}),
        replace(good, stopping=True),
    ]
    assert [overview(state)["state"] for state in states] == ["serving", "partly", "silent", "stopping"]


def test_an_address_finds_the_longest_prefix_that_holds_it() -> None:
    good = build.serving()
    found = find(good, " 2001:db8:113::1 ")
    assert found is not None
    assert found.prefix == V6
    assert find(good, "203.0.113.0/25") is None
    assert find(good, "10.0.0.1") is None


def test_milliseconds_are_rounded_and_not_cut() -> None:
    good = replace(build.serving(), wall_s=1_790_000_000.9996)
    assert iso(good, good.now_s) == "2026-09-21T14:13:21.000Z"
    assert iso(good, None) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (341, "5 min 41 s"), (1501, "25 min"), (3600, "1 h"),
     (7260, "2 h 1 min"), (86400, "1 d"), (273900, "3 d 4 h"), (9_000_000, "104 d")],
)  # fmt: skip
def test_lengths_of_time_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_check_that_we_cannot_run_says_how() -> None:
    good = build.serving()
    id_ = CheckId("tunnel/eu-central/euc-1/path")
    last = ProbeResult(id_, Why.NO_PERMISSION, NOW_S - 1, NOW_S - 1, "ping_group_range")
    state = CheckState(id_, Health.UNKNOWN, NOW_S - 9, broken=9, last=last)
    assert "UNKNOWN  no permission (ping_group_range)" in told(replace(good, checks={**good.checks, id_: state}))


def test_a_result_says_when_the_certificate_ends() -> None:
    note = Note(certificate_ends_s=1_800_000_000.0, warning="soon")
    last = ProbeResult(CheckId("x"), Why.ANSWERED, NOW_S, NOW_S, note=note)
    shown = result(build.serving(), last)
    assert shown is not None
    assert (shown["certificate_ends"], shown["warning"]) == ("2027-01-15T08:00:00.000Z", "soon")
    Result.model_validate(shown)


def test_holds_are_named_by_their_reason() -> None:
    entry = explain(build.isolated(), build.isolated().prefixes[V4])
    assert entry["prefix"]["hold"] == Reason.STATIC_GUARD.value
    assert [rule["holds"] for rule in entry["rules"]] == [False, True]


def test_what_a_window_exceeds_is_told_with_since_when() -> None:
    status = build.degraded()
    text = [" ".join(line.split()) for line in explain(status, status.prefixes[V4])["text"]]
    assert [line for line in DEGRADED if line not in text] == []
    shown = {entry["id"]: entry for entry in checks(status)["checks"]}
    path = shown["tunnel/eu-central/euc-2/path"]
    assert path["window"]["exceeded"] == [
        {"measure": "loss", "value": 6.0, "limit": 5.0, "unit": "%", "since": "2026-09-21T14:13:07.850Z", "age_s": 12.4}
    ]
    assert shown["tunnel/eu-central/euc-1/path"]["window"] == {
        "results": 20, "failures_percent": 0.0, "loss_percent": 0.0, "latency_ms": 8.1, "jitter_ms": 0.2,
        "exceeded": [],
    }  # fmt: skip
    loss = {entry["tunnel"]: (entry["loss_percent"], entry["why"]) for entry in tunnels(status)["tunnels"]}
    assert loss["eu-central/euc-2"] == (6.0, "path: loss 6 % above 5 %")
    assert loss["eu-central/euc-1"][0] == 0.0
