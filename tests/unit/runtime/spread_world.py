"""Some POPs with real control loops and real desks of playbooks, in a world where traffic follows announcements.

What a POP says reaches the others a second later. Traffic for prefix A comes from areas, each of which goes to the
first POP of its list that announces; a longer path is passed over for a shorter one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

from anycastd.api.ports import Clocks
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.attack import AttackView
from anycastd.model.bgp import Route, SessionState, SessionView
from anycastd.model.decision import Level
from anycastd.model.fleet import Claim
from anycastd.model.spread import Announce, Playbook, PlayMode, PlayStep, SpreadConfig, StepKind, When
from anycastd.model.topology import Config, Pop
from anycastd.model.traffic import EipStanding, EipTraffic, Rates, Sample, Totals
from anycastd.resources.fleet import Presence, decode_presence, encode_presence
from anycastd.runtime.alarms import Reported
from anycastd.runtime.spread.desk import SpreadDesk
from tests.unit.runtime.air import Air
from tests.unit.runtime.world import UP, A, Speaker, World, config, eip_of

B_SIDE = NeighborName("transit-b")
EIP = eip_of(A)
CAPACITY_BPS = 1_000_000_000
CALL = PlayStep(kind=StepKind.MORE_ANNOUNCERS, mode=PlayMode.AUTO, verify_after_s=(10.0, 60.0))
DOWN = PlayStep(
    kind=StepKind.SELECTIVE_NEIGHBORS, neighbors=(B_SIDE,), out=True, mode=PlayMode.AUTO, verify_after_s=(10.0, 60.0)
)
LONGER = PlayStep(kind=StepKind.PREPEND, prepend=1, mode=PlayMode.AUTO, verify_after_s=(10.0, 60.0))
TAG = PlayStep(
    kind=StepKind.COMMUNITIES, communities=("64496:3",), neighbors=(UP,), mode=PlayMode.ASK, verify_after_s=(10.0, 60.0)
)


CLAIMS = {Level.NORMAL: Claim.NORMAL, Level.DEPREF: Claim.DEPREF, Level.WITHDRAWN: Claim.GONE}


def book(*steps: PlayStep, **more: object) -> Playbook:
    """Return a playbook for a load above 80 % for 5 s, calm after 60 s."""
    plain = Playbook(name="spread", when=(When(load_percent=80, for_s=5.0),), steps=steps, calm_s=60.0)
    return replace(plain, **more)  # type: ignore[arg-type]


def pop_config(name: str, directory: Path, books: tuple[Playbook, ...] = (), *, standby: bool = False) -> Config:
    """Return a POP with two transits; prefix A may leave without the word of others."""
    base = config(prefixes=(A,))
    second = replace(base.neighbors[UP], name=B_SIDE, address=ip_address("192.0.2.5"), asn=64497)
    announce = Announce.STANDBY if standby else Announce.ALWAYS
    spec = replace(base.prefixes[A], neighbors=(UP, B_SIDE), announce=announce)
    spread = SpreadConfig(
        capacity_bps=CAPACITY_BPS,
        playbooks={one.name: one for one in books},
        standby_calm_s=60.0,
        standby_leave_s=20.0,
    )
    return replace(
        base,
        pop=Pop(name=name, asn=64500, router_id=base.pop.router_id),
        neighbors={UP: base.neighbors[UP], B_SIDE: second},
        prefixes={A: spec},
        attack=replace(base.attack, spread=spread),
        state_dir=str(directory / name),
    )


@dataclass
class Diary:
    """Keeps what the desk notes."""

    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    def playbook(self, prefix: Prefix, name: str, before: str, after: str, reason: str, detail: str) -> None:
        self.rows.append((name, before, after, reason, detail))


class Site:
    """One POP."""

    def __init__(self, its: Config, fleet: Fleet) -> None:
        self.name, self._fleet = its.pop.name, fleet
        sessions = {name: SessionView(SessionState.ESTABLISHED) for name in its.neighbors}
        speaker = Speaker()
        speaker.observed = replace(
            speaker.observed, routes={name: {} for name in its.neighbors}, sessions=sessions, eor_owed=frozenset()
        )
        self.world = World(its, speaker=speaker, now_s=fleet.now_s)
        self.sample: Sample | None = None
        self.begin()
        self.world.answer("")
        self.world.settle()

    def begin(self) -> None:
        """Have a desk, as a start does; what was in force comes from its file."""
        self.reported, self.diary = Reported(), Diary()
        self.desk = SpreadDesk(
            self.world.control, lambda: self.sample, self._fleet.present, self.reported, self.diary, self._clocks,
            None if self._fleet.air is None else self._fleet.air.pops[self.name],
        )  # fmt: skip
        self.desk.view = lambda: self._fleet.view

    def _clocks(self) -> Clocks:
        return Clocks(self._fleet.now_s, 0.0)

    def until(self, end_s: float) -> None:
        """Let time pass; the control loop is woken when it asked for it, as the daemon's is."""
        world = self.world
        while due := sorted(at_s for at_s in set(world.due) if at_s <= end_s):
            world.due = [at_s for at_s in world.due if at_s > due[0]]
            world.now_s = max(world.now_s, due[0])
            world.control.on_due(world.now_s)
            world.speaker.ack()
        world.now_s = end_s

    def routes(self) -> dict[NeighborName, Route | None]:
        """Return what each transit has of the prefix."""
        have = self.world.speaker.observed.routes or {}
        return {name: have.get(name, {}).get(A) for name in self.world.control.config.neighbors}

    @property
    def level(self) -> Level:
        """Return the level that was decided."""
        return self.world.control.decisions[A].level

    def length(self) -> int | None:
        """Return how long the shortest path is that some transit has; None: none has any."""
        return min((len(route.as_path) for route in self.routes().values() if route is not None), default=None)

    def presence(self) -> Presence:
        """Return what the fleet is told, through the text that the store has."""
        spread, mine = self.world.control.spread, str(A)
        spec = self.world.control.config.prefixes[A]
        rates = Rates() if self.sample is None else self.sample.pop_rates
        said = Presence(
            pop=self.name, version="0", config="", at_unix_s=0.0, started_unix_s=0.0, state="serving",
            away=frozenset({mine} if self.level is Level.WITHDRAWN else ()), in_bps=rates.in_bps,
            capacity_bps=float(CAPACITY_BPS),
            standby=frozenset({mine} if spec.announce is Announce.STANDBY else ()),
            calls=frozenset(str(p) for p, shed in spread.sheds.items() if shed.calls),
            sheds=frozenset(str(p) for p, shed in spread.sheds.items() if shed.sheds),
            pressed=frozenset(map(str, spread.pressed)),
        )  # fmt: skip
        return decode_presence(encode_presence(said))

    def carry(self, in_bps: float, now_s: float) -> None:
        """Have the counters say what came in."""
        rates = Rates(in_bps=in_bps)
        one = EipTraffic(EipStanding(self.world.control.config.eips[EIP].id), 1, 0.0, Totals(), rates)
        self.sample = Sample(now_s, now_s, 1.0, {EIP: one}, Totals(), rates, {})


