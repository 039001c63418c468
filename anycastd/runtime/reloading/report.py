"""Tells of a reload: in the metrics, the status, the alarms, the log and the journal."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from anycastd.api.ports import ReloadOutcome
from anycastd.model.status import Alarm
from anycastd.runtime.alarms import Reported
from anycastd.runtime.journal.scribe import Scribe
from anycastd.runtime.state import Circumstances
from anycastd.telemetry.logs import log_event
from anycastd.telemetry.metrics import Metrics

log = logging.getLogger("anycastd")


@dataclass(slots=True)
class ReloadReport:
    """Who is told."""

    path: str
    circumstances: Circumstances
    reported: Reported
    scribe: Scribe
    metrics: Metrics

    def ended(self, outcome: ReloadOutcome, digest: str, *, dry_run: bool) -> None:
        """Tell how it ended; `digest` is of the configuration in force. A dry run is nobody's news."""
        if dry_run:
            return
        self.metrics.reload(outcome.applied)
        self.circumstances.config_error = "" if outcome.applied else "; ".join(outcome.problems)
        if outcome.applied:
            changes = "; ".join(outcome.changes)
            self.reported.clear(Alarm.CONFIG_REFUSED)
            log_event(log, "reloaded", config=digest, changes=changes or "none")
            self.scribe.reload(digest, applied=True, detail=changes or "nothing changed")
        else:
            detail = self.circumstances.config_error
            more = len(outcome.problems) - 1
            others = f" (and {more} more: anycastd check -c {self.path})" if more > 0 else ""
            self.reported.raise_(Alarm.CONFIG_REFUSED, self.path, f"{outcome.problems[0]}{others}")
            log_event(log, "reload_refused", level=logging.ERROR, detail=detail)
            self.scribe.reload(digest, applied=False, detail=detail)
