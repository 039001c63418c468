"""A probe worker: an engine in a process of its own. Run as a program with the number of a socket's descriptor.

It ends when its parent does, and starts nothing of its own.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Mapping

from anycastd.model.address import CheckId
from anycastd.model.checks import ProbeSpec
from anycastd.model.kernel import LinkView
from anycastd.model.probe import ProbeResult
from anycastd.probes.engine import Engine
from anycastd.probes.workers import wire
from anycastd.probes.workers.channel import Channel

BEAT_S = 0.1
MOST_UNSENT_BYTES = 8 << 20
"""What a parent that does not read is owed at most; more is left out, and it will say itself that we were silent."""


def _no_links() -> Mapping[str, LinkView]:
    return {}


class Worker:
    """Runs what it is told and tells what it sees."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self.ended = loop.create_future()
        self._channel = Channel(loop, sock, self._heard, self._end)
        self._engine = Engine(loop, self._result, _no_links, self._name)
        self._learned: dict[CheckId, tuple[ProbeSpec, int]] = {}
        self._set_number = 0
        self._results: list[ProbeResult] = []

    async def run(self) -> None:
        """Run until the parent is gone."""
        while not self.ended.done():
            self._channel.send(wire.beat(self._set_number, self._engine.stats))
            await asyncio.wait((self.ended,), timeout=BEAT_S)
        self._engine.close()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _heard(self, body: bytes) -> None:
        match wire.read_order(body):
            case wire.Learn(specs):
                self._learned |= {spec.id: (spec, number) for spec, number in specs}
            case wire.Run(set_number):
                learned, self._learned = self._learned, {}
                self._engine.set_probes(spec for spec, _ in learned.values())
                self._engine.number_after({id_: number for id_, (_, number) in learned.items()})
                self._set_number = set_number
                self._channel.send(wire.beat(set_number, self._engine.stats))
            case wire.Pending(check, pending):
                self._engine.pending(check, pending)
            case wire.Nudge(check):
                self._engine.nudge(check)

    def _result(self, result: ProbeResult) -> None:
        if not self._results:
            self._loop.call_soon(self._send)
        self._results.append(result)

    def _send(self) -> None:
        results, self._results = self._results, []
        if self._channel.unsent < MOST_UNSENT_BYTES:
            self._channel.send(wire.results(results))

    def _name(self, name: str, detail: str | None) -> None:
        self._channel.send(wire.name(name, detail))


async def _run(descriptor: int) -> None:
    await Worker(asyncio.get_running_loop(), socket.socket(fileno=descriptor)).run()


def main(argv: list[str]) -> int:
    """Run."""
    # what is meant for the daemon, and comes to its whole group, is the daemon's matter
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_run(int(argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
