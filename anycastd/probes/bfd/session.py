"""One BFD session (RFC 5880 section 6.8), asynchronous mode, active role. Pure: time and jitter are parameters.

Packets to send are returned, never sent; when it wants to be called again is `next_s`. Demand mode and the echo
function are not supported: echoes are refused by a Required Min Echo RX Interval of 0, and a peer that asks for demand
mode is not heard.
Times are monotonic seconds, intervals on the wire microseconds.
"""

from __future__ import annotations

from collections.abc import Callable

from anycastd.probes.bfd.packet import Diag, Discard, Packet, PacketError, State

SLOW_US = 1_000_000
"""No session that is not Up transmits more often than this (section 6.8.3)."""
NEVER = float("inf")
_NEXT = {
    (State.DOWN, State.DOWN): State.INIT,
    (State.DOWN, State.INIT): State.UP,
    (State.INIT, State.INIT): State.UP,
    (State.INIT, State.UP): State.UP,
    (State.INIT, State.ADMIN_DOWN): State.DOWN,
    (State.UP, State.ADMIN_DOWN): State.DOWN,
    (State.UP, State.DOWN): State.DOWN,
}
"""The table of section 6.8.6: our state and the peer's to our next; what is not in it changes nothing."""


class Remote:
    """What the peer last said; as at the start, until it is heard of again."""

    __slots__ = ("desired_tx_us", "diag", "discriminator", "min_rx_us", "multiplier", "state")

    def __init__(self) -> None:
        self.state, self.discriminator, self.diag = State.DOWN, 0, 0
        self.min_rx_us, self.desired_tx_us, self.multiplier = 1, SLOW_US, 3

    def take(self, packet: Packet) -> bool:
        """Take what a packet says; return whether it is new."""
        said = (packet.state, packet.diag, packet.mine, packet.min_rx_us, packet.desired_tx_us, packet.multiplier)
        known = (self.state, self.diag, self.discriminator, self.min_rx_us, self.desired_tx_us, self.multiplier)
        self.state, self.diag, self.discriminator, self.min_rx_us, self.desired_tx_us, self.multiplier = said
        return said != known


