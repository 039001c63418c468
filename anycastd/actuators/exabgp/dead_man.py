"""What the bridge says to ExaBGP when the daemon is gone for too long, in its own words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anycastd.actuators.exabgp import wording
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Address, NeighborName
from anycastd.model.bgp import Announce, BgpAction, DeadManStage, Withdraw, WithdrawFlow


def encode(stages: Sequence[DeadManStage], addresses: Mapping[NeighborName, Address]) -> list[dict[str, Any]]:
    """Return the stages as the bridge reads them; what cannot be said is left out, so that it stays as it is (I3)."""
    return [
        {"action": stage.name, "after_s": stage.after_s, "lines": [*_lines(stage.actions, addresses)]}
        | ({} if stage.at_s is None else {"at_s": stage.at_s})
        for stage in stages
    ]


def _lines(actions: Sequence[BgpAction], addresses: Mapping[NeighborName, Address]) -> list[str]:
    lines = []
    for action in actions:
        address = addresses.get(action.neighbor)
        if address is None:
            continue
        try:
            if isinstance(action, Announce):
                lines.append(wording.announce(address, [action.route]))
            elif isinstance(action, Withdraw):
                lines.append(wording.withdraw(address, [action.prefix], action.next_hop))
            elif isinstance(action, WithdrawFlow):
                lines.append(wording.withdraw_flow(address, action.flow))
        except ActuatorRejected:
            continue
    return lines
