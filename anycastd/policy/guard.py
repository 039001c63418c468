"""`may_withdraw()`: the only way by which health, a drain or an override takes a prefix off the air (I1).

Today nobody can be asked, so the guard is static: health depreferences and stays, unless the operator wrote
`last_resort: withdraw` for the prefix. What other POPs announce will be one more fact here; nothing else changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.model.decision import Reason
from anycastd.model.topology import LastResort, PrefixSpec


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the prefix may go, the reason, and the sentence that explains it."""

    allowed: bool
    reason: Reason
    detail: str


def may_withdraw(spec: PrefixSpec, *, stopping: bool, forced: bool = False) -> Verdict:
    """Return whether this POP may withdraw the prefix (or say GSHUT, by which it is as good as left).

    `forced`: an operator ordered it with --force and a reason. What other POPs confirm will be one more argument here.
    """
    if stopping:
        return Verdict(True, Reason.STOPPING, "the daemon was told to leave (SIGTERM)")
    if forced:
        return Verdict(True, Reason.FORCED, "an operator forced it")
    if spec.last_resort is LastResort.WITHDRAW:
        return Verdict(True, Reason.LAST_RESORT_WITHDRAW, "the configuration says last_resort: withdraw")
    detail = f"nobody to ask whether others announce it ({spec.min_announcers} wanted): it stays, depreferenced"
    return Verdict(False, Reason.STATIC_GUARD, detail)
