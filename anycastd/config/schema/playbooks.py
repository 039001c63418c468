"""A playbook's file: conditions, and steps in order."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.near import did_you_mean
from anycastd.config.schema.base import Section
from anycastd.config.shown import shown
from anycastd.config.values.fields import Flag, Name, Phrase, ValueType, duration, percent, whole
from anycastd.config.values.net import Community, PrefixField
from anycastd.model.attack import AttackState
from anycastd.model.spread import Playbook, PlayMode, PlayStep, StepKind, When

DAY_S = 86400.0
_WHEN, _STEP = When(), PlayStep(kind=StepKind.PREPEND)
_BOOK = Playbook(name="", when=(), steps=())


def _words(kind: type[PlayMode] | type[AttackState], *without: str) -> ValueType:
    """Return the type of a word that is a member's name in lower case."""
    words = {one.name.lower(): one for one in kind if one.name.lower() not in without}

    def read(value: object) -> PlayMode | AttackState:
        if isinstance(value, str) and value in words:
            return words[value]
        hint = did_you_mean(value, tuple(words)) if isinstance(value, str) else ""
        message = f"{shown(value)} is not {' or '.join(words)}{hint}"
        raise ValueError(message)

    return ValueType(" \\| ".join(words), read, lambda value: str(value.name.lower()))


ModeField = Annotated[PlayMode, _words(PlayMode)]
_Verify = tuple[Annotated[float, duration(0.1, DAY_S)], ...]


class WhenSection(Section):
    """All that is written must hold for `for`."""

    state: Annotated[AttackState | None, _words(AttackState, "normal")] = Field(
        default=None, description="The state of the prefix: the worst of the POP's and its EIPs'. This, or worse."
    )
    load_above: Annotated[int | None, percent(1, 1000)] = Field(
        default=None, description="This POP's load, of `attack.spread.capacity`: what it carries and drops, inbound."
    )
    for_: Annotated[float, duration(0.0, DAY_S)] = Field(
        default=_WHEN.for_s, alias="for", description="How long it must hold."
    )


class MoreAnnouncersSection(Section):
    """Call on the standbys: POPs with `announce: standby` for the prefix, and our own standby neighbors."""


class SelectiveNeighborsSection(Section):
    """Send traffic away at some neighbors only; the last that has the prefix keeps it."""

    neighbors: tuple[Name, ...] = Field(description="At which; never all that carry the prefix.")
    withdraw: Flag = Field(default=False, description="Withdraw there; else the prefix is depreferenced there.")


class CommunitiesSection(Section):
    """Ask providers for something: not to announce it to somebody, to prepend, a lower preference."""

    add: tuple[Community, ...] = Field(description='Communities, in quotes: "64496:3001". None of RFC 1997\'s 65535:*.')
    neighbors: tuple[Name, ...] = Field(default=(), description="At which; default: all that carry the prefix.")


class PrependSection(Section):
    """Add our AS number; inside our own AS the local preference is lowered."""

    times: Annotated[int, whole(1, 3)] = Field(description="How often; more has been seen to move nothing more.")
    neighbors: tuple[Name, ...] = Field(default=(), description="At which; default: all that carry the prefix.")


class StepSection(Section):
    """One step: exactly one of the first four."""

    more_announcers: MoreAnnouncersSection | None = Field(default=None, description="Standbys join.")
    selective_neighbors: SelectiveNeighborsSection | None = Field(default=None, description="Some neighbors get less.")
    communities: CommunitiesSection | None = Field(default=None, description="Providers' communities.")
    prepend: PrependSection | None = Field(default=None, description="A longer path.")
    mode: ModeField | None = Field(
        default=None,
        description="`auto`: it is taken. `ask`: it is proposed, and taken when an operator says so. `off`: it is left "
        "out. Default: `auto` for `more_announcers`, else `ask`.",
    )
    falls: Annotated[int, percent(0, 100)] = Field(
        default=_STEP.falls_percent,
        description="By how much what comes in for the prefix should fall; if it did not, the next step is due.",
    )
    verify_after: _Verify = Field(
        default=_STEP.verify_after_s,
        description="When it is looked at; after the last look the next step is due if the condition still holds.",
    )


class PlaybookFile(Section):
    """One playbook."""

    name: Name = Field(description="What it is called.")
    about: Phrase | None = Field(default=None, description="What it is for.")
    when: tuple[WhenSection, ...] = Field(description="Conditions, any of which begins it.")
    prefixes: tuple[PrefixField, ...] = Field(default=(), description="Of which prefixes; default: all of this POP.")
    calm: Annotated[float, duration(1.0, DAY_S)] = Field(
        default=_BOOK.calm_s,
        description="How long it must be calm before the last step is undone, and again for each one before it.",
    )
    steps: tuple[StepSection, ...] = Field(description="In order.")
