"""What the daemon and a probe worker say to each other. Pure.

Orders are pickled: a worker is our own child, and ten thousand checks must not hold the daemon's loop. What a worker
says is JSON and read strictly: it deals with strangers, and one that has gone wrong must not take the daemon along.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from anycastd.model.address import CheckId
from anycastd.model.checks import ProbeSpec
from anycastd.model.probe import Note, ProbeResult, Why
from anycastd.model.probing import LATE_BOUNDS_S, EngineStats


class WorkerError(ValueError):
    """A worker said something that it never says."""


@dataclass(frozen=True, slots=True)
class Learn:
    """Checks to run from the next Run on, with the number of the last probe of each."""

    specs: tuple[tuple[ProbeSpec, int], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Run what was learned since the last Run, and nothing else."""

    set_number: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A change of the check's verdict is pending, or no more."""

    check: CheckId
    pending: bool


@dataclass(frozen=True, slots=True)
class Nudge:
    """Run the check now."""

    check: CheckId


Order = Learn | Run | Pending | Nudge


def order(one: Order) -> bytes:
    """Return an order as a frame's body."""
    return pickle.dumps(one, protocol=pickle.HIGHEST_PROTOCOL)


def read_order(body: bytes) -> Order:
    """Return the order; only a worker reads them, and only from its parent."""
    found: Order = pickle.loads(body)
    return found


@dataclass(frozen=True, slots=True)
class Results:
    """What probes saw."""

    results: tuple[ProbeResult, ...]


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker is well: which set of checks it runs, and what it has counted."""

    set_number: int
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class Name:
    """A target's name is not resolved (`detail`), or is again."""

    name: str
    detail: str | None


News = Results | Beat | Name


def results(some: Sequence[ProbeResult]) -> bytes:
    """Return results as a frame's body."""
    return json.dumps(["r", [_row(one) for one in some]], separators=(",", ":")).encode()


def _row(one: ProbeResult) -> list[Any]:
    note = None if one.note is None else [one.note.certificate_ends_s, one.note.warning]
    return [
        one.check,
        one.why.value,
        one.started_s,
        one.ended_s,
        one.detail,
        one.number,
        one.overtaken,
        one.late_s,
        note,
    ]


def beat(set_number: int, stats: EngineStats) -> bytes:
    """Return a beat as a frame's body."""
    return json.dumps(["b", set_number, asdict(stats)], separators=(",", ":")).encode()


def name(of: str, detail: str | None) -> bytes:
    """Return word of a name as a frame's body."""
    return json.dumps(["n", of, detail], separators=(",", ":")).encode()


def read_news(body: bytes) -> News:
    """Return what a worker said; raise WorkerError for anything else."""
    try:
        kind, *rest = json.loads(body)
        if kind == "r":
            return Results(tuple(map(_result, *rest)))
        if kind == "b":
            set_number, counted = rest
            return Beat(_whole(set_number), _stats(counted))
        if kind == "n":
            of, detail = rest
            return Name(_text(of), None if detail is None else _text(detail))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"not understood: {error}"
        raise WorkerError(message) from error
    message = f"not understood: {kind!r}"
    raise WorkerError(message)


def _result(row: Any) -> ProbeResult:
    check, why, started_s, ended_s, detail, number, overtaken, late_s, note = row
    made = None
    if note is not None:
        ends_s, warning = note
        made = Note(certificate_ends_s=None if ends_s is None else float(ends_s), warning=_text(warning))
    return ProbeResult(
        CheckId(_text(check)), Why(why), float(started_s), float(ended_s), _text(detail), _whole(number),
        bool(overtaken), made, float(late_s),
    )  # fmt: skip


def _stats(counted: Any) -> EngineStats:
    late = tuple(map(_whole, counted["late_counts"]))
    if len(late) != len(LATE_BOUNDS_S) + 1:
        message = f"{len(late)} counts of lateness"
        raise ValueError(message)
    numbers = {one.name: counted[one.name] for one in fields(EngineStats) if one.name != "late_counts"}
    made = {key: float(value) if key.endswith("_s") else _whole(value) for key, value in numbers.items()}
    return EngineStats(late_counts=late, **made)  # type: ignore[arg-type]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        message = f"text is wanted, not {value!r}"
        raise TypeError(message)
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        message = f"a whole number is wanted, not {value!r}"
        raise TypeError(message)
    return value
