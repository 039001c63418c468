"""Clients of the lab that go on until they are told to end, so that a test waits for what happens and not for a time.

What they say goes into files: a pipe that nobody empties would stop them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from anycastd.lab.inside import NodeProcess
from anycastd.lab.running import Lab
from tests.lab.topology_facts import CLIENT, Answer, answers
from tests.wait import wait_until

FOREVER_S = 300
GOOD, BAD = '"ok": true', '"ok": false'


@dataclass
class Client:
    """A client that runs, or has run."""

    process: NodeProcess
    path: Path
    services: int
    rows: tuple[Answer, ...] = ()

    def said(self) -> str:
        """Return all its lines so far."""
        return self.path.read_text(encoding="utf-8")

    def felt(self, deadline_s: float = 15.0) -> None:
        """Wait until a request has failed."""
        wait_until("a request fails", deadline_s, lambda: BAD in self.said())

    def more(self, count: int, deadline_s: float = 30.0) -> None:
        """Wait until it has got so many good answers of each service, on average, from now on and none bad between."""
        begun = len(self.said())
        wait_until(
            f"{count} good answers",
            deadline_s,
            lambda: self.said()[begun:].rpartition(BAD)[2].count(GOOD) >= count * self.services,
        )

    def end(self) -> None:
        """Let it end what it has begun, and read all that it saw."""
        self.process.terminate()
        self.process.wait(60)
        self.rows = answers(self.path.read_text(encoding="utf-8"))


@contextmanager
def running(lab: Lab, wanted: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> Iterator[list[Client]]:
    """Let clients (node, options, addresses) ask until the block ends; it begins when all are answered well."""
    with ExitStack() as stack:
        clients = []
        for node, options, addresses in wanted:
            said = stack.enter_context(NamedTemporaryFile("w+", encoding="utf-8"))
            words = (*CLIENT, "--seconds", str(FOREVER_S), *options, *addresses)
            clients.append(Client(lab.popen(node, *words, stdout=said.file), Path(said.name), len(addresses)))
        try:
            for client in clients:
                wait_until("all goes well before anything happens", 15, lambda client=client: is_well(client))  # type: ignore[misc]
            yield clients
        finally:
            for client in clients:
                client.end()


def is_well(client: Client) -> bool:
    """Return whether a client has got an answer, and no failure."""
    said = client.said()
    assert BAD not in said
    return GOOD in said
