"""BGP as the API shows it: sessions, what each neighbor should be sent, what it is sent, and what parts the two."""

from __future__ import annotations

from itertools import groupby

from anycastd.api.views.moments import Json, iso, since
from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Route, SessionView
from anycastd.model.status import Status


def as_path(route: Route) -> str:
    """Return an AS path with repetitions counted: `64500 x4`."""
    runs = [(asn, len(list(run))) for asn, run in groupby(route.as_path)]
    return " ".join(str(asn) if count == 1 else f"{asn} x{count}" for asn, count in runs)


def words(route: Route) -> str:
    """Return a route's attributes in words, without prefix and next hop."""
    parts = [f"as-path [{as_path(route)}]"]
    if route.local_preference is not None:
        parts.append(f"local-preference {route.local_preference}")
    if route.med is not None:
        parts.append(f"med {route.med}")
    if route.communities:
        parts.append(f"community {' '.join(route.communities)}")
    if route.large_communities:
        parts.append(f"large-community {' '.join(route.large_communities)}")
    return " ".join(parts)


def route(value: Route) -> Json:
    """Return one route."""
    return {
        "prefix": str(value.prefix),
        "next_hop": value.next_hop,
        "as_path": list(value.as_path),
        "med": value.med,
        "local_preference": value.local_preference,
        "communities": list(value.communities),
        "large_communities": list(value.large_communities),
    }


def difference(wanted: Route | None, have: Route | None) -> str:
    """Return in words what parts a wanted route from what is sent; empty if nothing does."""
    if wanted == have:
        return ""
    if have is None:
        return "not sent"
    if wanted is None:
        return "sent, not wanted"
    if words(wanted) == words(have):
        return f"sent with next hop {have.next_hop}, wanted {wanted.next_hop}"
    return f"sent with {words(have)}, wanted with {words(wanted)}"


def _pairs(status: Status, name: NeighborName) -> dict[Prefix, tuple[Route | None, Route | None]]:
    wanted = status.wanted_routes.get(name, {})
    have = (status.bgp.routes or {}).get(name, {})
    return {prefix: (wanted.get(prefix), have.get(prefix)) for prefix in {**wanted, **have}}


def neighbor(status: Status, name: NeighborName) -> Json:
    """Return one session and how many of its routes are as wanted."""
    configured = status.config.neighbors[name]
    session = status.bgp.sessions.get(name, SessionView(since_s=status.started_s))
    pairs = _pairs(status, name)
    return {
        "neighbor": name,
        "role": configured.role.value,
        "address": str(configured.address),
        "asn": configured.asn,
        "local_address": str(configured.local_address),
        "local_asn": configured.local_asn,
        "families": [family.value for family in configured.families],
        "state": session.state.value,
        "why": session.reason,
        **since(status, session.since_s),
        "routes": {
            "desired": sum(wanted is not None for wanted, _ in pairs.values()),
            "observed": None if status.bgp.routes is None else sum(have is not None for _, have in pairs.values()),
            "as_wanted": sum(wanted is not None and wanted == have for wanted, have in pairs.values()),
        },
    }


def _with_routes(status: Status, name: NeighborName) -> Json:
    wanted = status.wanted_routes.get(name, {})
    have = None if status.bgp.routes is None else status.bgp.routes.get(name, {})
    pairs = {} if have is None else _pairs(status, name)
    return {
        **neighbor(status, name),
        "desired": [route(value) for value in wanted.values()],
        "observed": None if have is None else [route(value) for value in have.values()],
        "differences": [f"{prefix}: {text}" for prefix, pair in pairs.items() if (text := difference(*pair))],
    }


def neighbors(status: Status) -> Json:
    """Return every session with its routes, ExaBGP's state, and what is sent that nobody wanted."""
    return {
        "speaker": status.bgp.speaker.value,
        "observed_at": iso(status, status.bgp.dumped_at_s),
        "in_flight": len(status.bgp.in_flight),
        "unwanted": list(status.unwanted),
        "neighbors": [_with_routes(status, name) for name in status.config.neighbors],
    }