class Session:
    """One session. `jitter` returns a number from 0 to 1 for each transmission.

    `changed` counts what is worth telling: states, ours and the peer's, and negotiated timers.
    """

    __slots__ = (
        "_again", "_jitter", "_tell_now", "_want_rx_us", "_want_tx_us", "changed", "changed_s", "demanded",
        "desired_tx_us", "detect_s", "diag", "discriminator", "downs", "heard_s", "left", "min_rx_us", "multiplier",
        "poll",
        "remote", "rx_in_use_us", "state", "transmit_s", "tx_in_use_us", "was_up",
    )  # fmt: skip

    def __init__(
        self,
        discriminator: int,
        *,
        desired_tx_us: int,
        min_rx_us: int,
        multiplier: int,
        now_s: float,
        jitter: Callable[[], float],
    ) -> None:
        self.discriminator, self.multiplier, self._jitter = discriminator, multiplier, jitter
        self._want_tx_us, self._want_rx_us = desired_tx_us, min_rx_us
        self.state, self.diag, self.remote = State.DOWN, int(Diag.NONE), Remote()
        # what is said, and what is acted on: they differ while a poll sequence asks the peer to follow (6.8.3)
        self.desired_tx_us = self.tx_in_use_us = max(desired_tx_us, SLOW_US)
        self.min_rx_us = self.rx_in_use_us = min_rx_us
        self.poll = self._again = self.demanded = self.was_up = self.left = self._tell_now = False
        self.downs = self.changed = 0
        self.heard_s, self.changed_s = now_s, now_s
        self.detect_s, self.transmit_s = NEVER, now_s

    @property
    def next_s(self) -> float:
        """Return when `due` has something to do."""
        return min(self.transmit_s, self.detect_s)

    @property
    def detection_us(self) -> int:
        """Return the detection time in microseconds (section 6.8.4)."""
        return self.remote.multiplier * max(self.rx_in_use_us, self.remote.desired_tx_us)

    @property
    def transmit_us(self) -> int:
        """Return the negotiated interval of our packets in microseconds, 0 if the peer wants none (section 6.8.7)."""
        return max(self.tx_in_use_us, self.remote.min_rx_us) if self.remote.min_rx_us else 0

    def resume(self, remote: Remote, now_s: float) -> None:
        """Go on Up, as a session that another process had with this peer; the peer has one detection time to show.

        Until it has, it is not said to have been up: a peer that gave us up meanwhile is our fault, not the path's.
        """
        self.remote, self.state = remote, State.UP
        self.desired_tx_us = self.tx_in_use_us = self._want_tx_us
        self.heard_s, self.transmit_s = now_s, now_s
        self._changed_at(now_s)
        self._arm_detection()

    def configure(self, desired_tx_us: int, min_rx_us: int, multiplier: int) -> None:
        """Take new timers; a session that is Up asks its peer to follow, by a poll sequence."""
        self._want_tx_us, self._want_rx_us, self.multiplier = desired_tx_us, min_rx_us, multiplier
        self._negotiate()

    def disable(self, now_s: float) -> Packet:
        """Go AdminDown for good, and return the packet that says so; to be sent more than once, as one may be lost."""
        if self.state is not State.ADMIN_DOWN:
            self.state, self.diag, self.poll = State.ADMIN_DOWN, int(Diag.ADMIN_DOWN), False
            self._changed_at(now_s)
        self.transmit_s = self.detect_s = NEVER
        self._tell_now = False
        return self._packet(final=False)

    def receive(self, packet: Packet, received_s: float, now_s: float) -> list[Packet]:
        """Take a packet of the peer in, that came at `received_s`; return what must be said at once.

        Raise PacketError for one that is discarded.
        """
        if packet.demand:
            self.changed += not self.demanded
            self.demanded = True
            raise PacketError(Discard.DEMAND)
        if self.state is State.ADMIN_DOWN:
            raise PacketError(Discard.ADMIN_DOWN)
        # that the peer has left on purpose is remembered when it is heard of no more
        self.demanded, self.left = False, packet.state is State.ADMIN_DOWN
        before_us = self.transmit_us
        self.changed += self.remote.take(packet)
        if packet.final and self.poll:
            self._poll_ended()
        self.heard_s = max(self.heard_s, received_s)
        self._step(packet.state, now_s)
        # one that has left comes back as a new one does, by way of Down
        self.was_up = self.state is State.UP or (self.was_up and not self.left)
        self._arm_detection()
        self._follow(before_us, now_s)
        said = [self._packet(final=True)] if packet.poll else []
        return said + self._told(now_s)

    def due(self, now_s: float) -> list[Packet]:
        """Return what is to be sent now. Everything that came before `now_s` must have been taken in."""
        if now_s >= self.detect_s:
            self._expire(now_s)
        said = self._told(now_s)
        if now_s < self.transmit_s:
            return said
        if not self.transmit_us:
            # the peer wants nothing; what it says next sets this anew
            self.transmit_s = NEVER
            return said
        if not said:
            said = [self._packet(final=False)]
        self._arm_transmit(now_s)
        return said

    def _step(self, theirs: State, now_s: float) -> None:
        following = _NEXT.get((self.state, theirs))
        if following is not None:
            self._become(following, Diag.NEIGHBOR_DOWN if following is State.DOWN else Diag.NONE, now_s)

    def _become(self, state: State, diag: Diag, now_s: float) -> None:
        if self.state is State.UP:
            self.downs += 1
        self.state = state
        if state is not State.INIT:
            # while it comes up again the peer is still told why it went down
            self.diag = int(diag)
        self._changed_at(now_s)
        self._negotiate()

    def _changed_at(self, now_s: float) -> None:
        self.changed += 1
        self.changed_s = now_s
        self._tell_now = True

    def _negotiate(self) -> None:
        up = self.state is State.UP
        tx_us, rx_us = self._want_tx_us if up else max(self._want_tx_us, SLOW_US), self._want_rx_us
        if not up:
            # section 6.8.3 holds back changes of a session that is Up only
            self.desired_tx_us = self.tx_in_use_us = tx_us
            self.min_rx_us = self.rx_in_use_us = rx_us
            self.poll = self._again = False
        elif (tx_us, rx_us) != (self.desired_tx_us, self.min_rx_us):
            # a final bit that is under way answers the numbers before these: a second sequence follows
            self._again = self.poll
            self.poll, self.desired_tx_us, self.min_rx_us = True, tx_us, rx_us
            # quicker than the peer expects, and waiting longer than agreed, harm nobody meanwhile
            self.tx_in_use_us = min(self.tx_in_use_us, tx_us)
            self.rx_in_use_us = max(self.rx_in_use_us, rx_us)
            self._tell_now = True
        self._arm_detection()

    def _poll_ended(self) -> None:
        self.poll, self._again = self._again, False
        if not self.poll:
            self.changed += 1
            self.tx_in_use_us, self.rx_in_use_us = self.desired_tx_us, self.min_rx_us

    def _arm_detection(self) -> None:
        self.detect_s = self.heard_s + self.detection_us / 1e6 if self.remote.discriminator else NEVER

    def _follow(self, before_us: int, now_s: float) -> None:
        """Bring the next transmission forward if the peer now takes packets sooner, or takes them again."""
        if self.transmit_us and self.transmit_us < (before_us or self.transmit_us + 1):
            self.transmit_s = min(self.transmit_s, now_s + self._gap_s())

    def _expire(self, now_s: float) -> None:
        """Nothing was heard for a detection time: the peer is not there, nor what it last said (section 6.8.1)."""
        self.remote, self.detect_s = Remote(), NEVER
        if self.state in (State.INIT, State.UP):
            self._become(State.DOWN, Diag.EXPIRED, now_s)
        self.transmit_s = min(self.transmit_s, now_s + self._gap_s())

    def _told(self, now_s: float) -> list[Packet]:
        """Return a packet if what it would say is news, which waits for no timer."""
        if not self._tell_now or not self.transmit_us:
            self._tell_now = False
            return []
        self._tell_now = False
        self._arm_transmit(now_s)
        return [self._packet(final=False)]

    def _gap_s(self) -> float:
        # section 6.8.7: reduced by 0 to 25 %, by at least 10 % where a single loss is enough
        least = 0.1 if self.multiplier == 1 else 0.0
        return self.transmit_us / 1e6 * (1.0 - least - (0.25 - least) * self._jitter())

    def _arm_transmit(self, now_s: float) -> None:
        """Keep the pace by the time that was due, unless that was missed by a whole interval."""
        gap_s = self._gap_s()
        on_time = 0.0 <= now_s - self.transmit_s < gap_s / 2
        self.transmit_s = (self.transmit_s if on_time else now_s) + gap_s

    def _packet(self, *, final: bool) -> Packet:
        return Packet(
            self.state,
            diag=self.diag,
            poll=self.poll and not final,
            final=final,
            mine=self.discriminator,
            yours=self.remote.discriminator,
            multiplier=self.multiplier,
            desired_tx_us=self.desired_tx_us,
            min_rx_us=self.min_rx_us,
        )
