"""Where the packets of a binding go: usable targets by priority, region and weight, or the least bad. Pure.

An EIP's health moves its own packets only, never its prefix. UNKNOWN and INITIAL keep what was: a path in use stays
in use, one that is not is not begun. With nothing usable anywhere the last placement stands (fail open).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from anycastd.model.address import RegionName
from anycastd.model.eip import Binding, Path, Placement, PlacementReason, Spread, WhenUnhealthy
from anycastd.model.health import Health, HealthView
from anycastd.model.topology import Config
from anycastd.policy.allotment import Allotment, Option, Ranked, allot
from anycastd.policy.outlook import UNREACHED_MS, Outlook, outlook_of
from anycastd.policy.paths import number_paths, path_of
from anycastd.policy.placement_reason import missing, states, why
from anycastd.policy.preference import settle


def place(
    config: Config,
    binding: Binding,
    version: int,
    health: HealthView,
    dials: Mapping[RegionName, int],
    before: Placement | None,
    now_s: float,
) -> Placement:
    """Return where packets of one binding go, as if it were the only one; see `place_in`."""
    paths = [path_of(config, target, version) for target in binding.targets]
    numbers = number_paths(path for path in paths if path is not None)
    outlook = outlook_of(config, version, health, dials)
    return place_in(outlook, binding, [numbers[path] if path else None for path in paths], before, now_s)


def place_in(
    outlook: Outlook, binding: Binding, paths: Sequence[Path | None], before: Placement | None, now_s: float
) -> Placement:
    """Return where packets go, `before` itself if nothing changes; `paths` are those of the targets, None = unusable.

    `before` is the last placement of the same binding, or of the one that it replaces.
    """
    after = _Placing(outlook, binding, paths, before, now_s).placed()
    if before is not None and after.shares == before.shares:
        after = replace(after, since_s=before.since_s)
    return before if after == before else after


@dataclass(slots=True)
class _Placing:
    """One placement on its way."""

    outlook: Outlook
    binding: Binding
    paths: Sequence[Path | None]
    before: Placement | None
    now_s: float

    def placed(self) -> Placement:
        options = [
            Option(index, path, target.weight, target.priority, self.outlook.state(path.backend))
            for index, (target, path) in enumerate(zip(self.binding.targets, self.paths, strict=True))
            if path is not None
        ]
        if not options:
            return self._nowhere(f"no backend of its family is configured here: {missing(self.binding, self.paths)}")
        in_use = self._in_use(options)
        if self.outlook.suspect and in_use:
            if self.before and self._is_kept(in_use):
                return self.before
            # a drained region is left even now, but only by what is in use: no failure is believed
            options = [replace(one, state=Health.HEALTHY if one in in_use else Health.UNKNOWN) for one in options]
            in_use = self._in_use(options)
        proven = any(one.state is Health.HEALTHY for one in options)
        usable = [one for one in options if self._is_usable(one, in_use, proven)]
        if not usable:
            return self._with_nothing_usable(options, in_use)
        chosen = self._best_tier(usable)
        allotment = self._allot(chosen)
        reason, detail = why(self.outlook, self.binding, options, usable, chosen, allotment)
        given = {share.path for share in allotment.shares}
        on_trust = all(one.state is not Health.HEALTHY for one in chosen if one.path in given)
        if self._was(PlacementReason.AWAITS_CHECKS) and on_trust:
            reason, detail = PlacementReason.AWAITS_CHECKS, f"first checks are awaited: {states(options)}"
        return self._to(allotment, reason, detail)

    def _was(self, reason: PlacementReason) -> bool:
        return self.before is not None and self.before.reason is reason

    def _in_use(self, options: Iterable[Option]) -> list[Option]:
        used = {share.path for share in self.before.shares} if self.before else set()
        return [one for one in options if one.path in used]

    def _is_kept(self, in_use: Iterable[Option]) -> bool:
        """Return whether all of the last placement is configured, and no region of it was drained."""
        kept = {one.path for one in in_use}
        shares = self.before.shares if self.before else ()
        return all(share.path in kept and self._is_wanted(share.path) for share in shares)

    def _is_wanted(self, path: Path) -> bool:
        return bool(self.outlook.dial(path.region)) and path.backend not in self.outlook.drained.backends

    def _is_usable(self, one: Option, in_use: Collection[Option], proven: bool) -> bool:
        if one.state is Health.HEALTHY:
            return True
        if one.state is Health.UNHEALTHY or one not in in_use or self._was(PlacementReason.FAIL_OPEN):
            return False
        # what was taken on trust at the start waits for its verdict; if none can come, what is proven goes first
        return one.state is Health.INITIAL or not (proven and self._was(PlacementReason.AWAITS_CHECKS))

    def _best_tier(self, usable: Sequence[Option]) -> Sequence[Option]:
        """Return those that should get packets; else the last resorts: weight 0 or drained, then dial 0."""
        best = min(map(self._tier_of, usable))
        return [one for one in usable if self._tier_of(one) == best]

    def _tier_of(self, one: Option) -> int:
        avoided = not one.weight or one.path.backend in self.outlook.drained.backends
        return 2 * (not self.outlook.dial(one.path.region)) + avoided

    def _allot(self, options: Sequence[Option]) -> Allotment:
        dials = {one.path.region: self.outlook.dial(one.path.region) for one in options}
        firsts = {one.path.region: one.index for one in reversed(options)}
        ranked: dict[Spread, Ranked] = {
            Spread.NEAREST: self._nearest,
            Spread.ORDERED: lambda names: sorted(names, key=lambda name: firsts[name]),
            Spread.WEIGHTED: sorted,
        }
        return allot(options, self.binding.spread, dials, ranked[self.binding.spread])

    def _nearest(self, names: Iterable[RegionName]) -> tuple[RegionName, ...]:
        hysteresis_ms = self.outlook.config.eip.region_hysteresis_ms

        def beats(other: RegionName, present: RegionName) -> bool:
            *theirs, their_ms, _ = self.outlook.rank(other)
            *mine, my_ms, _ = self.outlook.rank(present)
            # a present one whose latency is not known (yet) cannot be said to be slower
            quicker = my_ms - their_ms > hysteresis_ms and my_ms != UNREACHED_MS
            return theirs < mine or (theirs == mine and quicker)

        last = self.before.regions if self.before else ()
        return settle(names, last, self.outlook.rank, beats)

    def _with_nothing_usable(self, options: Sequence[Option], in_use: Sequence[Option]) -> Placement:
        unproven = [one for one in options if one.state is not Health.UNHEALTHY]
        if self.binding.when_unhealthy is WhenUnhealthy.DROP:
            return self._nowhere(f"no usable backend, and to be dropped then: {states(options)}")
        if in_use:
            waits = self._was(PlacementReason.AWAITS_CHECKS) and any(one in unproven for one in in_use)
            whole = len({one.path for one in in_use}) == len(self.before.shares if self.before else ())
            allotment = self._last(in_use) if whole else self._allot(self._best_tier(in_use))
        else:
            waits = bool(unproven)
            allotment = self._allot(self._best_tier(unproven or self._least_bad(options)))
        if waits:
            return self._to(allotment, PlacementReason.AWAITS_CHECKS, f"first checks are awaited: {states(options)}")
        detail = f"no usable backend, the least bad is tried (fail open): {states(options)}"
        return self._to(allotment, PlacementReason.FAIL_OPEN, detail)

    def _last(self, in_use: Iterable[Option]) -> Allotment:
        if self.before is None:
            return self._allot(list(in_use))
        return Allotment(self.before.shares, self.before.regions)

    def _least_bad(self, options: Sequence[Option]) -> Sequence[Option]:
        """Of bad backends prefer those of regions that a tunnel reaches."""
        return [one for one in options if self.outlook.regions[one.path.region].reached] or options

    def _nowhere(self, detail: str) -> Placement:
        regions = self.before.regions if self.before else ()
        return Placement((), PlacementReason.NO_PATH, detail, self.now_s, regions)

    def _to(self, allotment: Allotment, reason: PlacementReason, detail: str) -> Placement:
        gone = missing(self.binding, self.paths)
        said = f"{detail}; not configured here: {gone}" if gone else detail
        return Placement(allotment.shares, reason, said, self.now_s, allotment.regions)
