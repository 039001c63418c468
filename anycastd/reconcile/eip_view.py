"""Where an EIP is between what is wanted and what the kernel holds: derived from both, never stored. Pure."""

from __future__ import annotations

from anycastd.model.eip import Eip, EipStatus, EipView, PlacementReason
from anycastd.model.nft import Elements
from anycastd.policy.elements import CHOSEN, SETS, Wanted
from anycastd.reconcile.eip_pool import Pool
from anycastd.reconcile.wanted import are_there


def status_of(eip: Eip, wanted: Wanted, observed: Elements, way_is_there: bool) -> EipStatus:
    """Return the status of an EIP whose elements are `wanted`; those of prefix, pool and paths are looked at before.

    BIND, UNBIND and OFFLINING say that the kernel holds what is wanted of the EIP, and nothing else of it.
    """
    eips, address = SETS[eip.address.version].eip, eip.address
    stale = any(address in observed.get(name, {}) and (name, address) not in wanted for name in CHOSEN[address.version])
    there = not stale and are_there(wanted, observed)
    if (eips, address) in wanted:
        return EipStatus.BIND if there and way_is_there else EipStatus.BINDING
    if address in observed.get(eips, {}):
        return EipStatus.UNBINDING
    if eip.released_unix_s is not None:
        return EipStatus.OFFLINING if there else EipStatus.UNBINDING
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


def leaving_view(eip: Eip, observed: Elements) -> EipView:
    """Return the view of an EIP that is no longer wanted while the kernel still has some of it."""
    carried = eip.address in observed.get(SETS[eip.address.version].eip, {})
    status = EipStatus.UNBINDING if carried else EipStatus.OFFLINING
    return EipView(eip, status, PlacementReason.RELEASED, "removed; the kernel still has some of it")
