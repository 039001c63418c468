"""The daemon's whole state at one moment, as a value: what every face of it is made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from anycastd.model.address import NeighborName, Prefix, RegionName
from anycastd.model.attack import AttackView
from anycastd.model.bfd import BfdView
from anycastd.model.bgp import BgpObserved, Route, SessionState, SpeakerState
from anycastd.model.decision import Decision, Level, PrefixState
from anycastd.model.operator import Carried
from anycastd.model.probing import ProbingFacts
from anycastd.model.spread import Announce
from anycastd.model.status import LoopView, PrefixView, Status
from anycastd.runtime.alarms import Alarms, Reported, standing
from anycastd.runtime.control import Control
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.loop.due import UNDECIDED
from anycastd.runtime.loop.prefix_facts import routes_wanted


@dataclass(slots=True)
class Circumstances:
    """What status shows beside the control loop's own state."""

    version: str
    started_s: float
    config_loaded_s: float
    config_error: str = ""
    loop: LoopView = field(default_factory=LoopView)
    probing: ProbingFacts = field(default_factory=ProbingFacts)
    carried: Mapping[str, Carried] = field(default_factory=dict)
    bfd: BfdView | None = None
    attack: AttackView = field(default_factory=AttackView)
    dial_generations: Mapping[RegionName, int] = field(default_factory=dict)


def state_of(
    decision: Decision, wanted: dict[NeighborName, Route | None], bgp: BgpObserved
) -> tuple[PrefixState, tuple[str, ...]]:
    """Return a prefix's state, and the established neighbors to which it is acknowledged as wanted."""
    have = {name: (bgp.routes or {}).get(name, {}).get(decision.prefix) for name in wanted}
    if decision.level is Level.WITHDRAWN:
        if any(have.values()):
            return PrefixState.WITHDRAWING, ()
        waiting = decision.hold in UNDECIDED or decision.wanted is not Level.WITHDRAWN
        return (PrefixState.PENDING if waiting else PrefixState.WITHDRAWN), ()
    if bgp.routes is not None and decision.drained and not any(wanted.values()):
        # every neighbor that carries it is drained: nobody is told, as was ordered
        return (PrefixState.WITHDRAWING if any(have.values()) else PrefixState.WITHDRAWN), ()
    up = {name for name, session in bgp.sessions.items() if session.state is SessionState.ESTABLISHED}
    confirmed = tuple(sorted(n for n, route in wanted.items() if n in up and route is not None and have[n] == route))
    if confirmed:
        return PrefixState.ANNOUNCED, confirmed
    moving = bgp.routes is None or bgp.speaker in (SpeakerState.STARTING, SpeakerState.SYNCING)
    if moving or any((name, decision.prefix) in bgp.in_flight for name in wanted):
        return PrefixState.PENDING, ()
    return PrefixState.FAILED, ()


def _is_standby(control: Control, name: NeighborName) -> bool:
    """Return whether a neighbor is a standby: silent, it is not one of those that should have a prefix."""
    return control.config.neighbors[name].announce is Announce.STANDBY


def views(control: Control) -> Iterator[PrefixView]:
    """Yield the view of every decided prefix, each as of when it is asked for."""
    wanted = routes_wanted(control)
    for prefix, spec in control.config.prefixes.items():
        decision = control.decisions.get(prefix)
        if decision is None:
            continue
        bgp = control.announcer.observed
        state, confirmed = state_of(decision, {n: wanted.get(n, {}).get(prefix) for n in spec.neighbors}, bgp)
        yield PrefixView(
            prefix=prefix,
            state=state,
            decision=decision,
            memory=control.memories[prefix],
            confirmed=confirmed,
            carriers=tuple(n for n in spec.neighbors if prefix in wanted.get(n, {}) or not _is_standby(control, n)),
        )


def build(
    control: Control,
    circumstances: Circumstances,
    followed: Followed,
    alarms: Alarms,
    reported: Reported,
    now_s: float,
    wall_s: float,
    prefixes: Mapping[Prefix, PrefixView] | None = None,
) -> Status:
    """Return the daemon's state now; `prefixes` are the views if they were made before."""
    config, bgp = control.config, control.announcer.observed
    wanted = routes_wanted(control)
    if prefixes is None:
        prefixes = {view.prefix: view for view in views(control)}
    unwanted = control.announcer.unwanted(wanted) if control.adopted else ()
    lag_ms, spared = circumstances.loop.lag_ms, control.announcer.spared
    raised = standing(config, control.beliefs, bgp, control.forwarder, prefixes, unwanted, spared, reported, lag_ms)
    fleet = control.announcer.fleet
    routes, rules = control.forwarder.wanted
    return Status(
        now_s=now_s,
        wall_s=wall_s,
        started_s=circumstances.started_s,
        version=circumstances.version,
        config=config,
        config_loaded_s=circumstances.config_loaded_s,
        config_error=circumstances.config_error,
        checks=dict(control.beliefs.tracker.states),
        health=control.beliefs.view,
        measured=control.beliefs.tracker.measured,
        prefixes=prefixes,
        wanted_routes=wanted,
        bgp=bgp,
        unwanted=unwanted,
        kernel=control.forwarder.observed,
        wanted_kernel_routes=routes,
        wanted_kernel_rules=rules,
        tunnel_orders=control.forwarder.routes.orders,
        filter_stands=control.forwarder.steering.observed.rules,
        filter_missing=control.forwarder.steering.plane.missing,
        alarms=alarms.update(chain(raised, fleet.alarms()), now_s),
        fleet=fleet.report(),
        timers=followed.timers,
        loop=circumstances.loop,
        probing=circumstances.probing,
        stopping=control.stopping,
        orders=control.orders,
        carried=circumstances.carried,
        bfd=circumstances.bfd,
        breaker=control.breaker.view(config, now_s),
        attack=circumstances.attack,
        dials=control.forwarder.steering.dials,
        dial_generations=circumstances.dial_generations,
    )
