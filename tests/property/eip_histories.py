"""Histories of a plane of EIPs: what operators, health and files may do to it, and what should come of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from anycastd.model.address import Address, RegionName
from anycastd.model.decision import TunnelOrder
from anycastd.model.eip import (
    Affinity,
    Bandwidth,
    Binding,
    Eip,
    Mode,
    PortMap,
    Shaping,
    Spread,
    Target,
    Tracking,
    Transport,
)
from anycastd.model.health import HealthView
from anycastd.model.nft import BUCKETS, Key, Limit, NftObserved, NftSet, Value
from anycastd.model.shaping import Shaped
from anycastd.model.topology import Config, PrefixSpec, ReturnPath
from anycastd.policy.elements import (
    Wanted,
    is_shaped,
    of_eip,
    of_path,
    of_pool,
    of_prefixes,
    pool_key,
    pool_numbering,
)
from anycastd.policy.paths import number_paths, path_of, path_text
from anycastd.policy.placement import place
from anycastd.policy.tunnel_order import order
from anycastd.reconcile.eip_plane import EipPlane
from tests.unit.policy.eips import BAD, BLIND, NET4, NET6, NEW, OK, bound, eip, to, view_of, world
from tests.unit.policy.pops import Place
from tests.unit.reconcile.filter import Tables, tables

_FULL = {
    "eu": Place({"a": "46", "b": "46"}, {"web-1": 4, "web-2": 4, "six": 6}),
    "us": Place({"a": "46"}, {"web-1": 4, "six": 6}),
    "ap": Place({"a": "4"}, {"web-1": 4}),
}
_LESS = {"eu": Place({"a": "46"}, {"web-1": 4, "six": 6}), "us": _FULL["us"]}
_MODES = {"eu": Mode.MASQUERADE, "us": Mode.ROUTED}


def _with(config: Config, prefixes: Sequence[str]) -> Config:
    specs = {net: PrefixSpec(prefix=net) for net in (ip_network(text) for text in prefixes)}
    regions = {
        name: replace(one, return_path=ReturnPath.GATEWAY if name == "us" else ReturnPath.ADDRESS)
        for name, one in config.regions.items()
    }
    return replace(config, prefixes=specs, regions=regions)


CONFIGS = (
    _with(world(_FULL, _MODES), (str(NET4), str(NET6))),
    _with(world(_LESS, _MODES), (str(NET4), str(NET6))),
    _with(world(_FULL, {"us": Mode.MASQUERADE}), (str(NET4), str(NET6))),
    _with(world(_FULL, _MODES), ("203.0.113.0/29", "2001:db8:113::/48")),
)
_NOTHING = NftObserved()
NAMES = ("eu/a", "eu/b", "us", "ap", "eu/web-1", "eu/web-2", "us/web-1", "ap/web-1", "eu/six", "us/six")
PORTS = (PortMap(Transport.TCP, 80, 8080), PortMap(Transport.UDP, 53, 5353))


@dataclass(frozen=True)
class Put:
    eip: Eip


@dataclass(frozen=True)
class Drop:
    address: Address


@dataclass(frozen=True)
class Believe:
    """States by the names of `view_of`; `suspect`: many failures are believed to be our own."""

    states: tuple[tuple[str, object], ...]
    suspect: bool = False


@dataclass(frozen=True)
class Dial:
    dials: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Configure:
    index: int


Step = Put | Drop | Believe | Dial | Configure

TARGETS = st.builds(
    lambda backend, weight, priority, mode, ports: replace(to(backend, weight, priority, mode), ports=ports),
    st.sampled_from(("eu/web-1", "eu/web-2", "us/web-1", "ap/web-1", "eu/six", "us/six", "xx/gone")),
    st.sampled_from((0, 1, 50, 100, 255)),
    st.sampled_from((1, 1, 2)),
    st.sampled_from((None, None, Mode.DNAT, Mode.ROUTED)),
    st.sampled_from(((), (), PORTS)),
)


def _binding(targets: Sequence[Target], spread: Spread, affinity: Affinity, drop: bool) -> Binding:
    once = {(one.backend, one.priority): one for one in targets}
    return bound(*once.values(), spread=spread, affinity=affinity, drop=drop)


BINDINGS = st.builds(
    _binding,
    st.lists(TARGETS, min_size=1, max_size=4),
    st.sampled_from(Spread),
    st.sampled_from(Affinity),
    st.booleans(),
)
BANDWIDTHS = st.builds(
    lambda in_bps, out_bps, shaping: Bandwidth(in_bps=in_bps, out_bps=out_bps, shaping=shaping),
    st.sampled_from((None, 10_000_000)),
    st.sampled_from((None, 20_000_000)),
    st.sampled_from(Shaping),
)
ADDRESSES = tuple(
    ip_address(text)
    for text in (*(f"203.0.113.{last}" for last in (1, 2, 3, 9)), "2001:db8:113::1", "2001:db8:113::2", "198.51.100.1")
)


def _eip(address: Address, binding: Binding | None, bandwidth: Bandwidth, tracking: Tracking, state: str) -> Eip:
    released = 5.0 if state == "released" else None
    text = str(address)
    return eip(
        text,
        binding,
        bandwidth=bandwidth,
        tracking=tracking,
        blocked=state == "blocked",
        released_unix_s=released,
    )


EIPS = st.builds(
    _eip,
    st.sampled_from(ADDRESSES),
    st.none() | BINDINGS | BINDINGS | BINDINGS,
    BANDWIDTHS,
    st.sampled_from((Tracking.CONNTRACK, Tracking.CONNTRACK, Tracking.STATELESS)),
    st.sampled_from(("", "", "", "", "blocked", "released")),
)
ANY_STATE = st.sampled_from((OK, OK, BAD, BLIND, NEW))
VERDICTS = st.sampled_from((OK, OK, BAD))


def beliefs(states: st.SearchStrategy[object], suspect: st.SearchStrategy[bool]) -> st.SearchStrategy[Believe]:
    named = st.dictionaries(st.sampled_from(NAMES), states, max_size=5)
    return st.builds(Believe, named.map(lambda found: tuple(found.items())), suspect)


def dials(percents: Sequence[int]) -> st.SearchStrategy[Dial]:
    named = st.dictionaries(st.sampled_from(("eu", "us", "ap")), st.sampled_from(percents), max_size=3)
    return named.map(lambda found: Dial(tuple(found.items())))


CONFIGURES = st.integers(0, len(CONFIGS) - 1).map(Configure)
PUTS = EIPS.map(Put)
DROPS = st.sampled_from(ADDRESSES).map(Drop)
STEPS = st.lists(
    st.one_of(
        PUTS,
        PUTS,
        PUTS,
        DROPS,
        beliefs(ANY_STATE, st.sampled_from((False, False, True))),
        dials((0, 30, 100)),
        CONFIGURES,
    ),
    max_size=14,
)
CALM_STEPS = st.lists(
    st.one_of(PUTS, PUTS, PUTS, DROPS, beliefs(VERDICTS, st.just(False)), dials((0, 100)), CONFIGURES), max_size=14
)
"""Only verdicts and whole dials: then nothing depends on a past that the kernel does not show."""


@dataclass
class History:
    """A plane, and everything that was told to it."""

    config: Config = CONFIGS[0]
    states: tuple[tuple[str, object], ...] = ()
    suspect: bool = False
    dials: dict[RegionName, int] = field(default_factory=dict)
    eips: dict[Address, Eip] = field(default_factory=dict)
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.orders: dict[tuple[RegionName, int], TunnelOrder] = {}
        self.plane = EipPlane(self.config, self.health, self.now_s)
        self._order_tunnels()

    @property
    def health(self) -> HealthView:
        states = {name: state for name, state in self.states}
        return view_of(states, config=self.config, suspect=self.suspect)  # type: ignore[arg-type]

    def take(self, step: Step) -> None:
        """Do one step, a second later."""
        self.now_s += 1.0
        match step:
            case Put(one):
                self.eips[one.address] = one
                self.plane.put(one, self.now_s)
            case Drop(address):
                self.eips.pop(address, None)
                self.plane.drop(address, self.now_s)
            case Believe(states, suspect):
                before, self.states, self.suspect = self.states, states, suspect
                names = {name.partition("/")[0] for name, _ in (*before, *states)}
                self.plane.on_health(self.health, frozenset(RegionName(name) for name in names), self.now_s)
                self._order_tunnels()
            case Dial(dials):
                self.dials = {RegionName(name): percent for name, percent in dials}
                self.plane.set_dials(self.dials, self.now_s)
            case Configure(index):
                self.config = CONFIGS[index]
                self.plane.configure(self.config, self.health, self.now_s)
                self._order_tunnels()
                # the next day: what lingered is gone
                self.now_s += 86400.0
                self.plane.wake(self.now_s)

    def _order_tunnels(self) -> None:
        health = self.health
        self.orders = {
            (name, version): order(self.config, name, version, health, self.orders.get((name, version)), self.now_s)
            for name in self.config.regions
            for version in (4, 6)
        }
        self.plane.set_tunnels(self.orders, self.now_s)

    def restarted(self) -> EipPlane:
        """Return what a daemon after this one begins with."""
        plane = EipPlane(self.config, self.health, self.now_s)
        plane.set_dials(self.dials, self.now_s)
        plane.set_tunnels(self.orders, self.now_s)
        for one in self.eips.values():
            plane.put(one, self.now_s)
        return plane

    def expected(self) -> Tables:
        """Return the elements that should be wanted, made from nothing but the placements that the views tell."""
        views = {view.eip.address: view for view in self.plane.views(_NOTHING)}
        live = {address: one for address, one in self.eips.items() if views[address].placement is not None}
        keys = {
            address: pool_key(one.binding, address.version, one.tracking is Tracking.STATELESS)
            for address, one in live.items()
            if one.binding is not None
        }
        numbers = pool_numbering()
        for pool in dict.fromkeys(keys.values()):
            numbers.add(pool)
        paths = number_paths(
            path
            for one in live.values()
            for target in (one.binding.targets if one.binding else ())
            if (path := path_of(self.config, target, one.address.version)) is not None
        )
        found = Wanted(of_prefixes(self.config.prefixes))
        for path in paths.values():
            version = self.config.backends[path.backend].address.version
            found |= of_path(self.config, path, version, self.orders[path.region, version].best)
        for address, one in self.eips.items():
            placement = views[address].placement
            number = numbers[keys[address]] if address in keys else None
            minor = self.plane.minors[address] if is_shaped(one) else None
            shaped = self.plane.shaped.get(address)
            assert shaped == (None if minor is None else Shaped(minor, one.bandwidth.out_bps or 0))
            found |= of_eip(one, number, dark=placement is not None and not placement.shares, minor=minor)
            if number is not None and placement is not None:
                found |= of_pool(number, placement)
        whole = tables()
        for (name, key), value in found.items():
            whole[name][key] = value
        return whole

    def is_at_rest(self) -> bool:
        """Return whether every EIP is placed as its binding, placed anew with the same past, would be."""
        for view in self.plane.views(_NOTHING):
            before, binding = view.placement, view.eip.binding
            if before is None or binding is None:
                continue
            after = place(self.config, binding, view.eip.address.version, self.health, self.dials, before, self.now_s)
            if [(path_text(one.path), one.buckets) for one in before.shares] != [
                (path_text(one.path), one.buckets) for one in after.shares
            ]:
                return False
        return True


_NUMBERS = st.integers(1, 5)
_MARKS = st.integers(1, 5).map(lambda number: 1 << 24 | number)
_V4, _V6 = st.sampled_from(ADDRESSES[:4]), st.sampled_from(ADDRESSES[4:6])


def _elements(name: NftSet) -> st.SearchStrategy[dict[Key, Value]]:
    kind, address = name.value.rstrip("46"), _V6 if name.value.endswith("6") else _V4
    keys: dict[str, st.SearchStrategy[Key]] = {
        "own": st.sampled_from([ip_network("203.0.113.0/25"), ip_network("198.51.100.0/24")])
        if name is NftSet.OWN4
        else st.just(NET6),
        "pool": _NUMBERS,
        "slot": st.tuples(_NUMBERS, st.integers(0, BUCKETS - 1)),
        "port": st.tuples(_MARKS, st.just(6), st.just(80)),
    }
    values: dict[str, st.SearchStrategy[Value]] = {
        "eip": _NUMBERS,
        "pool": _MARKS,
        "slot": _MARKS,
        "nat": address,
        "hide": address,
        "port": st.tuples(address, st.just(8080)),
        "limin": st.just(Limit(1, 65536)),
        "limout": st.just(Limit(1, 65536)),
        "class": _NUMBERS,
    }
    marks = _MARKS if kind in ("nat", "hide", "translated") else address
    return st.dictionaries(keys.get(kind, marks), values.get(kind, st.none()), max_size=3)


ANYTHING = st.fixed_dictionaries({name: _elements(name) for name in NftSet})
"""Elements that somebody may have left in our sets."""
