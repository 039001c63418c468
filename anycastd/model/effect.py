"""What came of a routing action, as far as this POP can see (S22)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from anycastd.model.address import Prefix
from anycastd.model.decision import Level


class Effect(StrEnum):
    """What a look after an action found. The value is the metric label and heading in the docs."""

    EFFECT_SEEN = "effect_seen"
    EFFECT_NOT_MEASURED = "effect_not_measured"
    ROUTE_NOT_SENT = "route_not_sent"
    NO_SESSION = "no_session"
    TRAFFIC_STAYED = "traffic_stayed"
    TRAFFIC_DID_NOT_COME = "traffic_did_not_come"

    @property
    def is_missing(self) -> bool:
        """Return whether nothing came of the action, as far as can be told."""
        return self not in (Effect.EFFECT_SEEN, Effect.EFFECT_NOT_MEASURED)


@dataclass(frozen=True, slots=True)
class Action:
    """A prefix that went from one level to another at `at_s` (monotonic).

    `baseline_bps` is what came in for it before, `normal_bps` what it had when it was last NORMAL; None = not measured.
    """

    prefix: Prefix
    before: Level
    after: Level
    at_s: float
    baseline_bps: float | None = None
    normal_bps: float | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen `after_s` after an action. `as_decided`: ExaBGP sends what was decided to every neighbor."""

    after_s: float
    as_decided: bool
    established: int
    rate_bps: float | None = None
