"""One pool: the EIPs with the same binding, and where their packets go. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from anycastd.model.address import Address
from anycastd.model.eip import Binding, Path, Placement, Share
from anycastd.model.nft import BUCKETS, Elements, NftSet
from anycastd.policy.allotment import largest_remainder
from anycastd.policy.elements import PoolKey, Wanted


@dataclass(frozen=True, slots=True)
class Moved:
    """A pool whose packets go elsewhere, or for another reason; `addresses` are the EIPs in it."""

    pool: int
    addresses: tuple[Address, ...]
    before: Placement
    after: Placement


@dataclass(slots=True, eq=False)
class Pool:
    """The EIPs that share one binding. `known` are the paths of the targets as `path_of` gives them."""

    key: PoolKey
    binding: Binding
    version: int
    number: int
    placement: Placement
    known: tuple[Path | None, ...] = ()
    paths: tuple[Path | None, ...] = ()
    addresses: dict[Address, None] = field(default_factory=dict)
    elements: Wanted = field(default_factory=dict)
    worn: set[Path] = field(default_factory=set)
    """Of `known`, those that may have connections: packets went over them, and they were not found bad since."""
    ranks_regions: bool = False
    """Whether the latency of its regions can move its packets."""
    is_new: bool = True
    written: tuple[int, tuple[Share, ...]] | None = None
    """The number and shares that `elements` say."""

    @property
    def is_dark(self) -> bool:
        """Return whether its EIPs are to have no path."""
        return not self.placement.shares

    @property
    def named(self) -> dict[Path, Path]:
        """Return the final path of each known one."""
        return {known: path for known, path in zip(self.known, self.paths, strict=True) if known and path}

    def uses(self, path: Path) -> bool:
        """Return whether packets go over this path now."""
        return any(share.path == path for share in self.placement.shares)


def shares_in(pool: Pool, observed: Elements) -> tuple[Share, ...]:
    """Return the shares that the kernel's elements of a pool stand for, of paths that it may use."""
    single, slots = observed.get(NftSet.POOL, {}), observed.get(NftSet.SLOT, {})
    marks = [single.get(pool.number)] * BUCKETS if pool.number in single else []
    marks = marks or [slots.get((pool.number, bucket)) for bucket in range(BUCKETS)]
    paths = [path for path in pool.paths if path is not None]
    counts = {path: marks.count(path.mark) for path in paths if path.mark in marks}
    if not counts:
        return ()
    whole = largest_remainder(counts, BUCKETS)
    return tuple(Share(path, count) for path, count in whole.items() if count)
