"""One POP of an incident: its file, its daemon, and the world around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from anycastd.config.load import load
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Route, SessionState
from anycastd.model.checks import ProbeSpec
from anycastd.model.eip import Binding, Eip, EipId, Target
from anycastd.model.operator import DrainScope
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import Config
from anycastd.reconcile.bgp import Key
from anycastd.resources.orders import DrainCommand, Lasting, PlannedOrder, plan_order
from anycastd.runtime.alarms import Alarms, Reported
from anycastd.runtime.control import Control
from anycastd.runtime.fleet.link import FleetLink
from anycastd.runtime.followed.drain_progress import no_room
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.kept.memory_file import Clocks, decode, encode
from anycastd.runtime.loop.schedule import Soon, Wake
from anycastd.runtime.loop.touched import Touched
from anycastd.runtime.reloading.reload import judged
from anycastd.runtime.state import Circumstances, build
from tests.simulation.equipment import Probes, SimulatedKernel, Speaker
from tests.simulation.router import Router
from tests.unit.runtime.fleet_world import line
from tests.unit.runtime.world import Nft, Notes, eip_of

TICK_S = 10.0
LATENCY_S = 0.01
REGIONS = ("eu", "us")
OBSERVERS = {"rr-1": "192.0.2.250", "rr-2": "192.0.2.251"}


def file_of(name: str, number: int, prefixes: Any, more: dict[str, Any]) -> dict[str, Any]:
    """Return a POP's file as its operator would write it."""
    local = {"local_address": "192.0.2.2"}
    return {
        "pop": {"name": name, "asn": 64500, "router_id": f"10.0.0.{number}"},
        "neighbors": {
            "transit-a": {"address": "192.0.2.1", "asn": 64496, **local},
            "transit-b": {"address": "192.0.2.5", "asn": 64497, **local},
            **more.get("neighbors", {}),
            **(_observers() if more.get("fleet") else {}),
        },
        "checks": {
            "path": {"icmp": {"interval": "10s", "timeout": "300ms", "fast_interval": "500ms"}},
            "web": {"http": {"interval": "10s", "timeout": "500ms", "fast_interval": "1s"}},
        },
        "regions": {
            region: {
                "tunnels": {
                    key: {
                        "device": f"{region}-{key}",
                        "local": f"10.{place}.{index}.1",
                        "far_end": f"10.{place}.{index}.2",
                        "checks": ["path"],
                    }
                    for index, key in enumerate("ab", start=1)
                },
                "backends": {"web-1": {"address": f"10.{place}.0.11", "checks": ["web"]}},
            }
            for place, region in enumerate(REGIONS, start=1)
        },
        "prefixes": prefixes,
        **_fleet_of(name, number, more.get("fleet")),
        "safety": _safety_of(name, more.get("safety", {})),
        **({"attack": more["attack"]} if "attack" in more else {}),
    }


def _observers() -> dict[str, Any]:
    """Return the two reflectors that carry beacons between the POPs."""
    about = {"asn": 64500, "local_address": "192.0.2.2", "role": "observer", "graceful_restart": 0}
    return {name: {"address": address, **about} for name, address in OBSERVERS.items()}


def _fleet_of(name: str, number: int, pops: list[str] | None) -> dict[str, Any]:
    """Return the section that names the fleet, if there is one."""
    if not pops:
        return {}
    assert pops[number - 1] == name
    members = {one: {"number": place, "router_id": f"10.0.0.{place}"} for place, one in enumerate(pops, start=1)}
    return {"fleet": {"pops": members, "beacon_network4": "10.255.255.0/24"}}


def _safety_of(name: str, safety: dict[str, Any]) -> dict[str, Any]:
    """Return the section without the POP itself, which is no other POP."""
    pops = {other: one for other, one in safety.get("capacity", {}).get("pops", {}).items() if other != name}
    return {"capacity": {"pops": pops}} if pops else {}


