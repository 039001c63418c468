"""How this POP is, in the few numbers that the fleet is told."""

from __future__ import annotations

from collections import Counter

from anycastd.model.decision import Level
from anycastd.model.spread import Announce
from anycastd.model.traffic import Rates
from anycastd.resources.fleet import MAX_NAMED, Presence
from anycastd.runtime.control import Control
from anycastd.runtime.eips.part import Eips
from anycastd.store.etcd.trust import Known


def presence_of(
    control: Control, eips: Eips, known: Known, *, version: str, alarms: int, wall_s: float, started_unix_s: float
) -> Presence:
    """Return it as of now; a prefix that was not decided yet counts as not announced."""
    config, decisions, spread = control.config, control.decisions, control.spread
    away = [p for p in config.prefixes if p not in decisions or decisions[p].level is Level.WITHDRAWN]
    sample = eips.meter.sample
    rates = Rates() if sample is None else sample.pop_rates
    drain, seen = control.orders.pop, control.attacks.view
    worst = max((seen.pop.state, *(one.state for one in seen.eips.values())))
    return Presence(
        pop=config.pop.name,
        version=version,
        config=config.digest,
        at_unix_s=round(wall_s, 3),
        started_unix_s=round(started_unix_s, 3),
        state=_state(control, len(away)),
        health=dict(Counter(view.health.value for view in control.beliefs.view.regions.values())),
        levels=dict(Counter(decision.level.name for decision in decisions.values())),
        away=frozenset() if len(away) > MAX_NAMED else frozenset(map(str, away)),
        away_all=len(away) == len(config.prefixes) or len(away) > MAX_NAMED,
        in_bps=round(rates.in_bps),
        out_bps=round(rates.out_bps),
        eips=len(eips.desk.records),
        bound=known.bound,
        revision=known.revision,
        drain="" if drain is None else drain.phase.value,
        alarms=alarms,
        capacity_bps=float(config.attack.spread.capacity_bps or 0),
        standby=frozenset(str(p) for p, spec in config.prefixes.items() if spec.announce is Announce.STANDBY),
        calls=frozenset(str(p) for p, shed in spread.sheds.items() if shed.calls),
        sheds=frozenset(str(p) for p, shed in spread.sheds.items() if shed.sheds),
        pressed=frozenset(map(str, spread.pressed)),
        attack=worst.name,
        attacked=len(control.attacks.eips),
        steps=spread.steps,
    )


def _state(control: Control, away: int) -> str:
    if control.stopping:
        return "stopping"
    count = len(control.config.prefixes)
    return "serving" if not away else "silent" if away == count else "partly"
