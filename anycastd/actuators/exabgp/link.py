"""The talk with ExaBGP as a state machine without I/O: commands out, answers matched to them; time is given. Pure.

ExaBGP answers each command with one line, `done` or `error`, without saying which command is meant, and answers to a
daemon before us may still be on their way. So after each connect a barrier is written: questions whose answers can be
told apart, in an order that spells a number; when that order came back, the next answer is for our next command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum

from anycastd.actuators.exabgp import dump, wording
from anycastd.actuators.exabgp.events import Acked, DumpDone, NotUnderstood, Refused, Requeued, Superseded, Wedged
from anycastd.actuators.exabgp.lines import Dumped, command
from anycastd.actuators.exabgp.queue import ActionQueue, Entry, priority_of
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Address, NeighborName, Prefix
from anycastd.model.bgp import BgpAction, EndOfRib, FlowRoute, Priority, Route

BULK_ROUTES = 32
"""Routes of no urgency that may be unanswered: ExaBGP takes 0.2 ms each, and an urgent command waits behind them."""
QUIET_S = 0.25
"""After the last route that was written: then a dump by the clock meets nobody. ExaBGP takes no command during one, of
8,000 routes for 110 ms (measured), and thousands of routes come in bites, with nothing waiting in between."""
BARRIER_BITS = 8
SUMMARY_START = "Peer "


class Phase(Enum):
    """How far the talk has come."""

    OFFLINE = "offline"
    AWAIT_HELLO = "await hello"
    SYNCING = "syncing"
    READY = "ready"
    WEDGED = "wedged"


class Ask(Enum):
    """A question: its command and what its answer must begin with."""

    SESSIONS = wording.ASK_SESSIONS
    ALIVE = wording.ASK_ALIVE
    ROUTES = wording.ASK_ROUTES
    CHORE = ""


@dataclass(frozen=True, slots=True)
class HelloSeen:
    """A bridge said hello."""

    hello: dump.Hello


@dataclass(frozen=True, slots=True)
class Synced:
    """The barrier came back."""


@dataclass(frozen=True, slots=True)
class SessionsSeen:
    """Every session's state, as asked."""

    sessions: tuple[dump.Session, ...]


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """One session changed."""

    event: dump.SessionEvent


