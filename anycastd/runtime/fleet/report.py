"""What the fleet link knows, for people: status, explain, metrics and alarms are made from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from anycastd.actuators.exabgp.hearing import Hearing
from anycastd.fleet.domains import one_of_each
from anycastd.fleet.own import Own
from anycastd.fleet.seen import Seen
from anycastd.fleet.standing import View
from anycastd.fleet.stored import STORE
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import SessionState, SessionView
from anycastd.model.fleet import FleetFault, FleetSpec, Others
from anycastd.model.fleet_view import FleetView, Guard, ObserverSeen, PopSeen
from anycastd.model.status import Alarm
from anycastd.model.topology import Config


@dataclass(frozen=True, slots=True)
class Refusal:
    """A beacon that is not believed: of whom it says it is, by whom it came, and why."""

    pop: str
    observer: NeighborName
    detail: str


class Link(Protocol):
    """The fleet link, as far as it is shown."""

    seen: Seen
    own: Own
    hearing: Hearing
    refused: dict[tuple[Prefix, NeighborName], Refusal]
    stored: FleetSpec | None

    @property
    def is_on(self) -> bool: ...
    @property
    def config(self) -> Config: ...
    @property
    def spec(self) -> FleetSpec: ...
    @property
    def domains(self) -> Mapping[str, str]: ...
    @property
    def seq(self) -> int: ...
    @property
    def said_s(self) -> float | None: ...
    @property
    def sessions(self) -> Mapping[NeighborName, SessionView]: ...
    def view(self) -> View: ...


class OthersOf(Mapping[Prefix, Others]):
    """Who counts for each prefix, found when it is asked for: with thousands of prefixes few are looked at."""

    def __init__(self, view: View, domains: Mapping[str, str], prefixes: Iterable[Prefix]) -> None:
        self._view, self._domains, self._prefixes = view, domains, dict.fromkeys(prefixes)

    def __getitem__(self, prefix: Prefix) -> Others:
        """Return who counts for a prefix; KeyError if it is not configured."""
        if prefix not in self._prefixes:
            raise KeyError(prefix)
        return one_of_each(self._view.others(prefix), self._domains)

    def __iter__(self) -> Iterator[Prefix]:
        """Yield the prefixes."""
        return iter(self._prefixes)

    def __len__(self) -> int:
        """Return how many prefixes there are."""
        return len(self._prefixes)


def report(link: Link) -> FleetView:
    """Return the fleet as it is seen now."""
    if not link.is_on:
        return FleetView()
    spec, view, seen = link.spec, link.view(), link.seen
    pops = []
    for number, name in spec.pops.items():
        if number == spec.number:
            continue
        track = seen.tracks.get(number)
        head = None if track is None else seen.parts(number, track.boot).get(0)
        by = {observer_of(channel) for channel, one in seen.channels.items() if 0 in one.parts.get(number, {})}
        pops.append(
            PopSeen(
                name=name,
                number=number,
                why=view.unheard(number),
                moved_s=None if track is None else track.moved_s,
                boot=0 if track is None else track.boot,
                seq=0 if track is None else track.seq,
                upstreams=0 if head is None else head.upstreams,
                by=tuple(sorted(by)),
            )
        )
    return FleetView(
        guard=Guard.ECHO if seen.channels else Guard.BLIND,
        number=spec.number,
        boot=link.own.boot,
        seq=link.seq,
        said_s=link.said_s,
        pops=tuple(pops),
        observers=tuple(_observers(link)),
        store=None if link.stored is None else STORE in seen.channels,
        others=OthersOf(view, link.domains, link.config.prefixes),
    )


def _observers(link: Link) -> Iterator[ObserverSeen]:
    sessions = link.sessions
    for name, ear in link.hearing.ears.items():
        session = sessions.get(name)
        up = session is not None and session.state is SessionState.ESTABLISHED
        yield ObserverSeen(name, up, ear.heard, ear.foreign, ear.unreadable, ear.flooded)


def alarms(link: Link) -> Iterator[tuple[Alarm, str, str]]:
    """Yield what an operator must look at: alarm, subject, detail."""
    if not link.is_on:
        return
    refused = {one.pop: one for one in link.refused.values()}
    for pop, one in refused.items():
        detail = f"by {one.observer}: {one.detail}; it is not believed, and {pop} not counted by it"
        yield Alarm.BEACON_REFUSED, pop, detail
    if not link.seen.channels:
        names: list[str] = [*link.hearing.ears, *([] if link.stored is None else ["the store"])]
        detail = f"no observer is there ({', '.join(names)}): no other POP can be seen, so no prefix leaves"
        yield Alarm.OBSERVERS_BLIND, link.config.pop.name, detail
    for fault in link.view().faults():
        if fault.kind is not FleetFault.BEACON_UNREADABLE or fault.subject not in refused:
            yield Alarm(fault.kind.value), fault.subject, fault.detail


def observer_of(channel: str) -> NeighborName:
    """Return the observer of a channel: `rr1 ipv4` is one of `rr1`; the store is its own."""
    return NeighborName(channel.partition(" ")[0])
