"""What the packet filter's sets should hold for an EIP, a pool, a path and our prefixes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from zlib import crc32

from anycastd.model.address import Prefix, TunnelId
from anycastd.model.eip import Affinity, Binding, Eip, Mode, Path, Ping, Placement, Shaping, Tracking
from anycastd.model.nft import BY_SOURCE, Key, Limit, NftSet, Value
from anycastd.model.topology import Config
from anycastd.policy.numbering import Numbering
from anycastd.policy.paths import hide_address
from anycastd.policy.slots import fill

Wanted = dict[tuple[NftSet, Key], Value]

POOL_NUMBERS = BY_SOURCE - 1
"""Pool numbers, without the flag `BY_SOURCE`, are 1 to this."""
MIN_BURST_BYTES = 64 * 1024
"""One segment as large as offloads make it: a smaller burst would drop every one of those."""
BURST_MS = 100


class FamilySets(NamedTuple):
    """The sets of one address family."""

    own: NftSet
    eip: NftSet
    nat: NftSet
    port: NftSet
    hide: NftSet
    let_in: NftSet
    new: NftSet
    let_out: NftSet
    limit_in: NftSet
    limit_out: NftSet
    idle: NftSet
    dark: NftSet
    pong: NftSet
    free: NftSet
    loose: NftSet
    htb: NftSet


def _sets(version: int) -> FamilySets:
    names = (
        "own",
        "eip",
        "nat",
        "port",
        "hide",
        "in",
        "new",
        "out",
        "limin",
        "limout",
        "idle",
        "dark",
        "pong",
        "free",
        "loose",
    )
    return FamilySets(*(NftSet(f"{name}{version}") for name in (*names, "class")))


SETS: Mapping[int, FamilySets] = {4: _sets(4), 6: _sets(6)}


def _chosen(sets: FamilySets) -> tuple[NftSet, ...]:
    return (
        sets.new,
        sets.limit_in,
        sets.limit_out,
        sets.idle,
        sets.dark,
        sets.pong,
        sets.free,
        sets.loose,
        sets.htb,
    )


CHOSEN: Mapping[int, tuple[NftSet, ...]] = {version: _chosen(sets) for version, sets in SETS.items()}
"""Sets that an EIP of a family may or may not be in, `eip` apart: what is not wanted in them has to be gone."""


def limit_of(bps: int) -> Limit:
    """Return the policer for a rate in bits per second: bursts of 100 ms, and never less than 64 kB."""
    bytes_per_s = max(bps // 8, 1)
    return Limit(bytes_per_s, max(MIN_BURST_BYTES, bytes_per_s * BURST_MS // 1000))


class PoolKey(NamedTuple):
    """What pools are told apart by: everything that a pool's EIPs have in common."""

    text: str
    affinity: Affinity


def pool_key(binding: Binding, version: int, stateless: bool) -> PoolKey:
    """Return which pool an EIP with this binding belongs to."""
    targets = ";".join(
        f"{one.backend} {one.weight} {one.priority} {one.mode.value if one.mode else '-'} "
        + ",".join(f"{port.transport.value}:{port.port}>{port.to_port}" for port in one.ports)
        for one in binding.targets
    )
    kind = f"{binding.spread.value} {binding.affinity.value} {binding.when_unhealthy.value}"
    return PoolKey(f"{version} {int(stateless)} {kind} {targets}", binding.affinity)


def number_for(key: PoolKey, salt: int = 0) -> int:
    """Return the number that a pool's content gives; another `salt` another one, for when it is taken."""
    number = crc32((key.text + (f" {salt}" if salt else "")).encode()) % POOL_NUMBERS + 1
    return number | BY_SOURCE if key.affinity is Affinity.SOURCE else number


def pool_numbering() -> Numbering[PoolKey]:
    """Return an empty numbering of pools."""
    return Numbering(number_for, lambda key: key.text)


