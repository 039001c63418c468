"""What one EIP may be: the rules for its address, limits and binding, the same for the file and for the API. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from anycastd.config.near import did_you_mean
from anycastd.config.values.eip import MAX_PORT, MAX_RATE_BPS, MIN_RATE_BPS
from anycastd.model.address import Address, BackendId, Prefix, RegionName
from anycastd.model.eip import MAX_WEIGHT, Binding, Eip, Mode, Shaping, Target, Tracking
from anycastd.model.topology import Config

MAX_PRIORITY = 100


class EipRule(StrEnum):
    """The rules an EIP can break."""

    OUTSIDE_PREFIXES = "outside_prefixes"
    OUR_ADDRESS = "our_address"
    RATE_OUT_OF_RANGE = "rate_out_of_range"
    HTB_NEEDS_UPLINKS = "htb_needs_uplinks"
    NO_TARGETS = "no_targets"
    TOO_MANY_TARGETS = "too_many_targets"
    ALL_WEIGHTS_ZERO = "all_weights_zero"
    WEIGHT_OUT_OF_RANGE = "weight_out_of_range"
    PRIORITY_OUT_OF_RANGE = "priority_out_of_range"
    UNKNOWN_BACKEND = "unknown_backend"
    OTHER_FAMILY = "other_family"
    BACKEND_TWICE = "backend_twice"
    ROUTED_TWICE = "routed_twice"
    PORT_OUT_OF_RANGE = "port_out_of_range"
    PORT_TWICE = "port_twice"
    PORTS_NEED_TRANSLATION = "ports_need_translation"
    STATELESS_NEEDS_ROUTED = "stateless_needs_routed"


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that an EIP breaks. `path` is as in an EIP of the file: `("bind", 0, "weight")`; `()` is its address."""

    rule: EipRule
    path: tuple[str | int, ...]
    message: str


class PrefixSet:
    """Prefixes that can be asked whether an address lies in one, at a cost that does not grow with their number."""

    __slots__ = ("_lengths", "_prefixes")

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._prefixes = tuple(prefixes)
        self._lengths: dict[tuple[int, int], set[int]] = {}
        for prefix in self._prefixes:
            shift = prefix.max_prefixlen - prefix.prefixlen
            of_length = self._lengths.setdefault((prefix.version, shift), set())
            of_length.add(int(prefix.network_address) >> shift)

    def __contains__(self, address: Address) -> bool:
        number, version = int(address), address.version
        return any(
            of_version == version and number >> shift in networks
            for (of_version, shift), networks in self._lengths.items()
        )

    def of_version(self, version: int) -> tuple[Prefix, ...]:
        """Return those of one family, in their order."""
        return tuple(prefix for prefix in self._prefixes if prefix.version == version)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingFacts:
    """What the rules need to know of a configuration; make it once for each, not for each EIP.

    A backend whose address is None, a region without a mode, and `prefixes` None are written but not known (they have
    mistakes of their own): nothing is said of them.
    """

    prefixes: PrefixSet | None
    backends: Mapping[BackendId, Address | None]
    modes: Mapping[RegionName, Mode]
    ours: Mapping[Address, str] = field(default_factory=dict)
    """Addresses of the POP itself, and what has them."""
    uplinks: Collection[str] = ()
    max_targets: int = 32


def facts_of(config: Config) -> BindingFacts:
    """Return the facts of a configuration."""
    ours = {neighbor.local_address: f"neighbor '{neighbor.name}'" for neighbor in config.neighbors.values()}
    for tunnel in config.tunnels.values():
        ours |= {local: tunnel.id for local in (tunnel.local_ipv4, tunnel.local_ipv6) if local is not None}
    return BindingFacts(
        prefixes=PrefixSet(config.prefixes),
        backends={backend.id: backend.address for backend in config.backends.values()},
        modes={region.name: region.mode for region in config.regions.values()},
        ours=ours,
        uplinks=config.eip.uplinks,
        max_targets=config.eip.max_targets,
    )


def problems_of(eip: Eip, facts: BindingFacts) -> list[Breach]:
    """Return every rule that an EIP breaks under a configuration; an EIP without a binding has only its own."""
    found = [*_address(eip, facts), *_limits(eip, facts)]
    if eip.binding is not None:
        found += _whole_binding(eip.binding, facts)
        found += _each_target(eip, eip.binding, facts)
        found += _modes(eip, eip.binding, facts)
    return found


def region_of(backend: BackendId) -> RegionName:
    """Return the region in a backend's id."""
    return RegionName(backend.partition("/")[0])


def mode_of(target: Target, facts: BindingFacts) -> Mode | None:
    """Return how packets reach a target: its own mode, else the region's; None where the region is not known."""
    return target.mode or facts.modes.get(region_of(target.backend))


def _address(eip: Eip, facts: BindingFacts) -> Iterator[Breach]:
    address = eip.address
    if address in facts.ours:
        yield Breach(EipRule.OUR_ADDRESS, (), f"is our own address of {facts.ours[address]}: we would answer it")
    if facts.prefixes is not None and address not in facts.prefixes:
        near = facts.prefixes.of_version(address.version)
        listed = ", ".join(map(str, near[:3])) + (", ..." if len(near) > 3 else "")
        there_are = (
            f"in none of the prefixes ({listed})" if near else f"in no prefix: there is none of IPv{address.version}"
        )
        yield Breach(EipRule.OUTSIDE_PREFIXES, (), f"lies {there_are}")


