"""A POP that lives through hours of random faults, each followed by an hour in which nothing changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random

from anycastd.model.address import BackendId, CheckId, NeighborName, Prefix, RegionName
from anycastd.model.bgp import Route
from anycastd.model.checks import ProbeSpec, Timing
from anycastd.model.decision import Level, Memory
from anycastd.model.eip import Binding, Eip, EipId, Target
from anycastd.model.kernel import KernelObserved
from anycastd.model.nft import NftSet
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.status import Alarm
from anycastd.model.topology import Backend, Condition, Config, LastResort, Need, PrefixSpec, Scope
from anycastd.reconcile.bgp import Key
from anycastd.runtime.alarms import Alarms, Reported
from anycastd.runtime.control import Control
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.kept.memory_file import Clocks, decode, encode
from anycastd.runtime.loop.schedule import Soon, Wake
from anycastd.runtime.loop.touched import Touched
from anycastd.runtime.state import Circumstances, build
from tests.simulation.equipment import Probes, SimulatedKernel, Speaker
from tests.simulation.oracle import EVERYTHING, REGIONS, TUNNELS, A, B, C, D, Truth, path_length, ways
from tests.simulation.router import Router
from tests.unit.runtime.world import UP, Nft, Notes, eip_of
from tests.unit.runtime.world import config as small_config

OTHER = NeighborName("transit-b")
STRAY = ip_network("192.88.99.0/24")
HOUR_S = 3600.0
TICK_S = 10.0
LATENCY_S = 0.01


def topology(*, with_d: bool) -> Config:
    """Return the POP: two regions with two tunnels and two backends each, two neighbors, default timers."""
    base = small_config(prefixes=(A,))
    timing = Timing(interval_s=10.0, timeout_s=1.0, rise=2, fall=3, fast_interval_s=1.0)
    probes, backends = [], dict(base.backends)
    for probe in base.probes:
        probe = replace(probe, check=replace(probe.check, timing=timing))
        probes.append(probe)
        if probe.backend is not None:
            twin = Backend(
                id=BackendId(probe.backend.replace("web-1", "web-2")),
                region=RegionName(str(probe.region)),
                address=ip_address(int(probe.target) + 1),
            )
            backends[twin.id] = twin
            id_ = CheckId(probe.id.replace("web-1", "web-2"))
            probes.append(replace(probe, id=id_, target=twin.address, backend=twin.id))
    regions = {
        name: replace(region, backends=tuple(b.id for b in backends.values() if b.region == name))
        for name, region in base.regions.items()
    }
    near = base.neighbors[UP]
    other = replace(near, name=OTHER, address=ip_address("192.0.2.5"), asn=64497)
    neighbors = (UP, OTHER)
    specs = [
        PrefixSpec(prefix=A, last_resort=LastResort.WITHDRAW, neighbors=neighbors),
        PrefixSpec(
            prefix=B,
            announce_when=Condition(scope=Scope.BACKENDS, need=Need(percent=50), regions=(RegionName("eu"),)),
            neighbors=neighbors,
        ),
        PrefixSpec(prefix=C, announce_when=Condition(scope=Scope.TUNNELS, need=Need(count=3)), neighbors=neighbors),
    ]
    if with_d:
        both = Condition(need=Need(all=True))
        specs.append(PrefixSpec(prefix=D, announce_when=both, last_resort=LastResort.WITHDRAW, neighbors=(OTHER,)))
    targets = tuple(Target(backend=id_) for id_ in sorted(backends))
    eips = {
        eip_of(spec.prefix): Eip(
            id=EipId(f"eip-{number:08x}"), address=eip_of(spec.prefix), binding=Binding(targets=targets)
        )
        for number, spec in enumerate(specs)
    }
    return replace(
        base,
        eips=eips,
        neighbors={UP: near, OTHER: other},
        regions=regions,
        backends=backends,
        probes=tuple(probes),
        prefixes={spec.prefix: spec for spec in specs},
    )


class Day:
    """One run; everything random comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.loop, self.rng = asyncio.get_running_loop(), Random(seed)
        self.truth = Truth()
        self.routers = {name: Router(exempt={STRAY}) for name in (UP, OTHER)}
        self.speaker = Speaker(self.loop, self.rng, self.routers)
        self.kernel, self.nft = SimulatedKernel(), Nft()
        self.config = topology(with_d=False)
        self.boot, self.boot_s = 0, self.loop.time()
        self.saved = ""
        self.notes: list[str] = []
        self.errors: list[str] = []
        self.loop.set_exception_handler(lambda _loop, context: self.errors.append(repr(context)))
        self.counts: dict[str, int] = {}
        self.touched = Touched()
        self.control: Control | None = None
        self.found_by: Control | None = None
        self.speaker.changed, self.speaker.refused = self._changed, self._refused
        self.soon, self.wake = Soon(self.loop, self._follow), Wake(self.loop, self._fell_due)
        self.start()

    def now_s(self) -> float:
        """Return the daemon's clock, which begins with the boot."""
        return self.loop.time() - self.boot_s

    def clocks(self) -> Clocks:
        return Clocks(str(self.boot), self.now_s(), self.loop.time())

    def start(self) -> None:
        """Start the daemon with what was saved."""
        if self.control is not None:
            return
        memories: dict[Prefix, Memory] = decode(self.saved, self.clocks()) if self.saved else {}
        self.began_with = dict(memories)
        self.probes = Probes(self.loop, self.rng, self._probe)
        self.touched = Touched()
        self.control = Control(
            self.config,
            memories,
            probes=self.probes,
            bgp=self.speaker,
            kernel=self.kernel,
            nft=self.nft,
            record=Notes(),
            wake=lambda at_s: self.wake.at(at_s + self.boot_s),
            now_s=self.now_s(),
        )
        self._take_eips(self.control)
        self.control.step(self.now_s())
        self._look()

    def _take_eips(self, control: Control) -> None:
        """Give the EIPs of the file to the data plane, as the desk does."""
        for eip in self.config.eips.values():
            control.forwarder.steering.put(eip, self.now_s())

    def _look(self) -> None:
        """Note what a daemon that has just begun found absent."""
        if self.control is not None and self.control.adopted and self.found_by is not self.control:
            self.found_by = self.control
            held = {prefix for have in self.speaker.rib.values() for prefix in have}
            known = {p for p, m in self.began_with.items() if m.was_lost or m.level is not Level.WITHDRAWN}
            self.speaker.never_sent = {*self.config.prefixes} - held - known

    def save(self) -> None:
        """Save, as is done each second."""
        if self.control is not None:
            self.saved = encode(self.control.memories, self.clocks())

    def kill(self) -> None:
        """Kill the daemon."""
        if self.control is not None:
            self.probes.close()
            self.control = None

    def _probe(self, spec: ProbeSpec) -> None:
        region, tunnel = str(spec.tunnel).split("/")
        if spec.backend is None:
            good = self.truth.tunnel_up(region, tunnel)
        else:
            good = self.truth.answers(region, spec.backend.partition("/")[2], tunnel)
        if self.control is not None:
            why = Why.ANSWERED if good else Why.TIMEOUT
            now_s = self.now_s()
            self.control.on_result(ProbeResult(spec.id, why, now_s - LATENCY_S, now_s), now_s)

    def _changed(self, prefixes: frozenset[Prefix] | None) -> None:
        self.touched.add(prefixes)
        if hasattr(self, "soon"):
            self.soon.ask()

    def _follow(self) -> None:
        if self.control is not None:
            self.control.on_observed(self.now_s(), self.touched.take())
            self._look()

    def _fell_due(self) -> None:
        if self.control is not None:
            self.control.on_due(self.now_s())

    def _refused(self, key: Key) -> None:
        if self.control is not None:
            self.control.announcer.refused(key, self.now_s())

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self.control is not None:
                self.control.step(self.now_s())
                self._look()

    # what may happen

    def flip(self) -> None:
        """Break or heal one thing."""
        what = self.rng.choice(EVERYTHING)
        self.truth.down ^= {what}
        self._links()

    def _links(self) -> None:
        for region in REGIONS:
            for tunnel in TUNNELS:
                self.kernel.link(f"{region}-{tunnel}", self.truth.tunnel_up(region, tunnel))

    def flap(self) -> None:
        """Break all there is for a moment."""
        down, self.truth.down = set(self.truth.down), set(EVERYTHING)
        self._links()
        self.loop.call_later(self.rng.choice((0.5, 4.0, 8.0, 40.0)), self._back_to, down)

    def _back_to(self, down: set[str]) -> None:
        self.truth.down = down
        self._links()

    def heal(self) -> None:
        """Heal everything."""
        self.truth.down = set()
        self._links()

    def exabgp(self) -> None:
        """ExaBGP ends and comes back."""
        self.speaker.restart(self.rng.uniform(0.5, 20.0))

    def restart(self) -> None:
        """Kill the daemon up to a second after it saved; it is started again a while later."""
        self.save()
        self.loop.call_later(self.rng.random(), self.kill)
        self.loop.call_later(1.0 + self.rng.uniform(0.0, 60.0), self.start)

    def reboot(self) -> None:
        """The machine goes down with all that runs on it."""
        self.save()
        self.kill()
        away_s = self.rng.uniform(10.0, 50.0)
        self.speaker.restart(away_s + 2.0)
        self.kernel.observed = KernelObserved(routes=frozenset())
        for elements in self.nft.elements.values():
            elements.clear()
        self.loop.call_later(away_s, self._booted)

    def _booted(self) -> None:
        if self.control is None:
            self.boot, self.boot_s = self.boot + 1, self.loop.time() - 5.0
            self.start()

    def reload(self) -> None:
        """Take prefix D in, or out."""
        if self.control is None:
            return
        gone = D in self.config.prefixes
        for router in self.routers.values():
            if gone:
                router.exempt.add(D)
            else:
                router.begin_anew(D)
        self.config = topology(with_d=not gone)
        self.control.configure(self.config, self.now_s())
        if gone:
            self.control.forwarder.steering.drop(eip_of(D), self.now_s())
        self._take_eips(self.control)
        self.control.step(self.now_s())

    def kernel_refuses(self) -> None:
        self.kernel.refuses = not self.kernel.refuses

    def filter_refuses(self) -> None:
        self.nft.refuses = not self.nft.refuses

    def filter_flushed(self) -> None:
        """Another program flushes the ruleset; the rules come back by themselves, the elements do not."""
        for elements in self.nft.elements.values():
            elements.clear()
        self.nft.resync += 1
        self.soon.ask()

    def lossy(self) -> None:
        self.speaker.lossy = not self.speaker.lossy

    def stray(self) -> None:
        self.speaker.stray(STRAY)

    async def faults(self, for_s: float) -> None:
        """Let things happen."""
        kinds: list[tuple[Callable[[], None], int]] = [
            (self.flip, 40),
            (self.flap, 8),
            (self.heal, 8),
            (self.exabgp, 3),
            (self.restart, 4),
            (self.reboot, 1),
            (self.reload, 2),
            (self.kernel_refuses, 3),
            (self.filter_refuses, 3),
            (self.filter_flushed, 2),
            (self.lossy, 4),
            (self.stray, 1),
        ]
        acts, weights = [kind for kind, _ in kinds], [weight for _, weight in kinds]
        end_s = self.loop.time() + for_s
        while self.loop.time() < end_s:
            await asyncio.sleep(self.rng.expovariate(1 / 40.0))
            act = self.rng.choices(acts, weights)[0]
            self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
            self.notes.append(f"{self.loop.time():.3f} {act.__name__}")
            act()

    async def quiet(self) -> None:
        """Let an hour pass in which nothing changes, and compare with what must be so."""
        await asyncio.sleep(100.0)
        share = self.rng.choice((0.0, 0.0, 0.1, 0.3, 0.6))
        self.truth.down = {what for what in EVERYTHING if self.rng.random() < share}
        self._links()
        self.kernel.refuses = self.nft.refuses = self.speaker.lossy = False
        self.start()
        await asyncio.sleep(HOUR_S)
        self.check()
        self.notes += [str(self.truth.down and sorted(self.truth.down)), str(self.levels())]

    def levels(self) -> dict[str, int]:
        assert self.control is not None
        return {str(prefix): int(level) for prefix, level in self.control.levels.items()}

    def check(self) -> None:
        """Compare the world with the oracle."""
        where = f"at {self.loop.time():.0f} s, down: {sorted(self.truth.down)}, last: {self.notes[-12:]}"
        assert self.errors == [], where
        for name, router in self.routers.items():
            carried = [p for p, spec in self.config.prefixes.items() if name in spec.neighbors]
            lengths = {p: length for p in carried if (length := self._path_length(p)) is not None}
            wanted = {p: Route(p, "192.0.2.2", (64500,) * length) for p, length in lengths.items()}
            assert self.speaker.rib[name] == wanted, where
            assert router.has() == wanted, where
            assert router.suppressed == []
        self._check_kernel(where)
        self._check_status(where)

    def _path_length(self, prefix: Prefix) -> int | None:
        """Return what the oracle says; what cannot be served since a start with an empty ExaBGP is not announced."""
        length = path_length(self.truth, prefix)
        return None if prefix in self.speaker.never_sent and length != 1 else length

    def _check_kernel(self, where: str) -> None:
        routes = self.kernel.observed.routes or frozenset()
        wanted = ways(self.truth)
        for prefix in self.config.prefixes:
            marks = self.nft.marks_of(eip_of(prefix))
            assert marks, f"{prefix} {where}: an EIP that fails open is never dropped"
            taken = {(self.kernel.device_of(mark), str(self.nft.elements[NftSet.NAT4][mark])) for mark in marks}
            assert wanted is None or taken == wanted, f"{prefix} {where}: {taken} for {wanted}"
            assert sum(r.prefix == prefix and r.device is None for r in routes) == 1, f"{prefix} {where}"
        ours = {*self.config.prefixes, ip_network("0.0.0.0/0")}
        assert {route.prefix for route in routes} == ours, where
        alive = sum(self.truth.tunnel_up(region, tunnel) for region in REGIONS for tunnel in TUNNELS)
        # twice, for a region's table and for a tunnel's own; with their blackholes. A tunnel may stand twice in a
        # table: in the place of one whose device takes no routes.
        there = {(route.table, route.device) for route in routes if route.table != 254}
        assert len(there) == 2 * alive + 4 + 2, where
        assert len(self.kernel.observed.rules) == 4 + 2, where

    def _check_status(self, where: str) -> None:
        assert self.control is not None
        assert self.speaker.observed.eor_owed == frozenset(), where
        assert self.speaker.observed.in_flight == frozenset(), where
        alarms = Alarms()
        for now_s in (self.now_s(), self.now_s() + 10.0):
            about = Circumstances("0", 0.0, 0.0)
            followed = Followed(lambda timer: None)
            status = build(self.control, about, followed, alarms, Reported(), now_s, 0.0)
        allowed = {Alarm.EIP_FAIL_OPEN} if ways(self.truth) is None else set()
        assert {view.alarm for view in status.alarms} == allowed, where
        assert status.filter_missing == 0, where
        assert status.unwanted == (), where
        assert status.kernel_missing == 0, where

    async def live(self, hours: float) -> Day:
        """Live so many hours."""
        ticking = self.loop.create_task(self.tick())
        end_s = self.loop.time() + hours * HOUR_S
        while self.loop.time() < end_s:
            await self.faults(self.rng.uniform(0.2, 1.2) * HOUR_S)
            await self.quiet()
            if ticking.done():
                ticking.result()  # it never ends but by what it raises
        ticking.cancel()
        return self