def pool_number(binding: Binding, version: int, stateless: bool) -> int:
    """Return the number of the pool of all EIPs with this binding: region byte 0, `BY_SOURCE` by its affinity.

    Health has no part in it. Pools that would have the same one are told apart by `pool_numbering`.
    """
    return number_for(pool_key(binding, version, stateless))


def of_eip(eip: Eip, pool: int | None, *, dark: bool = False, minor: int | None = None, loose: bool = False) -> Wanted:
    """Return the elements of one EIP. `pool` None = it carries nothing now; `dark` = it is to have no path.

    `minor` is that of its HTB class; without one (or without `shaping: htb`) no class is named. `loose`: what begins at
    it is not to be tracked, as it is under attack.
    """
    sets, address = SETS[eip.address.version], eip.address
    wanted: Wanted = {(sets.let_in, address): None, (sets.let_out, address): None}
    band = eip.bandwidth
    if band.in_bps is not None:
        wanted[sets.limit_in, address] = limit_of(band.in_bps)
    if band.out_bps is not None and band.shaping is Shaping.POLICE:
        wanted[sets.limit_out, address] = limit_of(band.out_bps)
    if is_shaped(eip) and minor is not None:
        wanted[sets.htb, address] = minor
    if eip.ping is Ping.POP:
        wanted[sets.pong, address] = None
    if eip.tracking is Tracking.STATELESS:
        wanted[sets.free, address] = None
    elif loose and pool is not None:
        wanted[sets.loose, address] = None
    if pool is None:
        wanted[sets.idle, address] = None
    else:
        wanted[sets.eip, address] = pool
        wanted[sets.new, address] = None
        if dark:
            wanted[sets.dark, address] = None
    return wanted


def is_shaped(eip: Eip) -> bool:
    """Return whether an EIP needs an HTB class of its own."""
    return eip.bandwidth.out_bps is not None and eip.bandwidth.shaping is Shaping.HTB


def may_be_loose(config: Config, eip: Eip) -> bool:
    """Return whether what begins at an EIP can be carried without a connection: every target is routed."""
    if eip.binding is None or eip.tracking is Tracking.STATELESS:
        return False
    for target in eip.binding.targets:
        backend = config.backends.get(target.backend)
        if backend is None or (target.mode or config.regions[backend.region].mode) is not Mode.ROUTED:
            return False
    return True


def of_pool(number: int, placement: Placement) -> Wanted:
    """Return the elements of one pool: one for a single path, one a bucket for several, none for no path."""
    if len(placement.shares) == 1:
        return {(NftSet.POOL, number): placement.shares[0].path.mark}
    if not placement.shares:
        return {}
    return {(NftSet.SLOT, (number, bucket)): path.mark for bucket, path in enumerate(fill(placement.shares))}


def of_path(config: Config, path: Path, version: int, tunnel: TunnelId | None) -> Wanted:
    """Return the elements of one path whose backend is configured; `tunnel` carries its region's packets now."""
    if path.mode is Mode.ROUTED:
        return {}
    sets, backend = SETS[version], config.backends[path.backend].address
    wanted: Wanted = {(NftSet.TRANSLATED, path.mark): None, (sets.nat, path.mark): backend}
    for one in path.ports:
        wanted[sets.port, (path.mark, one.transport.number, one.port)] = (backend, one.to_port)
    hide = hide_address(config, path, version, tunnel)
    if hide is not None:
        wanted[sets.hide, path.mark] = hide
    return wanted


def of_prefixes(prefixes: Iterable[Prefix]) -> Wanted:
    """Return the elements of our prefixes; one that lies in another is left out, since intervals may not overlap."""
    found, every = Wanted(), list(prefixes)
    for version in (4, 6):
        ours = {prefix for prefix in every if prefix.version == version}
        lengths = sorted({prefix.prefixlen for prefix in ours})
        for prefix in ours:
            around = (prefix.supernet(new_prefix=length) for length in lengths if length < prefix.prefixlen)
            if ours.isdisjoint(around):
                found[SETS[version].own, prefix] = None
    return found
