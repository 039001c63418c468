"""A world for the control loop: devices with a will of their own, driven by hand with an explicit clock.

They stand for ExaBGP and the kernel only in tests of the loop itself; that the real ones behave so is shown in
tests/lab.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

from anycastd.model.address import (
    Address,
    BackendId,
    CheckId,
    Family,
    NeighborName,
    Prefix,
    RegionName,
    TunnelId,
    family_of,
)
from anycastd.model.bgp import (
    Announce,
    BgpAction,
    BgpObserved,
    EndOfRib,
    Route,
    SessionState,
    SessionView,
    SpeakerState,
    Withdraw,
)
from anycastd.model.checks import CheckKind, CheckSpec, HttpOptions, IcmpOptions, ProbeSpec, Timing
from anycastd.model.decision import Decision, Memory, TunnelOrder
from anycastd.model.eip import Binding, Eip, EipId, FlushConnections, Source, Target
from anycastd.model.kernel import (
    DeleteRoute,
    DeleteRule,
    KernelAction,
    KernelObserved,
    KernelRoute,
    KernelRule,
    MarkRule,
    PutRoute,
    PutRule,
)
from anycastd.model.nft import Key, NftChange, NftObserved, NftSet, PutElement, Value
from anycastd.model.operator import Interventions
from anycastd.model.probe import ProbeResult, Why
from anycastd.model.topology import (
    Backend,
    Config,
    LastResort,
    Neighbor,
    Pop,
    PrefixSpec,
    PrefixTimers,
    Region,
    Tunnel,
)
from anycastd.policy.snapshot import Snapshot
from anycastd.reconcile.eip_pool import Moved
from anycastd.runtime.control import Control
from anycastd.runtime.loop.beliefs import Verdict

A = ip_network("203.0.113.0/24")
B = ip_network("198.51.100.0/24")
UP = NeighborName("transit-a")


def config(*, timers: PrefixTimers | None = None, prefixes: Iterable[Prefix] = (A, B)) -> Config:
    """Return a POP with two regions, two tunnels each, one backend each; A may be withdrawn, the others stay."""
    timing = Timing(interval_s=1.0, timeout_s=1.0, rise=2, fall=3)
    path = CheckSpec(name="path", kind=CheckKind.ICMP, options=IcmpOptions(), timing=timing)
    web = CheckSpec(name="web", kind=CheckKind.HTTP, options=HttpOptions(), timing=timing)
    regions, tunnels, backends, probes = {}, {}, {}, []
    for number, name in enumerate(("eu", "us"), start=1):
        region = RegionName(name)
        ids = tuple(TunnelId(f"{name}/{letter}") for letter in "ab")
        backend = BackendId(f"{name}/web-1")
        for index, id_ in enumerate(ids, start=1):
            net = f"10.{number}.{index}"
            tunnels[id_] = Tunnel(
                id=id_,
                region=region,
                device=f"{name}-{'ab'[index - 1]}",
                local_ipv4=IPv4Address(f"{net}.1"),
                far_end_ipv4=IPv4Address(f"{net}.2"),
                priority=index,
                table=1300 + 10 * number + index,
            )
            probes.append(
                ProbeSpec(
                    id=CheckId(f"tunnel/{id_}/path"),
                    check=path,
                    target=ip_address(f"{net}.2"),
                    source=ip_address(f"{net}.1"),
                    region=region,
                    tunnel=id_,
                )
            )
            probes.append(
                ProbeSpec(
                    id=CheckId(f"backend/{backend}/web@{'ab'[index - 1]}"),
                    check=web,
                    target=ip_address(f"10.{number}.0.11"),
                    source=ip_address(f"{net}.1"),
                    region=region,
                    tunnel=id_,
                    backend=backend,
                )
            )
        backends[backend] = Backend(id=backend, region=region, address=ip_address(f"10.{number}.0.11"))
        regions[region] = Region(name=region, tunnels=ids, backends=(backend,), priority=number, number=number)
    neighbor = Neighbor(
        name=UP,
        address=ip_address("192.0.2.1"),
        asn=64496,
        local_address=ip_address("192.0.2.2"),
        local_asn=64500,
    )
    specs = {
        prefix: PrefixSpec(
            prefix=prefix,
            last_resort=LastResort.WITHDRAW if prefix == A else LastResort.STAY,
            timers=timers or PrefixTimers(),
            neighbors=(UP,),
        )
        for prefix in prefixes
    }
    targets = tuple(Target(backend=BackendId(f"{name}/web-1")) for name in ("eu", "us"))
    eips = {
        eip_of(prefix): Eip(
            id=EipId(f"eip-{number:08x}"),
            address=eip_of(prefix),
            binding=Binding(targets=targets),
            source=Source.FILE,
        )
        for number, prefix in enumerate(specs)
    }
    pop = Pop(name="fra", asn=64500, router_id=IPv4Address("192.0.2.2"))
    return Config(
        pop=pop,
        neighbors={UP: neighbor},
        regions=regions,
        tunnels=tunnels,
        backends=backends,
        probes=tuple(probes),
        prefixes=specs,
        eips=eips,
    )


def eip_of(prefix: Prefix) -> Address:
    """Return the address of the EIP that a prefix has."""
    return prefix[10]


@dataclass
class Speaker:
    """ExaBGP: acknowledges what it was given when `ack()` is called; loses or refuses it when told so."""

    observed: BgpObserved = field(
        default_factory=lambda: BgpObserved(
            speaker=SpeakerState.READY,
            routes={UP: {}},
            sessions={UP: SessionView(SessionState.ESTABLISHED)},
            eor_owed=frozenset({(UP, Family.IPV4_UNICAST)}),
        )
    )
    queue: list[BgpAction] = field(default_factory=list)
    said: list[BgpAction] = field(default_factory=list)

    def apply(self, actions: Sequence[BgpAction], /) -> None:
        self.queue += actions
        self.said += actions
        keys = {_key(action) for action in actions if isinstance(action, Announce | Withdraw)}
        self.observed = replace(self.observed, in_flight=self.observed.in_flight | keys)

    def ack(self) -> None:
        """Acknowledge everything that was said."""
        routes = {name: dict(have) for name, have in (self.observed.routes or {}).items()}
        owed = set(self.observed.eor_owed)
        for action in self.queue:
            if isinstance(action, Announce):
                routes.setdefault(action.neighbor, {})[action.route.prefix] = action.route
            elif isinstance(action, Withdraw):
                routes.get(action.neighbor, {}).pop(action.prefix, None)
            elif isinstance(action, EndOfRib):
                owed.discard((action.neighbor, action.family))
        self.queue.clear()
        self.observed = replace(self.observed, routes=routes, in_flight=frozenset(), eor_owed=frozenset(owed))

    def lose(self) -> None:
        """Forget what was said, as a bridge that died does."""
        self.queue.clear()
        self.observed = replace(self.observed, in_flight=frozenset())

    def holds(self, prefix: Prefix) -> Route | None:
        """Return what the neighbor is sent for a prefix."""
        return (self.observed.routes or {}).get(UP, {}).get(prefix)


def _key(action: Announce | Withdraw) -> tuple[NeighborName, Prefix]:
    return (action.neighbor, action.route.prefix if isinstance(action, Announce) else action.prefix)


@dataclass
class Kernel:
    """The kernel: does what it is told at once, unless `refuses`."""

    observed: KernelObserved = field(default_factory=lambda: KernelObserved(routes=frozenset()))
    refuses: bool = False
    done: list[KernelAction] = field(default_factory=list)

    def apply(self, actions: Sequence[KernelAction], /) -> None:
        if self.refuses or not actions:
            return
        routes: set[KernelRoute] = set(self.observed.routes or ())
        rules: set[KernelRule] = set(self.observed.rules)
        for action in actions:
            self.done.append(action)
            if isinstance(action, PutRoute):
                routes = {route for route in routes if route.key != action.route.key} | {action.route}
            elif isinstance(action, DeleteRoute):
                routes.discard(action.route)
            elif isinstance(action, PutRule):
                rules.add(action.rule)
            else:
                assert isinstance(action, DeleteRule)
                rules.discard(action.rule)
        self.observed = replace(self.observed, routes=frozenset(routes), rules=frozenset(rules))

    def device_of(self, mark: int, version: int = 4) -> str | None:
        """Return the device by which a packet with a mark leaves: its rule's table, the lowest metric."""
        rules = [r for r in self.observed.rules if isinstance(r, MarkRule) and r.version == version]
        tables = [rule.table for rule in rules if mark & rule.mask == rule.mark]
        assert len(tables) <= 1
        routes = [r for r in self.observed.routes or () if r.table in tables and r.prefix.version == version]
        best = min(routes, key=lambda route: route.metric, default=None)
        return None if best is None else best.device


