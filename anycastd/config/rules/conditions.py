"""`announce_when`, `usable_when` and `groups`: one kind a rule, every name known, nothing that can never be met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from anycastd.config.build.rules import members_of
from anycastd.config.document import Path
from anycastd.config.near import did_you_mean
from anycastd.config.rules.findings import Findings, versions
from anycastd.config.rules.known import Known, known_of
from anycastd.config.rules.regions import too_many
from anycastd.config.schema.prefixes import PrefixSection
from anycastd.config.schema.rules import COUNTS, LISTS, NAMES, GroupSection, RuleSection
from anycastd.model.address import Prefix
from anycastd.model.topology import MemberKind, Need


@dataclass(frozen=True, slots=True)
class _Walk:
    """What is looked at, and for whom: a prefix's IP version, or the region whose `usable_when` it is."""

    found: Findings
    known: Known
    version: int | None = None
    region: str | None = None

    def rule(self, path: Path, section: RuleSection, *, top: bool = True) -> None:
        """Look at one rule and all in it."""
        kinds = section.kinds
        if len(kinds) > 1:
            verb = "counts" if set(kinds) <= set(COUNTS) else "has"
            self.found.error(path, f"{verb} {' and '.join(kinds)}; write one of them")
        elif not kinds and self.found.has(path) and (not top or self.found.whole("prefixes")):
            self.found.error(path, f"says not what to count; write one of {', '.join((*COUNTS, *LISTS, *NAMES))}")
        for kind in kinds:
            self._of_kind(path, section, kind)
        self._of(path, section)

    def _of_kind(self, path: Path, section: RuleSection, kind: str) -> None:
        value = getattr(section, kind)
        if kind in COUNTS:
            if self.region is not None and kind == "regions":
                self.found.error((*path, kind), "a region cannot count regions; count its tunnels or backends")
            return
        if kind in ("all", "any"):
            if not value:
                self.found.error((*path, kind), "is empty")
            for number, part in enumerate(value):
                self.rule((*path, kind, number), part, top=False)
        elif kind == "at_least":
            if impossible := too_many(value, len(section.of), "rules"):
                self.found.error((*path, kind), impossible)
        elif kind == "group":
            self._group(path, value)
        else:
            self.name((*path, kind), kind, value)

    def _of(self, path: Path, section: RuleSection) -> None:
        """`of` holds regions or rules, as the kind wants."""
        counts = [kind for kind in section.kinds if kind in COUNTS]
        place = (*path, "of")
        if section.at_least is None and not counts and section.of and section.kinds:
            self.found.error(place, f"goes with {', '.join(COUNTS)} or at_least, not with {section.kinds[0]}")
            return
        if self.found.has(place) and not section.of:
            lists = section.at_least is not None
            self.found.error(place, "is empty" if lists else "is empty; leave it out for all regions")
        if self.region is not None and counts and section.of:
            self.found.error(place, "a region counts what is its own; leave it out")
            return
        for number, one in enumerate(section.of):
            here = (*place, number)
            if isinstance(one, str) and section.at_least is not None:
                self.found.error(here, f"'{one}' is not a rule; write one, such as {{tunnel: REGION/NAME}}")
            elif isinstance(one, RuleSection) and section.at_least is None:
                self.found.error(here, "the name of a region is wanted here")
            elif isinstance(one, RuleSection):
                self.rule(here, one, top=False)
            elif one in section.of[:number]:
                self.found.error(here, f"'{one}' is listed twice")
            else:
                self.name(here, "region", one)

    def name(self, path: Path, kind: str, name: str) -> None:
        """Look at what a rule or group names."""
        written = self.known.names[kind]
        if name not in written:
            # a check of what was left out for a mistake is not known by its name
            if kind != "check" or all(self.found.whole(one) for one in ("regions", "checks", "self_test")):
                self.found.error(path, f"no {kind} is called '{name}'{did_you_mean(name, written)}")
            return
        home = self.known.region_of(kind, name)
        if self.region is not None and kind == "region":
            self.found.error(path, "a region cannot refer to regions; name its tunnels, backends or checks")
        elif self.region is not None and home != self.region:
            self.found.error(path, f"{kind} {name} is not of region '{self.region}'")
        elif self.version is not None and kind == "tunnel" and not self.known.says(kind, name, self.version):
            self.found.error(path, f"tunnel {name} does not carry IPv{self.version}")

    def _group(self, path: Path, name: str) -> None:
        place = (*path, "group")
        written = self.found.draft.written("groups")
        if name not in written:
            self.found.error(place, f"no group is called '{name}'{did_you_mean(name, written)}")
            return
        group = self.found.root.groups.get(name)
        if group is None:
            return
        members = [
            (kind, one) for kind in ("region", "tunnel", "backend", "check") for one in getattr(group, f"{kind}s")
        ]
        if self.region is not None:
            strangers = [one for kind, one in members if self.known.region_of(kind, one) != self.region]
            if strangers:
                self.found.error(place, f"{strangers[0]} of group '{name}' is not of region '{self.region}'")
        if self.version is not None:
            counted = [
                one for kind, one in members if kind != "tunnel" or self.version in self.known.carries.get(one, ())
            ]
            if members and not counted:
                self.found.error(place, f"no tunnel of group '{name}' carries IPv{self.version}")
            elif impossible := too_many(group.usable_when, len(counted), f"members with IPv{self.version}"):
                self.found.error(place, impossible)