class Site:
    """A POP. `looked` is called after each UPDATE that leaves it."""

    def __init__(
        self,
        name: str,
        number: int,
        directory: Path,
        loop: asyncio.AbstractEventLoop,
        rng: Random,
        looked: Callable[[], None],
        reflect: Callable[[Site, str, Prefix, Route | None], None],
    ) -> None:
        self._reflect = reflect
        self.name, self._number, self._loop, self._rng, self._looked = name, number, loop, rng, looked
        self.path = directory / f"{name}.yaml"
        self.errors: list[str] = []
        self._down: set[str] = set()
        self._saved = ""
        self._touched, self.kernel, self.nft = Touched(), SimulatedKernel(), Nft()
        self.control: Control | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._soon, self._wake = Soon(loop, self._follow), Wake(loop, self._fell_due)
        names = (NeighborName("transit-a"), NeighborName("transit-b"))
        routers: dict[NeighborName, Router] = {one: Told(looked) for one in names}
        for observer in OBSERVERS:
            routers[NeighborName(observer)] = Observer(partial(self._to_observer, observer))
        self.link: FleetLink | None = None
        self.hears = set(OBSERVERS)
        self._boot = 0
        self.speaker = Speaker(loop, rng, routers)
        self.speaker.changed, self.speaker.refused = self._changed, self._refused
        self.refused: tuple[str, ...] = ()

    # its file

    def write(self, prefixes: Any, more: dict[str, Any]) -> None:
        """Write the POP's file; `more` has other sections of it."""
        text = json.dumps(file_of(self.name, self._number, prefixes, more))
        self.path.write_text(text, encoding="utf-8")

    def reload(self) -> tuple[str, ...]:
        """Read the file again as the daemon does; return why it is refused."""
        assert self.control is not None
        new, outcome = judged(str(self.path), self.control.config, None)
        self.refused = outcome.problems
        if new is not None:
            self.control.configure(self._with_eips(new), self._loop.time())
        return outcome.problems

    def _with_eips(self, config: Config) -> Config:
        """Return the configuration with an EIP in each prefix, bound to every backend."""
        binding = Binding(targets=tuple(Target(backend=id_) for id_ in sorted(config.backends)))
        eips = {
            eip_of(prefix): Eip(id=EipId(f"eip-{number:08x}"), address=eip_of(prefix), binding=binding)
            for number, prefix in enumerate(config.prefixes)
        }
        return replace(config, eips=eips)

    # its daemon

    def start(self) -> None:
        """Start the daemon with what was saved."""
        config, now_s = self._with_eips(load(str(self.path))), self._loop.time()
        clocks = Clocks("boot", now_s, now_s)
        self.probes = Probes(self._loop, self._rng, self._probe)
        self.control = Control(
            config,
            decode(self._saved, clocks) if self._saved else {},
            probes=self.probes,
            bgp=self.speaker,
            kernel=self.kernel,
            nft=self.nft,
            record=Notes(),
            wake=self._wake.at,
            now_s=now_s,
        )
        for eip in config.eips.values():
            self.control.forwarder.steering.put(eip, now_s)
        self._begin_link(config)
        self.control.step(now_s)
        self._ticking = self._loop.create_task(self._tick())

    def _begin_link(self, config: Config) -> None:
        """Take part in the fleet, if there is one."""
        assert self.control is not None
        self._boot += 1
        if config.fleet is None:
            return
        link = FleetLink(
            config,
            lambda: self._boot,
            clock=self._loop.time,
            stir=lambda: self._changed(frozenset()),
            wake=lambda at_s: wake.at(at_s),
        )
        wake = Wake(self._loop, lambda: link.act() if self.link is link else None)
        self.link = link
        link.begin(self.control)
        for observer in sorted(self.hears):
            link.session(NeighborName(observer), SessionState.ESTABLISHED)

    def _to_observer(self, observer: str, prefix: Prefix, route: Route | None) -> None:
        if observer in self.hears:
            self._reflect(self, observer, prefix, route)

    def beacons(self, observer: str) -> dict[Prefix, Route]:
        """Return what an observer has from here."""
        return self.speaker.routers[NeighborName(observer)].has()

    def hear(self, observer: str, prefix: Prefix, route: Route | None, originator: str) -> None:
        """Hear from an observer what another POP told it."""
        if self.link is not None and observer in self.hears:
            self.link.hear(line(prefix, route, peer=OBSERVERS[observer], **{"originator-id": originator}))

    def cut_observer(self, observer: str) -> None:
        """Lose the session with an observer; both sides know it."""
        self.hears.discard(observer)
        if self.link is not None:
            self.link.session(NeighborName(observer), SessionState.DOWN)

    def kill(self) -> None:
        """Kill the daemon; ExaBGP and the kernel go on."""
        assert self.control is not None
        assert self._ticking is not None
        now_s = self._loop.time()
        self._saved = encode(self.control.memories, Clocks("boot", now_s, now_s))
        self._ticking.cancel()
        self.probes.close()
        self.control = self.link = None

    def kill_exabgp(self) -> None:
        """Kill ExaBGP, which is back after some seconds."""
        self.speaker.restart(3.0)

    def lose_state(self) -> None:
        """Lose what the daemon had saved."""
        self._saved = ""

    def drain(self, carries_bps: int) -> tuple[str, ...]:
        """Order a drain of the POP while it carries so much; return why it is refused."""
        assert self.control is not None
        now_s, control = self._loop.time(), self.control
        command = DrainCommand(scope=DrainScope.POP, lasting=Lasting(owner="ann", reason="work"))
        planned = plan_order(command, control.orders, control.config, now_s, "drain-1", float(carries_bps))
        assert isinstance(planned, PlannedOrder)
        assert planned.order is not None
        if (refused := no_room(control.config, planned.order, float(carries_bps), {})) is not None:
            return tuple(one.message for one in refused.refusals)
        control.take(planned.after, now_s)
        control.step(now_s)
        return ()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self.control is not None:
                self.control.step(self._loop.time())

    def _probe(self, spec: ProbeSpec) -> None:
        if self.control is None:
            return
        down = {str(spec.tunnel), "tunnels"} if spec.backend is None else {str(spec.tunnel), "tunnels", "backends"}
        why = Why.TIMEOUT if down & self._down else Why.ANSWERED
        now_s = self._loop.time()
        self.control.on_result(ProbeResult(spec.id, why, now_s - LATENCY_S, now_s), now_s)

    def _changed(self, prefixes: frozenset[Prefix] | None) -> None:
        self._touched.add(prefixes)
        if hasattr(self, "_soon"):
            self._soon.ask()

    def _follow(self) -> None:
        if self.control is not None:
            self.control.on_observed(self._loop.time(), self._touched.take())

    def _fell_due(self) -> None:
        if self.control is not None:
            self.control.on_due(self._loop.time())

    def _refused(self, key: Key) -> None:
        if self.control is not None:
            self.control.announcer.refused(key, self._loop.time())

    # what happens to it

    def cut(self, what: str) -> None:
        """Break `tunnels`, `backends`, or one tunnel by its name; nothing of it answers."""
        self._down.add(what)

    def mend(self, what: str) -> None:
        """Undo a cut."""
        self._down.remove(what)

    # what is seen of it

    def announced(self) -> set[Prefix]:
        """Return the prefixes that at least one upstream has from here."""
        upstreams = (router for name, router in self.speaker.routers.items() if name not in OBSERVERS)
        return {prefix for router in upstreams for prefix in router.has()}

    def level(self, prefix: Prefix) -> str:
        """Return at what level it is."""
        assert self.control is not None
        return self.control.levels[prefix].name

    def levels(self) -> list[str]:
        """Return the level of every prefix."""
        assert self.control is not None
        return [level.name for level in self.control.levels.values()]

    def hold(self, prefix: Prefix) -> str | None:
        """Return what holds a change of it back."""
        assert self.control is not None
        hold = self.control.decisions[prefix].hold
        return None if hold is None else hold.value

    def breaker_is_tripped(self) -> bool:
        """Return whether the circuit breaker keeps prefixes on the air."""
        assert self.control is not None
        return self.control.breaker.view(self.control.config, self._loop.time()).tripped_s is not None

    def alarms(self) -> set[str]:
        """Return the alarms that stand for longer than a moment."""
        assert self.control is not None
        alarms, about = Alarms(), Circumstances("0", 0.0, 0.0)
        for later_s in (0.0, 10.0):
            now_s = self._loop.time() + later_s
            status = build(self.control, about, Followed(lambda timer: None), alarms, Reported(), now_s, 0.0)
        return {view.alarm.value for view in status.alarms}

    def carries_every_eip(self) -> bool:
        """Return whether packets of every EIP are given a path."""
        assert self.control is not None
        return all(self.nft.marks_of(eip_of(prefix)) for prefix in self.control.config.prefixes)

    def state(self) -> list[str]:
        """Return what is to be known of it, in lines."""
        if self.control is None:
            return [f"{self.name}: no daemon, announces {sorted(map(str, self.announced()))}"]
        lines = [f"{self.name}: announces {sorted(map(str, self.announced()))}, alarms {sorted(self.alarms())}"]
        for prefix, decision in self.control.decisions.items():
            hold = "" if decision.hold is None else f" held by {decision.hold.value}"
            lines.append(f"  {prefix} {decision.level.name} {decision.reason.value}{hold}")
        return lines


class Observer(Router):
    """A reflector as this POP sees it: it passes on what it is told, and damps nothing."""

    def __init__(self, told: Callable[[Prefix, Route | None], None]) -> None:
        super().__init__()
        self._told = told

    def update(self, now_s: float, prefix: Prefix, route: Route | None) -> None:
        """Pass on what is new."""
        before = self.has().get(prefix)
        self.exempt.add(prefix)
        super().update(now_s, prefix, route)
        if route != before:
            self._told(prefix, route)


class Told(Router):
    """An upstream that says when it was told something."""

    def __init__(self, looked: Callable[[], None]) -> None:
        super().__init__()
        self._looked = looked

    def update(self, now_s: float, prefix: Prefix, route: Any) -> None:
        super().update(now_s, prefix, route)
        self._looked()

    def end_of_rib(self) -> None:
        super().end_of_rib()
        self._looked()
