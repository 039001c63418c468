"""What the speaker tells of itself, as values. Times are monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.model.address import NeighborName
from anycastd.model.bgp import BgpAction, SessionState


@dataclass(frozen=True, slots=True)
class Acked:
    """ExaBGP took the action into its adj-rib-out; that is not yet the peer's acceptance."""

    action: BgpAction
    queued_s: float
    written_s: float
    acked_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """ExaBGP, or our own check of the wording, refused the action; unchanged it is not sent again for a while."""

    action: BgpAction
    detail: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer action for the same neighbor and prefix took the place of one not yet written."""

    action: BgpAction


@dataclass(frozen=True, slots=True)
class Requeued:
    """The connection was lost before the answer; the action is queued again."""

    action: BgpAction


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """A session changed; `reason` holds ExaBGP's text, with the notification's if there was one."""

    neighbor: NeighborName
    state: SessionState
    reason: str


@dataclass(frozen=True, slots=True)
class Launched:
    """An ExaBGP was started."""

    pid: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """A running ExaBGP was taken over from a daemon before us."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The answers are aligned with our commands: ExaBGP can be fed."""

    pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """ExaBGP ended. `status` is its exit code, minus the signal's number, or None if it was not our child."""

    pid: int
    status: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class Wedged:
    """Nothing was answered for `silent_s` although something was asked: ExaBGP is killed."""

    pid: int
    silent_s: float


@dataclass(frozen=True, slots=True)
class DeadManFired:
    """While no daemon was connected, the bridge sent the lines of this stage."""

    stage: str


@dataclass(frozen=True, slots=True)
class LinesDropped:
    """The bridge threw lines of ExaBGP away, because no daemon took them."""

    count: int


@dataclass(frozen=True, slots=True)
class DumpDone:
    """ExaBGP's adj-rib-out was read whole."""

    routes: int
    took_s: float


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """A line in a form that ExaBGP 5.0 does not print, or an answer to nothing."""

    line: str


@dataclass(frozen=True, slots=True)
class Degraded:
    """ExaBGP runs, or cannot be run, in another way than configured; `subject` is stable, `detail` says why.

    An empty `detail` means that it is well again.
    """

    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Repaired:
    """A session came up after a route had changed twice or more while it was down, so all was sent to it again."""

    neighbor: NeighborName


SpeakerEvent = (
    Acked
    | Refused
    | Superseded
    | Requeued
    | SessionChanged
    | Launched
    | Adopted
    | Ready
    | Exited
    | Wedged
    | DeadManFired
    | LinesDropped
    | DumpDone
    | NotUnderstood
    | Degraded
    | Repaired
)
