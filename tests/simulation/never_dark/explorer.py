"""Every state that a small fleet can reach, with the real policy, seen-table and codec in each POP.

Between the POPs there is no clock: a beacon may take for ever, be overtaken by the next, or be cut off with its
session; a POP may decide, speak, or be told by ExaBGP at any moment, or never. So what holds here holds for any delay.
The store is such a way too; what it does more is to go back to an older snapshot.

A state keeps of each number only what rules compare: whether an epoch that somebody knows, or echoes, is the present
one of its POP. From that `Fleet.outcome` builds real beacons, sends them through the codec into a real `Seen`, and lets
`decide` have the real `View`; the same small state always gives the same outcome, so each is built once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_network
from typing import NamedTuple

from anycastd.fleet import own as own_module
from anycastd.fleet import standing
from anycastd.fleet.codec import parts_of, read, route_of
from anycastd.fleet.own import Entered, Own
from anycastd.fleet.seen import Ears, Seen, hear, up
from anycastd.model.decision import Level, Memory, Truth
from anycastd.model.fleet import Beacon, Claim, Epoch, FleetSpec
from anycastd.model.topology import PrefixSpec, PrefixTimers
from anycastd.policy.draft import Facts, Order
from anycastd.policy.engine import decide

PREFIX = ip_network("203.0.113.0/24")
FINE, SICK, DRAIN, STOP, UNSURE = "fine", "sick", "drain", "stop", "unsure"
TRUTH = {SICK: Truth.FALSE, UNSURE: Truth.UNKNOWN}
UNLIMITED = -1
NOW_S = 1000.0
BOOT, COUNTER, ENTRY = 100, 5, 7
NEVER_S = 1e9


class Heard(NamedTuple):
    """What a POP last heard of another: `echo`, that it has seen our present epoch."""

    claim: Claim
    intends: bool
    echo: bool


class Said(NamedTuple):
    """A beacon: `epoch`, that it carries the present one; `echoes` of each POP, that it is the present one."""

    claim: Claim
    intends: bool
    epoch: bool
    echoes: tuple[bool, ...]


class Pop(NamedTuple):
    """One POP. `level` is decided, `sent` acknowledged by ExaBGP; `knows`: that its epoch of each POP is the present
    one; `up`: its session with the observer; `mourned`: that the observer knows of its death."""

    alive: bool
    cause: str
    level: Level
    sent: Level
    announced: bool
    intends: bool
    up: bool
    heard: tuple[Heard | None, ...]
    knows: tuple[bool, ...]
    said: Said
    mourned: bool = False


Wire = tuple[tuple[tuple[Said | None, ...], ...], ...]
"""Beacons on their way, by sender and reader, oldest first; None: the observer withdrew it."""


class State(NamedTuple):
    """`saved`: what each POP had in the store when a snapshot of that was taken."""

    pops: tuple[Pop, ...]
    wire: Wire
    left: tuple[int, ...]
    saved: tuple[Said, ...] = ()


class Outcome(NamedTuple):
    level: Level
    intends: bool
    announced: bool
    new_epoch: bool


@dataclass(frozen=True)
class Found:
    """What an exploration found; `trace` leads to a state that must not be."""

    states: int
    steps: int
    trace: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """What is explored: so many POPs, so many others wanted, and how often each event may happen."""

    pops: int = 2
    wanted: int | None = None
    events: dict[str, int] = field(default_factory=lambda: {"sick": UNLIMITED, "heal": UNLIMITED})
    on_the_way: int = 2
    """Beacons of one POP that may be on their way to one reader; the next takes the place of the last."""
    gshut: bool = False
    speaks_apart: bool = True
    """Whether a POP may speak without deciding anew; else each beacon comes with a decision or an acknowledgement."""
    deaths_are_dark: bool = True
    """Whether dark is dark also after a death; else only a dark state that nothing ends any more."""

    def __hash__(self) -> int:
        return id(self)

    @cache  # noqa: B019
    def outcome(self, me: int, pop: Pop, waited: bool) -> Outcome:
        """Return what the real code of POP `me` decides."""
        spec = self._spec(me)
        own = Own(BOOT, COUNTER, {PREFIX: Entered(ENTRY, COUNTER)})
        seen = Seen.deaf(0.0)
        if pop.up:
            seen = up(seen, "observer", 0.0)
        for other, heard in enumerate(pop.heard, start=1):
            if heard is not None:
                seen = self._hear(seen, spec, own, other, heard)
        others = standing.View(seen, spec, own, NOW_S).others(PREFIX)
        memory = Memory(
            level=pop.level, level_since_s=0.0 if waited else NOW_S, was_announced=pop.announced, epoch=ENTRY,
            intends=pop.intends,
        )  # fmt: skip
        timers = PrefixTimers(
            settle_s=0.0, return_after_s=0.0, return_max_s=0.0, gshut_wait_s=10.0 if self.gshut else 0.0
        )
        facts = Facts(
            now_s=NOW_S,
            spec=PrefixSpec(prefix=PREFIX, min_announcers=self.wanted, timers=timers),
            condition=TRUTH.get(pop.cause, Truth.TRUE),
            stopping=pop.cause == STOP,
            drain=Order(Level.WITHDRAWN, False, "drained") if pop.cause == DRAIN else None,
            fleet=others,
        )
        decision, after = decide(facts, memory)
        new = own.follow({PREFIX: after})
        return Outcome(decision.level, after.intends, after.was_announced, new.epoch != own.epoch)

    def _spec(self, me: int) -> FleetSpec:
        names = {number: f"pop-{number}" for number in range(1, self.pops + 1)}
        return FleetSpec(
            number=me + 1, pops=names, base=ip_network("10.255.0.0/24"), asn=64500, heartbeat_s=NEVER_S, blind_s=0.0,
            boot_s=0.0,
        )  # fmt: skip

    def _hear(self, seen: Seen, spec: FleetSpec, own: Own, other: int, heard: Heard) -> Seen:
        echoed = Epoch(own.boot, own.counter if heard.echo else own.counter - 1)
        beacon = Beacon(
            pop=other, boot=1, seq=1, upstreams=1, claims={PREFIX: heard.claim}, echoes={spec.number: echoed},
            intents=frozenset({PREFIX} if heard.intends else ()),
        )  # fmt: skip
        for part in parts_of(beacon):
            seen = hear(seen, Ears(spec, own.boot, 0), "observer", read(spec, *route_of(spec, part)), NOW_S)
        return seen

    def first(self) -> State:
        """Return the state in which all is well and everybody knows it."""
        everybody = (True,) * self.pops
        said = Said(Claim.NORMAL, False, True, everybody)
        pops = tuple(
            Pop(
                True,
                FINE,
                Level.NORMAL,
                Level.NORMAL,
                True,
                False,
                True,
                tuple(None if other == me else Heard(Claim.NORMAL, False, True) for other in range(self.pops)),
                everybody,
                said,
            )
            for me in range(self.pops)
        )
        return State(pops, (((),) * self.pops,) * self.pops, tuple(self.events.values()))

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield everything that may happen next."""
        yield from self._events(state)
        if "rollback" in self.events:
            for me, pop in enumerate(state.pops):
                if pop.alive:  # a heartbeat writes over what an older snapshot brought back
                    yield f"say {me} again", self._send(state, me, pop.said)
        for me, pop in enumerate(state.pops):
            if not pop.alive:
                if not pop.mourned:
                    mourned = _put(state, me, pop._replace(mourned=True))
                    yield f"death of {me} seen", self._send(mourned, me, None)
                continue
            for waited in (True, False) if self.gshut else (True,):
                yield f"decide {me}", self._decide(state, me, waited)
            if pop.sent < pop.level:
                yield f"ack {me}", self._say(_put(state, me, pop._replace(sent=pop.level)), me)
            if self.speaks_apart:
                yield f"say {me}", self._say(state, me)
            yield from self._deliveries(state, me)

    def _events(self, state: State) -> Iterator[tuple[str, State]]:
        left = dict(zip(self.events, state.left, strict=True))
        for me, pop in enumerate(state.pops):
            for event, times in left.items():
                if times and (after := self._event(state, me, pop, event)) is not None:
                    spent = tuple(n - (k == event and n > 0) for k, n in left.items())
                    yield f"{event} {me}", after._replace(left=spent)

    def _event(self, state: State, me: int, pop: Pop, event: str) -> State | None:
        causes = {"sick": (FINE, SICK), "heal": (SICK, FINE), "drain": (FINE, DRAIN), "undrain": (DRAIN, FINE),
                  "stop": (FINE, STOP), "doubt": (FINE, UNSURE), "sure": (UNSURE, FINE)}  # fmt: skip
        if event in ("save", "rollback"):
            return self._snapshot(state, event) if me == 0 else None
        if event == "revive":
            return None if pop.alive else self._revived(state, me, pop)
        if not pop.alive:
            return None
        if event in causes:
            was, becomes = causes[event]
            return _put(state, me, pop._replace(cause=becomes)) if pop.cause == was else None
        if event == "die":
            return _put(state, me, pop._replace(alive=False, sent=Level.WITHDRAWN, level=Level.WITHDRAWN))
        if event == "cut" and pop.up:
            state = _put(state, me, pop._replace(up=False, heard=(None,) * self.pops))
            wire = tuple(tuple(() if to == me else q for to, q in enumerate(row)) for row in state.wire)
            return self._send(state._replace(wire=wire), me, None)
        if event == "join" and not pop.up:
            state = self._send(_put(state, me, pop._replace(up=True)), me, pop.said)
            for other, one in enumerate(state.pops):
                if other != me and one.alive and one.up:
                    state = self._queue(state, other, me, one.said)
            return state
        return None

    def _snapshot(self, state: State, event: str) -> State | None:
        """Take a snapshot of the store, or bring it back: then everybody hears it, and nothing that was on its way."""
        if event == "save":
            return state._replace(saved=tuple(pop.said for pop in state.pops))
        if not state.saved:
            return None
        wire = tuple(
            tuple(() if me == other else (state.saved[me],) for other in range(self.pops)) for me in range(self.pops)
        )
        return state._replace(wire=wire)

    def _revived(self, state: State, me: int, pop: Pop) -> State:
        nobody = (None,) * self.pops
        said = Said(Claim.GONE, False, True, (False,) * self.pops)
        born = Pop(True, FINE, Level.WITHDRAWN, Level.WITHDRAWN, False, False, True, nobody, said.echoes, said)
        state = _forget(_put(state, me, born), me)
        state = self._send(_put(state, me, born), me, said)
        for other, one in enumerate(state.pops):
            if other != me and one.alive and one.up:
                state = self._queue(state, other, me, one.said)
        return state

    def _decide(self, state: State, me: int, waited: bool) -> State:
        pop = state.pops[me]
        plain = pop._replace(sent=Level.WITHDRAWN, knows=(), said=_NOTHING)
        out = self.outcome(me, plain, waited)
        if out.new_epoch:
            state = _forget(state, me)
            pop = state.pops[me]
        pop = pop._replace(level=out.level, intends=out.intends, announced=out.announced, sent=min(pop.sent, out.level))
        return self._say(_put(state, me, pop), me)

    def _say(self, state: State, me: int) -> State:
        """Make the beacon anew; it is sent if it is another."""
        pop = state.pops[me]
        claim = own_module.honest_claim(pop.level, (pop.sent,))
        said = Said(claim, pop.intends, True, pop.knows)
        if said == pop.said:
            return state
        return self._send(_put(state, me, pop._replace(said=said)), me, said)

    def _send(self, state: State, me: int, said: Said | None) -> State:
        if not state.pops[me].up and said is not None:
            return state
        for other in range(self.pops):
            if other != me and state.pops[other].alive and state.pops[other].up:
                state = self._queue(state, me, other, said)
        return state

    def _queue(self, state: State, me: int, reader: int, said: Said | None) -> State:
        queue = state.wire[me][reader]
        queue = (*queue, said) if len(queue) < self.on_the_way else (*queue[:-1], said)
        return _wired(state, me, reader, queue)

    def _deliveries(self, state: State, me: int) -> Iterator[tuple[str, State]]:
        for other in range(self.pops):
            queue = state.wire[other][me]
            if not queue:
                continue
            pop, said = state.pops[me], queue[0]
            heard, knows = list(pop.heard), list(pop.knows)
            if said is None:
                heard[other] = None
            else:
                heard[other] = Heard(said.claim, said.intends, said.echoes[me])
                knows[other] = knows[other] or said.epoch
            after = _put(state, me, pop._replace(heard=tuple(heard), knows=tuple(knows)))
            yield f"{me} hears {other}", _wired(after, other, me, queue[1:])

    def canonical(self, state: State) -> State:
        """Return the state with its POPs in an order that does not depend on their numbers, as far as that is cheap.

        Only drains tell POPs apart by number; where none may happen, fleets that differ by numbers only are one.
        """
        if "drain" in self.events:
            return state
        keys = [_signature(pop) for pop in state.pops]
        order = sorted(range(self.pops), key=keys.__getitem__)
        return state if order == list(range(self.pops)) else _renumbered(state, order)

    def is_dark(self, state: State) -> bool:
        """Return whether a POP is alive and none announces. One that says GSHUT is as good as gone."""
        alive = [pop for pop in state.pops if pop.alive]
        return bool(alive) and all(pop.sent < Level.DEPREF for pop in alive)

    def is_wrong(self, state: State) -> bool:
        """Return whether the state must not be."""
        if not self.is_dark(state):
            return False
        if self.deaths_are_dark:
            return True
        # nothing but an event from outside would end it
        quiet = {"decide", "ack", "say", "death"}
        ways = [after for label, after in self.steps(state) if label.split()[0] in quiet or " hears " in label]
        return all(after == state for after in ways)

    def explore(self, most: int = 3_000_000) -> Found:
        """Return how many states can be reached from the first one, up to one that must not be."""
        start = self.first()
        came: dict[State, tuple[State, str] | None] = {start: None}
        ahead, steps = deque([start]), 0
        while ahead:
            state = ahead.popleft()
            for label, after in self.steps(state):
                steps += 1
                after = self.canonical(after)
                if after in came:
                    continue
                came[after] = (state, label)
                if self.is_wrong(after):
                    return Found(len(came), steps, _trace(came, after))
                assert len(came) < most, f"more than {most} states"
                ahead.append(after)
        return Found(len(came), steps)


