"""TCP check: the port takes a connection."""

from __future__ import annotations

import socket

from anycastd.model.checks import ProbeSpec, TcpOptions
from anycastd.model.probe import Why
from anycastd.probes.attempt import Attempt, Owner, Reactor
from anycastd.probes.stream import Endpoint, StreamAttempt


class TcpAttempt(StreamAttempt):
    """Connect, then close."""

    __slots__ = ()

    def on_connected(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """End well: the three-way handshake is all that was asked."""
        self.end(Why.ANSWERED, "", now_s)


class TcpPlan:
    """A TCP check of one target."""

    def __init__(self, spec: ProbeSpec, options: TcpOptions, reactor: Reactor) -> None:
        self._reactor = reactor
        self._endpoint = Endpoint(spec.target, options.port, spec.source)

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return TcpAttempt(owner, order, now_s, self._reactor, self._endpoint)

    def close(self) -> None:
        """Release nothing: nothing is shared."""
