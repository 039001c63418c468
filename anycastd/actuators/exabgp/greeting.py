"""What a bridge's hello tells an operator: what it did without a daemon, and which ExaBGP it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from anycastd.actuators.exabgp.dump import Hello
from anycastd.actuators.exabgp.events import DeadManFired, Degraded, LinesDropped, SpeakerEvent
from anycastd.actuators.exabgp.versions import complaint
from anycastd.model.topology import BgpConfig, Launch

UNIT_END = "systemctl kill --signal=TERM anycastd-bgp"


def told_by(hello: Hello, bgp: BgpConfig) -> Iterator[SpeakerEvent]:
    """Yield the events of a hello. Where `bgp.exabgp` names another ExaBGP, the one beside us says nothing of it."""
    if hello.dead_man is not None:
        yield DeadManFired(hello.dead_man)
    if hello.dropped:
        yield LinesDropped(hello.dropped)
    end = UNIT_END if bgp.launch is Launch.SERVICE else f"kill -TERM {hello.exabgp}"
    yield Degraded("version", complaint(hello.version, "" if bgp.exabgp else installed(), end))


def installed() -> str:
    """Return the version of the ExaBGP beside us, "" where there is none."""
    try:
        return metadata.version("exabgp")
    except metadata.PackageNotFoundError:
        return ""
