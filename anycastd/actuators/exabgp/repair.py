"""What must be said again when a session comes up. Pure.

Of several changes of one prefix that ExaBGP 5.0.15 could not yet send, it sends more than the last, and in the order
in which their attributes first appeared (measured on a session that is up; between two tries to connect it is no
different). So after two changes or more while a session was down, all is sent again, and what was withdrawn once more.
"""

from __future__ import annotations

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Announce, Withdraw


class Repairs:
    """Counts the changes made while a session was down."""

    def __init__(self) -> None:
        self._changes: dict[NeighborName, dict[Prefix, tuple[int, Withdraw | None]]] = {}

    def changed(self, action: Announce | Withdraw) -> None:
        """Take note of a change acknowledged for a neighbor whose session is down."""
        prefix = action.route.prefix if isinstance(action, Announce) else action.prefix
        changes = self._changes.setdefault(action.neighbor, {})
        times, _ = changes.get(prefix, (0, None))
        changes[prefix] = (times + 1, action if isinstance(action, Withdraw) else None)

    def came_up(self, neighbor: NeighborName) -> list[Withdraw] | None:
        """Return the withdrawals to be said again, or None if nothing needs repair."""
        changes = self._changes.pop(neighbor, {})
        again = [last for times, last in changes.values() if times > 1]
        if not again:
            return None
        return [withdrawal for withdrawal in again if withdrawal is not None]
