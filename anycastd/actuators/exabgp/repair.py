"""What must be said again when a session comes up. Pure.

Of several changes of one prefix that ExaBGP 5.0.15 could not yet send, it sends more than the last, and in the order
in which their attributes first appeared (measured on a session that is up; between two tries to connect it is no
different). So after two changes or more while a session was down, all is sent again, and what was withdrawn once more.
"""

from __future__ import annotations

from anycastd.actuators.exabgp.queue import key_of
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Announce, AnnounceFlow, Withdraw, WithdrawFlow

Withdrawal = Withdraw | WithdrawFlow


class Repairs:
    """Counts the changes made while a session was down."""

    def __init__(self) -> None:
        self._changes: dict[NeighborName, dict[Prefix | str, tuple[int, Withdrawal | None]]] = {}

    def changed(self, action: Announce | AnnounceFlow | Withdrawal) -> None:
        """Take note of a change acknowledged for a neighbor whose session is down."""
        what = key_of(action)[1]
        changes = self._changes.setdefault(action.neighbor, {})
        times, _ = changes.get(what, (0, None))
        changes[what] = (times + 1, action if isinstance(action, Withdraw | WithdrawFlow) else None)

    def came_up(self, neighbor: NeighborName) -> list[Withdrawal] | None:
        """Return the withdrawals to be said again, or None if nothing needs repair."""
        changes = self._changes.pop(neighbor, {})
        again = [last for times, last in changes.values() if times > 1]
        if not again:
            return None
        return [withdrawal for withdrawal in again if withdrawal is not None]