def _limits(eip: Eip, facts: BindingFacts) -> Iterator[Breach]:
    for key, bps in (("in", eip.bandwidth.in_bps), ("out", eip.bandwidth.out_bps)):
        if bps is not None and not MIN_RATE_BPS <= bps <= MAX_RATE_BPS:
            message = f"{bps} bit/s is not between 64kbit and 400gbit"
            yield Breach(EipRule.RATE_OUT_OF_RANGE, ("bandwidth", key), message)
    if eip.bandwidth.shaping is Shaping.HTB and not facts.uplinks:
        message = "htb shapes on the devices to the clients: eip.uplinks must name them"
        yield Breach(EipRule.HTB_NEEDS_UPLINKS, ("bandwidth", "shaping"), message)


def _whole_binding(binding: Binding, facts: BindingFacts) -> Iterator[Breach]:
    targets = binding.targets
    if not targets:
        yield Breach(EipRule.NO_TARGETS, ("bind",), "is empty; leave it out where nothing is to be bound")
    elif all(target.weight == 0 for target in targets):
        yield Breach(EipRule.ALL_WEIGHTS_ZERO, ("bind",), "every weight is 0: nothing would be sent anywhere")
    if len(targets) > facts.max_targets:
        message = f"{len(targets)} backends; eip.max_targets allows {facts.max_targets}"
        yield Breach(EipRule.TOO_MANY_TARGETS, ("bind",), message)


def _each_target(eip: Eip, binding: Binding, facts: BindingFacts) -> Iterator[Breach]:
    seen: set[BackendId] = set()
    for number, target in enumerate(binding.targets):
        path = ("bind", number)
        if not 0 <= target.weight <= MAX_WEIGHT:
            message = f"{target.weight} is not between 0 and {MAX_WEIGHT}"
            yield Breach(EipRule.WEIGHT_OUT_OF_RANGE, (*path, "weight"), message)
        if not 1 <= target.priority <= MAX_PRIORITY:
            message = f"{target.priority} is not between 1 and {MAX_PRIORITY}"
            yield Breach(EipRule.PRIORITY_OUT_OF_RANGE, (*path, "priority"), message)
        if target.backend in seen:
            message = f"'{target.backend}' is already in this binding"
            yield Breach(EipRule.BACKEND_TWICE, (*path, "backend"), message)
        seen.add(target.backend)
        yield from _backend(eip, target.backend, (*path, "backend"), facts)
        if target.ports:
            yield from _ports(target, path, facts)


def _backend(eip: Eip, backend: BackendId, path: tuple[str | int, ...], facts: BindingFacts) -> Iterator[Breach]:
    if backend not in facts.backends:
        hint = _nearest(backend, tuple(facts.backends))
        yield Breach(EipRule.UNKNOWN_BACKEND, path, f"no backend is called '{backend}'{hint}")
        return
    address = facts.backends[backend]
    if address is not None and address.version != eip.address.version:
        message = (
            f"'{backend}' has the IPv{address.version} address {address}; an IPv{eip.address.version} one is needed"
        )
        yield Breach(EipRule.OTHER_FAMILY, path, message)


@lru_cache(maxsize=256)
def _nearest(written: str, known: tuple[str, ...]) -> str:
    # one wrong name is often in thousands of EIPs, and the comparison with every backend takes milliseconds
    return did_you_mean(written, known)


def _ports(target: Target, path: tuple[str | int, ...], facts: BindingFacts) -> Iterator[Breach]:
    if mode_of(target, facts) is Mode.ROUTED:
        message = "ports cannot be changed in mode routed, which leaves packets as they are"
        yield Breach(EipRule.PORTS_NEED_TRANSLATION, (*path, "ports"), message)
    seen: set[tuple[str, int]] = set()
    for number, one in enumerate(target.ports):
        place = (*path, "ports", number)
        for port in (one.port, one.to_port):
            if not 1 <= port <= MAX_PORT:
                yield Breach(EipRule.PORT_OUT_OF_RANGE, place, f"{port} is not between 1 and {MAX_PORT}")
        if (one.transport, one.port) in seen:
            yield Breach(EipRule.PORT_TWICE, place, f"{one.transport}/{one.port} is mapped twice")
        seen.add((one.transport, one.port))


def _modes(eip: Eip, binding: Binding, facts: BindingFacts) -> Iterator[Breach]:
    """Packets of routed mode are all alike once they are in the region: its gateway chooses the backend."""
    routed: dict[RegionName, BackendId] = {}
    translated: list[str] = []
    for number, target in enumerate(binding.targets):
        mode, region = mode_of(target, facts), region_of(target.backend)
        if target.backend not in facts.backends:
            continue
        if mode is Mode.ROUTED:
            if routed.get(region, target.backend) != target.backend:
                message = f"'{routed[region]}' of the same region is routed too: its gateway could not tell them apart"
                yield Breach(EipRule.ROUTED_TWICE, ("bind", number, "backend"), message)
            routed.setdefault(region, target.backend)
        elif mode is not None:
            translated.append(f"'{target.backend}' has {mode}")
    if translated and eip.tracking is Tracking.STATELESS:
        message = f"stateless needs mode routed, {translated[0]}: a translation needs the state"
        yield Breach(EipRule.STATELESS_NEEDS_ROUTED, ("tracking",), message)