@dataclass
class Nft:
    """The packet filter: does what it is told at once, unless `refuses`."""

    elements: dict[NftSet, dict[Key, Value]] = field(default_factory=lambda: {name: {} for name in NftSet})
    refuses: bool = False
    done: list[NftChange] = field(default_factory=list)
    flushed: list[FlushConnections] = field(default_factory=list)
    resync: int = 1
    rules: bool = True
    busy: bool = False
    _seen: tuple[object, NftObserved] | None = None

    @property
    def observed(self) -> NftObserved:
        now = ({name: dict(some) for name, some in self.elements.items()}, self.rules, self.resync)
        if self._seen is None or self._seen[0] != now:
            # the same object until something changes, as the port promises
            self._seen = (now, NftObserved(self.elements, rules=self.rules, resync=self.resync))
        return self._seen[1]

    def apply(self, changes: Sequence[NftChange], /) -> None:
        if self.refuses:
            return
        for change in changes:
            self.done.append(change)
            if isinstance(change, PutElement):
                self.elements[change.set][change.key] = change.value
            else:
                self.elements[change.set].pop(change.key, None)

    def flush(self, flushes: Sequence[FlushConnections], /) -> None:
        self.flushed += flushes

    def marks_of(self, address: Address) -> set[int]:
        """Return the path marks that packets to an address get; empty when they are dropped."""
        four = address.version == 4
        own = self.elements[NftSet.OWN4 if four else NftSet.OWN6]
        assert any(address in prefix for prefix in own if isinstance(prefix, IPv4Network | IPv6Network)), "not ours"
        if address in self.elements[NftSet.IDLE4 if four else NftSet.IDLE6]:
            return set()
        pool = self.elements[NftSet.EIP4 if four else NftSet.EIP6].get(address)
        if pool is None or address in self.elements[NftSet.DARK4 if four else NftSet.DARK6]:
            return set()
        assert isinstance(pool, int)
        if pool in self.elements[NftSet.POOL]:
            return {_mark(self.elements[NftSet.POOL][pool])}
        slots = self.elements[NftSet.SLOT]
        return {_mark(slots[key]) for key in slots if isinstance(key, tuple) and key[0] == pool}


