"""What our beacon says of a prefix, from its decision and from what ExaBGP says that it sends. Pure.

The way of a beacon: after each decision `own = own.follow({prefix: memory})`; then `claim_of` for what changed, also
when a session or a route did; then `fleet.standing.beacon_of`, with seq + 1, and `fleet.codec.parts_of` and `route_of`.
It must be made anew from what is decided at that moment and said before, or together with, the UPDATEs of a decision
that lowers a level: a beacon may lag behind what rises, never behind what falls.
"""

from __future__ import annotations

from collections.abc import Collection

from anycastd.fleet.own import honest_claim
from anycastd.model.address import NeighborName
from anycastd.model.bgp import BgpObserved, SessionState
from anycastd.model.decision import Decision, Level, Reason, Truth
from anycastd.model.fleet import Claim
from anycastd.model.topology import Config, PrefixSpec
from anycastd.policy.desired import level_of


def claim_of(config: Config, decision: Decision, bgp: BgpObserved, min_upstreams: int = 1) -> Claim:
    """Return what may be said of a configured prefix: no more than what so many established upstreams were sent."""
    spec = config.prefixes[decision.prefix]
    sent = [_sent(config, spec, name, bgp) for name in established(bgp, spec.neighbors)]
    drained = decision.reason is Reason.DRAINING and decision.condition is Truth.TRUE
    # health says less, and only the attack keeps it at its level: nobody is to leave by our word
    level = min(decision.level, Level.DEPREF) if decision.hold is Reason.UNDER_ATTACK else decision.level
    return honest_claim(level, sent, min_upstreams=min_upstreams, could_serve=drained)


def established(bgp: BgpObserved, names: Collection[NeighborName]) -> list[NeighborName]:
    """Return those of the neighbors whose session is established."""
    sessions = bgp.sessions
    return [name for name in names if name in sessions and sessions[name].state is SessionState.ESTABLISHED]


def _sent(config: Config, spec: PrefixSpec, name: NeighborName, bgp: BgpObserved) -> Level:
    route = (bgp.routes or {}).get(name, {}).get(spec.prefix)
    if route is None:
        return Level.WITHDRAWN
    level = level_of(config.neighbors[name], spec, route)
    return min(level, Level.DEPREF) if (name, spec.prefix) in bgp.in_flight else level
