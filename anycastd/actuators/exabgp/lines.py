"""Actions into one command line, and lines of a dump into what a neighbor is sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anycastd.actuators.exabgp import dump, wording
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Address, NeighborName, Prefix
from anycastd.model.bgp import Announce, AnnounceFlow, BgpAction, EndOfRib, FlowRoute, Route, Withdraw, WithdrawFlow


def command(addresses: Mapping[NeighborName, Address], actions: Sequence[BgpAction]) -> str:
    """Return the line that says these actions, which are alike; ActuatorRejected for what cannot be said."""
    first = actions[0]
    address = addresses.get(first.neighbor)
    if address is None:
        message = f"no neighbor {first.neighbor} is configured"
        raise ActuatorRejected(message)
    match first:
        case Announce():
            return wording.announce(address, [one.route for one in actions if isinstance(one, Announce)])
        case AnnounceFlow():
            return wording.announce_flow(address, first.flow)
        case WithdrawFlow():
            return wording.withdraw_flow(address, first.flow)
        case EndOfRib():
            return wording.end_of_rib(address, first.family)
        case Withdraw():
            return wording.withdraw(address, [a.prefix for a in actions if isinstance(a, Withdraw)], first.next_hop)


@dataclass(slots=True)
class Dumped:
    """What a dump says so far of each neighbor."""

    routes: dict[NeighborName, dict[Prefix, Route]] = field(default_factory=dict)
    flows: dict[NeighborName, dict[str, FlowRoute]] = field(default_factory=dict)

    def take(self, line: str, names: Mapping[Address, NeighborName]) -> None:
        """Take one line; NotUnderstoodError."""
        if dump.is_flow(line):
            address, flow = dump.flow(line)
            if (name := names.get(address)) is not None:
                self.flows.setdefault(name, {})[flow.key] = flow
            return
        address, route = dump.route(line)
        if (name := names.get(address)) is not None:
            self.routes.setdefault(name, {})[route.prefix] = route
