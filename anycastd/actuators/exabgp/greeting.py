"""What a bridge's hello tells an operator: what it did without a daemon, and which ExaBGP it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from anycastd.actuators.exabgp.dump import Hello
from anycastd.actuators.exabgp.events import DeadManFired, Degraded, LinesDropped, SpeakerEvent
from anycastd.actuators.exabgp.versions import complaint


def told_by(hello: Hello, program: str) -> Iterator[SpeakerEvent]:
    """Yield the events of a hello. `program` is `bgp.exabgp`: where it names another ExaBGP, ours says nothing."""
    if hello.dead_man is not None:
        yield DeadManFired(hello.dead_man)
    if hello.dropped:
        yield LinesDropped(hello.dropped)
    yield Degraded("version", complaint(hello.version, "" if program else installed()))


def installed() -> str:
    """Return the version of the ExaBGP beside us, "" where there is none."""
    try:
        return metadata.version("exabgp")
    except metadata.PackageNotFoundError:
        return ""
