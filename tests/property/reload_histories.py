"""Two POPs that hear each other, to which anything happens in any order, reloads above all.

Files gain and lose prefixes, neighbors and regions while checks turn, sessions flap, beacons come, operators order and
attacks are seen. The loop, the decisions and the fleet link are the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.attack import AttackReason, AttackState, AttackView, Standing
from anycastd.model.bgp import SessionState, SessionView
from anycastd.model.decision import Level
from anycastd.model.operator import Drain, DrainPhase, DrainScope, Freeze, Interventions
from anycastd.model.spread import Announce, Extra, Shed
from anycastd.model.topology import Config, Neighbor, PrefixTimers
from anycastd.runtime.loop.spreading import Spreading
from tests.unit.runtime.fleet_world import RR, FleetOfPops, Pop
from tests.unit.runtime.fleet_world import config as of_fleet
from tests.unit.runtime.world import UP, A, B, eip_of

C, D = ip_network("198.18.0.0/24"), ip_network("198.18.1.0/24")
PREFIXES = (A, B, C, D)
OTHER = NeighborName("transit-b")
UPSTREAMS = (UP, OTHER)
REGIONS = ("eu", "us")
QUICK = PrefixTimers(return_after_s=2.0, return_max_s=4.0, settle_s=1.0, half_life_s=5.0, return_step_s=2.0)


@dataclass(frozen=True)
class File:
    """What one configuration file holds."""

    prefixes: frozenset[Prefix] = frozenset(PREFIXES)
    upstreams: frozenset[NeighborName] = frozenset({UP})
    regions: frozenset[str] = frozenset(REGIONS)
    standbys: frozenset[Prefix] = frozenset()
    has_observer: bool = True

    def config(self, pop: str) -> Config:
        """Return what the loader would make of it."""
        whole = of_fleet(pop, timers=QUICK, prefixes=[p for p in PREFIXES if p in self.prefixes])
        observers = {RR: whole.neighbors[RR]} if self.has_observer else {}
        regions = {name: one for name, one in whole.regions.items() if name in self.regions}
        targets = {id_ for one in regions.values() for id_ in one.backends}
        eips = {
            address: replace(eip, binding=replace(eip.binding, targets=tuple(kept)))
            for address, eip in whole.eips.items()
            if eip.binding is not None and (kept := [one for one in eip.binding.targets if one.backend in targets])
        }
        return replace(
            whole,
            neighbors={name: one for name, one in _upstreams(whole.neighbors[UP]).items() if name in self.upstreams}
            | observers,
            regions=regions,
            tunnels={id_: one for id_, one in whole.tunnels.items() if one.region in regions},
            backends={id_: one for id_, one in whole.backends.items() if one.region in regions},
            probes=tuple(one for one in whole.probes if one.region in regions),
            prefixes={
                prefix: replace(
                    spec,
                    neighbors=tuple(sorted(self.upstreams)),
                    announce=Announce.STANDBY if prefix in self.standbys else Announce.ALWAYS,
                )
                for prefix, spec in whole.prefixes.items()
            },
            eips=eips,
        )


def _upstreams(first: Neighbor) -> dict[NeighborName, Neighbor]:
    return {UP: first, OTHER: replace(first, name=OTHER, address=ip_address("192.0.2.3"), asn=64497)}


class History:
    """The two POPs and what happened to them; each `fra` or `sin`."""

    def __init__(self) -> None:
        self.fleet = FleetOfPops("fra", "sin", timers=QUICK)
        self.files = {name: File() for name in self.fleet.pops}
        for name in self.files:
            self.reload(name, File())
        self.heal()

    def reload(self, name: str, file: File) -> None:
        """Take a file as the daemon does: not while frozen; ExaBGP, then the link, then the loop."""
        pop, new = self.fleet[name], file.config(name)
        if pop.world.control.orders.hold:
            return
        self.files[name], before = file, pop.world.control.config.neighbors
        speaker = pop.world.speaker
        routes, up = dict(speaker.observed.routes or {}), SessionView(SessionState.ESTABLISHED)
        speaker.observed = replace(
            speaker.observed,
            routes={one: routes.get(one, {}) if one in before else {} for one in new.neighbors},
            sessions={one: speaker.observed.sessions.get(one, up) for one in new.neighbors},
            in_flight=frozenset(key for key in speaker.observed.in_flight if key[0] in new.neighbors),
        )
        speaker.queue = [one for one in speaker.queue if one.neighbor in new.neighbors]
        pop.link.configure(new)
        pop.world.configure(new)

    def session(self, name: str, neighbor: NeighborName, state: SessionState) -> None:
        """Have a session change; ExaBGP keeps the routes of one that is down."""
        pop = self.fleet[name]
        speaker = pop.world.speaker
        if neighbor not in pop.world.control.config.neighbors:
            return
        seen = SessionView(state, since_s=pop.world.now_s)
        speaker.observed = replace(speaker.observed, sessions={**speaker.observed.sessions, neighbor: seen})
        if neighbor == RR:
            pop.link.session(RR, state)
        pop.world.control.on_observed(pop.world.now_s)

    def order(self, name: str, scope: DrainScope | None, neighbor: NeighborName, phase: DrainPhase, cold: bool) -> None:
        """Have an operator drain something, freeze, or undo all of it."""
        pop = self.fleet[name]
        at_s = pop.world.now_s
        drain = None
        if scope is not None:
            drain = Drain(
                id="d-1", scope=scope, name=neighbor if scope is DrainScope.NEIGHBOR else "", owner="ann", reason="",
                began_s=at_s, phase=phase, phase_since_s=at_s,
            )  # fmt: skip
        frozen = Freeze(owner="ann", reason="test", since_s=at_s) if cold else None
        pop.world.control.take(Interventions(drains=() if drain is None else (drain,), freeze=frozen), at_s)

    def attack(self, name: str, prefixes: frozenset[Prefix], *, whole: bool) -> None:
        """Have an attack seen on EIPs of these prefixes, or on the POP."""
        pop = self.fleet[name]
        on = Standing(AttackState.ATTACK, pop.world.now_s, (AttackReason.BITS_ABOVE_USUAL,))
        view = AttackView(pop.world.now_s, on if whole else Standing(), {eip_of(one): on for one in prefixes})
        pop.world.control.take_attack(view, pop.world.now_s)

    def shed(self, name: str, prefixes: frozenset[Prefix], out: bool) -> None:
        """Have steps of a playbook in force on these prefixes."""
        one = Shed(calls=True, down={OTHER: out}, extras=(Extra(UP, prepend=1),), words="test")
        control = self.fleet[name].world.control
        control.spread = Spreading(sheds=dict.fromkeys(prefixes, one))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.fleet.wait(seconds, max(seconds / 10, 0.05))

    def heal(self) -> None:
        """Undo everything but the files, and let every check pass until all has come to rest."""
        for name, pop in self.fleet.pops.items():
            self.order(name, None, UP, DrainPhase.DEPREF, False)
            self.attack(name, frozenset(), whole=False)
            pop.world.control.spread = Spreading()
            for neighbor in pop.world.control.config.neighbors:
                self.session(name, neighbor, SessionState.ESTABLISHED)
            pop.world.control.breaker.reset()
        for name in self.fleet.pops:
            self.fleet.answer(name, "")
        self.fleet.wait(2.0, 0.5)
        for seconds in (60.0, 120.0):
            self.fleet.wait(seconds, seconds / 4)
            for pop in self.fleet.pops.values():
                pop.world.control.step(pop.world.now_s)
            self.fleet.wait(2.0, 0.5)

    def check(self) -> None:
        """Whatever happens: what is not in the file is neither decided nor wanted."""
        for pop in self.fleet.pops.values():
            known = pop.world.control.config.prefixes.keys()
            assert pop.world.control.decisions.keys() <= known
            if pop.world.control.orders.hold:
                # a freeze holds what is sent, and with it what a reload has just taken away
                continue
            for name, routes in pop.world.control.announcer.wanted.items():
                assert name == RR or routes.keys() <= known

    def check_healed(self) -> None:
        """What is in the file is announced, to everybody, and nothing else is."""
        for name, pop in self.fleet.pops.items():
            self._is_as_in_file(pop, self.files[name])

    def _is_as_in_file(self, pop: Pop, file: File) -> None:
        control, told = pop.world.control, pop.world.speaker.observed.routes or {}
        wanted = file.prefixes - file.standbys
        assert {p for p in wanted if control.decisions[p].level is not Level.NORMAL} == set(), [
            (str(p), control.decisions[p]) for p in wanted if control.decisions[p].level is not Level.NORMAL
        ]
        for upstream in file.upstreams:
            assert wanted <= told[upstream].keys() <= file.prefixes | control.announcer.spared
