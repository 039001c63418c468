"""ExaBGP as the control loop sees it: what it holds, what to do to it, and what happened. Nothing here blocks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from anycastd.actuators.exabgp import dead_man, reload
from anycastd.actuators.exabgp.dump import HELLO_START, Hello, NotUnderstoodError, Update
from anycastd.actuators.exabgp.dump import hello as read_hello
from anycastd.actuators.exabgp.events import (
    Acked,
    Degraded,
    Ready,
    Refused,
    Repaired,
    SessionChanged,
    SpeakerEvent,
    Wedged,
)
from anycastd.actuators.exabgp.greeting import told_by
from anycastd.actuators.exabgp.holdings import Holdings, touched
from anycastd.actuators.exabgp.link import (
    ChoreDone,
    HelloSeen,
    Link,
    LinkEvent,
    Phase,
    RoutesSeen,
    SessionSeen,
    SessionsSeen,
    Synced,
)
from anycastd.actuators.exabgp.process import start_of
from anycastd.actuators.exabgp.refused import Refusals
from anycastd.actuators.exabgp.repair import Repairs
from anycastd.actuators.exabgp.server import Connection, listen
from anycastd.actuators.exabgp.sessions import Sessions, noted
from anycastd.actuators.exabgp.supervisor import Supervisor
from anycastd.actuators.exabgp.withdraw_all import withdraw_all
from anycastd.actuators.exabgp.wording import CLEAR, resend
from anycastd.actuators.lasting import cancelled
from anycastd.errors import ActuatorTransient
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import BgpAction, BgpObserved, DeadManStage, EndOfRib, SessionState, SpeakerState
from anycastd.model.topology import BgpConfig, Neighbor, Pop

BRIDGE_BACK_WITHIN_S = 2.0

_STATES = {
    Phase.OFFLINE: SpeakerState.STARTING,
    Phase.AWAIT_HELLO: SpeakerState.STARTING,
    Phase.SYNCING: SpeakerState.SYNCING,
    Phase.READY: SpeakerState.READY,
    Phase.WEDGED: SpeakerState.WEDGED,
}


class Speaker:
    """One ExaBGP. `on_event` is called for everything worth a line or a metric.

    `on_change` is called when `observed` changed: with the prefixes of which it did, or None if it may be any.
    """

    def __init__(
        self,
        bgp: BgpConfig,
        pop: Pop,
        neighbors: Mapping[NeighborName, Neighbor],
        *,
        on_change: Callable[[frozenset[Prefix] | None], None],
        on_event: Callable[[SpeakerEvent], None],
    ) -> None:
        self._bgp, self._neighbors = bgp, dict(neighbors)
        self._on_change, self._on_event = on_change, on_event
        self._supervisor = Supervisor(bgp, pop, self.report, self._life_changed)
        self._sessions = Sessions(neighbors)
        self._repairs, self._refusals = Repairs(), Refusals()
        self._link = Link(
            {name: neighbor.address for name, neighbor in neighbors.items()},
            window=bgp.window,
            wedged_after_s=bgp.wedged_after_s,
            idle_ask_s=bgp.idle_ask_s,
            reconcile_s=bgp.reconcile_s,
            first_barrier=os.getpid() ^ time.monotonic_ns() >> 10,
        )
        self._holdings = Holdings()
        self._observed: BgpObserved | None = None
        self._pid = self._bridge_pid = 0
        self._connection: Connection | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._said: dict[str, str] = {}
        self._chore: asyncio.Future[bool] | None = None
        self._asked: asyncio.Future[SessionsSeen] | None = None
        self._stages: tuple[DeadManStage, ...] = ()
        self._configuring = asyncio.Lock()
        self._matching: asyncio.Task[None] | None = None
        self.is_held: Callable[[], bool] = lambda: False
        self.may_leave: Callable[[BgpAction], bool] = lambda action: True
        self.on_update: Callable[[str], None] = lambda line: None

    # what the control loop uses

    @property
    def observed(self) -> BgpObserved:
        """Return what ExaBGP says it holds, as of now."""
        if self._observed is None:
            state = SpeakerState.ABSENT if self._supervisor.running is None else _STATES[self._link.phase]
            self._observed = BgpObserved(
                speaker=state,
                routes=self._holdings.routes,
                sessions=dict(self._sessions.views),
                in_flight=self._link.in_flight,
                eor_owed=self._sessions.owed,
                dumped_at_s=self._holdings.read_at_s,
                filters=self._holdings.filters,
            )
        return self._observed

    def apply(self, actions: Sequence[BgpAction]) -> None:
        """Take actions in; what becomes of them shows in `observed`. What was just refused is not said again."""
        now_s = time.monotonic()
        passed = [action for action in actions if self._refusals.may(action, now_s) and self.may_leave(action)]
        self._link.submit(passed, now_s)
        self._observed = None
        self._follow()

    def ask_routes(self) -> None:
        """Have what ExaBGP holds read again as soon as possible."""
        self._link.ask_routes(time.monotonic())
        self._follow()

    def set_dead_man(self, stages: Sequence[DeadManStage]) -> None:
        """Hand the bridge what it shall say when no daemon is connected for so long; nothing = keep (I3)."""
        self._stages = tuple(stages)
        if self._server is None:
            return
        body = dead_man.encode(self._stages, {name: n.address for name, n in self._neighbors.items()})
        try:
            self._supervisor.files.write_dead_man(body, self._supervisor.who.owner)
            self.report(Degraded("dead_man", ""))
        except OSError as error:
            self.report(Degraded("dead_man", str(error)))
        self._link.order("!deadman")
        self._follow()

    # life

    async def start(self) -> None:
        """Adopt the ExaBGP that runs, or start one; raise ActuatorRejected if another daemon drives it."""
        files = self._supervisor.files
        files.take_lock()
        try:
            self._supervisor.begin(self._neighbors)
            self._sessions.begin(time.monotonic(), self._supervisor.state.eor_s)
            self._server = await listen(
                files.socket, self._supervisor.who.owner.gid, lambda: Connection(self._take_line, self._lost)
            )
        except OSError as error:
            files.release_lock()
            message = f"{files.socket}: {error.strerror}"
            raise ActuatorTransient(message) from error
        self.set_dead_man(self._stages)
        self._supervisor.supervise()

    def set_pace(self, bgp: BgpConfig) -> None:
        """Take a new window and times; everything else of `bgp` needs a restart."""
        self._link.set_pace(
            window=bgp.window,
            wedged_after_s=bgp.wedged_after_s,
            idle_ask_s=bgp.idle_ask_s,
            reconcile_s=bgp.reconcile_s,
        )
        self._follow()

    async def hand_over(self) -> None:
        """Let go of ExaBGP and its bridge, which run on; the next daemon adopts them."""
        await self._close()

    async def stop(self, withdraw: bool) -> None:
        """End ExaBGP. `withdraw`: its peers have nothing of ours left; else they keep it as stale (RFC 4724).

        A service of its own runs on, with what it holds.
        """
        if withdraw:
            await withdraw_all(self)
        await self._supervisor.unsupervise()
        if not self._supervisor.is_service:
            await self._supervisor.end(order=self.order)
        await self._close()

    async def restart(self) -> None:
        """Replace ExaBGP the way an upgrade does: routes stay at the peers as stale until the new one has said them."""
        await self._supervisor.end(order=self.order)

    async def reconfigure(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        """Take neighbors: reload ExaBGP if its file changes, restart it if that does not take.

        Raise ActuatorRejected if ExaBGP finds fault with the new file; then everything stays as it was.
        """
        async with self._configuring:
            await reload.Reload(self).run(dict(neighbors))

    @property
    def is_open(self) -> bool:
        """Return whether it was started and neither stopped nor handed over."""
        return self._server is not None

    # what reload.py needs

    @property
    def supervisor(self) -> Supervisor:
        """Return who keeps ExaBGP running."""
        return self._supervisor

    @property
    def neighbors(self) -> Mapping[NeighborName, Neighbor]:
        """Return the neighbors as they are now."""
        return self._neighbors

    def set_neighbors(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        """Take neighbors, whose routes are asked for anew."""
        gone = frozenset(self._neighbors.keys() - neighbors.keys())
        self._neighbors = dict(neighbors)
        self._link.drop(gone)
        self._link.set_neighbors({name: neighbor.address for name, neighbor in neighbors.items()})
        self._sessions.set_neighbors(neighbors)
        self._supervisor.configure(neighbors)
        self._holdings.set_neighbors(neighbors)
        self.set_dead_man(self._stages)
        self._link.ask_routes(time.monotonic())
        self._changed()

    async def ask_sessions(self, within_s: float) -> SessionsSeen | None:
        """Ask ExaBGP for its sessions; return None if it does not answer in time."""
        if self._link.phase is not Phase.READY:
            return None
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            self._link.ask_sessions(time.monotonic())
            self._follow()
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked), within_s)
        except TimeoutError:
            return None

    def signal(self, number: signal.Signals, words: str) -> bool:
        """Signal ExaBGP, by ourselves or through its bridge; return whether either could be done."""
        return self._supervisor.signal(number) or self.order(words)

    # lines

    def _take_line(self, connection: Connection, line: str) -> None:
        if connection is not self._connection:
            self._greet(connection, line)
            return
        self._link.feed_line(line, time.monotonic())
        self._follow()

    def _greet(self, connection: Connection, line: str) -> None:
        """Take a connection whose bridge belongs to the ExaBGP that runs; the newest wins (a respawned bridge)."""
        try:
            hello = read_hello(line) if line.startswith(HELLO_START) else None
        except NotUnderstoodError:
            hello = None
        if hello is not None:
            self._supervisor.meet(hello.exabgp, hello.config)
        running = self._supervisor.running
        if hello is None or running is None or hello.exabgp != running.pid or start_of(hello.pid) is None:
            connection.close()
            return
        if self._connection is not None:
            self._connection.close()
        self._connection = connection
        self._link.connected(time.monotonic())
        self._link.feed_line(line, time.monotonic())
        self._follow()

    def _lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self._link.disconnected(time.monotonic())
        if self._supervisor.running is not None:
            # ExaBGP starts another bridge at once; if none comes, it hangs
            self._watch(self._bgp.connect_within_s, "no bridge came back")
        self._changed()
        self._follow()

    def _follow(self) -> None:
        """Write what the link wants written, tell what it saw, and wake it in time."""
        output, events = self._link.take_output(), self._link.take_events()
        while output or events:
            if self._connection is not None:
                self._connection.write(output)
            for event in events:
                self._take(event)
            if (which := touched(events)) is not False:
                self._changed(None if which is True else which)
            output, events = self._link.take_output(), self._link.take_events()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline_s = self._link.deadline()
        if deadline_s is not None and self._server is not None:
            self._timer = asyncio.get_running_loop().call_at(max(deadline_s, time.monotonic() + 0.001), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._link.wake(time.monotonic())
        self._follow()

    # what the link saw

    def _take(self, event: LinkEvent) -> None:
        match event:
            case HelloSeen():
                self._hello(event.hello)
            case Synced():
                self._watch(None, "")
                self.report(Ready(self._pid))
                if self._supervisor.adopted and self._matching is None:
                    self._matching = asyncio.create_task(reload.match(self), name="exabgp configuration")
            case RoutesSeen():
                self._holdings.read(event.routes, event.flows, time.monotonic())
                self._supervisor.files.trim_log()
            case SessionsSeen():
                self._saw_sessions(event)
            case Update(line):
                self.on_update(line)
            case SessionSeen():
                changed = self._sessions.take_event(event.event, time.monotonic())
                self._tell_sessions([changed] if changed is not None else [])
            case ChoreDone():
                if self._chore is not None and not self._chore.done() and event.line == CLEAR:
                    self._chore.set_result(event.accepted)
            case _:
                self._take_told(event)
                self.report(event)

    def _take_told(self, event: SpeakerEvent) -> None:
        """Take an event that is told as it is."""
        if isinstance(event, Acked):
            self._acked(event)
        elif isinstance(event, Refused):
            self._refusals.add(event.action, time.monotonic())
        elif isinstance(event, Wedged):
            self._wedged(event)

    def _tell_sessions(self, changes: Iterable[SessionChanged]) -> None:
        for changed in changes:
            self.report(changed)
            if changed.state is SessionState.ESTABLISHED:
                self._repair(changed.neighbor)
                if self._neighbors[changed.neighbor].flowspec:
                    # whether it takes flow rules only the session tells
                    self._link.ask_sessions(time.monotonic())

    def _acked(self, event: Acked) -> None:
        action = event.action
        self._refusals.clear(action)
        if isinstance(action, EndOfRib):
            self._sessions.sent(action.neighbor, action.family, event.acked_s)
            state = self._supervisor.state
            state.eor_s[noted(action.neighbor, action.family)] = event.acked_s
            self._supervisor.note(state)
            return
        view = self._sessions.views.get(action.neighbor)
        if view is not None and view.state is not SessionState.ESTABLISHED:
            self._repairs.changed(action)
        self._holdings.take(action)

    def _repair(self, neighbor: NeighborName) -> None:
        withdrawals = self._repairs.came_up(neighbor)
        if withdrawals is None:
            return
        self._link.submit(withdrawals, time.monotonic())
        self._link.do(resend(self._neighbors[neighbor].address), time.monotonic())
        self.report(Repaired(neighbor))

    def _hello(self, hello: Hello) -> None:
        self._bridge_pid = hello.pid
        if hello.exabgp != self._pid:
            self._pid = hello.exabgp
            self._repairs = Repairs()
            self._sessions.begin(time.monotonic(), self._supervisor.state.eor_s)
            self._holdings.forget()
        for event in told_by(hello, self._bgp):
            self.report(event)
        self._link.order("!deadman")
        self._watch(self._bgp.connect_within_s, "the answers could not be aligned")

    def _saw_sessions(self, event: SessionsSeen) -> None:
        self._tell_sessions(self._sessions.take_all(event.sessions, time.monotonic()))
        for name in self._neighbors:
            lacks = ", ".join(self._sessions.refused_flows(name))
            self.report(Degraded(f"flow rules at {name}", f"the neighbor takes none: {lacks}" if lacks else ""))
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(event)

    # ends

    def _wedged(self, event: Wedged) -> None:
        """Make room for another: a stopped bridge is replaced by its ExaBGP, anything else by another ExaBGP."""
        if self._supervisor.end_bridge(self._bridge_pid, only_stopped=True):
            self._watch(BRIDGE_BACK_WITHIN_S, "no bridge came back")
            return
        self._kill()

    def _kill(self) -> None:
        self._watch(None, "")
        if not self.signal(signal.SIGKILL, "!kill"):
            self.report(Degraded("kill", "ExaBGP hangs and is another user's, and its bridge does not answer"))
        self._follow()

    def _watch(self, within_s: float | None, why: str) -> None:
        """Kill ExaBGP unless it is watched anew within this time."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if within_s is not None and self._server is not None:
            self._watchdog = asyncio.get_running_loop().call_later(within_s, self._overdue, within_s, why)

    def _overdue(self, within_s: float, why: str) -> None:
        self._watchdog = None
        self.report(Degraded("silent", f"{why} within {within_s:.0f} s: ExaBGP is replaced"))
        self._kill()

    def _life_changed(self) -> None:
        """An ExaBGP began or ended."""
        if self._supervisor.running is None:
            self._watch(None, "")
            self._supervisor.end_bridge(self._bridge_pid, only_stopped=True)
            self._sessions.lost(time.monotonic())
            self._holdings.forget()
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._link.disconnected(time.monotonic())
            self._follow()
        else:
            self._watch(self._bgp.connect_within_s, "no bridge said hello")
        self._changed()

    async def command(self, line: str, within_s: float) -> bool:
        """Say one command before everything else; return whether it was done in time."""
        self._chore = asyncio.get_running_loop().create_future()
        if not self._link.do(line, time.monotonic()):
            return False
        self._follow()
        try:
            return await asyncio.wait_for(self._chore, within_s)
        except TimeoutError:
            return False

    async def _close(self) -> None:
        server, self._server = self._server, None
        if self._matching is not None:
            await cancelled(self._matching)
            self._matching = None
        await self._supervisor.leave()
        for handle in (self._timer, self._watchdog):
            if handle is not None:
                handle.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if server is not None:
            # not wait_closed(): from CPython 3.12 on it waits for a stopped bridge to read what was written last
            server.close()
        self._supervisor.files.socket.unlink(missing_ok=True)
        self._supervisor.files.release_lock()

    # small things

    def order(self, words: str) -> bool:
        """Tell the bridge itself something; return whether there is one."""
        told = self._link.order(words)
        self._follow()
        return told and self._connection is not None

    def _changed(self, prefixes: frozenset[Prefix] | None = None) -> None:
        self._observed = None
        self._on_change(prefixes)

    def report(self, event: SpeakerEvent) -> None:
        """Tell what happened; a condition that stands is told once."""
        if isinstance(event, Degraded):
            if self._said.get(event.subject, "") == event.detail:
                return
            self._said[event.subject] = event.detail
        self._on_event(event)
