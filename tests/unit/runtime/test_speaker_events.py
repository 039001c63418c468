"""What ExaBGP's supervisor tells reaches the log, the metrics, the alarms and the failover timers."""

from __future__ import annotations

import logging
import typing

import pytest

from anycastd.actuators.exabgp import events as e
from anycastd.model.address import Family
from anycastd.model.bgp import Announce, EndOfRib, Route, SessionState, Withdraw
from anycastd.model.status import Alarm, FailoverTimer
from anycastd.reconcile.bgp import Key
from anycastd.runtime.alarms import Reported
from anycastd.runtime.bgp.speaker_events import SpeakerEvents, key_of
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.journal.scribe import Scribe
from anycastd.telemetry.metrics import Metrics
from tests.unit.journal_world import Noted
from tests.unit.runtime.world import UP, A

SAID = Announce(UP, Route(A, "192.0.2.2", (64500,)))
GONE = Withdraw(UP, A, "192.0.2.2")
END = EndOfRib(UP, Family.IPV4_UNICAST)


class Hearing:
    """Everyone who is told."""

    def __init__(self) -> None:
        self.metrics, self.reported = Metrics(), Reported()
        self.done: list[FailoverTimer] = []
        self.refused: list[Key] = []
        self.followed = Followed(self.done.append)
        self.noted = Noted()
        self.events = SpeakerEvents(self.metrics, self.followed, self.reported, self.refused.append, Scribe(self.noted))


EVENTS: list[tuple[e.SpeakerEvent, str, int]] = [
    (e.Acked(SAID, 1.0, 2.0, 3.0), "", 0),
    (e.Refused(SAID, "error"), "command_refused", logging.ERROR),
    (e.Superseded(SAID), "", 0),
    (e.Requeued(SAID), "", 0),
    (e.SessionChanged(UP, SessionState.ESTABLISHED, ""), "session", logging.INFO),
    (e.SessionChanged(UP, SessionState.DOWN, "reset"), "session", logging.WARNING),
    (e.Launched(7), "speaker_launched", logging.INFO),
    (e.Adopted(7), "speaker_adopted", logging.INFO),
    (e.Ready(7), "", 0),
    (e.Exited(7, -9, "killed"), "speaker_exited", logging.ERROR),
    (e.Wedged(7, 2.5), "speaker_wedged", logging.ERROR),
    (e.DeadManFired("depref"), "dead_man_fired", logging.ERROR),
    (e.LinesDropped(3), "speaker_lines_dropped", logging.WARNING),
    (e.DumpDone(2, 0.1), "", 0),
    (e.NotUnderstood("?" * 500), "speaker_not_understood", logging.WARNING),
    (e.Degraded("one_user", "same user"), "speaker_degraded", logging.ERROR),
    (e.Degraded("one_user", ""), "", 0),
    (e.Repaired(UP), "", 0),
]


@pytest.mark.parametrize(("event", "reason", "level"), EVENTS)
def test_each_event_is_taken_and_logged_by_its_reason(
    event: e.SpeakerEvent, reason: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Hearing().events.take(event)
    records = [r for r in caplog.records if r.name == "anycastd"]
    assert [(r.getMessage(), r.levelno) for r in records] == ([(reason, level)] if reason else [])
    assert all(len(str(r.__dict__["fields"])) < 400 for r in records)


def test_no_event_is_left_out_above() -> None:
    assert {type(event) for event, _, _ in EVENTS} == set(typing.get_args(e.SpeakerEvent))


def test_sessions_and_the_fate_of_exabgp_are_journalled() -> None:
    hearing = Hearing()
    for event, _, _ in EVENTS:
        hearing.events.take(event)
    assert [(one.kind.value, one.subject, one.after) for one in hearing.noted.entries] == [
        ("session", UP, "established"),
        ("session", UP, "down"),
        ("speaker", "exabgp", "launched"),
        ("speaker", "exabgp", "adopted"),
        ("speaker", "exabgp", "exited"),
        ("speaker", "exabgp", "wedged"),
        ("speaker", "exabgp", "dead_man_fired"),
    ]


def test_a_refusal_is_an_alarm_held_back_and_cleared_by_an_answer() -> None:
    hearing = Hearing()
    for action in (SAID, GONE):
        hearing.events.take(e.Refused(action, "no such neighbor"))
        assert hearing.reported.details == {(Alarm.COMMAND_REFUSED, f"{A} to {UP}"): "no such neighbor"}
        hearing.events.take(e.Acked(action, 1.0, 2.0, 3.0))
        assert hearing.reported.details == {}
    assert hearing.refused == [(UP, A)] * 2


def test_a_refused_end_of_rib_holds_no_route_back() -> None:
    hearing = Hearing()
    hearing.events.take(e.Refused(END, "no"))
    assert hearing.refused == []
    assert [alarm for alarm, _ in hearing.reported.details] == [Alarm.COMMAND_REFUSED]


def test_an_answer_ends_the_change_that_it_answers() -> None:
    hearing = Hearing()
    hearing.followed.decided(A, "NORMAL -> DEPREF", 0.5, 1.0)
    hearing.events.take(e.Acked(END, 1.0, 2.0, 3.0))
    assert hearing.done == []
    hearing.events.take(e.Acked(SAID, 1.0, 2.0, 3.0))
    assert [(timer.commanded_s, timer.acknowledged_s) for timer in hearing.done] == [(2.0, 3.0)]


def test_running_otherwise_than_configured_is_an_alarm_until_it_is_well() -> None:
    hearing = Hearing()
    hearing.events.take(e.Degraded("user", "same user"))
    hearing.events.take(e.Degraded("version", "another"))
    assert hearing.reported.details == {
        (Alarm.SPEAKER_ONE_USER, "user"): "same user",
        (Alarm.SPEAKER_DEGRADED, "version"): "another",
    }
    hearing.events.take(e.Degraded("user", ""))
    hearing.events.take(e.Degraded("version", ""))
    assert hearing.reported.details == {}


def test_a_dead_man_that_fired_is_an_alarm() -> None:
    hearing = Hearing()
    hearing.events.take(e.DeadManFired("withdraw"))
    assert "withdraw" in hearing.reported.details[Alarm.DEAD_MAN_FIRED, "exabgp"]


def test_what_names_a_command() -> None:
    assert (key_of(SAID), key_of(GONE), key_of(END)) == ((UP, A), (UP, A), None)


def test_what_one_exabgp_refused_is_no_alarm_of_the_next() -> None:
    hearing = Hearing()
    exited: list[str] = []
    hearing.events.on_exited = lambda: exited.append("")
    hearing.events.take(e.Refused(SAID, "error"))
    assert Alarm.COMMAND_REFUSED in {alarm for alarm, _ in hearing.reported.details}
    hearing.events.take(e.Exited(7, -9, "killed"))
    assert exited and not hearing.reported.details
