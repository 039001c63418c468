"""What is known of each BGP session, and which End-of-RIBs are owed since it came up. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.actuators.exabgp.dump import Session, SessionEvent
from anycastd.actuators.exabgp.events import SessionChanged
from anycastd.model.address import Family, FlowFamily, NeighborName
from anycastd.model.bgp import SessionState, SessionView
from anycastd.model.topology import Neighbor

AGE_STEP_S = 1.0
"""ExaBGP tells a session's age in whole seconds."""

Owed = tuple[NeighborName, Family | FlowFamily]


def noted(neighbor: NeighborName, family: Family | FlowFamily) -> str:
    """Return the name under which an End-of-RIB is noted for the next daemon."""
    return f"{neighbor} {family}"


class Sessions:
    """Follows events, corrected by what ExaBGP says when asked."""

    def __init__(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        self.views: dict[NeighborName, SessionView] = {}
        self._owed: set[Owed] = set()
        self._flows: dict[NeighborName, frozenset[FlowFamily]] = {}
        self.sent_s: dict[Owed, float] = {}
        self.set_neighbors(neighbors)

    def set_neighbors(self, neighbors: Mapping[NeighborName, Neighbor]) -> None:
        """Take the neighbors; what is known of those that stay is kept."""
        self._neighbors = dict(neighbors)
        self._names = {neighbor.address: name for name, neighbor in neighbors.items()}
        self.views = {name: self.views.get(name, SessionView()) for name in neighbors}
        wanted = {(name, family) for name, neighbor in neighbors.items() for family in neighbor.carried}
        self._owed &= wanted

    def name_of(self, event: SessionEvent | Session) -> NeighborName | None:
        """Return the neighbor that something is said of."""
        return self._names.get(event.peer)

    def begin(self, now_s: float, sent_s: Mapping[str, float]) -> None:
        """Begin with an ExaBGP of which only this is known: when it last acknowledged which End-of-RIB, as noted."""
        all_of = ((name, family) for name, neighbor in self._neighbors.items() for family in neighbor.carried)
        self.sent_s = {owed: sent_s[noted(*owed)] for owed in all_of if noted(*owed) in sent_s}
        self._owed.clear()
        self.views = dict.fromkeys(self._neighbors, SessionView(SessionState.UNKNOWN, now_s))

    def lost(self, now_s: float) -> None:
        """Take note that ExaBGP has gone: so have its sessions."""
        self._owed.clear()
        self._flows.clear()
        for name, view in self.views.items():
            self.views[name] = SessionView(SessionState.DOWN, now_s, view.reason or "ExaBGP has gone")

    def take_event(self, event: SessionEvent, now_s: float) -> SessionChanged | None:
        """Take one change; return it with the neighbor's name, or None if it is nobody's."""
        name = self.name_of(event)
        if name is None:
            return None
        old = self.views[name]
        self._flows.pop(name, None)
        reason = event.reason or ("" if event.state is SessionState.ESTABLISHED else old.reason)
        self.views[name] = SessionView(event.state, now_s, reason)
        if event.state is SessionState.ESTABLISHED:
            self._came_up(name)
        return SessionChanged(name, event.state, event.reason)

    def take_all(self, sessions: Iterable[Session], now_s: float) -> list[SessionChanged]:
        """Take the answer to a question; return what we did not know."""
        changes = []
        for session in sessions:
            name = self.name_of(session)
            if name is None:
                continue
            old = self.views[name]
            since_s = now_s - session.age_s
            up = session.state is SessionState.ESTABLISHED
            if up:
                self._flows[name] = frozenset(one for one in FlowFamily if f"ipv{one.version} flow" in session.families)
            was_up = old.state is SessionState.ESTABLISHED
            if up and (not was_up or since_s - AGE_STEP_S > old.since_s + AGE_STEP_S):
                self.views[name] = SessionView(SessionState.ESTABLISHED, since_s)
                self._came_up(name, since_s - AGE_STEP_S)
                changes.append(SessionChanged(name, SessionState.ESTABLISHED, ""))
            elif not up and was_up and now_s - old.since_s < AGE_STEP_S:
                continue  # an answer that was made before the session came up, and is overtaken by the event
            elif not up and (was_up or old.state is SessionState.UNKNOWN):
                self.views[name] = SessionView(SessionState.DOWN, since_s, old.reason)
                changes.append(SessionChanged(name, SessionState.DOWN, old.reason))
        return changes

    def sent(self, name: NeighborName, family: Family | FlowFamily, now_s: float) -> None:
        """Take note that ExaBGP acknowledged an End-of-RIB."""
        self.sent_s[name, family] = now_s
        self._owed.discard((name, family))

    @property
    def owed(self) -> frozenset[Owed]:
        """Return the End-of-RIBs owed to sessions that are up; ExaBGP refuses one to a session that is not.

        One of flow rules would be sent to a neighbor that did not say it takes them, who may end the session for it.
        """
        up = {name for name, view in self.views.items() if view.state is SessionState.ESTABLISHED}
        return frozenset((name, family) for name, family in self._owed if name in up and self._takes(name, family))

    def _takes(self, name: NeighborName, family: Family | FlowFamily) -> bool:
        return isinstance(family, Family) or family in self._flows.get(name, ())

    def refused_flows(self, name: NeighborName) -> tuple[FlowFamily, ...]:
        """Return the families of flow rules that the session lacks, as far as that is known."""
        known = self._flows.get(name)
        wanted = [one for one in self._neighbors[name].carried if isinstance(one, FlowFamily)]
        return () if known is None else tuple(one for one in wanted if one not in known)

    def _came_up(self, name: NeighborName, not_before_s: float | None = None) -> None:
        for family in self._neighbors[name].carried:
            sent_s = self.sent_s.get((name, family))
            if not_before_s is None or sent_s is None or sent_s < not_before_s:
                self._owed.add((name, family))
