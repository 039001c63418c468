"""Where drains and overrides outlive the daemon: one small file that is replaced whole, as `memory_file` does.

Times are monotonic seconds of the boot that the file names; on another boot they are shifted by what the wall clock
says, so a step of the clock moves nothing while the machine runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from anycastd.model.decision import Level
from anycastd.model.operator import After, Drain, DrainPhase, DrainScope, Override, OverrideKind, State
from anycastd.model.plain import known_of
from anycastd.runtime.kept.document import loaded, made_of
from anycastd.runtime.kept.memory_file import Clocks, SavedTimes

FORMAT = 1
KEPT_S = 86400.0
"""How long an answer to an Idempotency-Key is known."""
T = TypeVar("T", Drain, Override)
_DRAIN_FIELDS, _OVERRIDE_FIELDS = (tuple(one.name for one in fields(kind)) for kind in (Drain, Override))
_DRAIN = {"scope": DrainScope, "after": After, "phase": DrainPhase}


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that a request with an Idempotency-Key got; `digest` is of the request."""

    digest: str
    at_s: float
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Orders:
    """What is in the file."""

    drains: tuple[Drain, ...] = ()
    overrides: tuple[Override, ...] = ()
    answers: Mapping[str, Kept] = field(default_factory=dict)


def encode(orders: Orders, at: Clocks) -> str:
    """Return the file's text."""
    answers = {key: asdict(kept) for key, kept in orders.answers.items() if at.monotonic_s - kept.at_s < KEPT_S}
    document = {
        "format": FORMAT,
        "clocks": asdict(at),
        "drains": [asdict(drain) for drain in orders.drains],
        "overrides": [asdict(one) | {"level": one.level and one.level.name} for one in orders.overrides],
        "answers": answers,
    }
    return json.dumps(document, indent=1) + "\n"


def decode(text: str, now: Clocks) -> Orders:
    """Return the orders with their times on the present clock; ValueError if the text is not what `encode` writes."""

    def made(document: dict[str, Any]) -> Orders:
        times = SavedTimes.of(document["clocks"], now)
        return Orders(
            tuple(_shifted(_drain(one), times) for one in document["drains"]),
            tuple(_shifted(_override(one), times) for one in document["overrides"]),
            answers_of(document["answers"], times),
        )

    return made_of(text, FORMAT, "a file of orders", ("clocks", "drains", "overrides", "answers"), made)


def _drain(value: dict[str, Any]) -> Drain:
    known = known_of(value, _DRAIN_FIELDS, str(value["id"]))
    return Drain(**known | {name: kind(value[name]) for name, kind in _DRAIN.items()})


def _override(value: dict[str, Any]) -> Override:
    level = None if value["level"] is None else Level[value["level"]]
    state = None if value["state"] is None else State(value["state"])
    if (level is None) is (state is None):
        message = "not a file of orders: an override has a level or a state"
        raise ValueError(message)
    known = known_of(value, _OVERRIDE_FIELDS, str(value["id"]))
    return Override(**known | {"kind": OverrideKind(value["kind"]), "level": level, "state": state})


def answers_of(answers: dict[str, Any], times: SavedTimes) -> dict[str, Kept]:
    """Return the answers to requests with an Idempotency-Key, as another file of orders has them too."""
    return {
        key: Kept(str(one["digest"]), times.now(one["at_s"], f"answers.{key}.at_s"), dict(one["body"]))
        for key, one in answers.items()
    }


def _shifted(order: T, times: SavedTimes) -> T:
    changed: dict[str, Any] = {
        one.name: times.now(value, f"{order.id}.{one.name}")
        for one in fields(order)
        if one.name.endswith("_s") and (value := getattr(order, one.name)) is not None
    }
    return replace(order, **changed)


def load(path: Path, now: Clocks) -> tuple[Orders, str]:
    """Return the orders, and why they cannot be read (empty = they can; a file that is not there holds none)."""
    return loaded(path, lambda text: decode(text, now), Orders)
