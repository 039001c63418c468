"""Where an EIP is between what is wanted and what the kernel holds: derived from both, never stored. Pure."""

from __future__ import annotations

from anycastd.model.eip import Eip, EipStatus, EipView, PlacementReason
from anycastd.model.nft import Elements
from anycastd.policy.elements import SETS, Wanted
from anycastd.reconcile.eip_pool import Pool
from anycastd.reconcile.wanted import are_there


def status_of(eip: Eip, wanted: Wanted, observed: Elements, pool_is_there: bool) -> EipStatus:
    """Return the status of an EIP whose elements are `wanted`; those of its pool and paths are looked at before."""
    sets, address = SETS[eip.address.version], eip.address
    if eip.released_unix_s is not None:
        return EipStatus.OFFLINING
    stale = any(address in observed.get(name, {}) for name in (sets.idle, sets.dark) if (name, address) not in wanted)
    there = not stale and are_there(wanted, observed)
    if (sets.eip, address) in wanted:
        return EipStatus.BIND if there and pool_is_there else EipStatus.BINDING
    if address in observed.get(sets.eip, {}):
        return EipStatus.UNBINDING
    return EipStatus.UNBIND if there else EipStatus.CREATING


def view_of(eip: Eip, pool: Pool | None, status: EipStatus) -> EipView:
    """Return the view of an EIP; `pool` is where its packets are, None while it carries nothing."""
    if pool is not None:
        placement = pool.placement
        return EipView(eip, status, placement.reason, placement.detail, placement)
    if eip.released_unix_s is not None:
        return EipView(eip, status, PlacementReason.RELEASED, "released; it can still be restored")
    if eip.blocked:
        return EipView(eip, status, PlacementReason.BLOCKED, eip.blocked_reason or "blocked")
    if eip.binding is None:
        return EipView(eip, status, PlacementReason.UNBOUND, "bound to no backend")
    return EipView(eip, status, PlacementReason.NO_PATH, f"{eip.address} is in no configured prefix: not carried")


def leaving_view(eip: Eip) -> EipView:
    """Return the view of an EIP that is no longer wanted while the kernel still has some of it."""
    return EipView(eip, EipStatus.OFFLINING, PlacementReason.RELEASED, "removed; the kernel still has some of it")
