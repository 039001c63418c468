"""A forecast as an SVG drawing: a panel for each announcement, a bar for each POP, the range as a line. Pure.

Own and small: bars, lines and text, no library. It is read without colours as well: what is over has its figure bold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from anycastd.attack.cascade import Cascade
from anycastd.attack.forecast import Forecast, Loads, Outcome, Spread

PANEL_PX, COLUMNS, LABEL_PX, BAR_PX, ROW_PX, HEAD_PX, MARGIN_PX = 330, 3, 84, 190, 18, 52, 16
FULL_AT = 0.5
"""Where in a bar's room 100 % is; twice of that fills it, and what is more ends there, with its figure."""
GREEN, RED, GREY, INK = "#4c9a6a", "#c0443c", "#9a9a9a", "#222222"


def picture(title: str, attack: str, forecast: Forecast, likely: Cascade, worst: Cascade) -> str:
    """Return the drawing of a forecast and its cascades, with a title and the attack in words above it."""
    panels = [_of_outcome(one) for one in (forecast.now, *forecast.steps, *forecast.withdrawals)]
    blocks = [("Each announcement: how full each POP is (line: range)", panels)]
    both = (("Cascade, likely", likely), ("Cascade, at worst", worst))
    for name, one in both if likely != worst else (("Cascade, likely and at worst", likely),):
        blocks.append((f"{name}: every overloaded POP is withdrawn, round by round", list(_of_cascade(one))))
    parts, top = list[str](), 64.0
    for heading, some in blocks:
        parts.append(_text(MARGIN_PX, top, heading, size=14, bold=True))
        top += 12
        for row in range(0, len(some), COLUMNS):
            drawn = [_panel(MARGIN_PX + n * PANEL_PX, top, one) for n, one in enumerate(some[row : row + COLUMNS])]
            parts += [part for part, _ in drawn]
            top += max(height for _, height in drawn)
        top += 22
    width = 2 * MARGIN_PX + COLUMNS * PANEL_PX
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top:g}" viewBox="0 0 {width} {top:g}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}">'
    )
    back = f'<rect width="{width}" height="{top:g}" fill="#ffffff"/>'
    return (
        "\n".join(
            (
                head,
                back,
                _text(MARGIN_PX, 22, title, size=16, bold=True),
                _text(MARGIN_PX, 40, _cut(attack, 150)),
                *parts,
                "</svg>",
            )
        )
        + "\n"
    )


class _Panel:
    """What one panel shows: a bar for each POP, None for one that does not announce."""

    def __init__(self, title: str, below: str, rows: Sequence[tuple[str, Spread | None]]) -> None:
        self.title, self.below, self.rows = title, below, rows


def _of_outcome(one: Outcome) -> _Panel:
    rows = [(name, one.full[name] if load.announces else None) for name, load in one.loads.items()]
    lost = one.clients_lost
    below = f"clients lose {lost.likely:.0%}"
    below += "" if round(lost.low, 2) == round(lost.high, 2) else f" ({lost.low:.0%} to {lost.high:.0%})"
    return _Panel(one.title, below, rows)


def _of_cascade(one: Cascade) -> Iterator[_Panel]:
    for number, each in enumerate(one.rounds):
        out = f", then {', '.join(each.withdrawn)} withdrawn" if each.withdrawn else ""
        dark = "DARK: " if one.dark and number == len(one.rounds) - 1 else ""
        yield _Panel(f"round {number}{out}", f"{dark}clients lose {each.clients_lost:.0%}", list(_rows(each.loads)))


def _rows(loads: Loads) -> Iterator[tuple[str, Spread | None]]:
    for name, load in loads.items():
        yield name, Spread(load.full, load.full, load.full) if load.announces else None


def _panel(left: float, top: float, panel: _Panel) -> tuple[str, float]:
    """Return a panel and how high it is."""
    parts = [
        _text(left, top + 16, _cut(panel.title, 46), bold=True),
        _text(left, top + 31, panel.below, fill="#555555"),
    ]
    bars = left + LABEL_PX
    bottom = top + HEAD_PX - 10 + len(panel.rows) * ROW_PX
    full = bars + FULL_AT * BAR_PX
    # first, so that bars and words lie on it
    parts.append(_line(full, top + HEAD_PX - 12, full, bottom, GREY, dashes=True))
    for number, (name, value) in enumerate(panel.rows):
        y = top + HEAD_PX - 10 + number * ROW_PX
        parts.append(_text(bars - 6, y + 11, _cut(name, 12), end=True))
        if value is None:
            parts.append(_text(bars + 3, y + 11, "not announced", fill=GREY))
            continue
        over = value.likely > 1
        parts.append(_bar(bars, y + 2, _length(value.likely), ROW_PX - 7, RED if over else GREEN))
        if value.high - value.low > 0.005:
            parts.append(_line(bars + _length(value.low), y + 7.5, bars + _length(value.high), y + 7.5, INK))
        beside = bars + max(_length(value.likely), _length(value.high)) + 5
        parts.append(_text(beside, y + 11, f"{value.likely:.0%}", bold=over))
    return "\n".join(parts), bottom - top + 14


def _length(full: float) -> float:
    return min(full * FULL_AT, 1.0) * BAR_PX


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(
    x: float, y: float, text: str, *, size: int = 12, bold: bool = False, end: bool = False, fill: str = ""
) -> str:
    more = f' font-size="{size}"' if size != 12 else ""
    more += ' font-weight="bold"' if bold else ""
    more += ' text-anchor="end"' if end else ""
    more += f' fill="{fill}"' if fill else ""
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(text)}</text>'


def _bar(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="{height:g}" fill="{fill}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: bool = False) -> str:
    more = ' stroke-dasharray="3 3"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:g}" x2="{x2:.1f}" y2="{y2:g}" stroke="{colour}"{more}/>'
