"""Numbers that names keep, whatever other names there are. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

TABLE_SLOTS = 500


def table_slots(tunnels: Iterable[str]) -> dict[str, int]:
    """Return a slot below 500 for each tunnel, from its name alone unless two names fall on the same one.

    Tables must not move when a tunnel is added: a rule would for a moment lead checks into another's table. Two
    names that fall together are told apart in sorted order, so only their own later one can move.
    """
    slots: dict[str, int] = {}
    taken: set[int] = set()
    for name in sorted(tunnels):
        slot = zlib.crc32(name.encode()) % TABLE_SLOTS
        while slot in taken:
            slot = (slot + 1) % TABLE_SLOTS
        taken.add(slot)
        slots[name] = slot
    return slots
