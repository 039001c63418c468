"""Keep a gateway as its file says: a device that goes down takes its routes along, and somebody may flush nftables."""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from types import FrameType

from anycastd.errors import ActuatorTransient
from anycastd.gateway.apply import Applier, Outcome
from anycastd.gateway.spec import Gateway

LINK, IPV4_ADDRESS, IPV6_ADDRESS = 0x1, 0x10, 0x100
NETLINK_NETFILTER, NFNLGRP_NFTABLES = 12, 7
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
RECEIVE_BYTES = 1 << 20
SETTLE_S = 0.05
"""After an event, for those that follow at once."""
RETRY_S, RECHECK_S = 1.0, 10.0
"""Until the next look without an event: after a problem, and else. Routes that somebody deletes make no event here."""


class Watch:
    """Applies at once, after each event, and now and then; SIGTERM and SIGINT end it, SIGHUP reads the file anew.

    What is in the kernel stays when it ends.
    """

    def __init__(
        self, gateway: Gateway, *, reload: Callable[[], Gateway | None], told: Callable[[Outcome], None]
    ) -> None:
        self._applier, self._reload, self._told = Applier(gateway), reload, told
        self._ended = self._reread = False
        self._woken, self._wake = socket.socketpair()

    def run(self) -> None:
        """Run until told to end."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signal)
        events = [_listen(socket.NETLINK_ROUTE, LINK | IPV4_ADDRESS | IPV6_ADDRESS), _listen_nftables()]
        while not self._ended:
            if self._reread:
                self._reread = False
                gateway = self._reload()
                self._applier = Applier(gateway) if gateway is not None else self._applier
            outcome = self._once()
            self._told(outcome)
            self._wait(events, RETRY_S if outcome.problems else RECHECK_S)
        for one in (*events, self._woken, self._wake):
            one.close()

    def _once(self) -> Outcome:
        try:
            return self._applier.apply()
        except ActuatorTransient as error:
            return Outcome(problems=(str(error),))

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._reread = True
        else:
            self._ended = True
        self._wake.send(b".")

    def _wait(self, events: list[socket.socket], seconds: float) -> None:
        heard, _, _ = select.select([*events, self._woken], [], [], seconds)
        if heard and not self._ended:
            select.select([self._woken], [], [], SETTLE_S)
        for one in (*events, self._woken):
            _drain(one)


def _listen(protocol: int, groups: int) -> socket.socket:
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    found.bind((0, groups))
    return found


def _listen_nftables() -> socket.socket:
    found = _listen(NETLINK_NETFILTER, 0)
    found.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    return found


def _drain(one: socket.socket) -> None:
    """Take in what is there: that something happened is all that counts, also where the kernel dropped events."""
    while True:
        try:
            one.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: events were lost
            continue
