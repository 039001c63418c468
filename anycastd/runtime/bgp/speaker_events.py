"""What ExaBGP's supervisor tells, passed on to the log, the metrics, the alarms and the failover timers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from anycastd.actuators.exabgp import events as e
from anycastd.model.address import NeighborName
from anycastd.model.bgp import Announce, AnnounceFlow, BgpAction, EndOfRib, SessionState, WithdrawFlow
from anycastd.model.status import Alarm
from anycastd.reconcile.bgp import Key
from anycastd.runtime.alarms import Reported
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.journal.scribe import Scribe
from anycastd.telemetry.logs import log_event
from anycastd.telemetry.metrics import Metrics

log = logging.getLogger("anycastd")

ENDED = "ended"
"""The dead man's name for what ends by itself: that is no alarm."""


def key_of(action: BgpAction) -> Key | None:
    """Return the neighbor and prefix of a command, None for what is about no prefix."""
    if isinstance(action, EndOfRib | AnnounceFlow | WithdrawFlow):
        return None
    return (action.neighbor, action.route.prefix if isinstance(action, Announce) else action.prefix)


def subject_of(action: BgpAction) -> str:
    """Return what a command is about, for people."""
    if isinstance(action, AnnounceFlow | WithdrawFlow):
        return f"{action.flow.key} to {action.neighbor}"
    key = key_of(action)
    return f"{key[1]} to {key[0]}" if key else repr(action)


class SpeakerEvents:
    """Takes each event; nothing here decides anything."""

    def __init__(
        self,
        metrics: Metrics,
        followed: Followed,
        reported: Reported,
        refused: Callable[[Key], None],
        scribe: Scribe,
    ) -> None:
        self._metrics, self._followed, self._reported, self._refused = metrics, followed, reported, refused
        self._scribe = scribe
        self.on_session: Callable[[NeighborName, SessionState], None] = lambda name, state: None
        self.on_exited: Callable[[], None] = lambda: None

    def take(self, event: e.SpeakerEvent) -> None:
        """Pass one event on."""
        match event:
            case e.Acked():
                self._acked(event)
            case e.Refused():
                self._was_refused(event)
            case e.Degraded(subject, detail):
                self._degraded(subject, detail)
            case e.SessionChanged(neighbor, state, reason):
                self.on_session(neighbor, state)
                level = logging.INFO if state is SessionState.ESTABLISHED else logging.WARNING
                log_event(log, "session", level=level, neighbor=neighbor, state=state.value, detail=reason)
                self._scribe.session(neighbor, state, reason)
            case e.LinesDropped(count):
                log_event(log, "speaker_lines_dropped", level=logging.WARNING, lines=count)
            case e.NotUnderstood(line):
                log_event(log, "speaker_not_understood", level=logging.WARNING, line=line[:200])
            case _:
                self._of_process(event)

    def _of_process(self, event: e.SpeakerEvent) -> None:
        match event:
            case e.Launched(pid):
                self._metrics.speaker_started()
                log_event(log, "speaker_launched", pid=pid)
                self._scribe.speaker("launched", f"pid {pid}")
            case e.Adopted(pid):
                log_event(log, "speaker_adopted", pid=pid)
                self._scribe.speaker("adopted", f"pid {pid}")
            case e.Exited(pid, status, detail):
                log_event(log, "speaker_exited", level=logging.ERROR, pid=pid, status=status, detail=detail)
                self._scribe.speaker("exited", f"pid {pid}, status {status}{f': {detail}' if detail else ''}")
                # the next one has refused nothing yet
                self._reported.clear(Alarm.COMMAND_REFUSED)
                self.on_exited()
            case e.Wedged(pid, silent_s):
                log_event(log, "speaker_wedged", level=logging.ERROR, pid=pid, silent_s=round(silent_s, 3))
                self._scribe.speaker("wedged", f"pid {pid} answered nothing for {silent_s:.1f} s")
            case e.DeadManFired(stage) if stage == ENDED:
                log_event(log, "filters_ended", level=logging.WARNING, detail="by the bridge, while no daemon ran")
                self._scribe.speaker("filters_ended", "blackholes or flow rules ended while no daemon ran")
            case e.DeadManFired(stage):
                self._reported.raise_(Alarm.DEAD_MAN_FIRED, "exabgp", f"the bridge sent its {stage} lines")
                log_event(log, "dead_man_fired", level=logging.ERROR, stage=stage)
                self._scribe.speaker("dead_man_fired", f"the bridge sent its {stage} lines")
            case _:
                log.debug("%r", event)

    def _acked(self, event: e.Acked) -> None:
        self._metrics.command_acknowledged()
        self._reported.clear(Alarm.COMMAND_REFUSED, subject_of(event.action))
        if (key := key_of(event.action)) is not None:
            self._followed.acknowledged(key[1], event.written_s, event.acked_s)

    def _was_refused(self, event: e.Refused) -> None:
        self._metrics.command_refused()
        key, subject = key_of(event.action), subject_of(event.action)
        self._reported.raise_(Alarm.COMMAND_REFUSED, subject, event.detail)
        log_event(log, "command_refused", level=logging.ERROR, subject=subject, detail=event.detail)
        if key is not None:
            self._refused(key)

    def _degraded(self, subject: str, detail: str) -> None:
        alarm = Alarm.SPEAKER_ONE_USER if subject == "user" else Alarm.SPEAKER_DEGRADED
        if detail:
            self._reported.raise_(alarm, subject, detail)
            log_event(log, "speaker_degraded", level=logging.ERROR, subject=subject, detail=detail)
        else:
            self._reported.clear(alarm, subject)
