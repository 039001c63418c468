"""What was heard of the other POPs, over several channels: observer sessions, and whatever else brings parts. Pure.

    seen = Seen(now_s)                                  nobody is heard yet: blind
    seen = up(seen, "rr1", now_s)                       a session with an observer is established
    seen = hear(seen, ears, "rr1", part, now_s)         `codec.read` gave a part; unreadable() if it raised BeaconError
    seen = lost(seen, spec, "rr1", prefix)              the observer withdrew a beacon route
    seen = down(seen, spec, "rr1", now_s)               the session is gone, and all that came by it

Nothing that is lost, late, doubled, out of order or replayed can make a POP counted that should not be: what counts is
the echo of our own epoch together with a claim that was made no earlier than that echo (`standing.py`). Nor does it
take the place of what was heard since: a channel keeps the newest that it brought of each part. What is so old that no
honest channel would bring it any more is told (`Track.replayed_until_s`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from anycastd.fleet.codec import BeaconError, said_by
from anycastd.model.address import Prefix
from anycastd.model.fleet import Epoch, FleetSpec, Part

K = TypeVar("K")
T = TypeVar("T")
_NO_PARTS: Mapping[int, Part] = {}
MAX_ECHOES = 16
"""Steps that are kept of how far a POP has echoed us; without the older ones it is only counted a little later."""
TURNS = 3
"""So often two boots of one POP must take turns until it counts as two POPs: late news of one reboot make one turn."""
OLD_STALES = 2
"""After so many times `stale_s` nothing honest is on its way any more: an observer has lost by then who said it."""
Place = tuple[int, int]
"""POP and number of a part."""


@dataclass(frozen=True, slots=True)
class Echo:
    """A POP has seen our `epoch`: so it said first in the beacon `seq`."""

    epoch: Epoch
    seq: int


@dataclass(frozen=True, slots=True)
class Channel:
    """One way by which beacons come: since when it is there, parts by POP and number, and what of it cannot be read.

    `older`: parts of an earlier boot of a POP than the one in `parts`: late, replayed, or of one whose clock went back.
    `before`: parts whose place was taken by one that no longer speaks of all their prefixes, or that were withdrawn,
    and when: a prefix that moves to another part is told there, soon.
    """

    since_s: float
    parts: Mapping[int, Mapping[int, Part]] = field(default_factory=dict)
    older: Mapping[Place, Part] = field(default_factory=dict)
    before: Mapping[Place, tuple[Part, float]] = field(default_factory=dict)
    unreadable: Mapping[Place, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Track:
    """What is remembered of one POP number: the newest head, and when it moved, on our clock; its `epoch`, to echo.

    `rival` is another boot of the same number with its newest seq; `turns` how often the two took turns.
    `twice_until_s`: so long the number counts as used by two POPs. `lacks_since_s`: since when parts are missing.
    `born_s`: when this boot was heard first. `mark`: the newest seq at some time before, and when that was; every seq
    below `old_seq` is far behind.
    """

    boot: int
    seq: int
    moved_s: float
    epoch: int = 0
    echoes: tuple[Echo, ...] = ()
    rival: tuple[int, int] | None = None
    rival_last: bool = False
    turns: int = 0
    twice_until_s: float = float("-inf")
    lacks_since_s: float | None = None
    born_s: float = float("-inf")
    mark: tuple[int, float] = (0, float("-inf"))
    old_seq: int = 0
    replayed_until_s: float = float("-inf")
    """So long it is told that an old beacon of it was brought again."""
    answers: bool = False
    """Whether it has echoed our present start, in this boot of its or in one before: so it was alive after that.

    A recording from before our start never has. Once it has, each later boot of it began later still.
    """


@dataclass(frozen=True, slots=True)
class Ears:
    """Who listens: the fleet as configured, our boot, and the newest seq that we sent."""

    spec: FleetSpec
    boot: int
    seq: int


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was heard. `unsure_since_s`: since when it cannot be told who is absent; None = it can."""

    started_s: float
    unsure_since_s: float | None = None
    channels: Mapping[str, Channel] = field(default_factory=dict)
    tracks: Mapping[int, Track] = field(default_factory=dict)
    strangers: Mapping[int, float] = field(default_factory=dict)
    """Numbers that are not of the fleet, and when they were heard last."""
    blind_since_s: float | None = None
    """Since when no channel is there."""

    @classmethod
    def deaf(cls, now_s: float) -> Seen:
        """Return what is seen at the start: nobody."""
        return cls(started_s=now_s, unsure_since_s=now_s, blind_since_s=now_s)

    def parts(self, pop: int, boot: int) -> dict[int, Part]:
        """Return the newest parts of a boot of a POP, over all channels, by number."""
        found: dict[int, Part] = {}
        for channel in self.channels.values():
            older = (part for place, part in channel.older.items() if place[0] == pop) if channel.older else ()
            for part in (*channel.parts.get(pop, _NO_PARTS).values(), *older):
                if part.boot == boot and (part.number not in found or found[part.number].seq < part.seq):
                    found[part.number] = part
        return found

    def before(self, pop: int, boot: int, since_s: float) -> list[Part]:
        """Return the parts of a boot of a POP that were there till some time after `since_s`, over all channels."""
        found = (
            kept for channel in self.channels.values() for place, kept in channel.before.items() if place[0] == pop
        )
        return [part for part, at_s in found if part.boot == boot and at_s > since_s]

    def sure_from_s(self, spec: FleetSpec) -> float:
        """Return from when on who is not heard is absent: a heartbeat after a session came up, or blind long enough."""
        if self.unsure_since_s is None:
            return self.started_s
        heard = [channel.since_s + spec.heartbeat_s for channel in self.channels.values()]
        return min(self.unsure_since_s + spec.blind_s, *heard) if heard else self.unsure_since_s + spec.blind_s


