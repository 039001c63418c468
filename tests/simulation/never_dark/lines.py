"""The guard's lines, each with what the program would be without it. All are of the real functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import pytest

from anycastd.fleet import codec, seen, standing
from anycastd.fleet import own as own_module
from anycastd.fleet.own import Entered, Own
from anycastd.fleet.seen import Seen
from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory, Reason
from anycastd.model.fleet import Claim, FleetSpec, Others, Part, Said
from anycastd.model.topology import PrefixSpec
from anycastd.policy import engine, guard
from anycastd.policy.guard import Verdict
from anycastd.policy.rules import leaving

Patch = pytest.MonkeyPatch


def echo_ignored(patch: Patch) -> None:
    """Count whoever says NORMAL, whether or not it saw that we left."""
    patch.setattr(standing.View, "_echoed", lambda *_: True)


def depref_counts(patch: Patch) -> None:
    """Count POPs that are on their way out themselves."""
    patch.setattr(standing, "_LEVELS", {**standing._LEVELS, Claim.DEPREF: None})


def no_new_epochs(patch: Patch) -> None:
    """Go on with the first epoch: an old echo counts for a new entry."""
    follow = Own.follow

    def stays(self: Own, memories: Mapping[Prefix, Memory]) -> Own:
        if not self.counter:
            return follow(self, memories)
        entered = {prefix: Entered(memory.epoch, self.counter) for prefix, memory in memories.items()}
        return replace(self, entered={**self.entered, **entered})

    patch.setattr(Own, "follow", stays)


def overstated(patch: Patch) -> None:
    """Say NORMAL as long as the prefix is announced at all."""

    def claim(decided: Level, sent: object, **_: object) -> Claim:
        return Claim.NORMAL if decided >= Level.DEPREF else Claim.GONE

    patch.setattr(own_module, "honest_claim", claim)


def any_entry(patch: Patch) -> None:
    """Take what others confirmed for whichever entry, also before this one was made."""

    def may(spec: PrefixSpec, *, others: Others | None = None, **rest: object) -> Verdict:
        rest["entry"] = others.entry if others else None
        return guard.may_withdraw(spec, others=others, **rest)  # type: ignore[arg-type]

    patch.setattr(leaving, "may_withdraw", may)


def unguarded(patch: Patch) -> None:
    """Leave without asking."""
    patch.setattr(leaving, "may_withdraw", lambda *_, **__: Verdict(True, Reason.FORCED, "no guard"))


def stop_unasked(patch: Patch) -> None:
    """Leave unasked when told to stop, as without observers."""

    def may(spec: PrefixSpec, *, stopping: bool, **rest: object) -> Verdict:
        if stopping:
            return Verdict(True, Reason.STOPPING, "told to")
        return guard.may_withdraw(spec, stopping=stopping, **rest)  # type: ignore[arg-type]

    patch.setattr(leaving, "may_withdraw", may)


def never_back(patch: Patch) -> None:
    """Stay away whoever is left."""
    patch.setattr(engine, "RULES", tuple(rule for rule in engine.RULES if rule.__name__ != "come_back"))


def blind_for_ever(patch: Patch) -> None:
    """Stay away while nobody can be heard."""
    sure = Seen.sure_from_s
    patch.setattr(Seen, "sure_from_s", lambda self, spec: sure(self, spec) if self.channels else float("inf"))


def never_stale(patch: Patch) -> None:
    """Believe a beacon that does not move."""
    patch.setattr(FleetSpec, "stale_s", 1e9)


def recordings_believed(patch: Patch) -> None:
    """Take a POP for present that has not answered our present start."""
    born = seen._born
    patch.setattr(seen, "_born", lambda head, now_s: replace(born(head, now_s), answers=True))


def in_parts(patch: Patch) -> None:
    """Say each prefix in a part of its own (no fault: as with very many prefixes)."""
    patch.setattr(codec, "HEAD_PREFIXES", 0)
    patch.setattr(codec, "PART_PREFIXES", 1)


def parts_mixed(patch: Patch) -> None:
    """Take every part as said together with the newest head."""
    in_parts(patch)

    def said(parts: Iterable[tuple[Part, Said]], head: Part) -> tuple[Said | None, int, bool]:
        return next((one for _, one in parts), None), head.seq, True

    patch.setattr(standing, "_said", said)


def back_for_normal_only(patch: Patch) -> None:
    """Come back unless somebody is NORMAL (no fault: the prototype's A7)."""
    others = standing.View.others
    patch.setattr(
        standing.View, "others", lambda self, prefix: replace(seen := others(self, prefix), present=seen.normal)
    )


Line = Callable[[Patch], None]
