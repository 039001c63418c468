"""A fleet under a virtual clock: real policy, seen-tables and beacons in each POP, and a bad network between them.

Observers are reflectors: each POP has a BGP session with each. Messages of a session come in order and late; a session
may be cut without either end knowing, until its hold time is over. POPs die, their daemons die while ExaBGP goes on,
uplinks are lost, observers die, beacons are garbled, old ones are played again.

Beside the observers, or in their place, there may be the fleet's store (`store.py`).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import ip_network

from anycastd.fleet import own as own_module
from anycastd.fleet.codec import BeaconError, BeaconRoute, parts_of, read, route_of
from anycastd.fleet.own import Own
from anycastd.fleet.seen import Ears, Seen, down, hear, lost, unreadable, up
from anycastd.fleet.standing import View, beacon_of, tells_news
from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory, Truth
from anycastd.model.fleet import FleetSpec, Part
from anycastd.model.topology import PrefixSpec, PrefixTimers
from anycastd.policy import engine
from anycastd.policy.draft import Facts, Order
from tests.simulation.never_dark.store import SimStore

PREFIXES: tuple[Prefix, ...] = (ip_network("203.0.113.0/24"), ip_network("2001:db8:113::/48"))
HOLD_S = 9.0
HOP_S = 0.2
"""The longest that a message takes from POP to observer, or on from there."""
LAG_S = 0.1
"""The longest from hearing something to deciding on it."""
ACK_S = 0.05
TIMERS = PrefixTimers(settle_s=0.5, return_after_s=5.0, return_max_s=5.0, half_life_s=5.0)
DARK_S = max(HOLD_S, 9.0) + 2 * HOP_S + LAG_S + ACK_S
"""T_dark: hold time (or three heartbeats), the way, one period of the controller, the way out."""
BLIND_S = 10.0
TO, FROM = "to the observer", "from the observer"

KINDS = (
    "sick", "heal", "all_sick", "drain", "undrain", "cut", "cut_to", "cut_from", "mend", "observer_down",
    "observer_up", "die", "die_loudly", "revive", "crash", "restart", "uplink_down", "uplink_up", "garble", "replay",
    "doubt",
)  # fmt: skip
OF_STORE = ("store_cut", "store_mend", "store_down", "store_up", "store_save", "store_rollback")
DEADLY = frozenset({"die", "die_loudly", "uplink_down"})


@dataclass(frozen=True)
class Event:
    """Something from outside: at a time, to one POP, by one observer."""

    at_s: float
    kind: str
    pop: int
    observer: int


@dataclass(frozen=True)
class Plan:
    """A whole run but for its chances; `seed` gives those."""

    seed: int
    pops: int
    wanted: int | None
    gshut_wait_s: float
    events: tuple[Event, ...]
    end_s: float
    excused: bool = True
    """Whether a prefix may be dark for a while when a POP died."""
    keeps_s: float = 0.0
    """How long an observer keeps the beacons of a POP whose session it lost (graceful restart, badly chosen)."""
    by: str = "observers"
    """By what POPs see each other: `observers`, `store`, or `both`."""


@dataclass
class Session:
    """One BGP session of a POP with an observer; `stalled` holds what was sent since a direction was cut: TO, FROM."""

    number: int = 0
    pop_up: bool = False
    observer_up: bool = False
    stalled: dict[str, list[Callable[[], None]]] = field(default_factory=dict)
    to_observer_s: float = 0.0
    to_pop_s: float = 0.0


@dataclass
class Node:
    """One POP."""

    spec: FleetSpec
    boot: int
    now_s: float
    alive: bool = True
    daemon: bool = True
    uplink: bool = True
    condition: Truth = Truth.TRUE
    drained: bool = False
    seq: int = 0
    last_said_s: float = -1.0
    own: Own = field(default_factory=lambda: Own(0))
    seen: Seen = field(default_factory=lambda: Seen.deaf(0.0))
    parts: tuple[Part, ...] = ()
    memories: dict[Prefix, Memory] = field(default_factory=dict)
    wire: dict[Prefix, Level] = field(default_factory=dict)
    routes: dict[Prefix, tuple[str, ...]] = field(default_factory=dict)
    content: object = None
    turn: int = 0
    due_s: float = float("inf")

    def begin(self, now_s: float, boot: int) -> None:
        self.own, self.seen, self.parts, self.content = Own(boot), Seen.deaf(now_s), (), None
        self.seq, self.daemon, self.due_s, self.turn = 0, True, float("inf"), self.turn + 1

    @property
    def ears(self) -> Ears:
        return Ears(self.spec, self.own.boot, self.seq)

    def announces(self, prefix: Prefix) -> bool:
        return self.alive and self.uplink and self.wire[prefix] > Level.WITHDRAWN


class TooDark(AssertionError):
    """A prefix was dark for longer than it may be."""


@lru_cache(maxsize=1 << 12)
def _read(spec: FleetSpec, prefix: Prefix, communities: tuple[str, ...]) -> Part:
    return read(spec, prefix, communities)


@lru_cache(maxsize=64)
def _spec(number: int, pops: int) -> FleetSpec:
    names = {one: f"pop-{one}" for one in range(1, pops + 1)}
    return _Spec(number=number, pops=names, base=ip_network("10.255.0.0/20"), asn=64500, blind_s=BLIND_S, boot_s=60.0)


class _Spec(FleetSpec):
    """A FleetSpec that can be a key of a cache: there is one of each number and size."""

    def __hash__(self) -> int:
        return hash((self.number, len(self.pops)))


class Run:
    """Plays a plan; `steps` counts the decisions that were made, and the beacons that were sent and heard."""

    def __init__(self, plan: Plan, *, told: bool = False) -> None:
        self.plan, self.random = plan, random.Random(plan.seed)
        self.now_s, self.steps, self._number = 0.0, 0, 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self.told: list[str] | None = [] if told else None
        self.nodes = {n: Node(_spec(n, plan.pops), 1000, 0.0) for n in range(1, plan.pops + 1)}
        self.observers = dict.fromkeys((1, 2), plan.by != "store")
        self.tables: dict[int, dict[Prefix, tuple[int, tuple[str, ...]]]] = {1: {}, 2: {}}
        self.sessions = {(n, o): Session() for n in self.nodes for o in self.observers}
        self.past: list[tuple[int, BeaconRoute]] = []
        self.dark_since: dict[Prefix, float] = {}
        self.worst_s, self.allowed_s, self.left = 0.0, float("-inf"), 0
        self.changes = 0
        self.store = SimStore(self)
        self._boot = 1000
        timers = replace(TIMERS, gshut_wait_s=plan.gshut_wait_s)
        self.specs = {p: PrefixSpec(prefix=p, min_announcers=plan.wanted, timers=timers) for p in PREFIXES}
        for node in self.nodes.values():
            node.begin(0.0, 1000)
            node.memories = {p: Memory(level=Level.NORMAL, was_announced=True, fine_since_s=0.0) for p in PREFIXES}
            node.wire = dict.fromkeys(PREFIXES, Level.NORMAL)
            node.own = node.own.follow(node.memories)
        for key in self.sessions:
            self._connect(*key)
        if plan.by != "observers":
            self.store.begin()
        for number in self.nodes:
            self._heartbeat(number, self.nodes[number].turn)
        for event in plan.events:
            self.at(event.at_s, lambda event=event: self._happen(event))  # type: ignore[misc]

    def play(self) -> Run:
        """Play to the end; TooDark if a prefix is dark for longer than deaths excuse."""
        while self._heap and self._heap[0][0] <= self.plan.end_s:
            self.now_s, _, what = heapq.heappop(self._heap)
            what()
        self._look()
        return self

    def at(self, at_s: float, what: Callable[[], None]) -> None:
        """Do something at a time."""
        self._number += 1
        heapq.heappush(self._heap, (at_s, self._number, what))

    def _tell(self, words: str) -> None:
        if self.told is not None:
            self.told.append(f"{self.now_s:9.3f} {words}")

    # what is checked

    def _look(self) -> None:
        """Look whether a prefix is dark, each time when that may have changed."""
        for prefix in PREFIXES:
            able = [node for node in self.nodes.values() if node.alive and node.uplink and node.daemon]
            dark = bool(able) and not any(node.announces(prefix) for node in self.nodes.values())
            since_s = self.dark_since.get(prefix)
            if since_s is not None:
                self.worst_s = max(self.worst_s, self.now_s - since_s)
                if self.now_s > max(self.allowed_s, since_s):
                    message = (
                        f"{prefix} dark since {since_s:.3f}, allowed until {self.allowed_s:.3f}: now {self.now_s:.3f}"
                    )
                    raise TooDark(message)
            if dark and since_s is None:
                self.dark_since[prefix] = self.now_s
                if self.now_s > self.allowed_s:
                    message = f"{prefix} went dark at {self.now_s:.3f}, and nobody had died"
                    raise TooDark(message)
                self.at(self.allowed_s + 0.001, self._look)
            elif not dark:
                self.dark_since.pop(prefix, None)

    def _excuse(self, for_s: float) -> None:
        if self.plan.excused:
            self.allowed_s = max(self.allowed_s, self.now_s + for_s)

    # a POP

    def _decide(self, number: int, turn: int) -> None:
        node = self.nodes[number]
        if not (node.alive and node.daemon) or node.turn != turn:
            return
        if node.due_s > self.now_s:
            return
        node.due_s = float("inf")
        self.steps += len(PREFIXES)
        view = View(node.seen, node.spec, node.own, self.now_s)
        wakes = [view.next_s()]
        changed: dict[Prefix, Memory] = {}
        for prefix, memory in node.memories.items():
            order = Order(Level.WITHDRAWN, False, "drained") if node.drained else None
            facts = Facts(
                now_s=self.now_s, spec=self.specs[prefix], condition=node.condition, drain=order,
                fleet=view.others(prefix),
            )  # fmt: skip
            decision, after = engine.decide(facts, memory)
            changed[prefix] = after
            wakes.append(decision.wake_at_s)
            if decision.level is not memory.level:
                self.changes += 1
                self.left += decision.level is Level.WITHDRAWN
                self._tell(f"pop-{number} {prefix} {memory.level.name} -> {decision.level.name} {decision.trail[-1]}")
        node.memories = changed
        node.own = node.own.follow(changed)
        for prefix, after in changed.items():
            if after.level < node.wire[prefix]:
                node.wire[prefix] = after.level
                self._look()
            elif after.level > node.wire[prefix]:
                self.at(self.now_s + self.random.random() * ACK_S, lambda p=prefix: self._ack(number, turn, p))  # type: ignore[misc]
        self._say(number)
        wake_s = min((at_s for at_s in wakes if at_s is not None), default=None)
        if wake_s is not None:
            self._wake(number, max(wake_s, self.now_s + 0.001))

    def _wake(self, number: int, at_s: float) -> None:
        node = self.nodes[number]
        if at_s < node.due_s:
            node.due_s = at_s
            turn = node.turn
            self.at(at_s, lambda: self._decide(number, turn))

    def soon(self, number: int) -> None:
        """Have a POP decide anew within LAG_S."""
        self._wake(number, self.now_s + self.random.random() * LAG_S)

    def _ack(self, number: int, turn: int, prefix: Prefix) -> None:
        node = self.nodes[number]
        if node.alive and node.daemon and node.turn == turn and node.memories[prefix].level > node.wire[prefix]:
            node.wire[prefix] = node.memories[prefix].level
            self._look()
            self._say(number)

    def _say(self, number: int, *, beat: bool = False) -> None:
        """Send a beacon if it would say something else, or at a heartbeat; no sooner than the gap after the last."""
        node = self.nodes[number]
        claims = {
            prefix: own_module.honest_claim(memory.level, (node.wire[prefix],) if node.uplink else ())
            for prefix, memory in node.memories.items()
        }
        intents = frozenset(prefix for prefix, memory in node.memories.items() if memory.intends)
        beacon = beacon_of(node.spec, node.own, node.seen, node.seq + 1, int(node.uplink), claims, intents)
        content = (claims, intents, beacon.echoes, beacon.epoch, node.uplink)
        if content == node.content and not beat:
            return
        if self.now_s - node.last_said_s < node.spec.min_gap_s and not beat:
            turn, again_s = node.turn, node.last_said_s + node.spec.min_gap_s + 0.0001
            self.at(again_s, lambda: self._say_again(number, turn))
            return
        self.steps += 1
        node.content, node.seq, node.last_said_s = content, node.seq + 1, self.now_s
        before, node.parts = node.parts, parts_of(beacon, node.parts)
        new = [route_of(node.spec, part) for part in node.parts if not any(part is one for one in before)]
        self.store.put(number, [part for part in node.parts if not any(part is one for one in before)])
        node.routes.update(new)
        self.past.extend((number, route) for route in new)
        del self.past[:-40]
        for observer in self.observers:
            self._to_observer(number, observer, new)

    def _say_again(self, number: int, turn: int) -> None:
        node = self.nodes[number]
        if node.alive and node.daemon and node.turn == turn:
            self._say(number)

    def _heartbeat(self, number: int, turn: int) -> None:
        node = self.nodes[number]
        if node.alive and node.daemon and node.turn == turn:
            self._say(number, beat=True)
            self.at(self.now_s + node.spec.heartbeat_s, lambda: self._heartbeat(number, turn))

    # the network

    def _to_observer(self, number: int, observer: int, routes: Iterable[BeaconRoute]) -> None:
        session = self.sessions[number, observer]
        connection, routes = session.number, list(routes)

        def arrive() -> None:
            if session.number == connection and session.observer_up:
                for prefix, communities in routes:
                    self.tables[observer][prefix] = (number, communities)
                self._reflect(number, observer, routes)

        self._send(session, arrive, up=session.pop_up)

    def _reflect(self, number: int, observer: int, routes: list[BeaconRoute]) -> None:
        for other in self.nodes:
            if other != number or self.random.random() < 0.2:  # some reflectors send our own back
                self._to_pop(other, observer, routes)

    def _to_pop(self, number: int, observer: int, routes: list[BeaconRoute], gone: Iterable[Prefix] = ()) -> None:
        if len(routes) > 1 and self.random.random() < 0.5:
            # a reflector need not pass different routes on in the order in which they came
            for route in self.random.sample(routes, len(routes)):
                self._to_pop(number, observer, [route])
            routes = []
        session = self.sessions[number, observer]
        connection, gone = session.number, tuple(gone)

        def arrive() -> None:
            if session.number == connection and session.pop_up:
                self._hear(number, observer, routes, gone)

        self._send(session, arrive, up=session.observer_up, to_pop=True)

    def _send(self, session: Session, arrive: Callable[[], None], *, up: bool, to_pop: bool = False) -> None:
        if not up:
            return
        if (waiting := session.stalled.get(FROM if to_pop else TO)) is not None:
            waiting.append(arrive)
            return
        at_s = self.now_s + self.random.random() * HOP_S
        if to_pop:
            session.to_pop_s = at_s = max(at_s, session.to_pop_s)
        else:
            session.to_observer_s = at_s = max(at_s, session.to_observer_s)
        self.at(at_s, arrive)

    def _hear(self, number: int, observer: int, routes: list[BeaconRoute], gone: tuple[Prefix, ...]) -> None:
        node, name = self.nodes[number], f"rr{observer}"
        if not (node.alive and node.daemon):
            return
        before, parts, news = node.seen, list[Part](), bool(gone)
        for prefix in gone:
            node.seen = lost(node.seen, node.spec, name, prefix, self.now_s)
        for prefix, communities in routes:
            try:
                parts.append(_read(_spec(1, self.plan.pops), prefix, communities))
            except BeaconError as error:
                node.seen, news = unreadable(node.seen, node.spec, name, prefix, error), True
        self.take(number, name, parts, before, news=news)

    def take(self, number: int, name: str, parts: Iterable[Part], before: Seen, *, news: bool = False) -> None:
        """Have a POP hear parts by a channel; `before` is what it had seen before anything of this."""
        node = self.nodes[number]
        self.steps += 1
        for part in parts:
            node.seen = hear(node.seen, node.ears, name, part, self.now_s)
        pops = {part.pop for part in parts}
        if news or any(tells_news(before, node.seen, node.spec, pop, self.now_s) for pop in pops):
            self.soon(number)
        if any(_epoch(before, pop) != _epoch(node.seen, pop) for pop in pops):
            self._say(number)

    def _connect(self, number: int, observer: int) -> None:
        node, session = self.nodes[number], self.sessions[number, observer]
        if not (node.alive and self.observers[observer]) or session.pop_up or session.observer_up:
            return
        session.number += 1
        session.pop_up = session.observer_up = True
        session.stalled, session.to_pop_s, session.to_observer_s = {}, self.now_s, self.now_s
        if node.daemon:
            node.seen = up(node.seen, f"rr{observer}", self.now_s)
            self.soon(number)
        self._to_observer(number, observer, list(node.routes.items()))
        self._to_pop(number, observer, self._table(observer))

    def _table(self, observer: int) -> list[BeaconRoute]:
        return [(prefix, communities) for prefix, (_, communities) in self.tables[observer].items()]

    def _pop_down(self, number: int, observer: int, connection: int) -> None:
        session, node = self.sessions[number, observer], self.nodes[number]
        if session.number != connection or not session.pop_up:
            return
        session.pop_up = False
        if node.alive and node.daemon:
            node.seen = down(node.seen, node.spec, f"rr{observer}", self.now_s)
            self.soon(number)
        self._retry(number, observer)

    def _observer_down(self, number: int, observer: int, connection: int) -> None:
        session = self.sessions[number, observer]
        if session.number != connection or not session.observer_up:
            return
        session.observer_up = False
        self._retry(number, observer)
        if self.plan.keeps_s:
            self.at(self.now_s + self.plan.keeps_s, lambda: self._forget(number, observer, connection))
        else:
            self._forget(number, observer, connection)

    def _forget(self, number: int, observer: int, connection: int) -> None:
        if self.sessions[number, observer].number != connection:
            return
        table = self.tables[observer]
        gone = [prefix for prefix, (owner, _) in table.items() if owner == number]
        for prefix in gone:
            del table[prefix]
        if gone:
            for other in self.nodes:
                if other != number:
                    self._to_pop(other, observer, [], gone)

    def _retry(self, number: int, observer: int) -> None:
        session = self.sessions[number, observer]
        if not session.pop_up and not session.observer_up:
            self.at(self.now_s + 1.0 + 4.0 * self.random.random(), lambda: self._connect(number, observer))

    def _cut(self, number: int, observer: int, *, mend: bool = False, ways: tuple[str, ...] = (TO, FROM)) -> None:
        """Cut a session, or one way of it; who hears nothing knows when its hold time is over, and hangs up."""
        session = self.sessions[number, observer]
        connection = session.number
        for way in ways:
            session.stalled.setdefault(way, [])
            at_s = self.now_s + HOLD_S * (1.0 - self.random.random() / 3.0)
            self.at(at_s, lambda way=way: self._expired(number, observer, connection, way))  # type: ignore[misc]
        if mend:
            self.at(self.now_s + HOLD_S * 0.6 * self.random.random(), lambda: self._mend(number, observer, connection))

    def _expired(self, number: int, observer: int, connection: int, way: str) -> None:
        session = self.sessions[number, observer]
        if session.number != connection or way not in session.stalled:
            return
        first, other = (self._observer_down, self._pop_down) if way == TO else (self._pop_down, self._observer_down)
        first(number, observer, connection)
        if len(session.stalled) == 1:  # the other end is told
            self.at(self.now_s + self.random.random() * HOP_S, lambda: other(number, observer, connection))

    def _mend(self, number: int, observer: int, connection: int) -> None:
        session = self.sessions[number, observer]
        if session.number != connection or not session.stalled:
            return
        stalled, session.stalled = session.stalled, {}
        for arrive in [one for waiting in stalled.values() for one in waiting]:
            self.at(self.now_s + HOP_S, arrive)  # TCP sends again what was lost, in order
        session.to_pop_s = session.to_observer_s = self.now_s + HOP_S

    # what happens from outside

    def _happen(self, event: Event) -> None:
        node, number, observer = self.nodes[event.pop], event.pop, event.observer
        self._tell(f"== {event.kind} pop-{number} rr{observer}")
        if event.kind in DEADLY:
            self._excuse(DARK_S + self._faulty_s())
        if event.kind in (
            "cut",
            "cut_to",
            "cut_from",
            "mend",
            "observer_down",
            "crash",
            "restart",
            "garble",
            *OF_STORE,
        ):
            self._last_fault_s = self.now_s
            if self.allowed_s > self.now_s:
                self._excuse(HOLD_S + BLIND_S + DARK_S)
        getattr(self, f"_do_{event.kind}", self._do_cause)(node, number, observer, event.kind)
        self._look()

    _last_fault_s = float("-inf")

    def _faulty_s(self) -> float:
        """Return how much longer than T_dark it may take when sessions were cut as well: somebody may be blind."""
        return HOLD_S + BLIND_S if self.now_s - self._last_fault_s < 2 * HOLD_S + BLIND_S else 0.0

    def _do_cause(self, node: Node, number: int, observer: int, kind: str) -> None:
        truth = {"sick": Truth.FALSE, "heal": Truth.TRUE, "doubt": Truth.UNKNOWN}
        if kind in truth:
            node.condition = truth[kind]
        elif kind in ("drain", "undrain"):
            node.drained = kind == "drain"
        self.soon(number)

    def _do_all_sick(self, node: Node, number: int, observer: int, kind: str) -> None:
        for one, other in self.nodes.items():
            other.condition = Truth.FALSE
            self._wake(one, self.now_s + 0.1 * self.random.random())

    def _do_cut(self, node: Node, number: int, observer: int, kind: str) -> None:
        self._cut(number, observer)

    def _do_cut_to(self, node: Node, number: int, observer: int, kind: str) -> None:
        self._cut(number, observer, ways=(TO,))

    def _do_cut_from(self, node: Node, number: int, observer: int, kind: str) -> None:
        self._cut(number, observer, ways=(FROM,))

    def _do_mend(self, node: Node, number: int, observer: int, kind: str) -> None:
        self._cut(number, observer, mend=True)

    def _do_observer_down(self, node: Node, number: int, observer: int, kind: str) -> None:
        if not self.observers[observer]:
            return
        self.observers[observer] = False
        self.tables[observer].clear()
        for one in self.nodes:
            session = self.sessions[one, observer]
            session.observer_up = False
            self._cut(one, observer)

    def _do_observer_up(self, node: Node, number: int, observer: int, kind: str) -> None:
        if self.plan.by == "store":
            return
        self.observers[observer] = True
        for one in self.nodes:
            self._retry(one, observer)

    def _do_die(self, node: Node, number: int, observer: int, kind: str) -> None:
        if not node.alive:
            return
        node.alive, node.turn, node.uplink = False, node.turn + 1, True
        node.routes = {}
        for one in self.observers:
            session = self.sessions[number, one]
            session.pop_up = False
            if kind == "die":
                self._cut(number, one)
            else:
                self._observer_down(number, one, session.number)

    def _do_die_loudly(self, node: Node, number: int, observer: int, kind: str) -> None:
        self._do_die(node, number, observer, kind)

    def _do_revive(self, node: Node, number: int, observer: int, kind: str) -> None:
        if node.alive:
            return
        node.alive = True
        node.wire = dict.fromkeys(PREFIXES, Level.WITHDRAWN)
        node.memories = {
            p: replace(m, level=Level.WITHDRAWN, level_since_s=self.now_s, intends=False,
                       was_lost=m.level is not Level.WITHDRAWN)
            for p, m in node.memories.items()
        }  # fmt: skip
        self._start(node, number)
        self._excuse(HOLD_S + BLIND_S + DARK_S)
        for one in self.observers:
            self._retry(number, one)

    def _do_crash(self, node: Node, number: int, observer: int, kind: str) -> None:
        if node.alive and node.daemon:
            node.daemon, node.turn = False, node.turn + 1

    def _do_restart(self, node: Node, number: int, observer: int, kind: str) -> None:
        if not node.alive or node.daemon:
            return
        node.memories = {
            p: replace(m, level=node.wire[p], epoch=m.epoch + (m.level is not node.wire[p]), intends=False,
                       confirmed_since_s=None)
            for p, m in node.memories.items()
        }  # fmt: skip
        self._start(node, number)
        self._excuse(HOLD_S + BLIND_S + DARK_S)
        for one in self.observers:
            if self.sessions[number, one].pop_up:
                node.seen = up(node.seen, f"rr{one}", self.now_s)
                self._to_pop(number, one, self._table(one))

    def _start(self, node: Node, number: int) -> None:
        self._boot += 1
        node.begin(self.now_s, self._boot)
        self.soon(number)
        node.condition = Truth.FALSE if node.condition is Truth.UNKNOWN else node.condition
        self._heartbeat(number, node.turn)

    def _do_uplink_down(self, node: Node, number: int, observer: int, kind: str) -> None:
        node.uplink = False
        if node.alive and node.daemon:
            self._say(number)

    def _do_uplink_up(self, node: Node, number: int, observer: int, kind: str) -> None:
        node.uplink = True
        if node.alive and node.daemon:
            self._say(number)

    def _do_store_cut(self, node: Node, number: int, observer: int, kind: str) -> None:
        self.store.cut.add(number)

    def _do_store_mend(self, node: Node, number: int, observer: int, kind: str) -> None:
        self.store.cut.discard(number)

    def _do_store_down(self, node: Node, number: int, observer: int, kind: str) -> None:
        self.store.is_up = False

    def _do_store_up(self, node: Node, number: int, observer: int, kind: str) -> None:
        self.store.is_up = True

    def _do_store_save(self, node: Node, number: int, observer: int, kind: str) -> None:
        self.store.save()

    def _do_store_rollback(self, node: Node, number: int, observer: int, kind: str) -> None:
        self.store.roll_back()

    def _do_garble(self, node: Node, number: int, observer: int, kind: str) -> None:
        for prefix, (owner, communities) in list(self.tables[observer].items()):
            if owner == number:
                self._reflect(number, observer, [(prefix, communities[:-1])])

    def _do_replay(self, node: Node, number: int, observer: int, kind: str) -> None:
        old = [route for owner, route in self.past if owner == number]
        if old and self.observers[observer]:
            self._reflect(number, observer, [self.random.choice(old)])


def _epoch(seen: Seen, pop: int) -> tuple[int, int]:
    track = seen.tracks.get(pop)
    return (0, 0) if track is None else (track.boot, track.epoch)


def plan_of(
    seed: int, kinds: tuple[str, ...] = KINDS, *, for_s: float = 240.0, pops: int | None = None, **other: float
) -> Plan:
    """Return a plan; the same for the same seed. `other`: fields that are not left to chance."""
    chance = random.Random(f"plan {seed}")
    size = pops or chance.choice((2, 3, 3, 4, 5))
    every_s = chance.choice((0.3, 1.0, 3.0))
    weights = [chance.choice((0, 1, 1, 4)) if kind in ("die", "crash", "cut") else 1 for kind in kinds]
    if "heal" in kinds:
        weights[kinds.index("heal")] = 2
    events, at_s = [], 4.0
    while at_s < for_s:
        kind = chance.choices(kinds, weights)[0]
        events.append(Event(round(at_s, 3), kind, chance.randint(1, size), chance.randint(1, 2)))
        at_s += chance.expovariate(1 / every_s)
    wanted = chance.choice((None, None, 1, 2))
    plan = Plan(seed, size, wanted, chance.choice((0.0, 0.0, 2.0)), tuple(events), for_s + 40.0)
    return replace(plan, **other)  # type: ignore[arg-type]


def shrunk(plan: Plan, most: int = 400) -> Plan:
    """Return a plan with as few events as still make a prefix dark."""

    def fails(events: tuple[Event, ...]) -> bool:
        try:
            Run(replace(plan, events=events)).play()
        except TooDark:
            return True
        return False

    events, size = plan.events, max(len(plan.events) // 2, 1)
    while most > 0:
        for first in range(0, len(events), size):
            fewer = events[:first] + events[first + size :]
            most -= 1
            if fails(fewer):
                events = fewer
                break
            if most <= 0:
                break
        else:
            if size == 1:
                break
            size = max(size // 2, 1)
    return replace(plan, events=events)