def _members(group: GroupSection) -> Iterator[tuple[str, str]]:
    return ((member.kind.value, member.id) for member in members_of(group))


def groups(found: Findings) -> None:
    """A group has members, that exist, each once; and somebody refers to it."""
    known = known_of(found)
    used = {rule.group for _, rule in _all_rules(found)}
    for name, group in found.root.groups.items():
        path: Path = ("groups", name)
        count = len(list(_members(group)))
        for kind in MemberKind:
            names = getattr(group, f"{kind.value}s")
            for number, one in enumerate(names):
                place = (*path, f"{kind.value}s", number)
                if one in names[:number]:
                    found.error(place, f"'{one}' is listed twice")
                else:
                    _Walk(found, known).name(place, kind.value, one)
        if not count:
            found.error(path, "has no members; write tunnels, backends, regions or checks", at_key=True)
        elif impossible := too_many(group.usable_when, count, "members"):
            found.error((*path, "usable_when"), impossible)
        if name not in used:
            found.warn(path, "is never used", at_key=True)


def _all_rules(found: Findings) -> Iterator[tuple[Path, RuleSection]]:
    for path, _, section in found.prefixes():
        yield from _inside((*path, "announce_when"), section.announce_when)
    for name, region in found.root.regions.items():
        if isinstance(region.usable_when, RuleSection):
            yield from _inside(("regions", name, "usable_when"), region.usable_when)


def _inside(path: Path, rule: RuleSection) -> Iterator[tuple[Path, RuleSection]]:
    yield path, rule
    for part in rule.parts:
        yield from _inside(path, part)


def announce_when(found: Findings) -> None:
    """The rule of each prefix makes sense, and can be met in its family."""
    known = known_of(found)
    for path, prefix, section in found.prefixes():
        when, place = section.announce_when, (*path, "announce_when")
        _Walk(found, known, version=prefix.version).rule(place, when)
        if found.whole("regions"):
            _countable(found, path, prefix, section)


def usable_when(found: Findings) -> None:
    """A region's rule is about the region."""
    known = known_of(found)
    for name, region in found.root.regions.items():
        if isinstance(region.usable_when, RuleSection):
            _Walk(found, known, region=name).rule(("regions", name, "usable_when"), region.usable_when)


def _countable(found: Findings, path: Path, prefix: Prefix, section: PrefixSection) -> None:
    """Only regions with a tunnel of the prefix's family count."""
    version = prefix.version
    for place, rule in _placed((*path, "announce_when"), section.announce_when):
        if not set(rule.names) <= set(found.root.regions) or set(rule.kinds) - set(COUNTS):
            continue
        named = {name: found.root.regions[name] for name in (rule.names or found.root.regions)}
        reached = {n: r for n, r in named.items() if any(version in versions(t) for t in r.tunnels.values())}
        at = (path, True) if place == (*path, "announce_when") else (place, False)
        if not named:
            continue
        if not reached:
            which = " of " + ", ".join(named) if rule.names else ""
            found.error(at[0], f"no tunnel{which} carries IPv{version}", at_key=at[1])
            continue
        if len(reached) < len(named):
            rest = ", ".join(name for name in named if name not in reached)
            found.warn(at[0], f"no tunnel of {rest} carries IPv{version}: not counted for this prefix", at_key=at[1])
        totals = {
            "regions": len(reached),
            "tunnels": sum(version in versions(t) for r in reached.values() for t in r.tunnels.values()),
            "backends": sum(len(r.backends) for r in reached.values()),
        }
        for scope in rule.kinds:
            need: Need = getattr(rule, scope)
            if impossible := too_many(need, totals[scope], scope):
                found.error((*place, scope), impossible)


def _placed(path: Path, rule: RuleSection) -> Iterator[tuple[Path, RuleSection]]:
    """Yield a rule and all in it, each with its path."""
    yield path, rule
    for key in ("all", "any", "of"):
        for number, part in enumerate(getattr(rule, key) or ()):
            if isinstance(part, RuleSection):
                yield from _placed((*path, key, number), part)


RULES: tuple[Callable[[Findings], None], ...] = (groups, announce_when, usable_when)
