"""Every alarm: what raises it, what clears it, and since when it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from anycastd.model.address import CheckId
from anycastd.model.bgp import SessionState, SessionView, SpeakerState
from anycastd.model.checks import ProbeSpec
from anycastd.model.decision import Reason
from anycastd.model.eip import EipId, WhenUnhealthy
from anycastd.model.fleet import FleetFault
from anycastd.model.kernel import KernelObserved, RouteKind
from anycastd.model.nft import NftSet
from anycastd.model.probe import Note, ProbeResult, Why
from anycastd.model.status import Alarm, AlarmView, LoopView, Status
from anycastd.model.topology import SelfTest
from anycastd.runtime import alarms as words_of_alarms
from anycastd.runtime.alarms import LONGER_THAN_S, LOOP_LATE_MS, Alarms, Reported
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.state import Circumstances, build
from tests.unit.runtime.world import UP, A, B, World, config, eip_of


class Watched:
    """A healthy world and what its status says."""

    def __init__(self) -> None:
        its_config = config()
        ping = its_config.probes[0].check
        probe = ProbeSpec(id=CheckId("self/gateway/path"), check=ping, target=ip_address("192.0.2.1"))
        self.world = World(replace(its_config, self_test=SelfTest(probes=(probe,), min_targets=2)))
        self.world.answer("")
        self.reported, self.alarms = Reported(), Alarms()
        self.circumstances = Circumstances("0", self.world.now_s, self.world.now_s)
        self.followed = Followed(lambda timer: None)

    def status(self) -> Status:
        about = (self.world.control, self.circumstances, self.followed, self.alarms, self.reported)
        return build(*about, self.world.now_s, 1.0)

    def shown(self) -> dict[tuple[Alarm, str], AlarmView]:
        """Return what stands now and still does when it is old enough to be shown."""
        self.status()
        self.world.now_s += LONGER_THAN_S
        return {(view.alarm, view.subject): view for view in self.status().alarms}


def gone(w: Watched) -> None:
    w.world.speaker.observed = replace(w.world.speaker.observed, speaker=SpeakerState.ABSENT, routes=None)


def wedged(w: Watched) -> None:
    w.world.speaker.observed = replace(w.world.speaker.observed, speaker=SpeakerState.WEDGED)


def no_session(w: Watched) -> None:
    down = SessionView(SessionState.DOWN, 1.0, "peer reset: hold timer expired")
    w.world.speaker.observed = replace(w.world.speaker.observed, sessions={UP: down})


def stray(w: Watched) -> None:
    ours = w.world.speaker.holds(A)
    assert ours is not None
    other = replace(ours, prefix=A.supernet())
    have = (w.world.speaker.observed.routes or {})[UP]
    w.world.speaker.observed = replace(w.world.speaker.observed, routes={UP: {**have, other.prefix: other}})


def dark(w: Watched) -> None:
    w.world.speaker.observed = replace(w.world.speaker.observed, routes={UP: {}})


def no_kernel(w: Watched) -> None:
    w.world.kernel.observed = KernelObserved()


def no_rules(w: Watched) -> None:
    w.world.kernel.observed = replace(w.world.kernel.observed, rules=frozenset())


def hole_gone(w: Watched) -> None:
    routes = w.world.kernel.observed.routes or frozenset()
    left = frozenset(route for route in routes if route.kind is not RouteKind.BLACKHOLE)
    w.world.kernel.observed = replace(w.world.kernel.observed, routes=left)


def no_filter(w: Watched) -> None:
    """Let another program flush the elements, and the kernel refuse to take them back."""
    w.world.nft.refuses = True
    for name in (NftSet.EIP4, NftSet.IN4, NftSet.OUT4, NftSet.OWN4):
        w.world.nft.elements[name].clear()
    w.world.nft.resync += 1
    w.world.settle()


def no_filter_rules(w: Watched) -> None:
    w.world.nft.rules = False


def fails_open(w: Watched) -> None:
    w.world.answer("backend/", Why.REFUSED)


def no_path(w: Watched) -> None:
    eip = w.world.control.config.eips[eip_of(B)]
    assert eip.binding is not None
    binding = replace(eip.binding, when_unhealthy=WhenUnhealthy.DROP)
    w.world.control.forwarder.steering.put(replace(eip, binding=binding), w.world.now_s)
    w.world.answer("backend/", Why.REFUSED)


def broken(w: Watched) -> None:
    w.world.answer("tunnel/eu/a", Why.NO_PERMISSION, times=3)


def certificate_ends(w: Watched) -> None:
    """A tls check passes, and has something to say."""
    check, now_s = CheckId("backend/eu/web-1/web@a"), w.world.now_s
    assert check in w.world.probes.specs
    note = Note(certificate_ends_s=1.8e9, warning="ends in 3.0 days; wanted at least 14 days")
    w.world.control.on_result(ProbeResult(check, Why.ANSWERED, now_s, now_s, note=note), now_s)


def suspect(w: Watched) -> None:
    w.world.answer("", Why.TIMEOUT, times=3)


def late(w: Watched) -> None:
    w.circumstances.loop = LoopView(LOOP_LATE_MS + 1.0, LOOP_LATE_MS + 1.0)


def breaker_open(w: Watched) -> None:
    """The breaker itself has tests of its own; here a decision that it holds is enough."""
    decisions = w.world.control.decisions
    decisions[A] = replace(decisions[A], hold=Reason.CIRCUIT_BREAKER)


CASES: list[tuple[Callable[[Watched], None], Alarm, str, str]] = [
    (gone, Alarm.SPEAKER_ABSENT, "exabgp", "absent"),
    (wedged, Alarm.SPEAKER_WEDGED, "exabgp", "not answered"),
    (no_session, Alarm.SESSION_DOWN, UP, "hold timer expired"),
    (no_session, Alarm.PREFIX_DARK, str(A), "no established neighbor"),
    (stray, Alarm.UNWANTED_ROUTES, f"{A.supernet()} to {UP}", "not wanted"),
    (dark, Alarm.PREFIX_DARK, str(A), "no established neighbor"),
    (no_kernel, Alarm.KERNEL_NOT_AS_WANTED, "fra", "missing"),
    (no_rules, Alarm.KERNEL_NOT_AS_WANTED, "fra", "6 routes or rules"),
    (hole_gone, Alarm.KERNEL_NOT_AS_WANTED, "fra", "8 routes or rules"),
    (broken, Alarm.CHECK_BROKEN, "tunnel/eu/a/path", "no_permission"),
    (certificate_ends, Alarm.CERTIFICATE_EXPIRES, "backend/eu/web-1/web@a", "3.0 days"),
    (suspect, Alarm.CHECKER_SUSPECT, "fra", "self/gateway/path"),
    (no_filter, Alarm.FILTER_NOT_AS_WANTED, "fra", "8 elements"),
    (no_filter_rules, Alarm.FILTER_NOT_AS_WANTED, "fra", "rules"),
    (fails_open, Alarm.EIP_FAIL_OPEN, str(eip_of(B)), "1 more EIPs like it"),
    (no_path, Alarm.EIP_NO_PATH, str(eip_of(B)), "eu/web-1"),
    (breaker_open, Alarm.CIRCUIT_BREAKER, "fra", str(A)),
    (late, Alarm.LOOP_LATE, "fra", "201 ms"),
]


@pytest.mark.parametrize(("fault", "alarm", "subject", "words"), CASES)
def test_each_condition_is_shown_and_says_what_it_is(
    fault: Callable[[Watched], None], alarm: Alarm, subject: str, words: str
) -> None:
    watched = Watched()
    assert watched.shown() == {}
    fault(watched)
    begun_s = watched.world.now_s
    view = watched.shown()[alarm, subject]
    assert words in view.detail
    assert view.since_s == begun_s
    watched.world.now_s += 50.0
    assert watched.shown()[alarm, subject].since_s == begun_s, "the time it was raised is kept"


def test_an_absent_exabgp_is_not_also_a_session_that_is_down() -> None:
    watched = Watched()
    gone(watched)
    assert set(watched.shown()) == {(Alarm.SPEAKER_ABSENT, "exabgp")}


def test_a_route_over_a_tunnel_that_is_down_is_not_missed() -> None:
    watched = Watched()
    watched.world.answer("tunnel/eu/a", Why.LINK_DOWN)
    observed = watched.world.kernel.observed
    left = frozenset(route for route in observed.routes or () if route.device != "eu-a")
    watched.world.kernel.observed = replace(observed, routes=left)
    assert watched.shown() == {}


def test_every_alarm_is_raised_by_a_condition_or_by_an_event() -> None:
    by_event = {
        Alarm.SPEAKER_ONE_USER,
        Alarm.SPEAKER_DEGRADED,
        Alarm.COMMAND_REFUSED,
        Alarm.KERNEL_REFUSED,
        Alarm.FILTER_REFUSED,
        Alarm.CONFIG_REFUSED,
        Alarm.STATE_NOT_SAVED,
        Alarm.STORE_TROUBLE,
        Alarm.ORDERS_UNREAD,
        Alarm.TRAFFIC_NOT_SAVED,
        Alarm.CONNTRACK_FULL,
        Alarm.NAME_NOT_RESOLVED,
        Alarm.CONNTRACK_SIZE,
        Alarm.TUNNEL_DEVICE,
        Alarm.SHAPING_REFUSED,
        Alarm.DEAD_MAN_FIRED,
        Alarm.EFFECT_MISSING,
        Alarm.EXPORT_REFUSED,
        Alarm.STAGE_FAILED,
        Alarm.JOURNAL_TROUBLE,
        Alarm.FLEET_BUDGET,
        Alarm.PLAYBOOK_WAITS,
        Alarm.ATTACK,  # tests/unit/runtime/test_attack_watch.py
        Alarm.TRAFFIC_ELEVATED,
        Alarm.BFD_PROCESS,
        Alarm.PROBE_WORKER,
        Alarm.FILTER_ENDS,  # tests/unit/runtime/test_filter_desk.py
        Alarm.KERNEL_EVENTS,  # tests/lab/test_kernel_events.py
    }
    of_fleet = {  # tests/unit/runtime/test_fleet_link.py, tests/unit/fleet
        Alarm.OBSERVERS_BLIND,
        Alarm.BEACON_UNREADABLE,
        Alarm.BEACON_REFUSED,
        Alarm.BEACON_REPLAYED,
        Alarm.POP_TWICE,
        Alarm.OWN_NUMBER_TAKEN,
        Alarm.UNKNOWN_POP,
        Alarm.NAME_SHARED,
    }
    assert by_event | of_fleet | {alarm for _, alarm, _, _ in CASES} == set(Alarm)
    assert {fault.value for fault in FleetFault} <= {alarm.value for alarm in of_fleet}


def test_what_passes_by_is_not_shown_and_begins_anew() -> None:
    alarms = Alarms()
    raised = [(Alarm.SESSION_DOWN, "x", "why")]
    assert alarms.update(raised, 0.0) == ()
    assert alarms.update(raised, LONGER_THAN_S - 0.1) == ()
    assert alarms.update([], LONGER_THAN_S) == ()
    assert alarms.update(raised, 4.0) == ()
    assert alarms.update(raised, 4.0 + LONGER_THAN_S) == (AlarmView(Alarm.SESSION_DOWN, "x", 4.0, "why"),)


@pytest.mark.parametrize(
    "alarm", [Alarm.COMMAND_REFUSED, Alarm.KERNEL_REFUSED, Alarm.CONFIG_REFUSED, Alarm.DEAD_MAN_FIRED]
)
def test_what_an_event_said_is_shown_at_once(alarm: Alarm) -> None:
    assert Alarms().update([(alarm, "x", "why")], 7.0) == (AlarmView(alarm, "x", 7.0, "why"),)


def test_reported_conditions_are_renewed_and_cleared_one_or_all() -> None:
    watched = Watched()
    watched.reported.raise_(Alarm.KERNEL_REFUSED, "a", "first")
    watched.reported.raise_(Alarm.KERNEL_REFUSED, "a", "second")
    watched.reported.raise_(Alarm.KERNEL_REFUSED, "b", "b")
    watched.reported.raise_(Alarm.STATE_NOT_SAVED, "a", "full")
    begun_s = watched.world.now_s
    shown = watched.shown()
    assert shown[Alarm.KERNEL_REFUSED, "a"] == AlarmView(Alarm.KERNEL_REFUSED, "a", begun_s, "second")
    watched.reported.clear(Alarm.KERNEL_REFUSED, "a")
    assert set(watched.shown()) == {(Alarm.KERNEL_REFUSED, "b"), (Alarm.STATE_NOT_SAVED, "a")}
    watched.reported.clear(Alarm.KERNEL_REFUSED)
    watched.reported.clear(Alarm.STATE_NOT_SAVED)
    assert watched.shown() == {}


def test_an_alarm_of_eips_stands_while_others_come_and_few_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_of_alarms, "CAUSES_NAMED", 1)
    watched = Watched()
    fails_open(watched)
    steering, now_s = watched.world.control.forwarder.steering, watched.world.now_s
    watched.status()
    some = next(iter(watched.world.control.config.eips.values()))
    assert some.binding is not None
    single = replace(some.binding, targets=some.binding.targets[:1])
    for number in range(20, 26):
        binding = some.binding if number % 2 else single
        steering.put(replace(some, address=A[number], id=EipId(f"eip-{number:08x}"), binding=binding), now_s)
    watched.world.now_s += 1.0
    watched.status()
    watched.world.now_s += LONGER_THAN_S
    first, others = (view for view in watched.status().alarms if view.alarm is Alarm.EIP_FAIL_OPEN)
    assert (first.subject, first.since_s) == (str(eip_of(B)), now_s)
    assert "4 more EIPs like it" in first.detail
    assert (others.subject, others.detail) == ("others", "3 more EIPs, 1 more causes: anycastd eip list")
