"""Playbooks, their runs and the standbys as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anycastd.attack.playbook import Run
from anycastd.attack.standby import Standby
from anycastd.model.address import Prefix
from anycastd.model.spread import Playbook, PlayStep, SpreadConfig

Json = dict[str, Any]


def step(number: int, one: PlayStep) -> Json:
    """Return a step as it is written."""
    return {
        "step": number,
        "what": str(one),
        "kind": one.kind.value,
        "mode": one.mode.name.lower(),
        "falls_percent": one.falls_percent,
        "verify_after_s": list(one.verify_after_s),
    }


def playbook(book: Playbook) -> Json:
    """Return a playbook as it is written."""
    return {
        "name": book.name,
        "about": book.about,
        "file": book.path,
        "when": [str(one) for one in book.when],
        "prefixes": [str(one) for one in book.prefixes],
        "calm_s": book.calm_s,
        "steps": [step(number, one) for number, one in enumerate(book.steps, 1)],
    }


def run(name: str, prefix: Prefix, one: Run, book: Playbook, now_s: float) -> Json:
    """Return what a playbook does for a prefix: steps in force, oldest first, and what it waits for."""
    return {
        "playbook": name,
        "prefix": str(prefix),
        "doing": one.doing.value,
        "detail": one.detail,
        "relapses": one.relapses,
        "steps": [
            {
                "step": taken.step + 1,
                "what": str(book.steps[taken.step]),
                "for_s": round(now_s - taken.at_s, 1),
                "looks": taken.looks,
                "outcome": taken.outcome.value if taken.outcome is not None else None,
                "before_bps": taken.before_bps,
            }
            for taken in one.taken
        ],
    }


def standby(prefix: Prefix, one: Standby, now_s: float) -> Json:
    """Return how far this POP is as a standby for a prefix."""
    return {
        "prefix": str(prefix),
        "stage": one.stage.value,
        "for_s": round(now_s - one.since_s, 1),
        "called_by": list(one.by),
    }


def playbooks(
    spec: SpreadConfig,
    books: Mapping[tuple[str, Prefix], Playbook],
    runs: Mapping[tuple[str, Prefix], Run],
    standbys: Mapping[Prefix, Standby],
    load_bps: float | None,
    now_s: float,
) -> Json:
    """Return everything; of runs those that do or wait for something."""
    shown = [
        run(key[0], key[1], one, books[key], now_s)
        for key, one in runs.items()
        if key in books and (one.taken or one.detail)
    ]
    return {
        "mode": spec.mode.name.lower(),
        "capacity_bps": spec.capacity_bps,
        "load_bps": load_bps,
        "playbooks": [playbook(book) for book in spec.playbooks.values()],
        "runs": shown,
        "standbys": [standby(prefix, one, now_s) for prefix, one in standbys.items()],
    }
