"""What the bridge may say when the daemon has been away for too long (I3). Pure.

It follows the present levels: announcing a prefix that health had withdrawn would bring a sick POP back.
"""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.model.address import Prefix
from anycastd.model.bgp import Announce, BgpAction, DeadManStage, Priority, Withdraw
from anycastd.model.decision import Decision, Level
from anycastd.model.topology import Config, DeadMan, PrefixSpec
from anycastd.policy.desired import next_hop_of, route_for


def stages(config: Config, decisions: Mapping[Prefix, Decision]) -> tuple[DeadManStage, ...]:
    """Return what to say when, first what is due first; empty when every prefix says `keep`."""
    found: dict[tuple[float, DeadMan], list[BgpAction]] = {}
    for prefix, spec in config.prefixes.items():
        decision = decisions.get(prefix)
        if spec.dead_man is DeadMan.KEEP or decision is None or decision.level is Level.WITHDRAWN:
            continue
        if spec.dead_man is DeadMan.DEPREF and decision.level is not Level.NORMAL:
            continue
        found.setdefault((spec.dead_man_after_s, spec.dead_man), []).extend(_actions(config, spec, decision))
    return tuple(DeadManStage(kind.value, after_s, tuple(said)) for (after_s, kind), said in sorted(found.items()))


def _actions(config: Config, spec: PrefixSpec, decision: Decision) -> list[BgpAction]:
    said: list[BgpAction] = []
    for name in spec.neighbors:
        neighbor = config.neighbors[name]
        if spec.dead_man is DeadMan.WITHDRAW:
            said.append(Withdraw(name, spec.prefix, next_hop_of(neighbor, spec.prefix)))
        elif (route := route_for(neighbor, spec, min(Level.DEPREF, decision.level_at(name)))) is not None:
            said.append(Announce(name, route, Priority.FAILOVER))
    return said
