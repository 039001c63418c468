"""What an operator can do about a prefix that is not announced as usual: the second look of `explain` (I8). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from anycastd.api.views.moments import Json
from anycastd.model.decision import Level, PrefixState, Reason
from anycastd.model.health import Health
from anycastd.model.status import PrefixView

SHOWN = 4
"""Things to mend that are named; the others are counted, and stand below among the checks."""

NO_SESSION = "bring a neighbor up that carries it: {names}; anycastd status says why it is down"
_BY_HAND = "anycastd override prefix {prefix} --level withdrawn --force --reason TEXT"
_AGAIN = "anycastd override prefix {prefix} --level normal --reason TEXT"

DO: Mapping[Reason, str] = {
    Reason.HEALTH_UNKNOWN: "anycastd doctor: a check that is UNKNOWN cannot run on this machine",
    Reason.FIRST_CHECKS: "nothing: the first verdicts are awaited",
    Reason.DATA_PLANE_NOT_READY: "anycastd status: the alarms on the kernel say why its routes are not there",
    Reason.OBSERVATION_MISSING: "nothing, unless it lasts: anycastd status, the alarms on ExaBGP",
    Reason.SLOW_START: "nothing: it comes back by itself, step by step",
    Reason.CHANGE_BUDGET: "find what flaps: anycastd events --types check,tunnel,backend",
    Reason.SETTLING: "nothing yet: it is waited whether the fault passes",
    Reason.CHECKER_SUSPECT: "look at this machine: anycastd doctor",
    Reason.STATIC_GUARD: f"if others do announce it: {_BY_HAND}",
    Reason.NOT_ENOUGH_ANNOUNCERS: f"see why others do not count (fleet, below); if they do announce it: {_BY_HAND}",
    Reason.OBSERVERS_BLIND: f"bring an observer up (anycastd status); if others do announce it: {_BY_HAND}",
    Reason.DRAIN_QUEUED: "wait for the other drain (anycastd fleet status), or drain with --force --reason TEXT",
    Reason.GSHUT_WAIT: "nothing: neighbors are given time to take another way",
    Reason.BOOT_FAIL_OPEN: "anycastd doctor; anycastd status, its alarms: nothing could be checked since the start",
    Reason.CIRCUIT_BREAKER: "find the common cause; anycastd breaker reset lets as many go again",
    Reason.UNDER_ATTACK: f"anycastd attack status; to take it off the air all the same: {_BY_HAND}",
    Reason.FLEET_TOKEN: "wait; if the store is away: anycastd fleet status",
    Reason.ONLY_NEIGHBOR: "bring another neighbor up that carries it, or drain with --force --reason TEXT",
    Reason.FROZEN: "anycastd unfreeze",
    Reason.STANDBY: f"nothing: this POP is a standby of it; to announce it: {_AGAIN}",
    Reason.CALLED_ON: "anycastd attack playbook list, at the POP that calls",
    Reason.SPREADING: "anycastd attack playbook list; anycastd attack playbook stop ends it in stages",
    Reason.DRAINING: "anycastd drains says how far it is; anycastd undrain takes it back",
    Reason.OVERRIDDEN: "anycastd override clear {prefix}",
}
"""What to do, by what holds the prefix, or why it is at its level; what is not here needs no more than mending."""


def advice(view: PrefixView, checks: Iterable[Json]) -> list[str]:
    """Return what can be done, the first thing first; nothing for what is announced at NORMAL and held by nothing.

    `checks` are those that count for the prefix, the worst first.
    """
    decision, failed = view.decision, view.state is PrefixState.FAILED
    said = [NO_SESSION.format(names=", ".join(view.carriers) or "one")] if failed else []
    if decision.level is Level.NORMAL and decision.hold is None:
        return said
    said += _mend(checks) if decision.reason in (Reason.UNABLE_TO_SERVE, Reason.DEGRADED) else ()
    reasons = dict.fromkeys(reason for reason in (decision.hold, decision.reason) if reason is not None)
    return said + [DO[reason].format(prefix=view.prefix) for reason in reasons if reason in DO]


def _mend(checks: Iterable[Json]) -> Iterator[str]:
    """Yield what is to be mended: tunnels, else backends, each once."""
    bad = [one for one in checks if one["health"] in (Health.UNHEALTHY.value, Health.DEGRADED.value)]
    tunnels = dict.fromkeys(str(one["tunnel"]) for one in bad if one["backend"] is None)
    names = tuple(tunnels or dict.fromkeys(str(one["backend"]) for one in bad))
    if names:
        what = "tunnel" if tunnels else "backend"
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield f"mend {what}{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{rest}"