def up(seen: Seen, name: str, now_s: float) -> Seen:
    """Take note that a channel is there; one that was there already begins anew, with nothing heard."""
    return replace(seen, channels={**seen.channels, name: Channel(now_s)}, blind_since_s=None)


def down(seen: Seen, spec: FleetSpec, name: str, now_s: float) -> Seen:
    """Take note that a channel is gone, and with it all that came by it."""
    if name not in seen.channels:
        return seen
    left = {other: channel for other, channel in seen.channels.items() if other != name}
    if left:
        return replace(seen, channels=left)
    unsure = seen.unsure_since_s if now_s < seen.sure_from_s(spec) else None
    return replace(seen, channels={}, blind_since_s=now_s, unsure_since_s=now_s if unsure is None else unsure)


def lost(seen: Seen, spec: FleetSpec, name: str, prefix: Prefix, now_s: float | None = None) -> Seen:
    """Take note that a beacon route was withdrawn; `now_s` None: what it said is forgotten at once."""
    channel = seen.channels.get(name)
    try:
        place = said_by(spec, prefix)
    except BeaconError:
        return seen
    if channel is None:
        return seen
    seen = replace(seen, strangers=_without(seen.strangers, place[0]))
    was = channel.parts.get(place[0], _NO_PARTS).get(place[1])
    before = _without(channel.before, place)
    if was is not None and place[1] and now_s is not None:
        before = {**before, place: (was, now_s)}
    return _with(
        seen,
        name,
        replace(
            channel,
            before=before,
            parts={**channel.parts, place[0]: _without(channel.parts.get(place[0], _NO_PARTS), place[1])},
            older=_without(channel.older, place),
            unreadable=_without(channel.unreadable, place),
        ),
    )


def unreadable(seen: Seen, spec: FleetSpec, name: str, prefix: Prefix, error: BeaconError) -> Seen:
    """Take note that a beacon route cannot be read: what it said before counts no more."""
    seen = lost(seen, spec, name, prefix)
    try:
        place = said_by(spec, prefix)
    except BeaconError:
        return seen
    channel = seen.channels.get(name)
    if channel is None:
        return seen
    return _with(seen, name, replace(channel, unreadable={**channel.unreadable, place: str(error)}))


