"""The reasons that entries of the journal can have, by kind: what may be asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from anycastd.attack.playbook import Doing
from anycastd.attack.standby import Stage
from anycastd.config.near import did_you_mean
from anycastd.model.attack import AttackReason
from anycastd.model.decision import Reason
from anycastd.model.eip import PlacementReason
from anycastd.model.filters import FilterKind
from anycastd.model.health import HealthReason
from anycastd.model.journal import EntryKind, LostWhy
from anycastd.model.probe import Why
from anycastd.model.status import Alarm

ORDERED = "ordered"
"""Of a playbook's entry: somebody ran or stopped it by hand."""

_ENUMS: Mapping[EntryKind, tuple[type[StrEnum], ...]] = {
    EntryKind.DECISION: (Reason,),
    EntryKind.CHECK: (Why,),
    EntryKind.TUNNEL: (HealthReason,),
    EntryKind.BACKEND: (HealthReason,),
    EntryKind.REGION: (HealthReason,),
    EntryKind.EIP: (PlacementReason,),
    EntryKind.ALARM: (Alarm,),
    EntryKind.ALARM_CLEARED: (Alarm,),
    EntryKind.ORDER: (FilterKind,),
    EntryKind.ATTACK: (AttackReason,),
    EntryKind.PLAYBOOK: (Doing, Stage),
    EntryKind.GAP: (LostWhy,),
}
REASONS: Mapping[EntryKind, tuple[str, ...]] = {
    kind: (
        *(one.value for enum in _ENUMS.get(kind, ()) for one in enum),
        *([ORDERED] if kind is EntryKind.PLAYBOOK else []),
    )
    for kind in EntryKind
}
"""Every reason and hold of a kind, as it is written; kinds whose entries have none have an empty row."""


def read_reason(text: str, kinds: Iterable[EntryKind] | None = None) -> str:
    """Return a reason as it is written; ValueError if no entry of these kinds (None = of any) can have it."""
    asked = tuple(EntryKind if kinds is None else kinds)
    known = tuple(dict.fromkeys(word for kind in asked for word in REASONS[kind]))
    by_text = {word.lower(): word for word in known}
    found = by_text.get(text.lower())
    if found is not None:
        return found
    of = "" if kinds is None else f" of kind {', '.join(sorted(asked))}"
    if not known:
        message = f"entries{of} have no reason"
    elif hint := did_you_mean(text.lower(), tuple(by_text)):
        message = f"{text[:64]!r} is no reason of an entry{of}{hint}"
    else:
        message = f"{text[:64]!r} is no reason of an entry{of}; there are: {', '.join(sorted(known))}"
    raise ValueError(message)