_NOTHING = Said(Claim.GONE, False, False, ())


def _put(state: State, me: int, pop: Pop) -> State:
    return state._replace(pops=(*state.pops[:me], pop, *state.pops[me + 1 :]))


def _signature(pop: Pop) -> tuple[object, ...]:
    heard = sorted(0 if one is None else 8 + one.claim * 4 + one.intends * 2 + one.echo for one in pop.heard)
    return (pop.alive, pop.cause, pop.level, pop.sent, pop.announced, pop.intends, pop.up, pop.mourned, heard,
            sum(pop.knows), pop.said.claim, sum(pop.said.echoes))  # fmt: skip


def _renumbered(state: State, order: list[int]) -> State:
    def said(one: Said | None) -> Said | None:
        return one and one._replace(echoes=tuple([one.echoes[of] for of in order]))

    pops = []
    for number in order:
        pop = state.pops[number]
        spoken = said(pop.said)
        assert spoken is not None
        heard, knows = tuple([pop.heard[of] for of in order]), tuple([pop.knows[of] for of in order])
        pops.append(pop._replace(heard=heard, knows=knows, said=spoken))
    wire = tuple([tuple([tuple([said(one) for one in state.wire[a][b]]) for b in order]) for a in order])
    saved = tuple([said(state.saved[of]) or _NOTHING for of in order]) if state.saved else ()
    return State(tuple(pops), wire, state.left, saved)


