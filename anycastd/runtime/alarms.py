"""The alarms that stand at a moment, from what is believed and observed. Pure; each keeps the time it was raised."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from anycastd.model.address import Address, Prefix
from anycastd.model.bgp import BgpObserved, SessionState, SpeakerState
from anycastd.model.decision import PrefixState, Reason
from anycastd.model.eip import PlacementReason
from anycastd.model.health import FaultScope
from anycastd.model.status import Alarm, AlarmView, PrefixView
from anycastd.model.topology import Config
from anycastd.runtime.loop.beliefs import Beliefs
from anycastd.runtime.loop.forwarder import Forwarder
from anycastd.runtime.loop.steering import Steering

LOOP_LATE_MS = 200.0
CAUSES_NAMED = 20
LONGER_THAN_S = 3.0
"""A difference shorter than this is work under way, not an alarm."""


@dataclass(slots=True)
class Reported:
    """Conditions that events raise and clear, by alarm and subject."""

    details: dict[tuple[Alarm, str], str] = field(default_factory=dict)

    def raise_(self, alarm: Alarm, subject: str, detail: str) -> None:
        """Raise an alarm, or renew what it says."""
        self.details[alarm, subject] = detail

    def clear(self, alarm: Alarm, subject: str | None = None) -> None:
        """Clear an alarm for one subject, or for all."""
        for key in [key for key in self.details if key[0] is alarm and subject in (None, key[1])]:
            del self.details[key]

    def tell(self, alarm: Alarm, subject: str, detail: str | None) -> None:
        """Raise an alarm for a subject, or clear it (no detail)."""
        if detail is None:
            self.clear(alarm, subject)
        else:
            self.raise_(alarm, subject, detail)

    def of_name(self, name: str, detail: str | None) -> None:
        """Raise the alarm that a target's name is not resolved, or clear it (no detail)."""
        self.tell(Alarm.NAME_NOT_RESOLVED, name, detail)

    def of_bfd(self, detail: str | None) -> None:
        """Raise the alarm that the BFD process is not well, or clear it (no detail)."""
        if detail is None:
            self.clear(Alarm.BFD_PROCESS)
        else:
            self.raise_(Alarm.BFD_PROCESS, "bfd", detail)

    def of_kernel_events(self, detail: str | None) -> None:
        """Raise the alarm that the kernel's events were not heard, or clear it (no detail)."""
        self.tell(Alarm.KERNEL_EVENTS, "netlink", detail)


Raised = tuple[Alarm, str, str]
_OF_REASON = {PlacementReason.FAIL_OPEN: Alarm.EIP_FAIL_OPEN, PlacementReason.NO_PATH: Alarm.EIP_NO_PATH}


def standing(
    config: Config,
    beliefs: Beliefs,
    bgp: BgpObserved,
    forwarder: Forwarder,
    prefixes: Mapping[Prefix, PrefixView],
    unwanted: Iterable[str],
    spared: Collection[Prefix],
    reported: Reported,
    lag_ms: float,
) -> Iterator[Raised]:
    """Yield every condition that an operator should look at now: alarm, subject, detail."""
    for (alarm, subject), detail in reported.details.items():
        yield alarm, subject, detail
    yield from _of_speaker(config, bgp)
    for route in unwanted:
        yield Alarm.UNWANTED_ROUTES, route, "in ExaBGP's adj-rib-out and not wanted"
    if spared:
        detail = f"{len(spared)} announced prefixes are not in the file: kept, as that is too many to be meant"
        hint = f"if it is: anycastd reload --expect-removals {len(spared)}"
        yield Alarm.CONFIG_REFUSED, config.path, f"{detail}; {hint}"
    yield from _of_checks(beliefs)
    if beliefs.view.fault is FaultScope.SELF and beliefs.view.self_test.suspect_until_s is not None:
        yield Alarm.CHECKER_SUSPECT, config.pop.name, beliefs.view.self_test.detail
    wanted, rules = forwarder.wanted
    have = forwarder.observed
    # a route over a device that is down cannot be there: that is the tunnel's fault, and shown as such
    up = {view.device for view in beliefs.view.tunnels.values() if view.health.is_usable}
    missing = [r for r in wanted - (have.routes or frozenset()) if r.device is None or r.device in up]
    if missing or rules - have.rules:
        count = len(missing) + len(rules - have.rules)
        yield Alarm.KERNEL_NOT_AS_WANTED, config.pop.name, f"{count} routes or rules of ours are missing"
    yield from _of_filter(config, forwarder.steering)
    yield from _of_breaker(config, prefixes)
    for view in prefixes.values():
        if view.state is PrefixState.FAILED:
            yield Alarm.PREFIX_DARK, str(view.prefix), "wanted, and no established neighbor has it"
    if lag_ms > LOOP_LATE_MS:
        yield Alarm.LOOP_LATE, config.pop.name, f"the event loop was {lag_ms:.0f} ms late"


