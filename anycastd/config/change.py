"""What a new configuration changes, and the guard that nothing shrinks by accident (I4). Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

from anycastd.errors import Problem
from anycastd.model.address import Address, BackendId, CheckId, NeighborName, Prefix, RegionName, TunnelId
from anycastd.model.checks import ProbeSpec
from anycastd.model.eip import Eip
from anycastd.model.log import LoggingConfig
from anycastd.model.probing import ProbingConfig
from anycastd.model.store import StoreConfig
from anycastd.model.topology import ApiConfig, BfdConfig, BgpConfig, Config, Pop, Region

K = TypeVar("K", bound=Hashable)

# what lives as long as the process: sockets, the log, how ExaBGP runs, and the number that marks kernel state as ours
_FIXED: Mapping[str, tuple[str, ...]] = {
    "pop": tuple(field.name for field in fields(Pop)),
    "api": tuple(field.name for field in fields(ApiConfig) if field.name != "tokens"),
    "logging": tuple(field.name for field in fields(LoggingConfig)),
    "bgp": tuple(field.name for field in fields(BgpConfig) if field.name != "reconcile_s"),
    "bfd": tuple(field.name for field in fields(BfdConfig)),
    "kernel": ("protocol",),
    "store": tuple(field.name for field in fields(StoreConfig)),
    "probing": tuple(field.name for field in fields(ProbingConfig)),
}
_WRITTEN = {"probing": "probes"}
"""What a section is called in the file, where that is something else here."""


SECTIONS = (
    "pop", "self_test", "probing", "api", "logging", "bgp", "bfd", "eip", "journal", "operator", "safety", "attack",
    "kernel", "store",
)  # fmt: skip
_STOPPED = "bound no longer, or blocked"
_UPROOTED = "keep none of their neighbors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Generic[K]):
    """Names of one kind of thing that came, went, or are there with another content; in the order of the file."""

    added: tuple[K, ...] = ()
    removed: tuple[K, ...] = ()
    changed: tuple[K, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The difference between two configurations; `needs_restart` names settings that a reload leaves as they are."""

    neighbors: Difference[NeighborName]
    prefixes: Difference[Prefix]
    regions: Difference[RegionName]
    tunnels: Difference[TunnelId]
    backends: Difference[BackendId]
    probes: Difference[CheckId]
    eips: Difference[Address] = field(default_factory=Difference)
    """Of the file; those of the API are not its matter."""
    eips_stopped: tuple[Address, ...] = ()
    """EIPs that are still there, and that the new file unbinds or blocks."""
    uprooted: tuple[Prefix, ...] = ()
    """Prefixes that are still there, and keep none of the neighbors that they had."""
    regions_in_words: tuple[str, ...] = ()
    """What moves the packets of whole regions: their numbers, modes, dials."""
    settings: tuple[str, ...] = ()
    """Changed settings outside the lists above, such as `kernel.forward_metric`, that a reload applies."""
    needs_restart: tuple[str, ...] = ()

    @property
    def removals(self) -> int:
        """Return how many prefixes, EIPs, neighbors, regions, tunnels and backends went, how many EIPs stopped, and how
        many prefixes leave all their neighbors.

        It is what an operator confirms.
        """
        return sum(len(part.removed) for _, part in self._counted()) + len(self.eips_stopped) + len(self.uprooted)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the change in words, for the answer to a reload and for the log."""
        words = [
            f"{what} {verb}: {_listed(names)}"
            for what, part in (*self._counted(), ("checks", self.probes))
            for verb, names in (("added", part.added), ("removed", part.removed), ("changed", part.changed))
            if names
        ]
        if self.eips_stopped:
            words.append(f"EIPs {_STOPPED}: {_listed(self.eips_stopped)}")
        if self.uprooted:
            words.append(f"prefixes that {_UPROOTED}: {_listed(self.uprooted)}")
        words += self.regions_in_words
        if self.settings:
            words.append(f"settings changed: {', '.join(self.settings)}")
        if self.needs_restart:
            words.append(f"needs a restart, unchanged until then: {', '.join(self.needs_restart)}")
        return tuple(words)

    def _counted(self) -> tuple[tuple[str, Difference[Any]], ...]:
        return (
            ("prefixes", self.prefixes),
            ("EIPs", self.eips),
            ("neighbors", self.neighbors),
            ("regions", self.regions),
            ("tunnels", self.tunnels),
            ("backends", self.backends),
        )

    def __bool__(self) -> bool:
        return bool(self.sentences)


def compare(old: Config, new: Config) -> Change:
    """Return what changes from `old` to `new`."""
    settings, fixed = _settings(old, new)
    return Change(
        neighbors=_difference(old.neighbors, new.neighbors),
        prefixes=_difference(old.prefixes, new.prefixes),
        regions=_difference(old.regions, new.regions),
        tunnels=_difference(old.tunnels, new.tunnels),
        backends=_difference(old.backends, new.backends),
        probes=_difference(_probes(old), _probes(new)),
        eips=_difference(old.eips, new.eips),
        eips_stopped=tuple(
            address for address, eip in new.eips.items() if not eip.carries and _carried(old.eips.get(address))
        ),
        uprooted=tuple(_uprooted(old, new)),
        regions_in_words=tuple(_region_words(old.regions, new.regions)),
        settings=settings,
        needs_restart=fixed,
    )


def _uprooted(old: Config, new: Config) -> Iterator[Prefix]:
    """Yield the prefixes whose every neighbor is another: who had them loses them, as if they had been removed."""
    for prefix, spec in new.prefixes.items():
        before = old.prefixes.get(prefix)
        if before is not None and before.neighbors and not set(before.neighbors) & set(spec.neighbors):
            yield prefix


def _carried(eip: Eip | None) -> bool:
    return eip is not None and eip.carries


def _region_words(old: Mapping[RegionName, Region], new: Mapping[RegionName, Region]) -> Iterator[str]:
    for name, region in new.items():
        before = old.get(name, region)
        pinned = [
            f"{key} {getattr(before, key)} -> {getattr(region, key)}"
            for key in ("number", "mode", "return_path")
            if getattr(before, key) != getattr(region, key)
        ]
        if pinned:
            anew = before.number != region.number
            words = "connections through it begin anew" if anew else "connections that stand go on as they are"
            yield f"region {name}: {', '.join(pinned)}; {words}"
        if before.traffic_dial_percentage != region.traffic_dial_percentage:
            was, now = before.traffic_dial_percentage, region.traffic_dial_percentage
            yield f"region {name}: traffic dial {was} % -> {now} %"


def _probes(config: Config) -> dict[CheckId, ProbeSpec]:
    return {probe.id: probe for probe in (*config.probes, *config.self_test.probes)}


def _difference(old: Mapping[K, object], new: Mapping[K, object]) -> Difference[K]:
    return Difference(
        added=tuple(key for key in new if key not in old),
        removed=tuple(key for key in old if key not in new),
        changed=tuple(key for key in new if key in old and old[key] != new[key]),
    )


def _settings(old: Config, new: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the changed settings that a reload applies, and those it cannot."""
    applied: list[str] = []
    fixed: list[str] = []
    for section in SECTIONS:
        before, after = getattr(old, section), getattr(new, section)
        for one in fields(before):
            if one.name == "probes" or getattr(before, one.name) == getattr(after, one.name):
                continue
            target = fixed if one.name in _FIXED.get(section, ()) else applied
            name = one.name.removesuffix("_s").removesuffix("_bytes").removesuffix("_percent")
            target.append(f"{_WRITTEN.get(section, section)}.{name}")
    if old.fleet != new.fleet:
        applied.append("fleet")
    if old.state_dir != new.state_dir:
        fixed.append("state_dir")
    return tuple(applied), tuple(fixed)


