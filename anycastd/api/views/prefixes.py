"""Prefixes as the API shows them: what is done, what is wanted, and what holds the difference."""

from __future__ import annotations

from ipaddress import ip_network

from anycastd.api.views.moments import Json, since, span
from anycastd.model.address import Prefix, family_of
from anycastd.model.decision import Decision, Level, Reason
from anycastd.model.status import PrefixView, Status

_TIMED = frozenset({Reason.SLOW_START, Reason.CHANGE_BUDGET, Reason.SETTLING})


def preference(status: Status, prefix: Prefix, level: Level, eased: int | None = None) -> str:
    """Return a level as people read it: NORMAL, DEPREF 3, GSHUT or WITHDRAWN; `eased`: the prepend of a step."""
    if level is not Level.DEPREF:
        return level.name
    if eased is not None:
        return f"DEPREF {eased}"
    spec = status.config.prefixes.get(prefix)
    return f"DEPREF {spec.depref_prepend}" if spec else "DEPREF"


def why(status: Status, decision: Decision) -> str:
    """Return one sentence: what holds a change back if anything does, else what health says."""
    hold = decision.hold
    if hold is None:
        return decision.detail or decision.reason.value.replace("_", " ")
    words = hold.value.replace("_", " ")
    if hold in _TIMED and decision.wake_at_s is not None:
        # the rule's own words were made when it last spoke; the time left is counted now
        return f"{words}, next step in {span(max(decision.wake_at_s - status.now_s, 0.0))}"
    evidence = next((step.evidence for step in reversed(decision.trail) if step.reason is hold), "")
    return f"{words}: {evidence}" if evidence else words


def prefix(status: Status, view: PrefixView) -> Json:
    """Return one prefix."""
    decision = view.decision
    wake_at_s = decision.wake_at_s
    spec = status.config.prefixes.get(view.prefix)
    return {
        "prefix": str(view.prefix),
        "family": family_of(view.prefix).value,
        "state": view.state.value,
        "level": decision.level.name,
        "preference": preference(status, view.prefix, decision.level, decision.prepend),
        "wanted": decision.wanted.name,
        "reason": decision.reason.value,
        "hold": None if decision.hold is None else decision.hold.value,
        "why": why(status, decision),
        "detail": decision.detail,
        "condition": decision.condition.value,
        "announce_when": None if spec is None else str(spec.announce_when),
        **since(status, decision.since_s),
        "next_decision_s": None if wake_at_s is None else round(max(wake_at_s - status.now_s, 0.0), 3),
        "neighbors": {"confirmed": list(view.confirmed), "wanted": list(view.carriers)},
        "relapses": view.memory.relapses,
    }


def prefixes(status: Status) -> Json:
    """Return every prefix."""
    return {"prefixes": [prefix(status, view) for view in status.prefixes.values()]}


def find(status: Status, text: str) -> PrefixView | None:
    """Return the prefix written as `text`, or the longest one that holds the address; ValueError if it is neither."""
    wanted = ip_network(text.strip())
    if found := status.prefixes.get(wanted):
        return found
    if wanted.prefixlen != wanted.max_prefixlen:
        return None
    address = wanted.network_address
    holding = [view for view in status.prefixes.values() if address in view.prefix]
    return max(holding, key=lambda view: view.prefix.prefixlen, default=None)