def _mark(value: Value) -> int:
    assert isinstance(value, int)
    return value


@dataclass
class Probes:
    """Remembers what it was told."""

    specs: dict[CheckId, ProbeSpec] = field(default_factory=dict)
    pending_now: set[CheckId] = field(default_factory=set)

    def set_probes(self, specs: Iterable[ProbeSpec]) -> None:
        self.specs = {spec.id: spec for spec in specs}

    def pending(self, check: CheckId, pending: bool, /) -> None:
        (self.pending_now.add if pending else self.pending_now.discard)(check)


@dataclass
class Notes:
    """Keeps what the control loop told."""

    decisions: list[Decision] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    reroutes: list[tuple[TunnelOrder, TunnelOrder]] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def result(self, result: ProbeResult) -> None:
        pass

    def verdict(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)

    def decided(self, before: Decision | None, snapshot: Snapshot, seen_s: float) -> None:
        self.decisions.append(snapshot.decision)
        self.snapshots.append(snapshot)

    def rerouted(self, before: TunnelOrder, after: TunnelOrder) -> None:
        self.reroutes.append((before, after))

    def moved(self, moved: Moved) -> None:
        self.moves.append(moved)

    def acted(self, actions: Iterable[BgpAction]) -> None:
        pass


class World:
    """A POP in a world that is moved by hand: `at(...)` sets the time, `answer(...)` gives results."""

    def __init__(
        self,
        its_config: Config | None = None,
        *,
        speaker: Speaker | None = None,
        kernel: Kernel | None = None,
        nft: Nft | None = None,
        memories: Mapping[Prefix, Memory] | None = None,
        orders: Interventions | None = None,
        now_s: float = 1000.0,
    ) -> None:
        self.now_s = now_s
        self.speaker, self.kernel, self.nft = speaker or Speaker(), kernel or Kernel(), nft or Nft()
        self.probes, self.notes = Probes(), Notes()
        self.due: list[float] = []
        self.control = Control(
            its_config or config(),
            memories or {},
            probes=self.probes,
            bgp=self.speaker,
            kernel=self.kernel,
            nft=self.nft,
            record=self.notes,
            wake=lambda at_s: self.due.append(at_s),
            now_s=self.now_s,
        )
        if orders is not None:
            self.control.take(orders, now_s)
        for eip in self.control.config.eips.values():
            self.control.forwarder.steering.put(eip, now_s)
        self.control.step(self.now_s)
        self.settle()

    def configure(self, new: Config) -> None:
        """Take a new configuration, with the EIPs of its file."""
        old, steering = self.control.config, self.control.forwarder.steering
        self.control.configure(new, self.now_s)
        for address in old.eips.keys() - new.eips.keys():
            steering.drop(address, self.now_s)
        for eip in new.eips.values():
            steering.put(eip, self.now_s)

    def device_of(self, prefix: Prefix) -> str | None:
        """Return the device that carries the packets of a prefix's EIP; None when they are dropped."""
        found = {self.kernel.device_of(mark) for mark in self.nft.marks_of(eip_of(prefix))}
        assert len(found) <= 1
        return next(iter(found), None)

    def settle(self) -> None:
        """Let acknowledgements arrive and the loop follow until nothing is left to do."""
        for _ in range(10):
            self.control.on_observed(self.now_s)
            if not self.speaker.queue:
                return
            self.speaker.ack()
        raise AssertionError("the loop does not come to rest")

    def wait(self, seconds: float) -> None:
        """Let time pass, running the loop whenever it asked for it."""
        end_s = self.now_s + seconds
        while True:
            coming = sorted(at_s for at_s in self.due if at_s <= end_s)
            self.due = [at_s for at_s in self.due if at_s > end_s]
            if not coming:
                break
            for at_s in coming:
                self.now_s = max(self.now_s, at_s)
                self.control.on_observed(self.now_s)
                self.settle()
        self.now_s = end_s

    def answer(self, match: str, why: Why = Why.ANSWERED, times: int = 3) -> None:
        """Give `times` results, a second apart, to every check whose id contains `match`."""
        for _ in range(times):
            self.wait(1.0)
            for id_ in list(self.probes.specs):
                if match in id_:
                    self.control.on_result(ProbeResult(id_, why, self.now_s - 0.01, self.now_s), self.now_s)
        self.settle()

    def family(self, prefix: Prefix) -> Family:
        return family_of(prefix)