def carried_over(old: Config, new: Config) -> Config:
    """Return the new configuration with every setting that needs a restart as it was: what a reload may apply."""
    kept: dict[str, Any] = {
        section: replace(getattr(new, section), **{name: getattr(getattr(old, section), name) for name in names})
        for section, names in _FIXED.items()
    }
    return replace(new, state_dir=old.state_dir, **kept)


def _listed(names: Iterable[object], limit: int = 10) -> str:
    words = [str(name) for name in names]
    rest = len(words) - limit
    return ", ".join(words[:limit]) + (f" and {rest} more" if rest > 0 else "")


def refuse(old: Config, new: Config, change: Change, *, expected_removals: int | None = None) -> tuple[Problem, ...]:
    """Return why a reload is refused whole, or nothing.

    Refused: more than 10 % of the prefixes or EIPs gone (more than one of fewer than ten), or all of a kind, or as
    many EIPs without their binding, or as many prefixes at other neighbors only. An operator who means it says how many
    removals there are; a number that is not exactly right refuses too, as the file is then not the one that was looked
    at.
    """
    if expected_removals is not None:
        if expected_removals == change.removals:
            return ()
        why = f"{expected_removals} removals were expected, this file makes {change.removals}"
        return (Problem(1, 1, "", f"{why}: {_gone(change) or 'nothing is removed'}", new.path),)
    reasons = _shrinks(old, change)
    if not reasons:
        return ()
    how = f"if that is meant: anycastd reload --expect-removals {change.removals}"
    return tuple(Problem(1, 1, section, f"{reason}; {how}", new.path) for section, reason in reasons)


def _gone(change: Change) -> str:
    marks = (" removed: ", f" {_STOPPED}: ", f" {_UPROOTED}: ")
    return "; ".join(one for one in change.sentences if any(mark in one for mark in marks))


def _shrinks(old: Config, change: Change) -> list[tuple[str, str]]:
    """Return the section and the reason of each way in which the new file is much smaller."""
    reasons: list[tuple[str, str]] = []
    served: tuple[tuple[str, str, int, tuple[object, ...]], ...] = (
        ("prefixes", "prefixes", len(old.prefixes), change.prefixes.removed),
        ("eips", "EIPs", len(old.eips), change.eips.removed),
    )
    for section, what, had, removed in served:
        gone = len(removed)
        if gone and (gone == had or gone > max(had / 10, 1)):
            reasons.append((section, f"{gone} of {had} {what} are gone ({_listed(removed)})"))
    uprooted, had = len(change.uprooted), len(old.prefixes)
    if uprooted and (uprooted == had or uprooted > max(had / 10, 1)):
        reasons.append(("prefixes", f"{uprooted} of {had} prefixes {_UPROOTED} ({_listed(change.uprooted)})"))
    carried, stopped = sum(eip.carries for eip in old.eips.values()), len(change.eips_stopped)
    if stopped > max(carried / 10, 1):
        reasons.append(("eips", f"{stopped} of {carried} EIPs are {_STOPPED} ({_listed(change.eips_stopped)})"))
    parts: tuple[tuple[str, int, tuple[object, ...]], ...] = (
        ("neighbors", len(old.neighbors), change.neighbors.removed),
        ("regions", len(old.regions), change.regions.removed),
        ("tunnels", len(old.tunnels), change.tunnels.removed),
        ("backends", len(old.backends), change.backends.removed),
    )
    for section, count, removed in parts:
        if removed and len(removed) == count:
            what = f"all {count} {section} are gone" if count > 1 else f"the only one of {section} is gone"
            reasons.append((section, f"{what} ({_listed(removed)})"))
    return reasons
