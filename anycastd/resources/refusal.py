"""Why a command is not done: every rule it breaks, each with a code, an HTTP status, the field and a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from anycastd.config.binding_rules import Breach, EipRule


class Code(StrEnum):
    """The codes of refusals. Those of Tencent's VPC API keep its names."""

    SHAPE = "InvalidParameter"
    VALUE = "InvalidParameterValue"
    EIP_NOT_FOUND = "InvalidAddressId.NotFound"
    STATUS = "InvalidAddressIdStatus.NotPermit"
    BLOCKED = "InvalidAddressId.Blocked"
    FILE = "UnsupportedOperation.ConfiguredInFile"
    IN_USE = "InvalidAddress.InUse"
    OUTSIDE_PREFIXES = "InvalidAddress.OutsidePrefixes"
    PREFIX_NOT_FOUND = "InvalidPrefix.NotFound"
    PREFIX_FULL = "InvalidPrefix.NoFreeAddress"
    BACKEND_NOT_FOUND = "InvalidBackend.NotFound"
    BACKEND_FAMILY = "InvalidBackend.OtherFamily"
    REGION_NOT_FOUND = "InvalidRegion.NotFound"
    TASK_NOT_FOUND = "InvalidTaskId.NotFound"
    EIP_QUOTA = "AddressQuotaLimitExceeded"
    TARGET_QUOTA = "TargetQuotaLimitExceeded"
    GENERATION = "PreconditionFailed"
    IN_PROGRESS = "TransactionInProgress"
    KEY_REUSED = "IdempotencyKeyReused"
    STORE = "StoreUnavailable"
    # orders of operators: what is meant is not there, or the rule that refused
    ORDER_TARGET = "InvalidOrderTarget.NotFound"
    ORDER_NOT_FOUND = "InvalidOrderId.NotFound"
    ANNOUNCE_WHEN = "OrderRefused.AnnounceWhen"
    WITHDRAW_GUARD = "OrderRefused.WithdrawGuard"
    FROZEN = "OrderRefused.Frozen"
    CAPACITY = "OrderRefused.Capacity"
    FLEET_BUDGET = "OrderRefused.FleetBudget"
    SINGLE_FLIGHT = "OrderRefused.SingleFlight"
    # blackholes and flow rules (S25)
    BLACKHOLE_QUOTA = "FilterRefused.TooManyBlackholes"
    FLOW_QUOTA = "FilterRefused.TooManyFlowRules"
    FLOW_WIDE = "FilterRefused.TooWide"
    FILTER_NEIGHBOR = "FilterRefused.NeighborTakesNone"
    ANNOUNCED = "FilterRefused.AnnouncedPrefix"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One broken rule; `field` is a path in the request, empty where the whole is meant."""

    code: Code
    status: int
    message: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


_SEVEREST = (503, 400, 404, 412, 409, 422)


@dataclass(frozen=True, slots=True)
class Refused:
    """Every rule that a command breaks; never empty."""

    refusals: tuple[Refusal, ...]

    @property
    def first(self) -> Refusal:
        """Return the refusal that speaks for all: the first of those with the severest status."""
        return min(self.refusals, key=lambda refusal: _SEVEREST.index(refusal.status))


def refused(code: Code, status: int, message: str, field: str = "") -> Refused:
    """Return the refusal for one broken rule."""
    return Refused((Refusal(code, status, message, field),))


_CODES = {
    EipRule.OUTSIDE_PREFIXES: Code.OUTSIDE_PREFIXES,
    EipRule.UNKNOWN_BACKEND: Code.BACKEND_NOT_FOUND,
    EipRule.OTHER_FAMILY: Code.BACKEND_FAMILY,
    EipRule.TOO_MANY_TARGETS: Code.TARGET_QUOTA,
}
_NAMES = {"bind": "targets", "in": "in_bps", "out": "out_bps"}


def field_of(breach: Breach) -> str:
    """Return where in a request a breach is: `targets[0].weight`; its path names the keys of the file."""
    text = ""
    for part in breach.path or ("address",):
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _NAMES.get(part, part)
    return text


def of_breaches(breaches: Iterable[Breach]) -> tuple[Refusal, ...]:
    """Return the refusals for the rules an EIP breaks (422: understood, and not possible here)."""
    return tuple(
        Refusal(_CODES.get(breach.rule, Code.VALUE), 422, breach.message, field_of(breach)) for breach in breaches
    )


def key_reused(key: str | None) -> Refused:
    """Return the refusal of an Idempotency-Key that was used for another request."""
    return refused(Code.KEY_REUSED, 422, f"the Idempotency-Key {key!r} was used for another request")