def hear(seen: Seen, ears: Ears, name: str, part: Part, now_s: float) -> Seen:
    """Take a part that came by a channel; one that is not there is not listened to."""
    channel = seen.channels.get(name)
    if channel is None:
        return seen
    if part.pop not in ears.spec.pops:
        return replace(seen, strangers={**seen.strangers, part.pop: now_s})
    if part.pop == ears.spec.number:
        readable = replace(channel, unreadable=_without(channel.unreadable, (part.pop, part.number)))
        return _ourselves(_with(seen, name, readable), ears, part, now_s)
    track = seen.tracks.get(part.pop)
    if track is not None and part.number == 0 and _is_replayed(track, ears, part, now_s):
        track = replace(track, replayed_until_s=now_s + OLD_STALES * ears.spec.stale_s)
        seen = _track(seen, part.pop, track)
        if part.boot == track.boot or now_s >= track.moved_s + ears.spec.stale_s:
            return seen
    seen = _with(seen, name, _keeping(channel, part, now_s))
    if part.number == 0:
        track = _tracked(seen, ears, part, now_s)
    return seen if track is None else _track(seen, part.pop, _lacking(seen, track, part.pop, now_s))


def _keeping(channel: Channel, part: Part, now_s: float) -> Channel:
    """Return a channel with a part that came by it: not in place of a newer one, which came before."""
    place, held = (part.pop, part.number), channel.parts.get(part.pop, _NO_PARTS)
    before = held.get(part.number)
    readable = replace(channel, unreadable=_without(channel.unreadable, place))
    if before is None or (part.boot, part.seq) >= (before.boot, before.seq):
        if before is not None and not before.said.keys() <= part.said.keys():
            readable = replace(readable, before={**channel.before, place: (before, now_s)})
        return replace(readable, parts={**channel.parts, part.pop: {**held, part.number: part}})
    if part.boot == before.boot:
        return readable
    return replace(readable, older={**channel.older, place: part})


def _is_replayed(track: Track, ears: Ears, head: Part, now_s: float) -> bool:
    """Return whether a head is so old that it must have been kept by somebody.

    An earlier boot is: while a later one has been heard for long; and after that fell silent, if it has not seen what
    the later one had. A POP that began anew with its clock set back has.
    """
    if head.boot == track.boot:
        return head.seq < track.old_seq
    if head.boot > track.boot:
        return False
    if now_s < track.moved_s + ears.spec.stale_s:
        return now_s >= track.born_s + OLD_STALES * ears.spec.stale_s
    newest = max((one.epoch for one in track.echoes if one.epoch.boot == ears.boot), default=None)
    echo = head.echoes.get(ears.spec.number)
    return newest is not None and (echo is None or echo < newest)


def _ourselves(seen: Seen, ears: Ears, part: Part, now_s: float) -> Seen:
    """Drop our own beacon, which reflectors send back; another POP with our number is noted."""
    if part.number or (part.boot == ears.boot and part.seq <= ears.seq):
        return seen
    track = seen.tracks.get(part.pop)
    twice_until_s = float("-inf") if track is None else track.twice_until_s
    ahead = (part.boot, part.seq) > (ears.boot, ears.seq)
    turns = 0
    if track is not None and part.boot < ears.boot and part.boot == track.boot:
        # a former life of ours, that reflectors still hold, does not go on
        turns = track.turns + (part.seq > track.seq)
    if ahead or turns >= TURNS:
        twice_until_s = now_s + 2 * ears.spec.stale_s
    seq = part.seq if track is None or track.boot != part.boot else max(part.seq, track.seq)
    return _track(seen, part.pop, Track(part.boot, seq, now_s, turns=turns, twice_until_s=twice_until_s))


