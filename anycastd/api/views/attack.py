"""Attacks as the API shows them."""

from __future__ import annotations

from anycastd.api.views.moments import Json, since
from anycastd.model.attack import AttackState, Shape, Share, Standing
from anycastd.model.status import Status

POP = "pop"
"""The subject that is the POP as a whole; others are addresses."""


def _shares(shares: tuple[Share, ...]) -> list[Json]:
    return [{"value": one.value, "percent": one.percent} for one in shares]


def _shape(shape: Shape | None) -> Json | None:
    if shape is None:
        return None
    return {
        "sampled": shape.sampled,
        "mean_bytes": shape.mean_bytes,
        "protocols": _shares(shape.protocols),
        "ports": _shares(shape.ports),
        "source_ports": _shares(shape.source_ports),
        "sources": _shares(shape.sources),
        "spoofed": shape.spoofed,
    }


def standing(status: Status, subject: str, one: Standing) -> Json:
    """Return how one subject stands."""
    rate, usual = one.rate, one.usual

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 1)

    return {
        "subject": subject,
        "state": one.state.name,
        **since(status, one.since_s),
        "reasons": [reason.value for reason in one.reasons],
        "rate": {
            "packets": rounded(rate.packets),
            "bits": rounded(rate.bits),
            "new_connections": rounded(rate.connections),
            "dropped_packets": rounded(rate.dropped_packets),
        },
        "usual": {
            "packets": rounded(usual.packets),
            "bits": rounded(usual.bits),
            "new_connections": rounded(usual.connections),
        },
        "detail": one.detail,
        "shape": _shape(one.shape),
    }


def _worst(status: Status) -> AttackState:
    view = status.attack
    return max((view.pop.state, *(one.state for one in view.eips.values())))


def attacks(status: Status) -> Json:
    """Return the POP and every EIP that is not NORMAL, the worst first."""
    view = status.attack
    ranked = sorted(view.eips.items(), key=lambda item: (-item[1].state, -item[1].rate.packets, int(item[0])))
    return {
        "state": _worst(status).name,
        "detect": status.config.attack.detect.enabled,
        "pop": standing(status, POP, view.pop),
        "eips": [standing(status, str(address), one) for address, one in ranked],
    }


def summary(status: Status) -> Json:
    """Return it in few words; no text when all is NORMAL."""
    view, worst = status.attack, _worst(status)
    states = [one.state for one in view.eips.values()]
    attacked, elevated = states.count(AttackState.ATTACK), states.count(AttackState.ELEVATED)
    parts = [] if view.pop.state is AttackState.NORMAL else [f"the POP is {view.pop.state.name}: {view.pop.detail}"]
    parts += [f"{count} EIPs {word}" for count, word in ((attacked, "ATTACK"), (elevated, "ELEVATED")) if count]
    return {"state": worst.name, "elevated": elevated, "attacked": attacked, "text": "; ".join(parts)}
