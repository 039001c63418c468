"""Rules that `announce_when` and `usable_when` are composed of, and `groups`: named things that rules refer to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from anycastd.config.schema.base import INLINE_TAG, NAME_TAG, Section
from anycastd.config.values.fields import Name, NeedField, Phrase
from anycastd.config.values.net import BackendField
from anycastd.config.values.tunnel import TunnelField
from anycastd.model.topology import Need

COUNTS = ("regions", "tunnels", "backends")
LISTS = ("all", "any", "at_least")
NAMES = ("region", "tunnel", "backend", "check", "group")


class RuleSection(Section):
    """What `announce_when`, and a region's `usable_when`, are made of.

    Exactly one kind: so many of all things of a sort, so many of a list of rules, or one thing by its name.
    """

    regions: NeedField | None = Field(default=None, description="Count usable regions.")
    tunnels: NeedField | None = Field(default=None, description="Count usable tunnels.")
    backends: NeedField | None = Field(default=None, description="Count usable backends.")
    of: tuple[OfUse, ...] = Field(
        default=(),
        description="With regions, tunnels or backends: the regions that are looked at, default all. With `at_least`: "
        "the list of rules.",
    )
    all: tuple[RuleSection, ...] | None = Field(default=None, description="Every rule of this list must hold.")
    any: tuple[RuleSection, ...] | None = Field(default=None, description="One rule of this list must hold.")
    at_least: NeedField | None = Field(default=None, description="So many of the rules in `of` must hold: 2, or 50%.")
    region: Name | None = Field(default=None, description="This region must be usable.")
    tunnel: TunnelField | None = Field(default=None, description="This tunnel must be usable.")
    backend: BackendField | None = Field(default=None, description="This backend must be usable.")
    check: Phrase | None = Field(
        default=None,
        description="This check must pass; named as `/v1/checks` does: `tunnel/eu/t1/ping`, `backend/eu/web/http@t1`, "
        "`self/gateway/icmp`.",
    )
    group: Name | None = Field(default=None, description="This group must be usable, as its `usable_when` says.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that were written; one in a valid rule."""
        return tuple(name for name in (*COUNTS, *LISTS, *NAMES) if getattr(self, name) is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names in `of`."""
        return tuple(one for one in self.of if isinstance(one, str))

    @property
    def parts(self) -> tuple[RuleSection, ...]:
        """Return the rules in its list."""
        listed = tuple(one for one in self.of if isinstance(one, RuleSection))
        return self.all or self.any or (listed if self.at_least is not None else ())


def _form(value: object) -> str:
    return INLINE_TAG if isinstance(value, (dict, RuleSection)) else NAME_TAG


OfUse = Annotated[
    Annotated[Name, Tag(NAME_TAG)] | Annotated[RuleSection, Tag(INLINE_TAG)],
    Discriminator(_form),
]
NeedOrRule = Annotated[
    Annotated[NeedField, Tag(NAME_TAG)] | Annotated[RuleSection, Tag(INLINE_TAG)],
    Discriminator(_form),
]
RuleSection.model_rebuild()


class GroupSection(Section):
    """Things of which so many must be usable; rules refer to it by its name."""

    regions: tuple[Name, ...] = Field(default=(), description="Regions.")
    tunnels: tuple[TunnelField, ...] = Field(default=(), description="Tunnels.")
    backends: tuple[BackendField, ...] = Field(default=(), description="Backends.")
    checks: tuple[Phrase, ...] = Field(default=(), description="Checks, named as `/v1/checks` does.")
    usable_when: NeedField = Field(default=Need(), description="How many of them must be usable.")


Groups = dict[Name, GroupSection]
