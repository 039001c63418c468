"""Several POPs, each with the real control loop, decisions and fleet link, and one reflector between them, by hand.

The reflector passes on what each POP's ExaBGP acknowledged, as the JSON line that ExaBGP prints of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import BgpObserved, Route, SessionState, SessionView, SpeakerState
from anycastd.model.decision import Level, Reason
from anycastd.model.fleet_config import FleetConfig, FleetPop
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Config, LastResort, Neighbor, PrefixTimers, Role
from anycastd.runtime.fleet.link import FleetLink
from tests.unit.runtime.world import UP, Speaker, World
from tests.unit.runtime.world import config as plain

RR = NeighborName("rr1")
NETWORK = ip_network("10.255.255.0/24")
POPS = {name: FleetPop(name=name, number=number, router_id=IPv4Address(f"192.0.2.{number}"))
        for number, name in enumerate(("fra", "sin", "iad"), start=1)}  # fmt: skip


def observer(number: int) -> Neighbor:
    """Return the reflector as a POP sees it."""
    return Neighbor(
        name=RR,
        address=ip_address("192.0.2.250"),
        asn=64500,
        local_address=ip_address(f"192.0.2.{number}"),
        local_asn=64500,
        graceful_restart_s=0,
        role=Role.OBSERVER,
    )


def config(name: str, *, timers: PrefixTimers | None = None, prefixes: Iterable[Prefix] | None = None) -> Config:
    """Return a POP of the fleet; its prefixes stay unless others are confirmed."""
    timers = timers or PrefixTimers(return_after_s=10.0)
    made = plain(timers=timers) if prefixes is None else plain(timers=timers, prefixes=prefixes)
    pop = POPS[name]
    return replace(
        made,
        pop=replace(made.pop, name=name, router_id=pop.router_id or made.pop.router_id),
        neighbors={**made.neighbors, RR: observer(pop.number)},
        prefixes={p: replace(spec, last_resort=LastResort.STAY) for p, spec in made.prefixes.items()},
        fleet=FleetConfig(own=pop, pops=POPS, beacon_networks=(NETWORK,)),
    )


def speaker() -> Speaker:
    """Return an ExaBGP with both sessions up and nothing said."""
    up = SessionView(SessionState.ESTABLISHED)
    return Speaker(BgpObserved(SpeakerState.READY, {UP: {}, RR: {}}, {UP: up, RR: up}))


def line(prefix: Prefix, route: Route | None, *, peer: str = "192.0.2.250", **more: object) -> str:
    """Return what ExaBGP 5.0.15 prints of an UPDATE that a reflector passed on."""
    family = f"ipv{prefix.version} unicast"
    if route is None:
        update: dict[str, object] = {"withdraw": {family: [{"nlri": str(prefix)}]}}
    else:
        large = [[int(part) for part in one.split(":")] for one in route.large_communities]
        attribute = {"origin": "igp", "large-community": large, "cluster-list": [peer], **more}
        update = {"attribute": attribute, "announce": {family: {route.next_hop: [{"nlri": str(prefix)}]}}}
    about = {
        "address": {"local": "192.0.2.1", "peer": peer}, "asn": {"local": 64500, "peer": 64500},
        "direction": "receive", "message": {"update": update},
    }  # fmt: skip
    head = '{ "exabgp": "5.0.0", "time": 1.0, "host" : "vm", "pid" : 7, "ppid" : 1, "counter": 5, "type": "update", '
    return f'{head}"neighbor": {json.dumps(about)} }}'


class Pop:
    """One POP: its world, and the link to the others."""

    def __init__(self, its_config: Config, boot: int) -> None:
        self.world = World(its_config, speaker=speaker())
        self._stirred = False
        self.link = FleetLink(
            its_config,
            lambda: boot,
            clock=lambda: self.world.now_s,
            stir=self._stir,
            wake=self._wake,
        )
        self.link.begin(self.world.control)
        self.link.session(RR, SessionState.ESTABLISHED)
        self.name = its_config.pop.name

    def wait(self, seconds: float) -> None:
        """Let time pass as the daemon does: what falls due is looked at, and what others changed; answers come."""
        world, end_s = self.world, self.world.now_s + seconds
        world.now_s = end_s
        for _ in range(1000):
            due, world.due = world.due, [at_s for at_s in world.due if at_s > end_s]
            if len(due) == len(world.due) and not world.speaker.queue:
                return
            self.link.act()
            if world.speaker.queue:
                touched = frozenset(key[1] for key in world.speaker.observed.in_flight)
                world.speaker.ack()
                world.control.on_observed(end_s, touched)
            elif self._stirred:
                self._stirred = False
                world.control.on_observed(end_s, frozenset())
            else:
                world.control.on_due(end_s)
        raise AssertionError("the loop does not come to rest")

    def serve(self) -> None:
        """Let every check pass; what follows is waited for."""
        for id_ in list(self.world.probes.specs):
            for _ in range(3):
                at_s = self.world.now_s
                self.world.control.on_result(ProbeResult(id_, Why.ANSWERED, at_s - 0.01, at_s), at_s)
        for _ in range(20):
            self.wait(0.1)

    def _stir(self) -> None:
        self._stirred = True
        self._wake(self.world.now_s)

    def _wake(self, at_s: float) -> None:
        if at_s not in self.world.due:
            self.world.due.append(at_s)

    @property
    def beacon(self) -> dict[Prefix, Route]:
        """Return what the observer has of our beacon."""
        return dict((self.world.speaker.observed.routes or {}).get(RR, {}))

    def level(self, prefix: Prefix) -> Level:
        """Return what is done with a prefix."""
        return self.world.control.decisions[prefix].level

    def hold(self, prefix: Prefix) -> Reason | None:
        """Return what keeps a prefix."""
        return self.world.control.decisions[prefix].hold


class FleetOfPops:
    """POPs and the reflector between them; `cut` are those that it does not reach."""

    def __init__(self, *names: str, timers: PrefixTimers | None = None) -> None:
        self.pops = {name: Pop(config(name, timers=timers), 1000 + n) for n, name in enumerate(names)}
        self._passed: dict[str, dict[Prefix, Route]] = {name: {} for name in names}
        self.cut: set[str] = set()
        self.lines = 0

    def __getitem__(self, name: str) -> Pop:
        return self.pops[name]

    def reflect(self) -> None:
        """Pass on what changed, to everybody, its sender too (as FRR does)."""
        for name, pop in self.pops.items():
            have, passed = pop.beacon, self._passed[name]
            if name in self.cut:
                continue
            for prefix in have.keys() | passed.keys():
                if have.get(prefix) == passed.get(prefix):
                    continue
                for other, to in self.pops.items():
                    if other not in self.cut:
                        route = have.get(prefix)
                        to.link.hear(line(prefix, route, **{"originator-id": str(POPS[name].router_id)}))
                        self.lines += 1
            self._passed[name] = have

    def wait(self, seconds: float, step_s: float = 0.05) -> None:
        """Let time pass for all of them, a little at a time."""
        for _ in range(round(seconds / step_s)):
            for pop in self.pops.values():
                pop.wait(step_s)
            self.reflect()

    def answer(self, name: str, match: str, why: Why = Why.ANSWERED, times: int = 3) -> None:
        """Give results to checks of one POP, within no time for the others."""
        world = self.pops[name].world
        for _ in range(times):
            for id_ in list(world.probes.specs):
                if match in id_:
                    world.control.on_result(ProbeResult(id_, why, world.now_s - 0.01, world.now_s), world.now_s)
        world.settle()

    def serve(self) -> None:
        """Make every POP announce everything normally."""
        for name in self.pops:
            self.answer(name, "")
        self.wait(1.0)
