"""From `announce_when`, `usable_when` and `groups` to the rules of the model. Pure; relies on `check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from anycastd.config.schema.rules import COUNTS, GroupSection, RuleSection
from anycastd.model.address import RegionName
from anycastd.model.topology import AtLeast, Condition, Group, Member, MemberKind, Need, Rule, Scope

Groups = Mapping[str, GroupSection]


def rule_of(section: RuleSection, groups: Groups) -> Rule:
    """Return the rule of a section; one in which nothing is written counts regions."""
    if not section.kinds:
        return Condition(regions=tuple(map(RegionName, section.names)))
    kind = section.kinds[0]
    value = getattr(section, kind)
    if kind in COUNTS:
        return Condition(Scope(kind), value, tuple(map(RegionName, section.names)))
    if kind in ("all", "any", "at_least"):
        need = {"all": Need(all=True), "any": Need()}.get(kind) or section.at_least or Need()
        return AtLeast(need, tuple(rule_of(part, groups) for part in section.parts))
    if kind == "group":
        return Group(value, groups[value].usable_when, tuple(members_of(groups[value])))
    return Member(MemberKind(kind), value)


def usable_when_of(written: Need | RuleSection, groups: Groups) -> Need | Rule:
    """Return a region's `usable_when`."""
    return written if isinstance(written, Need) else rule_of(written, groups)


def members_of(group: GroupSection) -> Iterator[Member]:
    """Yield what is in a group, in the order of the kinds."""
    for kind in MemberKind:
        yield from (Member(kind, name) for name in getattr(group, f"{kind.value}s"))
