"""Who of the fleet counts for a prefix, from what was heard: the facts that policy is given, and our own beacon. Pure.

Counted: it says NORMAL, and said so no earlier than that it had seen our own entry into DEPREF. Present: it announces
at any level. Whoever is not heard, not understood, silent, one of two with the same number, or has not yet echoed our
present start (it may be a recording), is neither.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from anycastd.fleet.codec import ALL_CALLED, call_of, name_of
from anycastd.fleet.own import Own
from anycastd.fleet.rank import rank
from anycastd.fleet.seen import Seen, Track
from anycastd.model.address import Prefix
from anycastd.model.fleet import (
    Beacon,
    Claim,
    Epoch,
    Fault,
    FleetFault,
    FleetSpec,
    NotCounted,
    Others,
    Part,
    Said,
    Uncounted,
)

FEW_PARTS = 4
_LEVELS = {
    Claim.GONE: NotCounted.GONE,
    Claim.DEPREF: NotCounted.DEPREF,
    Claim.DRAINING: NotCounted.DRAINING,
    Claim.NORMAL: None,
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What one POP is to us for one prefix; `why` None = counted."""

    why: NotCounted | None
    said: Said | None = None
    present: bool = False


class View:
    """What is seen at one moment, ready to be asked of many prefixes. `shared`: those that share a name with another
    (`codec.names_of` of all that are configured)."""

    def __init__(
        self, seen: Seen, spec: FleetSpec, own: Own, now_s: float, shared: frozenset[Prefix] = frozenset()
    ) -> None:
        self._seen, self._spec, self._own, self._now_s, self._shared = seen, spec, own, now_s, shared
        mine = seen.tracks.get(spec.number)
        self._taken = mine is not None and mine.twice_until_s > now_s
        self._others = [pop for pop in sorted(spec.pops) if pop != spec.number]
        self._heard = {pop: self._listen(pop) for pop in self._others}
        self._calling = {
            pop: parts for pop, parts in self._heard.items() if not isinstance(parts, NotCounted) and parts[0].calls
        }
        self._ranges: dict[int, tuple[list[int], list[Part]] | None] = {}

    def _listen(self, pop: int) -> NotCounted | dict[int, Part]:
        """Return the parts that a POP is known by, or why it is not."""
        seen = self._seen
        track = seen.tracks.get(pop)
        if not seen.channels:
            return NotCounted.BLIND
        parts = seen.parts(pop, track.boot) if track is not None else {}
        if track is None or 0 not in parts:
            garbled = any((pop, 0) in channel.unreadable for channel in seen.channels.values())
            return NotCounted.UNREADABLE if garbled else NotCounted.NOT_HEARD
        if self._taken or track.twice_until_s > self._now_s:
            return NotCounted.DUPLICATE
        # as next_s() has it: at that very moment, or who is woken by it sees nothing and is not woken again
        if self._now_s >= track.moved_s + self._spec.stale_s:
            return NotCounted.STALE
        if not track.answers:
            return NotCounted.NOT_ANSWERED
        return NotCounted.NO_UPSTREAM if parts[0].upstreams == 0 else parts

    def unheard(self, pop: int) -> NotCounted | None:
        """Return why another POP is not heard at all, None if it is."""
        heard = self._heard[pop]
        return heard if isinstance(heard, NotCounted) else None

    def standing(self, prefix: Prefix, pop: int) -> Standing:
        """Return what a POP is to us for a prefix."""
        parts = self._heard[pop]
        if isinstance(parts, NotCounted):
            return Standing(parts)
        if prefix in self._shared:
            return Standing(NotCounted.NAME_SHARED)
        track = self._seen.tracks[pop]
        said, at_seq, current = _said(self._holding(pop, parts, name_of(prefix)), parts[0])
        if said is None:
            lacks_s = 0.0 if track.lacks_since_s is None else self._now_s - track.lacks_since_s
            was = self._was(pop, parts, name_of(prefix)) if lacks_s < self._spec.stale_s else None
            if was is None and track.lacks_since_s is None:
                return Standing(NotCounted.NOT_CARRIED)
            return Standing(NotCounted.INCOMPLETE, was, was is not None and was.claim is not Claim.GONE)
        if not current:
            # its newer claim is on the way: till then the old one still tells that it was there
            fresh = track.lacks_since_s is not None and self._now_s < track.lacks_since_s + self._spec.stale_s
            return Standing(NotCounted.INCOMPLETE, said, fresh and said.claim is not Claim.GONE)
        why = _LEVELS[said.claim]
        if why is None and not self._echoed(track, prefix, at_seq):
            why = NotCounted.NOT_ECHOED
        return Standing(why, said, said.claim is not Claim.GONE)

    def _was(self, pop: int, parts: Mapping[int, Part], name: int) -> Said | None:
        """Return what a POP said of a prefix in a part that is there no more, while its others are on the way.

        When it has more prefixes, or fewer, they move from part to part.
        """
        versions, head_seq = parts[0].versions, parts[0].seq
        settled = all(number in parts and parts[number].seq == seq for number, seq in versions.items())
        if settled and all(part.seq <= head_seq for part in parts.values()):
            return None
        before = self._seen.before(pop, parts[0].boot, self._now_s - self._spec.stale_s)
        # a part that the new head does not name any more, and that was not withdrawn yet
        before += [part for number, part in parts.items() if number and number not in versions]
        found = max((part for part in before if name in part.said), key=lambda part: part.seq, default=None)
        return None if found is None else found.said[name]

    def _holding(self, pop: int, parts: Mapping[int, Part], name: int) -> list[tuple[Part, Said]]:
        """Return the parts that speak of a name: at once the right one, if each has a range of names of its own."""
        if len(parts) <= FEW_PARTS:
            return [(part, part.said[name]) for part in parts.values() if name in part.said]
        if pop not in self._ranges:
            self._ranges[pop] = _ranges(parts.values())
        ranges = self._ranges[pop]
        if ranges is None:
            return [(part, part.said[name]) for part in parts.values() if name in part.said]
        part = ranges[1][max(bisect_right(ranges[0], name) - 1, 0)]
        return [(part, part.said[name])] if name in part.said else []

    def _echoed(self, track: Track, prefix: Prefix, at_seq: int) -> bool:
        """Return whether a claim made at `at_seq` was made after our entry into DEPREF was seen."""
        entered = self._own.entered.get(prefix)
        if entered is None:
            return False
        wanted = Epoch(self._own.boot, entered.counter)
        return any(
            echo.epoch.boot == wanted.boot and echo.epoch >= wanted and at_seq >= echo.seq for echo in track.echoes
        )

    def others(self, prefix: Prefix) -> Others:
        """Return what policy is to know of the others for a prefix."""
        spec, seen = self._spec, self._seen
        found = {pop: self.standing(prefix, pop) for pop in self._others}
        counted = [pop for pop, one in found.items() if one.why is None]
        entered = self._own.entered.get(prefix)
        mine = rank(prefix, spec.number)
        return Others(
            pops=len(spec.pops),
            entry=-1 if entered is None else entered.entry,
            counted=self._names(counted),
            goes_first=self._names(
                pop for pop in counted if (said := found[pop].said) and said.intends and rank(prefix, pop) < mine
            ),
            present=self._names(pop for pop, one in found.items() if one.present),
            normal=self._names(pop for pop, one in found.items() if one.why in (None, NotCounted.NOT_ECHOED)),
            uncounted=tuple(Uncounted(spec.pops[pop], one.why) for pop, one in found.items() if one.why is not None),
            blind_since_s=seen.blind_since_s,
            sure_from_s=seen.sure_from_s(spec),
            boot_at_s=seen.started_s + spec.boot_s,
        )

    def callers(self, prefix: Prefix) -> tuple[str, ...] | None:
        """Return the POPs that call on standbys for a prefix; None: it cannot be told, since nobody can be heard yet.

        A call is as good as the beacon that it is in: whoever falls silent calls no more.
        """
        found = [
            pop
            for pop, parts in self._calling.items()
            if call_of(prefix) in parts[0].calls or (ALL_CALLED in parts[0].calls and _carries(parts, prefix))
        ]
        is_sure = bool(self._seen.channels) and self._now_s >= self._seen.sure_from_s(self._spec)
        return self._names(found) if found or is_sure else None

    def silent(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the POPs that carry a prefix and do not announce it now: standbys are among them."""
        return self._names(pop for pop in self._others if self.standing(prefix, pop).why is NotCounted.GONE)

    def _names(self, pops: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._spec.pops[pop] for pop in pops)

    def faults(self) -> Iterator[Fault]:
        """Yield what an operator must look at; each an alarm."""
        spec, seen, now_s = self._spec, self._seen, self._now_s
        for name, channel in seen.channels.items():
            for (pop, number), error in channel.unreadable.items():
                subject = spec.pops.get(pop, str(pop))
                yield Fault(FleetFault.BEACON_UNREADABLE, subject, f"part {number} by {name}: {error}")
        for pop, at_s in seen.strangers.items():
            if now_s < at_s + spec.stale_s:
                yield Fault(FleetFault.UNKNOWN_POP, str(pop), "it is not among the POPs of the configuration")
        for pop, track in seen.tracks.items():
            if track.twice_until_s > now_s and pop == spec.number:
                detail = "another POP sends beacons with our number: nobody can be counted"
                yield Fault(FleetFault.OWN_NUMBER_TAKEN, spec.pops[pop], detail)
            elif track.twice_until_s > now_s:
                yield Fault(FleetFault.POP_TWICE, spec.pops.get(pop, str(pop)), "two POPs send beacons with its number")
            if track.replayed_until_s > now_s:
                detail = "a beacon came again that it said long ago: it changes nothing"
                yield Fault(FleetFault.BEACON_REPLAYED, spec.pops.get(pop, str(pop)), detail)
        for prefix in sorted(self._shared, key=str):
            yield Fault(FleetFault.NAME_SHARED, str(prefix), "its name in beacons is that of another prefix")

    def next_s(self) -> float | None:
        """Return when what is seen changes by itself, if nothing is heard until then."""
        spec, seen = self._spec, self._seen
        times = [track.moved_s + spec.stale_s for track in seen.tracks.values()]
        times += [
            track.lacks_since_s + spec.stale_s for track in seen.tracks.values() if track.lacks_since_s is not None
        ]
        times += [at_s for track in seen.tracks.values() for at_s in (track.twice_until_s, track.replayed_until_s)]
        times += [at_s + spec.stale_s for one in seen.channels.values() for _, at_s in one.before.values()]
        times += [seen.sure_from_s(spec), seen.started_s + spec.boot_s]
        return min((at_s for at_s in times if at_s > self._now_s), default=None)


def _carries(parts: Mapping[int, Part], prefix: Prefix) -> bool:
    name = name_of(prefix)
    return any(name in part.said for part in parts.values())


def _ranges(parts: Iterable[Part]) -> tuple[list[int], list[Part]] | None:
    """Return the parts in the order of their names, with the first name of each; None if ranges of names overlap."""
    ordered = sorted((part for part in parts if part.said), key=lambda part: next(iter(part.said)))
    firsts = [next(iter(part.said)) for part in ordered]
    lasts = [next(reversed(list(part.said))) for part in ordered]
    if not ordered or any(first <= last for first, last in zip(firsts[1:], lasts, strict=False)):
        return None
    return firsts, ordered


def _said(parts: Iterable[tuple[Part, Said]], head: Part) -> tuple[Said | None, int, bool]:
    """Return what a POP says of a prefix, of the parts that speak of it; the seq of the beacon in which it was surely
    so, and whether it still is.

    The head tells which seq of each part it goes with: a part that is the one it names was so when the head was made,
    and one that is newer when itself was made. One that is older was replaced, by what did not arrive yet.
    """
    best: tuple[Said | None, int, bool] = (None, -1, False)
    for part, said in parts:
        version = part.seq if part.number == 0 else head.versions.get(part.number)
        if version is None:
            continue
        at_seq = head.seq if part.seq == version else part.seq
        found = (said, at_seq, part.seq >= version)
        # a prefix that moved from one part to another: the later word; of two at once the lower
        if best[0] is None or (found[2], at_seq, -said.claim) > (best[2], best[1], -best[0].claim):
            best = found
    return best


def beacon_of(
    spec: FleetSpec,
    own: Own,
    seen: Seen,
    seq: int,
    upstreams: int,
    claims: Mapping[Prefix, Claim],
    intents: frozenset[Prefix] = frozenset(),
    calls: frozenset[Prefix] = frozenset(),
) -> Beacon:
    """Return our beacon. `seq` must grow with each; `claims` are by `own.honest_claim`; `intents`: Decision.intends.

    `own` must have followed every decision that the claims are of: a beacon that says DEPREF has its epoch.
    """
    echoes = {
        pop: Epoch(track.boot, track.epoch)
        for pop, track in sorted(seen.tracks.items())
        if pop != spec.number and pop in spec.pops
    }
    return Beacon(
        pop=spec.number, boot=own.boot, seq=seq, epoch=own.counter, upstreams=upstreams, claims=claims,
        intents=intents, echoes=echoes, calls=calls,
    )  # fmt: skip


def tells_news(before: Seen, after: Seen, spec: FleetSpec, pop: int, now_s: float) -> bool:
    """Return whether what was heard of a POP at `now_s` may change a decision; a mere heartbeat does not.

    Everything is news when a channel comes or goes, and at `View.next_s()`.
    """
    one, two = before.tracks.get(pop), after.tracks.get(pop)
    if one is None or two is None or one.boot != two.boot or now_s >= one.moved_s + spec.stale_s:
        return True
    was, now = before.parts(pop, one.boot), after.parts(pop, two.boot)
    if _gist(one, was) != _gist(two, now) or was.keys() != now.keys():
        return True
    return any(was[number] is not now[number] and was[number].said != now[number].said for number in was)


def _gist(track: Track, parts: Mapping[int, Part]) -> tuple[object, ...]:
    head, newest = parts.get(0), track.echoes[-1].seq if track.echoes else 0
    told = head is not None and (head.upstreams > 0, head.seq >= newest)
    versions = {} if head is None else head.versions
    return track.echoes, track.answers, track.twice_until_s, track.lacks_since_s, told, versions