@dataclass(frozen=True, slots=True)
class RoutesSeen:
    """The whole adj-rib-out, with every answer before it in it and none after it."""

    routes: Mapping[NeighborName, dict[Prefix, Route]]
    took_s: float
    flows: Mapping[NeighborName, dict[str, FlowRoute]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChoreDone:
    """The answer to a command of no route."""

    line: str
    accepted: bool


LinkEvent = (
    Acked | Refused | Superseded | Requeued | NotUnderstood | Wedged | DumpDone
    | HelloSeen | Synced | SessionsSeen | SessionSeen | dump.Update | RoutesSeen | ChoreDone
)  # fmt: skip


@dataclass(slots=True)
class _Flight:
    """A command that is written and not answered."""

    line: str
    written_s: float
    entries: list[Entry] = field(default_factory=list)
    ask: Ask | None = None
    began: bool = False
    dumped: Dumped = field(default_factory=Dumped)

    @property
    def is_bulk(self) -> bool:
        """Return whether it is of no urgency."""
        return bool(self.entries) and priority_of(self.entries[0].action) >= Priority.BULK


def barrier(number: int) -> tuple[Ask, ...]:
    """Return the questions that spell a number; two of SESSIONS in a row stand at the beginning only."""
    asks = [Ask.SESSIONS, Ask.SESSIONS, Ask.ALIVE]
    for bit in range(BARRIER_BITS):
        asks += [Ask.SESSIONS if number >> bit & 1 else Ask.ALIVE, Ask.ALIVE]
    return tuple(asks)


class Link:
    """One talk after the other with the ExaBGP behind the bridge."""

    def __init__(
        self,
        addresses: Mapping[NeighborName, Address],
        *,
        window: int = 16,
        wedged_after_s: float = 2.0,
        idle_ask_s: float = 1.0,
        reconcile_s: float = 30.0,
        first_barrier: int = 0,
    ) -> None:
        self.phase = Phase.OFFLINE
        self.pid = 0
        self._window, self._wedged_after_s = window, wedged_after_s
        self._idle_ask_s, self._reconcile_s = idle_ask_s, reconcile_s
        self.set_neighbors(addresses)
        self._queue = ActionQueue()
        self._chores: deque[str] = deque()
        self._flights: deque[_Flight] = deque()
        self._barrier_number = first_barrier
        self._barrier: tuple[Ask, ...] = ()
        self._heard: deque[Ask | None] = deque()
        self._reply: Ask | None = None
        self._last_sessions = ""
        self._routes: RoutesSeen | None = None
        self._progress_s = 0.0
        self._dump_due_s = self._quiet_s = 0.0
        self._dump_now = False
        self._output: list[str] = []
        self._events: list[LinkEvent] = []

    def set_neighbors(self, addresses: Mapping[NeighborName, Address]) -> None:
        """Take the neighbors' addresses; actions for others are refused."""
        self._addresses = dict(addresses)
        self._names = {address: name for name, address in addresses.items()}

    def set_pace(self, *, window: int, wedged_after_s: float, idle_ask_s: float, reconcile_s: float) -> None:
        """Take new limits."""
        self._window, self._wedged_after_s = window, wedged_after_s
        self._idle_ask_s, self._reconcile_s = idle_ask_s, reconcile_s

    # what happens to the connection

    def connected(self, now_s: float) -> None:
        """Begin a talk: the bridge must say hello first."""
        self.disconnected(now_s)
        self.phase = Phase.AWAIT_HELLO
        self._progress_s = now_s

    def disconnected(self, now_s: float) -> None:
        """End the talk: what was not answered is queued again."""
        self.phase = Phase.OFFLINE
        self._output.clear()
        self._chores.clear()
        self._requeue(now_s)

    def feed_line(self, line: str, now_s: float) -> None:
        """Take in one line from the bridge."""
        if line.startswith(dump.EVENT_START):
            self._take_event(line)
        elif line.startswith(dump.HELLO_START):
            self._take_hello(line, now_s)
        elif self.phase is Phase.SYNCING:
            self._progress_s = now_s
            self._sync(line, now_s)
        elif self.phase is Phase.READY:
            self._progress_s = now_s
            self._take_answer(line, now_s)

    # what is asked of it

    def submit(self, actions: Iterable[BgpAction], now_s: float) -> None:
        """Queue actions; they are written as the window allows. What is already queued or written is not repeated."""
        for action in actions:
            if self._queue.last_word(action) == action:
                continue
            old = self._queue.put(action, now_s)
            if old is not None:
                self._events.append(Superseded(old))
        self._pump(now_s)

    def ask_routes(self, now_s: float) -> None:
        """Have the adj-rib-out read as soon as possible."""
        self._dump_now = True
        self._pump(now_s)

    def ask_sessions(self, now_s: float) -> None:
        """Have the sessions' states read as soon as possible."""
        if wording.ASK_SESSIONS not in self._chores:
            self._chores.append(wording.ASK_SESSIONS)
        self._pump(now_s)

    def do(self, line: str, now_s: float) -> bool:
        """Write a command of no route before everything else; return whether there is anybody to write to."""
        if self.phase is not Phase.READY:
            return False
        self._chores.append(line)
        self._pump(now_s)
        return True

    def order(self, line: str) -> bool:
        """Write an order to the bridge itself; return whether there is a bridge."""
        if self.phase in (Phase.OFFLINE, Phase.AWAIT_HELLO):
            return False
        self._output.append(line)
        return True

    def drop(self, neighbors: frozenset[NeighborName]) -> None:
        """Forget what waits for neighbors that are no longer there."""
        self._events += [Superseded(action) for action in self._queue.drop(neighbors)]

    # what it says

    @property
    def in_flight(self) -> AbstractSet[tuple[NeighborName, Prefix]]:
        """Return the prefixes with a command not yet ended, as of now."""
        return self._queue.unended

    @property
    def unanswered(self) -> int:
        """Return how many commands are written and not answered."""
        return len(self._flights)

    @property
    def queued(self) -> int:
        """Return how many actions wait."""
        return len(self._queue)

    def take_output(self) -> bytes:
        """Return what is to be written, once."""
        lines, self._output = self._output, []
        return "".join(line + "\n" for line in lines).encode("ascii")

    def take_events(self) -> list[LinkEvent]:
        """Return what happened, once."""
        events, self._events = self._events, []
        return events

    # time

    def deadline(self) -> float | None:
        """Return when `wake` must be called, or None."""
        if self.phase in (Phase.OFFLINE, Phase.WEDGED):
            return None
        if self.phase is not Phase.READY or self._flights:
            times = [self._progress_s + self._wedged_after_s]
        else:
            times = [self._progress_s + self._idle_ask_s]
        if self.phase is Phase.READY and not self._flights:
            times.append(max(self._dump_due_s, self._quiet_s))
        if (deferred_s := self._queue.deadline_s()) is not None and self.phase is Phase.READY:
            times.append(deferred_s)
        return min(times)

    def wake(self, now_s: float) -> None:
        """Ask when idle, give up when nothing was answered for too long."""
        if self.phase in (Phase.OFFLINE, Phase.WEDGED):
            return
        silent_s = now_s - self._progress_s
        if (self._flights or self.phase is not Phase.READY) and silent_s >= self._wedged_after_s:
            self.phase = Phase.WEDGED
            self._events.append(Wedged(self.pid, silent_s))
            return
        self._pump(now_s)
        if self.phase is Phase.READY and not self._flights and silent_s >= self._idle_ask_s:
            self._write(_Flight(Ask.ALIVE.value, now_s, ask=Ask.ALIVE))

    # inside

    def _take_event(self, line: str) -> None:
        if dump.is_update(line):
            self._events.append(dump.Update(line))
            return
        try:
            event = dump.event(line)
        except dump.NotUnderstoodError as error:
            self._events.append(NotUnderstood(str(error)))
            return
        if event is not None:
            self._events.append(SessionSeen(event))

    def _take_hello(self, line: str, now_s: float) -> None:
        try:
            hello = dump.hello(line)
        except dump.NotUnderstoodError as error:
            self._events.append(NotUnderstood(str(error)))
            return
        if self.pid not in (0, hello.exabgp):
            # what it holds is read first: an End-of-RIB of before would have neighbors drop what they kept for us
            self._requeue(now_s)
            self._events += [Superseded(action) for action in self._queue.drop_all()]
        self.pid = hello.exabgp
        self._events.append(HelloSeen(hello))
        self._begin_sync(now_s)

    def _begin_sync(self, now_s: float) -> None:
        self._requeue(now_s)
        self._routes = None
        self.phase = Phase.SYNCING
        self._barrier_number = (self._barrier_number + 1) % (1 << BARRIER_BITS)
        self._barrier = barrier(self._barrier_number)
        self._heard = deque(maxlen=len(self._barrier))
        self._reply = None
        self._progress_s = now_s
        self._output += [ask.value for ask in self._barrier]

    def _sync(self, line: str, now_s: float) -> None:
        if line not in ("done", "error"):
            self._reply = _kind(line) or self._reply
            if self._reply is Ask.SESSIONS:
                self._last_sessions = line
            return
        self._heard.append(self._reply if line == "done" else None)
        self._reply = None
        if tuple(self._heard) != self._barrier:
            return
        self.phase = Phase.READY
        self._dump_now = True
        self._events.append(Synced())
        self._saw_sessions(self._last_sessions)
        self._pump(now_s)

    def _saw_sessions(self, line: str) -> None:
        try:
            self._events.append(SessionsSeen(dump.sessions(line)))
        except dump.NotUnderstoodError as error:
            self._events.append(NotUnderstood(str(error)))

    def _take_answer(self, line: str, now_s: float) -> None:
        if line not in ("done", "error"):
            self._take_reply(line, now_s)
            return
        flight = self._flights[0] if self._flights else None
        if flight is None or (flight.ask in (Ask.ALIVE, Ask.SESSIONS) and not (flight.began and line == "done")):
            self._lost_count(line, now_s)
            return
        self._flights.popleft()
        if flight.entries:
            self._answered(flight, line == "done", now_s)
        elif flight.ask is Ask.ROUTES and line == "done":
            routes = {name: flight.dumped.routes.get(name, {}) for name in self._addresses}
            self._routes = RoutesSeen(routes, now_s - flight.written_s, flight.dumped.flows)
        elif flight.ask is Ask.SESSIONS and self._routes is not None:
            # only now: an empty dump looks like any answer, and this one shows that the count is right
            self._events += [self._routes, DumpDone(sum(map(len, self._routes.routes.values())), self._routes.took_s)]
            self._routes = None
        elif flight.ask is Ask.CHORE:
            self._events.append(ChoreDone(flight.line, line == "done"))
        self._pump(now_s)

    def _take_reply(self, line: str, now_s: float) -> None:
        """Take a line of an answer; only a question has any, so another place for it means that answers were lost."""
        flight = self._flights[0] if self._flights else None
        kind = _kind(line)
        is_more = flight is not None and flight.ask is Ask.ALIVE and flight.began and kind is None
        if flight is None or flight.ask is None or not (is_more or kind is flight.ask):
            self._lost_count(line, now_s)
            return
        flight.began = True
        if kind is Ask.SESSIONS:
            self._saw_sessions(line)
        elif kind is Ask.ROUTES:
            try:
                flight.dumped.take(line, self._names)
            except dump.NotUnderstoodError as error:
                self._events.append(NotUnderstood(str(error)))

    def _lost_count(self, line: str, now_s: float) -> None:
        """Begin anew after an answer that cannot belong where it came: which command was lost is not known."""
        self._events.append(NotUnderstood(f"not the answer expected: {line[:200]}"))
        self._begin_sync(now_s)

    def _answered(self, flight: _Flight, done: bool, now_s: float) -> None:
        if done:
            self._queue.ended(flight.entries, now_s)
            self._events += [Acked(e.action, e.queued_s, flight.written_s, now_s) for e in flight.entries]
        elif len(flight.entries) > 1:
            self._put_back(flight.entries, now_s, alone=True)
        else:
            self._queue.ended(flight.entries, now_s)
            self._events.append(Refused(flight.entries[0].action, f"ExaBGP answered error to: {flight.line[:300]}"))

    def _requeue(self, now_s: float) -> None:
        for flight in self._flights:
            self._put_back(flight.entries, now_s, alone=False)
        self._flights.clear()

    def _put_back(self, entries: Sequence[Entry], now_s: float, *, alone: bool) -> None:
        again, superseded = self._queue.put_back(entries, now_s, alone=alone)
        self._events += [Requeued(entry.action) for entry in again]
        self._events += [Superseded(entry.action) for entry in superseded]

    def _pump(self, now_s: float) -> None:
        """Write what the window allows."""
        while self.phase is Phase.READY and len(self._flights) < self._window:
            if self._chores:
                if not self._write_chore(now_s):
                    return
                continue
            top = self._queue.top(now_s)
            urgency = None if top is None else priority_of(top)
            if self._dump_wanted(now_s, urgency):
                self._dump_now, self._dump_due_s = False, now_s + self._reconcile_s
                self._write(_Flight(Ask.ROUTES.value, now_s, ask=Ask.ROUTES))
                self._write(_Flight(Ask.SESSIONS.value, now_s, ask=Ask.SESSIONS))
                continue
            room = self._room(urgency)
            if top is None or room <= 0 or (isinstance(top, EndOfRib) and self._flights):
                return
            self._write_entries(self._queue.take(now_s, room), now_s)

    def _write_chore(self, now_s: float) -> bool:
        """Write a command of no route; return False if it must wait.

        ExaBGP 5.0.15 refuses it, as it refuses End-of-RIB, ahead of the answers to what came before (measured), so it
        is written when nothing is unanswered.
        """
        is_question = self._chores[0] == wording.ASK_SESSIONS
        if self._flights and not is_question:
            return False
        self._write(_Flight(self._chores.popleft(), now_s, ask=Ask.SESSIONS if is_question else Ask.CHORE))
        return True

    def _write_entries(self, entries: list[Entry], now_s: float) -> None:
        try:
            line = command(self._addresses, [entry.action for entry in entries])
        except ActuatorRejected as error:
            if len(entries) > 1:
                self._put_back(entries, now_s, alone=True)
                return
            self._queue.ended(entries, now_s)
            self._events.append(Refused(entries[0].action, str(error)))
            return
        self._quiet_s = now_s + QUIET_S
        self._write(_Flight(line, now_s, entries))

    def _dump_wanted(self, now_s: float, urgency: Priority | None) -> bool:
        if any(flight.ask is Ask.ROUTES for flight in self._flights) or len(self._flights) + 2 > max(self._window, 2):
            return False
        if self._dump_now:
            return urgency is None or urgency > Priority.FAILOVER
        overdue_s = now_s - self._dump_due_s
        is_quiet = not self._flights and urgency is None and now_s >= self._quiet_s
        return overdue_s >= 0 and (is_quiet or overdue_s > 2 * self._reconcile_s)

    def _room(self, urgency: Priority | None) -> int:
        if urgency is None or urgency < Priority.BULK:
            return BULK_ROUTES * 2
        bulk = [flight for flight in self._flights if flight.is_bulk]
        if len(bulk) >= max(self._window // 2, 1):
            return 0
        return BULK_ROUTES - sum(len(flight.entries) for flight in bulk)

    def _write(self, flight: _Flight) -> None:
        if not self._flights:
            self._progress_s = flight.written_s
        self._flights.append(flight)
        self._output.append(flight.line)


def _kind(line: str) -> Ask | None:
    """Return which question a line answers, if that can be seen."""
    if line.startswith(dump.SESSIONS_START):
        return Ask.SESSIONS
    if line.startswith(SUMMARY_START):
        return Ask.ALIVE
    return Ask.ROUTES if line.startswith(dump.ROUTE_START) else None
