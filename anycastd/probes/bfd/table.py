"""All sessions of a process: whose packet it is (RFC 5880 6.3, 5881 3 and 5, 5883 4), and who is due next. Pure.

Addresses are texts in their one canonical form.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from anycastd.probes.bfd.packet import Discard, Packet, PacketError, State, decode, encode
from anycastd.probes.bfd.session import NEVER, Session

GTSM_TTL = 255
"""What a packet of one hop still has (RFC 5881 section 5)."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    from anycastd.probes.bfd.auth import Seal

Key = tuple[str, str, bool]
"""Our address, the peer's, and whether it is multihop."""


class Flow:
    """One session with where it goes, and its seal if it is authenticated."""

    __slots__ = ("_forget_s", "at_s", "key", "min_ttl", "seal", "session", "ticket")

    def __init__(self, key: Key, session: Session, min_ttl: int, seal: Seal | None) -> None:
        self.key, self.session, self.min_ttl, self.seal = key, session, min_ttl, seal
        self.ticket, self.at_s, self._forget_s = 0, NEVER, NEVER

    def bytes_of(self, packet: Packet) -> bytes:
        """Return a packet as it goes out."""
        if self.seal is None:
            return encode(packet)
        packet.auth = self.seal.next_section()
        return self.seal.signed(encode(packet))

    def take(self, packet: Packet, data: bytes, received_s: float, now_s: float) -> list[bytes]:
        """Take one of its packets in; return the answers. Raise PacketError for one that is discarded."""
        if self.seal is not None:
            if received_s > self._forget_s:
                self.seal.forget()
            self.seal.check(packet, data)
        elif packet.auth is not None:
            raise PacketError(Discard.AUTH_TYPE)
        answers = self.session.receive(packet, received_s, now_s)
        self._forget_s = received_s + 2 * self.session.detection_us / 1e6
        return [self.bytes_of(answer) for answer in answers]


class Table:
    """Sessions by discriminator and by addresses. `changed` is told of a flow whose session came to another state."""

    def __init__(self, changed: Callable[[Flow], None]) -> None:
        self._changed = changed
        self.flows: dict[Key, Flow] = {}
        self._by_discriminator: dict[int, Flow] = {}
        self._heap: list[tuple[float, int, Flow]] = []
        self._tickets = 0

    def is_free(self, discriminator: int) -> bool:
        """Return whether a session may have this number."""
        return discriminator != 0 and discriminator not in self._by_discriminator

    def add(self, flow: Flow) -> None:
        """Take a flow in."""
        self.flows[flow.key] = self._by_discriminator[flow.session.discriminator] = flow
        self.schedule(flow)

    def remove(self, key: Key) -> Flow:
        """Forget a flow, and return it."""
        flow = self.flows.pop(key)
        del self._by_discriminator[flow.session.discriminator]
        flow.ticket = 0
        return flow

    def next_s(self) -> float:
        """Return when somebody is due."""
        heap = self._heap
        while heap and heap[0][1] != heap[0][2].ticket:
            heapq.heappop(heap)
        return heap[0][0] if heap else NEVER

    def due(self, now_s: float, limit: int) -> list[tuple[Flow, list[bytes], float]]:
        """Return what the flows that are due send, at most `limit` of them, and how late each transmission is.

        Everything that came before `now_s` must have been taken in.
        """
        found: list[tuple[Flow, list[bytes], float]] = []
        while len(found) < limit and self.next_s() <= now_s:
            flow = heapq.heappop(self._heap)[2]
            before, transmit_s = flow.session.changed, flow.session.transmit_s
            said = [flow.bytes_of(packet) for packet in flow.session.due(now_s)]
            found.append((flow, said, max(now_s - transmit_s, 0.0)))
            self.schedule(flow)
            self._tell(flow, before)
        return found

    def receive(
        self, data: bytes, here: str, peer: str, multihop: bool, ttl: int, received_s: float, now_s: float
    ) -> tuple[Flow, list[bytes]]:
        """Return whose packet it is and the answers; raise PacketError for one that is discarded."""
        if not multihop and ttl != GTSM_TTL:
            raise PacketError(Discard.TTL)
        packet = decode(data)
        flow = self.flows.get((here, peer, multihop))
        if packet.yours:
            flow = self._by_discriminator.get(packet.yours)
            if flow is not None and (flow.key[1] != peer or flow.key[2] is not multihop):
                raise PacketError(Discard.OTHER_PEER)
        if flow is None:
            raise PacketError(Discard.NO_SESSION)
        if ttl < flow.min_ttl:
            raise PacketError(Discard.TTL)
        before = flow.session.changed
        try:
            answers = flow.take(packet, data[: data[3]], received_s, now_s)
        finally:
            # a deadline that moved away is found so when it is due: one entry of the heap a session, not one a packet
            if flow.session.next_s < flow.at_s:
                self.schedule(flow)
            self._tell(flow, before)
        return flow, answers

    def schedule(self, flow: Flow) -> None:
        """Look anew at when a flow is due."""
        at_s = flow.at_s = flow.session.next_s
        self._tickets += 1
        flow.ticket = self._tickets
        if at_s != NEVER:
            heapq.heappush(self._heap, (at_s, self._tickets, flow))
        if len(self._heap) > 4 * len(self.flows) + 64:
            self._heap = [entry for entry in self._heap if entry[1] == entry[2].ticket]
            heapq.heapify(self._heap)

    def count(self) -> dict[State, int]:
        """Return how many sessions are in each state."""
        found = dict.fromkeys(State, 0)
        for flow in self.flows.values():
            found[flow.session.state] += 1
        return found

    def _tell(self, flow: Flow, before: int) -> None:
        if flow.session.changed != before:
            self._changed(flow)
