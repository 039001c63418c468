"""The ICMP attempt: one echo request, and its reply."""

from __future__ import annotations

import errno
import socket

from anycastd.model.checks import IcmpOptions, ProbeSpec
from anycastd.model.probe import Why
from anycastd.probes import faults
from anycastd.probes.attempt import Attempt, Owner
from anycastd.probes.icmp.sockets import EchoSocket, EchoSockets
from anycastd.probes.receive_time import arrived_s


class IcmpAttempt(Attempt):
    """One echo on a shared socket."""

    __slots__ = ("plan", "sequence", "sock")

    def __init__(self, owner: Owner, order: int, started_s: float, plan: IcmpPlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan = plan
        self.sock: EchoSocket | None = None
        self.sequence = -1

    def start(self, now_s: float) -> None:
        """Send the request."""
        plan = self.plan
        try:
            sock = plan.sockets.get(plan.key)
        except OSError as error:
            self.end(faults.of_opening(error.errno), faults.words(error.errno), now_s)
            return
        try:
            self.sequence = sock.send(self, plan.target, plan.payload_bytes)
            self.sock = sock
        except OSError as error:
            number = error.errno
            if number in (errno.EINVAL, errno.ENETUNREACH) and sock.source_is_gone():
                number = errno.EADDRNOTAVAIL
            self.end(faults.of_leaving(number), faults.words(number), now_s)

    def answered(self, now_s: float, age_s: float | None) -> None:
        """End by the reply, at the time at which the kernel took it in: late is late, even if nobody looked before."""
        at_s = arrived_s(now_s, age_s, self.started_s)
        if at_s is not None and at_s > self.deadline_s:
            self.end(Why.TIMEOUT, f"the echo reply came {(at_s - self.deadline_s) * 1000:.0f} ms too late", at_s)
        else:
            self.end(Why.ANSWERED, "", now_s if at_s is None else at_s)

    def refused(self, detail: str, now_s: float) -> None:
        """End by an ICMP error."""
        self.end(Why.UNREACHABLE, detail, now_s)

    def last_look(self) -> bool:
        """See whether the reply lies in the kernel, behind those of others."""
        if self.sock is not None:
            self.sock.look()
        return self.over

    def doing(self) -> str:
        """Return what is being waited for."""
        return "waiting for the echo reply"

    def close(self) -> None:
        """Expect no reply any more."""
        if self.sock is not None:
            self.sock.forget(self.sequence)
            self.sock = None


class IcmpPlan:
    """An ICMP check of one target."""

    def __init__(self, spec: ProbeSpec, options: IcmpOptions, sockets: EchoSockets) -> None:
        self.sockets, self.payload_bytes = sockets, options.payload_bytes
        self.key = (spec.target.version, spec.source)
        # as the kernel writes the sender of a reply, which is compared with it
        family = socket.AF_INET if spec.target.version == 4 else socket.AF_INET6
        self.target = socket.inet_ntop(family, spec.target.packed)
        sockets.join(self.key)

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return IcmpAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Leave the shared socket."""
        self.sockets.leave(self.key)