def _tracked(seen: Seen, ears: Ears, head: Part, now_s: float) -> Track:
    track, stale_s = seen.tracks.get(head.pop), ears.spec.stale_s
    if track is None:
        return _echoing(_born(head, now_s), ears, head)
    if _differs(seen, head):
        return replace(track, twice_until_s=now_s + 2 * stale_s)
    if now_s >= track.moved_s + stale_s and head.boot != track.boot:
        # whoever was heard before is silent. One that began anew with an earlier boot counts when it moves
        known = track.rival is not None and track.rival[0] == head.boot and head.seq > track.rival[1]
        turns = track.turns + known
        return replace(
            _born(head, now_s), moved_s=track.moved_s, epoch=head.epoch, rival=(track.boot, track.seq), turns=turns,
            twice_until_s=now_s + 2 * stale_s if turns >= TURNS else track.twice_until_s,
            answers=track.answers and head.boot > track.boot,
        )  # fmt: skip
    if head.boot == track.boot and head.seq > track.seq:
        moved = replace(_marked(track, stale_s, now_s), seq=head.seq, moved_s=now_s, rival_last=False)
        return _echoing(moved, ears, head)
    if head.boot > track.boot:
        fresh = replace(
            _born(head, now_s), rival=(track.boot, track.seq), twice_until_s=track.twice_until_s, answers=track.answers
        )
        return _echoing(fresh, ears, head)
    if head.boot < track.boot:
        return _rival(track, head, stale_s, now_s)
    return track


def _born(head: Part, now_s: float) -> Track:
    return Track(head.boot, head.seq, now_s, born_s=now_s, mark=(head.seq, now_s))


def _marked(track: Track, stale_s: float, now_s: float) -> Track:
    """Return the track, about to move, with what is far behind by now."""
    if now_s < track.mark[1] + OLD_STALES * stale_s:
        return track
    return replace(track, old_seq=track.mark[0], mark=(track.seq, now_s))


def _rival(track: Track, head: Part, stale_s: float, now_s: float) -> Track:
    """Return the track after an earlier boot was heard; two that go on side by side are two POPs of one number."""
    known = track.rival if track.rival is not None and track.rival[0] == head.boot else None
    if known is not None and head.seq <= known[1]:
        return track
    turns = track.turns + (known is not None and not track.rival_last)
    until_s = now_s + 2 * stale_s if turns >= TURNS else track.twice_until_s
    return replace(track, rival=(head.boot, head.seq), rival_last=True, turns=turns, twice_until_s=until_s)


def _differs(seen: Seen, head: Part) -> bool:
    """Return whether one seq of one boot says two things."""
    held = (channel.parts.get(head.pop, _NO_PARTS).get(0) for channel in seen.channels.values())
    return any(one is not None and (one.boot, one.seq) == (head.boot, head.seq) and one != head for one in held)


def _echoing(track: Track, ears: Ears, head: Part) -> Track:
    """Return the track with what the head says of epochs: its own, and how far it has seen ours."""
    track = replace(track, epoch=max(track.epoch, head.epoch))
    echo = head.echoes.get(ears.spec.number)
    if echo is None or echo.boot != ears.boot:
        return track
    track = replace(track, answers=True)
    before = tuple(one for one in track.echoes if one.epoch.boot == echo.boot)
    if before and before[-1].epoch >= echo:
        return replace(track, echoes=before)
    return replace(track, echoes=(*before, Echo(echo, head.seq))[-MAX_ECHOES:])


def _lacking(seen: Seen, track: Track, pop: int, now_s: float) -> Track:
    held = seen.parts(pop, track.boot)
    head = held.get(0)
    lacks = head is not None and any(
        number not in held or held[number].seq < seq for number, seq in head.versions.items()
    )
    if not lacks:
        return replace(track, lacks_since_s=None)
    return track if track.lacks_since_s is not None else replace(track, lacks_since_s=now_s)


def _with(seen: Seen, name: str, channel: Channel) -> Seen:
    return replace(seen, channels={**seen.channels, name: channel})


def _without(held: Mapping[K, T], place: K) -> Mapping[K, T]:
    return {one: value for one, value in held.items() if one != place} if place in held else held


def _track(seen: Seen, pop: int, track: Track) -> Seen:
    return replace(seen, tracks={**seen.tracks, pop: track})
