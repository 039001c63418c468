"""The forecast of an attack as a page of 80 columns and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any, TypeVar

import click

from anycastd.attack.cascade import Cascade
from anycastd.attack.forecast import Forecast, Load, Loads, Outcome, Spread
from anycastd.attack.plan import Plan

WIDTH, LABEL = 80, 28
MOST = 12
"""Of so many POPs and withdrawals all are shown; of more the worst, and --json has the rest."""
LOST = "LOST"
LEGEND = (
    "In %: clients' packets that are lost, and how full each POP is. The likely value, then the range where something "
    "is not known. Steps add up; each withdrawal is alone."
)


def lines(plan: Plan, found: Forecast, likely: Cascade, worst: Cascade, *, colour: bool) -> list[str]:
    """Return the whole page."""
    withdrawals = _worst(found.withdrawals, lambda one: one.clients_lost.high)
    outcomes = (found.now, *found.steps, *withdrawals)
    names = _worst(tuple(plan.pops), lambda name: max(one.full[name].high for one in outcomes))
    left_out = len(plan.pops) - len(names)
    return [
        *wrap(size_text(plan), WIDTH),
        "",
        *_pops(plan, found.now, names, colour),
        *([f"and {left_out} POPs that never get as full: --json has all"] if left_out else []),
        "",
        *wrap(LEGEND, WIDTH),
        *_matrix(outcomes, names, colour),
        "",
        *_cascades(likely, worst, found, colour),
        "",
        *(line for note in found.notes for line in wrap(f"- {note}", WIDTH, subsequent_indent="  ")),
    ]


T = TypeVar("T")


def _worst(some: Sequence[T], harm: Callable[[T], float]) -> tuple[T, ...]:
    """Return all, or the worst, in their order."""
    if len(some) <= MOST:
        return tuple(some)
    kept = sorted(range(len(some)), key=lambda number: -harm(some[number]))[:MOST]
    return tuple(some[number] for number in sorted(kept))


def size_text(plan: Plan) -> str:
    """Return the attack in one line."""
    attack = plan.attack
    size = bits(attack.bps) + (f", {packets(attack.pps)}" if attack.pps else "")
    largest = sorted(((share, name) for name, share in attack.sources.items() if share), reverse=True)
    of = ", ".join(f"{name} {share:.0%}" for share, name in largest[:MOST])
    more = f" and {len(largest) - MOST} more" if len(largest) > MOST else ""
    return f"attack of {size}; sources in the catchments of {of}{more}"


def bits(bps: float) -> str:
    """Return bits per second in the unit that fits."""
    return _in_unit(bps, ((1e12, "Tbit/s"), (1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")), "bit/s")


def packets(pps: float) -> str:
    """Return packets per second in the unit that fits."""
    return _in_unit(pps, ((1e9, "Gpps"), (1e6, "Mpps"), (1e3, "kpps")), "pps")


def _in_unit(value: float, units: Sequence[tuple[float, str]], least: str) -> str:
    size, unit = next((one for one in units if value >= one[0]), (1.0, least))
    return f"{value / size:.3g} {unit}" if value / size < 999.5 else f"{value / size:.0f} {unit}"


def _pops(plan: Plan, now: Outcome, names: Sequence[str], colour: bool) -> list[str]:
    """Return what each POP can carry and has, as it is."""
    rows = [("POP", "CAPACITY", "CLIENTS", "USUAL", "ATTACK", "FULL", "DROPS")]
    for name in names:
        load, capacity = now.loads[name], bits(plan.pops[name].capacity_bps)
        if not load.announces:
            rows.append((name, capacity, "standby", "-", "-", "-", "-"))
            continue
        flow = load.flow
        drops = bits(load.lost_bps) if load.full > 1 else "-"
        rows.append(
            (
                name,
                capacity,
                f"{flow.clients:.1%}",
                bits(flow.usual_bps),
                bits(flow.attack_bps),
                _percent(load.full),
                drops,
            )
        )
    return _aligned(rows, colour, over={name for name, load in now.loads.items() if load.full > 1})


def _matrix(outcomes: Sequence[Outcome], names: Sequence[str], colour: bool) -> Iterator[str]:
    """Yield a line for each announcement and a column for each POP, in blocks that fit the width."""
    labels = [_labelled(one.title) for one in outcomes]
    columns: list[tuple[str, list[str], list[bool]]] = [
        (LOST, [_spread(one.clients_lost) for one in outcomes], [one.dark for one in outcomes])
    ]
    for name in names:
        cells = [_spread(one.full[name]) if one.loads[name].announces else "-" for one in outcomes]
        columns.append((name, cells, [one.loads[name].full > 1 for one in outcomes]))
    wide = max(len(line) for label in labels for line in label)
    while columns:
        block = [columns.pop(0)]
        used = wide + 2 + _wide(block[0])
        while columns and used + 2 + _wide(columns[0]) <= WIDTH:
            used += 2 + _wide(columns[0])
            block.append(columns.pop(0))
        head = "  ".join(one[0].rjust(_wide(one)) for one in block)
        yield _bold(f"{'':{wide}}  {head}", colour)
        for number, label in enumerate(labels):
            row = "  ".join(_red(one[1][number].rjust(_wide(one)), one[2][number], colour) for one in block)
            yield from label[:-1]
            yield f"{label[-1]:{wide}}  {row}"


def _wide(column: tuple[str, list[str], list[bool]]) -> int:
    return max(len(column[0]), *(len(cell) for cell in column[1]))


def _labelled(title: str) -> list[str]:
    return wrap(title, LABEL, subsequent_indent="   ")


def _cascades(likely: Cascade, worst: Cascade, found: Forecast, colour: bool) -> Iterator[str]:
    if likely == worst:
        yield from _cascade("likely and at worst", likely, found, colour)
        return
    yield from _cascade("likely", likely, found, colour)
    yield from _cascade("at worst", worst, found, colour)


def _cascade(how: str, one: Cascade, found: Forecast, colour: bool) -> Iterator[str]:
    """Yield what comes of withdrawing whoever is overloaded."""
    if not one.withdrawn:
        yield f"Cascade, {how}: no POP is overloaded, none would be withdrawn"
        return
    yield f"Cascade, {how}: what checks do that withdraw every overloaded POP"
    for number, each in enumerate(one.rounds):
        if MOST // 2 <= number < len(one.rounds) - 2:
            if number == MOST // 2:
                yield f"  and {len(one.rounds) - 2 - number} rounds more, until"
            continue
        words = list(_words(each.loads)) or [("no POP announces: the prefix is DARK", True)]
        yield from _flowing(
            f"  round {number}", [*words, (f"(clients lose {_percent(each.clients_lost)})", False)], colour
        )
    absorbed = found.now.clients_lost.likely
    gone = ", ".join(one.withdrawn) if len(one.withdrawn) <= MOST else f"{len(one.withdrawn)} POPs"
    end = "DARK" if one.dark else f"with {gone} withdrawn"
    lost = _percent(one.rounds[-1].clients_lost)
    yield from wrap(f"  ends {end}: clients lose {lost}; with all staying {_percent(absorbed)}", WIDTH)


def _words(loads: Loads) -> Iterator[tuple[str, bool]]:
    """Yield how full each POP is, and whether that is too full; of many only the fullest."""
    standing = {name: load.full for name, load in loads.items() if load.announces}
    shown = _worst(tuple(standing), lambda name: standing[name])
    yield from ((f"{name} {_percent(standing[name])}", standing[name] > 1) for name in shown)
    if more := len(standing) - len(shown):
        over = sum(full > 1 for name, full in standing.items() if name not in shown)
        yield f"and {more} more, {over} of them over", over > 0


def _flowing(lead: str, words: Sequence[tuple[str, bool]], colour: bool) -> Iterator[str]:
    """Yield words behind a lead, in as many lines as they need; colours do not count."""
    line, used = lead, len(lead)
    for text, is_red in words:
        if used + 2 + len(text) > WIDTH and used > len(lead):
            yield line
            line, used = " " * len(lead), len(lead)
        line += "  " + _red(text, is_red, colour)
        used += 2 + len(text)
    yield line


def _spread(value: Spread) -> str:
    likely, low, high = (f"{100 * one:.0f}" for one in (value.likely, value.low, value.high))
    return f"{likely}" if low == high else f"{likely} {low}-{high}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _aligned(rows: Sequence[Sequence[str]], colour: bool, *, over: set[str]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    out = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(wide) if column else cell.ljust(wide)
            for column, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        out.append(_bold(line, colour) if number == 0 else _red(line, row[0] in over, colour))
    return out


def _red(text: str, wanted: bool, colour: bool) -> str:
    return click.style(text, fg="red") if wanted and colour else text


def _bold(text: str, colour: bool) -> str:
    return click.style(text, bold=True) if colour else text


def as_json(plan: Plan, found: Forecast, likely: Cascade, worst: Cascade) -> dict[str, Any]:
    """Return the forecast as one JSON object; shares run from 0 to 1, rates are per second."""
    return {
        "attack": asdict(plan.attack),
        "now": _outcome(found.now),
        "steps": [_outcome(one) for one in found.steps],
        "withdrawals": [_outcome(one) for one in found.withdrawals],
        "cascade": {"likely": _rounds(likely), "worst": _rounds(worst)},
        "notes": list(found.notes),
    }


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "title": one.title,
        "dark": one.dark,
        "clients_lost": asdict(one.clients_lost),
        "pops": {name: {**_load(load), "full": asdict(one.full[name])} for name, load in one.loads.items()},
    }


def _load(load: Load) -> dict[str, Any]:
    return {"announces": load.announces, **asdict(load.flow), "lost_bps": load.lost_bps, "full": load.full}


def _rounds(one: Cascade) -> dict[str, Any]:
    return {
        "dark": one.dark,
        "withdrawn": list(one.withdrawn),
        "rounds": [
            {"clients_lost": each.clients_lost, "withdrawn": list(each.withdrawn), "pops": _loads(each.loads)}
            for each in one.rounds
        ],
    }


def _loads(loads: Loads) -> dict[str, Any]:
    return {name: _load(load) for name, load in loads.items()}
