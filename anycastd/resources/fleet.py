"""What POPs tell each other through the fleet's store: who there is, how each is, who is away by order. Pure.

A member's record stays until an operator forgets it; its presence goes when it says nothing any more. Presence is for
display and for counting: nothing is announced, withdrawn, bound or unbound because of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

MEMBERS, PRESENCE, LEDGER, TOKENS = "/members/", "/pops/", "/ledger", "/leaving/"
MAX_NAMED = 500
"""So many withdrawn prefixes are named; with more a POP counts as away for all."""
MAX_WORD, MAX_NUMBER = 512, 1e15
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A POP of the fleet: what it may announce, as configured; prefixes as text, in their one spelling."""

    pop: str
    asn: int
    prefixes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """How a POP is, as it says. `drain`: the phase of its own drain; `away`: prefixes that it does not announce."""

    pop: str
    version: str
    config: str
    at_unix_s: float
    started_unix_s: float
    state: str
    health: Mapping[str, int] = field(default_factory=dict)
    """How many of its regions are in which health."""
    levels: Mapping[str, int] = field(default_factory=dict)
    """How many prefixes are announced at which level."""
    away: frozenset[str] = frozenset()
    away_all: bool = False
    in_bps: float = 0.0
    out_bps: float = 0.0
    eips: int = 0
    bound: int = 0
    revision: int = 0
    """Up to where it has applied the store."""
    drain: str = ""
    alarms: int = 0
    capacity_bps: float = 0.0
    """What it can carry; 0: it does not say."""
    standby: frozenset[str] = frozenset()
    """Prefixes that it announces only when called on."""
    calls: frozenset[str] = frozenset()
    """Prefixes for which it calls on standbys."""
    sheds: frozenset[str] = frozenset()
    """Prefixes of which it sends traffic away."""
    pressed: frozenset[str] = frozenset()
    """Prefixes for which it has more load than it should, or an attack."""
    attack: str = ""
    """The worst of its states, NORMAL to ATTACK; empty: it does not say."""
    attacked: int = 0
    """How many of its EIPs are under attack."""
    steps: int = 0
    """How many steps of its playbooks are in force."""

    def announces(self, prefix: str) -> bool:
        """Return whether it announces a prefix, as far as it says."""
        return not self.away_all and prefix not in self.away


SPREAD = ("standby", "calls", "sheds", "pressed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A POP that is away by order. It stays until the POP, or an operator, takes it back: no time ends it."""

    pop: str
    drain: str
    owner: str
    reason: str
    forced: bool
    since_unix_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The last time that a POP began to leave or came back. `number` counts all of the fleet."""

    pop: str
    what: str
    number: int
    unix_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """Who is away by order, and the last moves."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Return the number of the last move."""
        return max((move.number for move in self.moves.values()), default=0)

    def entered(self, entry: Entry) -> Ledger:
        """Return the ledger with one more POP away."""
        move = Move(pop=entry.pop, what="drain", number=self.number + 1, unix_s=entry.since_unix_s)
        return Ledger({**self.entries, entry.pop: entry}, {**self.moves, entry.pop: move})

    def released(self, pop: str, unix_s: float) -> Ledger:
        """Return the ledger without a POP."""
        entries = {name: entry for name, entry in self.entries.items() if name != pop}
        move = Move(pop=pop, what="return", number=self.number + 1, unix_s=unix_s)
        return Ledger(entries, {**self.moves, pop: move})


def encode_member(member: Member) -> str:
    """Return the text of a member's record."""
    return _text({"pop": member.pop, "asn": member.asn, "prefixes": sorted(member.prefixes)})


def decode_member(text: str) -> Member:
    """Return a member's record; ValueError if the text is not what `encode_member` writes."""
    return _decoded(
        text, lambda body: Member(pop=_word(body["pop"]), asn=int(body["asn"]), prefixes=_words(body["prefixes"]))
    )


def encode_presence(presence: Presence) -> str:
    """Return the text of how a POP is; of many prefixes that are away none are named."""
    body = asdict(presence)
    away_all = presence.away_all or len(presence.away) > MAX_NAMED
    spread = {name: sorted(body[name])[:MAX_NAMED] for name in SPREAD}
    return _text(body | spread | {"away": [] if away_all else sorted(presence.away), "away_all": away_all})


def decode_presence(text: str) -> Presence:
    """Return how a POP is, as far as this release knows what it says; ValueError if that is not what it should be."""
    return _decoded(text, _presence_in)


def _presence_in(body: Mapping[str, Any]) -> Presence:
    """Every value is taken for what it must be: somebody else may have written it."""
    return Presence(
        pop=_word(body["pop"]),
        version=_word(body["version"]),
        config=_word(body["config"]),
        at_unix_s=_number(body["at_unix_s"]),
        started_unix_s=_number(body["started_unix_s"]),
        state=_word(body["state"]),
        health={_word(name): int(count) for name, count in body["health"].items()},
        levels={_word(name): int(count) for name, count in body["levels"].items()},
        away=_words(body["away"]),
        away_all=bool(body["away_all"]),
        in_bps=_number(body["in_bps"]),
        out_bps=_number(body["out_bps"]),
        eips=int(body["eips"]),
        bound=int(body["bound"]),
        revision=int(body["revision"]),
        drain=_word(body["drain"]),
        alarms=int(body["alarms"]),
        # not said by releases before
        capacity_bps=_number(body.get("capacity_bps", 0.0)),
        attack=_word(body.get("attack", "")),
        attacked=int(body.get("attacked", 0)),
        steps=int(body.get("steps", 0)),
        **{name: _words(body.get(name, ())) for name in SPREAD},
    )


def encode_ledger(ledger: Ledger) -> str:
    """Return the text of the ledger."""
    entries = {pop: asdict(entry) for pop, entry in ledger.entries.items()}
    return _text({"entries": entries, "moves": {pop: asdict(move) for pop, move in ledger.moves.items()}})


def decode_ledger(text: str) -> Ledger:
    """Return the ledger; ValueError if the text is not what `encode_ledger` writes."""
    return _decoded(
        text,
        lambda body: Ledger(
            {_word(pop): _entry_in(entry) for pop, entry in body["entries"].items()},
            {_word(pop): _move_in(move) for pop, move in body["moves"].items()},
        ),
    )


def _entry_in(body: Mapping[str, Any]) -> Entry:
    return Entry(
        pop=_word(body["pop"]),
        drain=_word(body["drain"]),
        owner=_word(body["owner"]),
        reason=_word(body["reason"]),
        forced=bool(body["forced"]),
        since_unix_s=_number(body["since_unix_s"]),
    )


def _move_in(body: Mapping[str, Any]) -> Move:
    return Move(
        pop=_word(body["pop"]),
        what=_word(body["what"]),
        number=int(body["number"]),
        unix_s=_number(body["unix_s"]),
    )


def _word(value: object) -> str:
    """Return one line that can be shown on a terminal."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_WORD:
        message = f"not a word of ours: {value!r:.80}"
        raise ValueError(message)
    return value


def _words(values: Iterable[object]) -> frozenset[str]:
    return frozenset(map(_word, values))


def _number(value: Any) -> float:
    number = float(value)
    if not 0 <= number < MAX_NUMBER:
        message = f"not a time or rate: {value!r:.80}"
        raise ValueError(message)
    return number


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def _decoded(text: str, read: Callable[[dict[str, Any]], T]) -> T:
    try:
        return read(json.loads(text))
    except (KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        message = f"not a record of ours: {error!r}"
        raise ValueError(message) from error