def _of_breaker(config: Config, prefixes: Mapping[Prefix, PrefixView]) -> Iterator[Raised]:
    held = [view.prefix for view in prefixes.values() if view.decision.hold is Reason.CIRCUIT_BREAKER]
    if held:
        rest = f" and {len(held) - 1} more" if len(held) > 1 else ""
        yield Alarm.CIRCUIT_BREAKER, config.pop.name, f"too many would be withdrawn at once: {held[0]}{rest} stay"


def _of_checks(beliefs: Beliefs) -> Iterator[Raised]:
    for check in beliefs.broken():
        state = beliefs.tracker.states[check]
        why = f"{state.last.why}: {state.last.detail}" if state.last else "no result"
        yield Alarm.CHECK_BROKEN, check, f"our own fault, says nothing of the target: {why}"
    for check, state in beliefs.tracker.states.items():
        if state.last is not None and state.last.note is not None and state.last.note.warning:
            yield Alarm.CERTIFICATE_EXPIRES, check, state.last.note.warning


def _of_filter(config: Config, steering: Steering) -> Iterator[Raised]:
    if not steering.observed.rules:
        yield Alarm.FILTER_NOT_AS_WANTED, config.pop.name, "the rules of table inet anycastd do not stand"
    elif steering.plane.missing:
        yield Alarm.FILTER_NOT_AS_WANTED, config.pop.name, f"{steering.plane.missing} elements are not as wanted"
    yield from _of_placements(steering)


def _of_placements(steering: Steering) -> Iterator[Raised]:
    """Name what is to blame, not each of ten thousand EIPs; the subject stays while EIPs come and go."""
    found: dict[tuple[Alarm, str], list[Address]] = {}
    for placement, eips in steering.plane.placements():
        if (alarm := _OF_REASON.get(placement.reason)) is not None:
            found.setdefault((alarm, placement.detail), []).extend(eips)
    for alarm in _OF_REASON.values():
        causes = [(detail, eips) for (of, detail), eips in found.items() if of is alarm]
        causes.sort(key=lambda cause: len(cause[1]), reverse=True)
        for detail, eips in causes[:CAUSES_NAMED]:
            rest = f"; {len(eips) - 1} more EIPs like it" if len(eips) > 1 else ""
            yield alarm, str(min(eips, key=int)), f"{detail}{rest}"
        if more := causes[CAUSES_NAMED:]:
            count = sum(len(eips) for _, eips in more)
            yield alarm, "others", f"{count} more EIPs, {len(more)} more causes: anycastd eip list"


def _of_speaker(config: Config, bgp: BgpObserved) -> Iterator[Raised]:
    if bgp.speaker is SpeakerState.WEDGED:
        yield Alarm.SPEAKER_WEDGED, "exabgp", "a command is not answered"
    elif bgp.speaker is not SpeakerState.READY:
        yield Alarm.SPEAKER_ABSENT, "exabgp", f"ExaBGP is {bgp.speaker.value}"
        return
    for name in config.neighbors:
        session = bgp.sessions.get(name)
        if session is None or session.state is not SessionState.ESTABLISHED:
            reason = session.reason if session and session.reason else "not established"
            yield Alarm.SESSION_DOWN, name, reason


class Alarms:
    """Remembers since when each alarm stands."""

    def __init__(self) -> None:
        self._since_s: dict[tuple[Alarm, str], float] = {}

    def count(self) -> int:
        """Return how many stand."""
        return len(self._since_s)

    def update(self, raised: Iterable[Raised], now_s: float) -> tuple[AlarmView, ...]:
        """Return the standing alarms with their times; conditions younger than LONGER_THAN_S are not shown yet."""
        raised = list(raised)
        self._since_s = {(a, s): self._since_s.get((a, s), now_s) for a, s, _ in raised}
        at_once = {
            Alarm.ORDERS_UNREAD,
            Alarm.COMMAND_REFUSED,
            Alarm.KERNEL_REFUSED,
            Alarm.CONFIG_REFUSED,
            Alarm.DEAD_MAN_FIRED,
            Alarm.ATTACK,
            Alarm.CIRCUIT_BREAKER,
            Alarm.PROBE_WORKER,
            Alarm.KERNEL_EVENTS,
            Alarm.EXPORT_REFUSED,
            Alarm.BFD_PROCESS,
        }
        return tuple(
            AlarmView(alarm, subject, self._since_s[alarm, subject], detail)
            for alarm, subject, detail in raised
            if alarm in at_once or now_s - self._since_s[alarm, subject] >= LONGER_THAN_S
        )
