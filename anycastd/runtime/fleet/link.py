"""What this POP tells the others by way of observers and the store, and what it hears of them (I1).

Honest: a claim that gets lower is said before the UPDATE that makes it so (`decided` comes before the route is said),
one that gets higher only after ExaBGP acknowledged the route to enough established upstreams (`observed`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from anycastd.actuators.exabgp.hearing import Hearing
from anycastd.fleet import seen as s
from anycastd.fleet.codec import BeaconError, NotSignedError, names_of, parts_of, route_of
from anycastd.fleet.domains import one_of_each
from anycastd.fleet.own import Own
from anycastd.fleet.signing import Signing
from anycastd.fleet.standing import View, beacon_of, tells_news
from anycastd.fleet.stored import BASE, STORE
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Heard, Route, SessionState, SessionView
from anycastd.model.decision import Decision, Level, Memory
from anycastd.model.fleet import Claim, FleetSpec, Others, Part
from anycastd.model.fleet_config import FleetConfig
from anycastd.model.fleet_view import FleetView
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.policy.claims import claim_of, established
from anycastd.policy.export import beacon_routes
from anycastd.runtime.fleet.report import Refusal, alarms, observer_of, report
from anycastd.runtime.fleet.trust import ForeignError, part_of, signing_or_none
from anycastd.runtime.loop.announcer import Announcer

CLAIMS_AT_ONCE = 100
"""Looked at in some ms; what was just decided is looked at at once."""
SHARE = 20
"""With thousands of prefixes a beacon takes tens of milliseconds: then so many times as long passes till the next."""
LOWER_GAP_S = 0.05
"""The least time between two beacons if something gets lower: ExaBGP is not told of one prefix any quicker."""


class Loop(Protocol):
    """The control loop, as far as it is needed here."""

    config: Config
    memories: dict[Prefix, Memory]
    decisions: dict[Prefix, Decision]
    announcer: Announcer


def specs_of(config: Config, fleet: FleetConfig) -> dict[int, FleetSpec]:
    """Return the fleet as the codec wants it, by the IP version of the beacons."""
    return {network.version: spec_of(config, fleet, network) for network in fleet.beacon_networks}


def spec_of(config: Config, fleet: FleetConfig, base: Prefix) -> FleetSpec:
    """Return the fleet as the codec wants it, with beacons below `base`."""
    return FleetSpec(
        number=fleet.own.number,
        pops={pop.number: name for name, pop in fleet.pops.items()},
        base=base,
        asn=config.pop.asn,
        heartbeat_s=fleet.heartbeat_s,
        min_gap_s=fleet.beacon_gap_s,
        blind_s=fleet.blind_s,
        boot_s=fleet.boot_s,
        min_upstreams=fleet.min_upstreams,
    )


FromDisk = tuple[Signing, int]
"""How beacons are signed, and the number of this start (0: there is no fleet)."""


class FleetLink:
    """Our beacon and the others', by the observers of the configuration and the store; without either it does nothing.

    `stir` asks the loop to look at what waits for others (`stirred`), `wake` asks for `act` at a time. `next_boot`
    gives the number of this start; it is asked for once, when there is a fleet.
    """

    def __init__(
        self,
        config: Config,
        next_boot: Callable[[], int],
        *,
        clock: Callable[[], float],
        stir: Callable[[], None],
        wake: Callable[[float], None],
    ) -> None:
        self._clock, self._stir, self._wake = clock, stir, wake
        self._control: Loop | None = None
        self.seen, self.own, self._next_boot = s.Seen.deaf(clock()), Own(0), next_boot
        self.hearing = Hearing({}, ())
        self.refused: dict[tuple[Prefix, NeighborName], Refusal] = {}
        self._specs: dict[int, FleetSpec] = {}
        self.stored: FleetSpec | None = None
        """The fleet for beacons in the store; None = they do not go there."""
        self.on_boot: Callable[[int], None] = lambda boot: None
        """Called with a number of the start that is not of `next_boot`, to be kept."""
        self.on_said: Callable[[], None] = lambda: None
        """Called when our beacon (`parts`) is said anew."""
        self.on_decided: Callable[[Mapping[Prefix, Decision], Mapping[Prefix, int]], None] | None = None
        """Told of decisions, with the prefixes' entries into DEPREF."""
        self.token_missing: Callable[[Prefix, int], str] = lambda prefix, entry: ""
        """Says why the fleet's store gives no leave to withdraw a prefix; "" = it does, or is not asked."""
        self.claims: dict[Prefix, Claim] = {}
        self._intents: frozenset[Prefix] = frozenset()
        self._calls: frozenset[Prefix] = frozenset()
        self._dirty: set[Prefix] = set()
        self._stirred: set[Prefix] = set()
        self._parts: tuple[Part, ...] = ()
        self._made: dict[tuple[int, int], tuple[Part, Mapping[NeighborName, dict[Prefix, Route]]]] = {}
        self._upstreams = self._seq = 0
        self._said_s, self._took_s = float("-inf"), 0.0
        self._news = self._lower = False
        self._view: View | None = None
        self._view_until_s: float | None = None
        self._shared: frozenset[Prefix] = frozenset()
        self._configure(config, self.read(config))

    def begin(self, control: Loop) -> None:
        """Follow this loop from now on."""
        self._control = control
        control.announcer.fleet = self

    def read(self, config: Config) -> FromDisk:
        """Return what a configuration needs of the disk, for `configure`; it may wait for that disk."""
        needs_boot = not self.own.boot and config.fleet is not None
        return signing_or_none(config.fleet), self._next_boot() if needs_boot else self.own.boot

    def configure(self, config: Config, found: FromDisk | None = None) -> None:
        """Take a new configuration, before the loop does; `found` is what was read for it (None: read it now)."""
        self._configure(config, self.read(config) if found is None else found)
        # only these: the loop still has decisions on what goes
        self._dirty = set(config.prefixes)
        self.own = self.own.keep(config.prefixes)
        self.claims = {prefix: claim for prefix, claim in self.claims.items() if prefix in config.prefixes}
        self._parts, self._made, self._news = (), {}, True
        if self._control is not None:
            for name in established(self._control.announcer.observed, config.neighbors):
                # a new one may have come up before it was known here
                self._listen_to(name)
        self.act()

    def _configure(self, config: Config, found: FromDisk) -> None:
        self._config, self._fleet, (self.signing, boot) = config, config.fleet, found
        observers = {name: one for name, one in config.neighbors.items() if one.is_observer}
        self._specs = specs_of(config, config.fleet) if config.fleet is not None and observers else {}
        fleet = config.fleet
        self.stored = spec_of(config, fleet, BASE) if fleet is not None and fleet.by_store else None
        networks = [spec.base for spec in self._specs.values()]
        self.hearing.configure({one.address: name for name, one in observers.items()}, networks)
        self._shared = names_of(config.prefixes)[1]
        self._view = None
        if not self.is_on:
            self.seen = s.Seen.deaf(self._clock())
        elif not self.own.boot:
            self.own = Own(boot)
        for channel in list(self.seen.channels):
            if self.stored is None if channel == STORE else observer_of(channel) not in observers:
                self._close(channel)

    @property
    def is_on(self) -> bool:
        """Return whether anybody can be asked."""
        return bool(self._specs) or self.stored is not None

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self._config

    @property
    def domains(self) -> Mapping[str, str]:
        """Return the failure domain of each POP that has one."""
        pops = {} if self._fleet is None else self._fleet.pops
        return {name: pop.failure_domain for name, pop in pops.items() if pop.failure_domain}

    @property
    def seq(self) -> int:
        """Return the number of our newest beacon."""
        return self._seq

    @property
    def said_s(self) -> float | None:
        """Return when our beacon was last said."""
        return self._said_s if self._seq else None

    @property
    def sessions(self) -> Mapping[NeighborName, SessionView]:
        """Return the BGP sessions as ExaBGP tells them."""
        return {} if self._control is None else self._control.announcer.observed.sessions

    @property
    def spec(self) -> FleetSpec:
        """Return the fleet as configured; only while `is_on`."""
        (first, *_) = (*self._specs.values(), self.stored)
        assert first is not None
        return first

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return our newest beacon."""
        return self._parts

    # what the loop asks and tells

    def others(self, prefix: Prefix) -> Others | None:
        """Return what policy is to know of the other POPs, None if nobody can be asked."""
        return one_of_each(self.view().others(prefix), self.domains) if self.is_on else None

    def stirred(self) -> Collection[Prefix]:
        """Return, once, the prefixes for which others may count otherwise than before."""
        found, self._stirred = self._stirred, set()
        return found

    def decided(self, decisions: Mapping[Prefix, Decision], changed: Collection[Prefix]) -> None:
        """Take decisions that are about to be said: what they lower is told first."""
        if self._control is not None and self.on_decided is not None:
            memories = self._control.memories
            self.on_decided(decisions, {prefix: memories[prefix].epoch for prefix in changed})
        if not self.is_on or self._control is None:
            return
        own = self.own.follow({prefix: self._control.memories[prefix] for prefix in changed})
        if own is not self.own:
            if own.boot != self.own.boot:
                # so many epochs that they began anew: the next start must be above this
                self.on_boot(own.boot)
            self.own, self._view, self._news, self._lower = own, None, True, True
        intending = {prefix for prefix in changed if decisions[prefix].intends}
        intents = (self._intents - set(changed)) | intending
        if intents != self._intents:
            self._intents, self._news = intents, True
        self._claim(changed)
        self._dirty.difference_update(changed)
        self._tell_if_due(self._clock())

    def call(self, prefixes: frozenset[Prefix]) -> None:
        """Call on standbys for these prefixes, and for no others, from now on."""
        if prefixes != self._calls:
            self._calls, self._news = prefixes, True
            self.act()

    def observed(self, prefixes: Collection[Prefix] | None) -> None:
        """Take note that ExaBGP holds something else of these prefixes, or of any, or that a session changed."""
        if not self.is_on or self._control is None:
            return
        known = self._config.prefixes.keys()
        self._dirty |= known if prefixes is None else known & set(prefixes)
        if prefixes is None:
            up = established(self._control.announcer.observed, self._config.neighbors)
            for channel in list(self.seen.channels):
                if channel != STORE and observer_of(channel) not in up:
                    self._close(channel)
        self.act()

    def report(self) -> FleetView:
        """Return the fleet for people."""
        return report(self)

    def alarms(self) -> Iterable[tuple[Alarm, str, str]]:
        """Return what an operator must look at: alarm, subject, detail."""
        return tuple(alarms(self))

    # what observers say

    def session(self, name: NeighborName, state: SessionState) -> None:
        """Take note of a session's change: what came by it is forgotten, and what comes by a new one is heard."""
        neighbor = self._config.neighbors.get(name)
        if not self.is_on or neighbor is None or not neighbor.is_observer:
            return
        for version in self._specs:
            self._close(_channel(name, version))
        if state is SessionState.ESTABLISHED:
            self._listen_to(name)
        self._stir_waiting()
        self.act()

    def _listen_to(self, name: NeighborName) -> None:
        """Hear an observer that is established, if it is not heard yet."""
        neighbor = self._config.neighbors[name]
        for version in self._specs:
            channel = _channel(name, version)
            carried = any(family.version == version for family in neighbor.families)
            if neighbor.is_observer and carried and channel not in self.seen.channels:
                self.channel_up(channel)

    def channel_up(self, channel: str) -> None:
        """Take note that beacons come by a channel from now on."""
        self.seen, self._view = s.up(self.seen, channel, self._clock()), None
        self._stir_waiting()

    def channel_down(self, channel: str) -> None:
        """Forget what came by a channel; nobody else is lost by that."""
        self._close(channel)
        self.act()

    def hear(self, line: str) -> None:
        """Take one line of ExaBGP about an observer's UPDATE."""
        for heard in self.hearing.take(line, self._clock()):
            self._hear(heard)

    def _hear(self, heard: Heard) -> None:
        spec, channel = self._specs[heard.prefix.version], _channel(heard.observer, heard.prefix.version)
        number, what = int(heard.prefix.network_address) % 256, (heard.prefix, heard.observer)
        self.refused.pop(what, None)
        found: Part | BeaconError | None = None
        if heard.large_communities is not None:
            found = part_of(self._config, self._fleet_or_raise(), spec, heard, self.signing)
        if isinstance(found, ForeignError | NotSignedError):
            self.refused[what] = Refusal(spec.pops.get(number, str(number)), heard.observer, str(found))
        self.take(spec, channel, heard.prefix, found)

    def take(self, spec: FleetSpec, channel: str, prefix: Prefix, found: Part | BeaconError | None) -> None:
        """Take what a channel says at the place of a part: one, or why it is none, or (None) that it is gone."""
        before, number = self.seen, int(prefix.network_address) % 256
        if found is None:
            self.seen = s.lost(before, spec, channel, prefix, self._clock())
        elif isinstance(found, BeaconError):
            self.seen = s.unreadable(before, spec, channel, prefix, found)
        else:
            self.seen = s.hear(before, s.Ears(spec, self.own.boot, self._seq), channel, found, self._clock())
        self._view = None
        if tells_news(before, self.seen, spec, number, self._clock()):
            self._stir_waiting()
        if self._echoes_differ(before, number):
            self._news = True
            self.act()

    def _fleet_or_raise(self) -> FleetConfig:
        assert self._fleet is not None
        return self._fleet

    def _echoes_differ(self, before: s.Seen, number: int) -> bool:
        """Return whether another POP's epoch is new to us: it waits to hear that."""
        was, now = before.tracks.get(number), self.seen.tracks.get(number)
        return now is not None and (was is None or (was.boot, was.epoch) != (now.boot, now.epoch))

    def _close(self, channel: str) -> None:
        observer = observer_of(channel)
        self.refused = {what: one for what, one in self.refused.items() if what[1] != observer}
        if channel in self.seen.channels:
            self.seen, self._view = s.down(self.seen, self.spec, channel, self._clock()), None
            self._stir_waiting()

    # what is seen

    def view(self) -> View:
        """Return what is seen now."""
        now_s = self._clock()
        if self._view is None or (self._view_until_s is not None and now_s >= self._view_until_s):
            self._view = View(self.seen, self.spec, self.own, now_s, self._shared)
            self._view_until_s = self._view.next_s()
        return self._view

    def _stir_waiting(self) -> None:
        """Have those decided anew that wait for others, or would come back for want of them: all that is not NORMAL."""
        if self._control is None:
            return
        waiting = {
            prefix
            for prefix, decision in self._control.decisions.items()
            if decision.level is not Level.NORMAL or decision.hold is not None or decision.reason.is_ordered
        }
        self.decide_anew(waiting)

    def decide_anew(self, prefixes: Collection[Prefix]) -> None:
        """Have prefixes decided anew soon."""
        if prefixes:
            self._stirred |= set(prefixes)
            self._stir()

    # what we say

    def act(self) -> None:
        """Tell what is to be told now, and ask to be woken for what is not due yet."""
        if not self.is_on or self._control is None:
            return
        now_s = self._clock()
        some = [prefix for prefix, _ in zip(self._dirty, range(CLAIMS_AT_ONCE), strict=False)]
        self._claim(some)
        self._dirty.difference_update(some)
        if self._dirty:
            self._wake(now_s)
        else:
            self._tell_if_due(now_s)
        self._look_again(now_s)

    def _tell_if_due(self, now_s: float) -> None:
        fleet = self._fleet_or_raise()
        gap_s = min(LOWER_GAP_S, fleet.beacon_gap_s) if self._lower else fleet.beacon_gap_s
        due_s = self._said_s + (max(gap_s, SHARE * self._took_s) if self._news else fleet.heartbeat_s)
        if now_s >= due_s:
            self._tell(now_s)
            self._took_s = self._clock() - now_s
            due_s = now_s + fleet.heartbeat_s
        self._wake(due_s)

    def _look_again(self, now_s: float) -> None:
        """Have decisions made anew when what is seen changes by the passing of time."""
        view, until_s = self._view, self._view_until_s
        if view is not None and until_s is not None and now_s >= until_s:
            self._stir_waiting()
        if self.view() is not view:
            until_s = self._view_until_s
        if until_s is not None and until_s > now_s:
            self._wake(until_s)

    def _claim(self, some: Iterable[Prefix]) -> None:
        """Bring the claims of these prefixes up to date; note whether any got lower."""
        control = self._control
        if control is None:
            return
        observed, least = control.announcer.observed, self._fleet_or_raise().min_upstreams
        neighbors = self._config.neighbors
        upstreams = sum(not neighbors[name].is_observer for name in established(observed, neighbors))
        if upstreams != self._upstreams:
            self._lower = self._lower or upstreams < self._upstreams
            self._upstreams, self._news = upstreams, True
        for prefix in some:
            decision = control.decisions.get(prefix)
            claim = Claim.GONE if decision is None else claim_of(self._config, decision, observed, least)
            before = self.claims.get(prefix, Claim.GONE)
            if claim is not before or prefix not in self.claims:
                self.claims[prefix], self._news = claim, True
                self._lower = self._lower or claim < before

    def _tell(self, now_s: float) -> None:
        control = self._control
        if control is None:
            return
        self._seq += 1
        if self._news or not self._parts:
            beacon = beacon_of(
                self.spec, self.own, self.seen, self._seq, self._upstreams, dict(self.claims), self._intents,
                self._calls & self.claims.keys(),
            )  # fmt: skip
            self._parts = parts_of(beacon, self._parts)
        else:
            # a heartbeat of thousands of prefixes costs what one of one does
            self._parts = (*self._parts[:-1], replace(self._parts[-1], seq=self._seq))
        self._said_s, self._news, self._lower = now_s, False, False
        control.announcer.carry(self._routes(), now_s)
        self.on_said()

    def _routes(self) -> dict[NeighborName, dict[Prefix, Route]]:
        """Return the routes of all parts for every observer; those of a part that did not change are kept."""
        found: dict[NeighborName, dict[Prefix, Route]] = {}
        made: dict[tuple[int, int], tuple[Part, Mapping[NeighborName, dict[Prefix, Route]]]] = {}
        for version, spec in self._specs.items():
            for part in self._parts:
                key = (version, part.number)
                known = self._made.get(key)
                if known is None or known[0] is not part:
                    known = (part, beacon_routes(self._config, [route_of(spec, part, self.signing.key)]))
                made[key] = known
                for name, routes in known[1].items():
                    found.setdefault(name, {}).update(routes)
        self._made = made
        return found


def _channel(observer: NeighborName, version: int) -> str:
    """Return the name of the way by which beacons of one family come from an observer."""
    return f"{observer} ipv{version}"
