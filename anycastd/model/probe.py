"""The result of one probe: a value, whatever happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from anycastd.model.address import CheckId


class Outcome(StrEnum):
    """OK: the target answered as wanted. FAILED: the target's fault. BROKEN: our own fault, says nothing of it."""

    OK = "ok"
    FAILED = "failed"
    BROKEN = "broken"


class Why(StrEnum):
    """Why a probe ended as it did; bounded, so that it can be a metric label."""

    ANSWERED = "answered"
    # the target's fault
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    BAD_STATUS = "bad_status"
    BAD_ANSWER = "bad_answer"
    BAD_RCODE = "bad_rcode"
    BAD_EXIT = "bad_exit"
    TLS_FAILED = "tls_failed"
    CERTIFICATE_EXPIRES = "certificate_expires"
    LINK_DOWN = "link_down"
    ADDRESS_GONE = "address_gone"
    MAINTENANCE = "maintenance"
    BFD_DOWN = "bfd_down"
    # our own
    NO_PERMISSION = "no_permission"
    NO_DEVICE = "no_device"
    NO_ADDRESS = "no_address"
    NO_DESCRIPTORS = "no_descriptors"
    NO_ROUTE = "no_route"
    NOT_RESOLVED = "not_resolved"
    FILE_UNUSABLE = "file_unusable"
    CANNOT_START = "cannot_start"
    PROGRAM_KILLED = "program_killed"
    BFD_UNKNOWN = "bfd_unknown"
    LOOP_LATE = "loop_late"
    WORKER_LOST = "worker_lost"
    INTERNAL = "internal"

    @property
    def outcome(self) -> Outcome:
        """Return whose fault this is."""
        if self is Why.ANSWERED:
            return Outcome.OK
        return Outcome.BROKEN if self in _OUR_OWN else Outcome.FAILED


_OUR_OWN = frozenset(
    {
        Why.NO_PERMISSION,
        Why.NO_DEVICE,
        Why.NO_ADDRESS,
        Why.NO_DESCRIPTORS,
        Why.NO_ROUTE,
        Why.NOT_RESOLVED,
        Why.FILE_UNUSABLE,
        Why.CANNOT_START,
        Why.PROGRAM_KILLED,
        Why.BFD_UNKNOWN,
        Why.LOOP_LATE,
        Why.WORKER_LOST,
        Why.INTERNAL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a probe saw beside its verdict: Unix time at which a certificate ends, what an operator should look at."""

    certificate_ends_s: float | None = None
    warning: str = ""


class ProbeResult(NamedTuple):
    """What one probe saw; times are monotonic seconds (`loop.time()`), `detail` is for people.

    A tuple: one is made for each probe, and a frozen dataclass of nine takes three times as long (0.5 us).

    `number` counts the check's probes in the order in which they were started, from 1 (0 = not known). `overtaken`: a
    newer probe has told its result before, so this one counts in the window but says nothing of now. `late_s`: how long
    after its time we began it, for which the target was given so much longer.
    """

    check: CheckId
    why: Why
    started_s: float
    ended_s: float
    detail: str = ""
    number: int = 0
    overtaken: bool = False
    note: Note | None = None
    late_s: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """Return whose fault this is."""
        return self.why.outcome

    @property
    def latency_ms(self) -> float:
        """Return how long the probe took, in milliseconds."""
        return (self.ended_s - self.started_s) * 1000.0