class Fleet:
    """POPs, areas and the time. `areas`: the POPs of each, nearest first, and the bits per second that come from it."""

    def __init__(self, areas: Mapping[str, tuple[str, ...]]) -> None:
        self.areas, self.now_s = areas, 1000.0
        self.demand_bps: dict[str, float] = dict.fromkeys(areas, 0.0)
        self.sites: dict[str, Site] = {}
        self.said: dict[str, Presence] | None = {}
        self.store_answers = True
        self.view = AttackView()
        self.air: Air | None = None
        """Beacons, if there are any; then no store is there unless `has_store`."""
        self.has_store = True

    def add(self, its: Config) -> Site:
        """Start a POP."""
        self.sites[its.pop.name] = Site(its, self)
        return self.sites[its.pop.name]

    def present(self) -> dict[str, Presence] | None:
        """Return what the store has; None while it does not answer."""
        return self.said if self.store_answers else None

    def loads_bps(self) -> dict[str, float]:
        """Return what each POP gets: from each area the nearest of those with the shortest path."""
        loads = dict.fromkeys(self.sites, 0.0)
        lengths = {name: site.length() for name, site in self.sites.items()}
        for area, order in self.areas.items():
            ranked = [(length, order.index(name), name) for name in order if (length := lengths[name]) is not None]
            if ranked:
                loads[min(ranked)[2]] += self.demand_bps[area]
        return loads

    async def run(self, seconds: int, each_s: int = 1) -> None:
        """Let time pass, `each_s` at a time."""
        for _ in range(0, seconds, each_s):
            self.now_s += each_s
            for name, load_bps in self.loads_bps().items():
                self.sites[name].carry(load_bps, self.now_s)
            for site in self.sites.values():
                site.until(self.now_s)
                await site.desk.look()
                if site.world.speaker.queue:
                    site.world.settle()
            if self.has_store:
                self.said = {name: site.presence() for name, site in self.sites.items()}
            if self.air is not None:
                for name, site in self.sites.items():
                    self.air.pops[name].claims = {A: CLAIMS[site.level]}
                self.air.tick(self.now_s)
