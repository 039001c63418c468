"""The fleet as JSON: the store, every POP as it says it is, and who is away by order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from anycastd.model.store import StoreConfig
from anycastd.resources.fleet import Entry, Member, Presence
from anycastd.resources.fleet_budget import FleetSeen

Json = dict[str, Any]


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(round(unix_s, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def store(config: StoreConfig, facts: Mapping[str, Any]) -> Json:
    """Return which store, and how it is; `facts` are the store's own."""
    return {"kind": config.kind.value, "endpoints": list(config.endpoints), "prefix": config.prefix, **facts}


def pop(name: str, member: Member | None, presence: Presence | None, entry: Entry | None, wall_s: float) -> Json:
    """Return one POP. What nobody says is null: a POP that is not present said nothing for `store.presence`."""
    said = presence
    return {
        "pop": name,
        "present": said is not None,
        "state": said.state if said else None,
        "version": said.version if said else None,
        "config": said.config if said else None,
        "said_at": _iso(said.at_unix_s) if said else None,
        # clocks of two POPs: for a look, not for a decision
        "age_s": round(max(wall_s - said.at_unix_s, 0.0), 3) if said else None,
        "started_at": _iso(said.started_unix_s) if said else None,
        "regions": dict(said.health) if said else None,
        "levels": dict(said.levels) if said else None,
        "in_bps": said.in_bps if said else None,
        "out_bps": said.out_bps if said else None,
        "eips": said.eips if said else None,
        "bound": said.bound if said else None,
        "applied_revision": said.revision if said else None,
        **_spread(said),
        "alarms": said.alarms if said else None,
        "drain_phase": (said.drain or None) if said else None,
        "asn": member.asn if member else None,
        "prefixes": len(member.prefixes) if member else None,
        "drained": drained(entry) if entry else None,
    }


def _spread(said: Presence | None) -> Json:
    """Return what it can carry, whether it is attacked, and what it does about its load."""
    capacity_bps = said.capacity_bps if said else 0.0
    load_bps = max(said.in_bps, said.out_bps) if said else 0.0
    return {
        "capacity_bps": capacity_bps or None,
        "room_bps": max(capacity_bps - load_bps, 0.0) if capacity_bps else None,
        "attack": (said.attack or None) if said else None,
        "attacked_eips": said.attacked if said else None,
        "steps": said.steps if said else None,
        "standby": sorted(said.standby) if said else None,
        "calls": sorted(said.calls) if said else None,
        "sheds": sorted(said.sheds) if said else None,
        "pressed": sorted(said.pressed) if said else None,
    }


def drained(entry: Entry) -> Json:
    """Return who is away by order, and why."""
    return {
        "drain": entry.drain,
        "owner": entry.owner,
        "reason": entry.reason,
        "forced": entry.forced,
        "since": _iso(entry.since_unix_s),
    }


def pops(seen: FleetSeen, wall_s: float) -> list[Json]:
    """Return every POP that is known, by name."""
    names = sorted({*seen.members, *seen.present, *seen.ledger.entries})
    return [
        pop(name, seen.members.get(name), seen.present.get(name), seen.ledger.entries.get(name), wall_s)
        for name in names
    ]