def _wired(state: State, sender: int, reader: int, queue: tuple[Said | None, ...]) -> State:
    row = state.wire[sender]
    row = (*row[:reader], queue, *row[reader + 1 :])
    return state._replace(wire=(*state.wire[:sender], row, *state.wire[sender + 1 :]))


def _forget(state: State, me: int) -> State:
    """POP `me` begins a new epoch: what anybody knows, says or has said of it is of an old one."""

    def aged(said: Said | None, sender: int) -> Said | None:
        if said is None:
            return None
        echoes = tuple(echo and of != me for of, echo in enumerate(said.echoes))
        return said._replace(echoes=echoes, epoch=said.epoch and sender != me)

    pops = []
    for number, pop in enumerate(state.pops):
        knows = tuple(known and (of != me or number == me) for of, known in enumerate(pop.knows))
        heard = pop.heard
        if number == me:
            heard = tuple(one and one._replace(echo=False) for one in heard)
        said = aged(pop.said, number)
        assert said is not None
        pops.append(pop._replace(knows=knows, heard=heard, said=said))
    wire = tuple(
        tuple(tuple(aged(said, sender) for said in queue) for queue in row) for sender, row in enumerate(state.wire)
    )
    saved = tuple(aged(said, sender) or _NOTHING for sender, said in enumerate(state.saved))
    return State(tuple(pops), wire, state.left, saved)


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    words: list[str] = []
    while (before := came[state]) is not None:
        levels = " ".join(pop.sent.name if pop.alive else "dead" for pop in state.pops)
        words.append(f"{before[1]:<16} -> {levels}")
        state = before[0]
    return tuple(reversed(words))
