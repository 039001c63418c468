"""The picture of docs/attack.md: `python -m tests.simulation.cascade_plot docs/attack-cascade.svg`. Nothing but SVG."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from anycastd.model.decision import Level
from tests.simulation.cascade import BEGINS_S, ENDS_S, LASTS_S, POPS, SCENARIOS, Scenario, Second, World, figures

WIDTH, LEFT, PANEL, GAP = 760, 70, 110, 46
BAR, TOP = 12, 34
COLORS = {
    Level.NORMAL: "#3a923a",
    Level.DEPREF: "#e0a030",
    Level.GSHUT: "#c06020",
    Level.WITHDRAWN: "#b02020",
}


@dataclass(frozen=True)
class Frame:
    """Whose levels are drawn, when the flood is on, until when, and what a mark below stands for."""

    pops: Sequence[str] = POPS
    begins_s: float = BEGINS_S
    ends_s: float = ENDS_S
    lasts_s: float = LASTS_S
    mark_s: float = 180.0
    marks: str = "{minutes:g} min"

    def x(self, at_s: float) -> float:
        """Return where a time is."""
        return LEFT + (WIDTH - LEFT - 20) * at_s / self.lasts_s


def picture(lives: Sequence[tuple[Scenario, Sequence[Second]]], frame: Frame = Frame()) -> str:
    """Return the picture: for each scenario what is served, and at which level each POP announces."""
    height = TOP + len(lives) * (PANEL + GAP) + 30
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *_legend(),
    ]
    for place, (scenario, seconds) in enumerate(lives):
        lines += _panel(TOP + place * (PANEL + GAP), scenario, seconds, frame)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{words}</text>'


def _legend() -> Iterator[str]:
    x = LEFT
    for level, color in COLORS.items():
        yield f'<rect x="{x}" y="8" width="12" height="12" fill="{color}"/>'
        yield _text(x + 16, 18, level.name)
        x += 100
    yield f'<rect x="{x}" y="8" width="12" height="12" fill="#f3dede"/>'
    yield _text(x + 16, 18, "the flood is on")


def _ends(seconds: Sequence[Second]) -> Iterator[Second]:
    """Yield the first and the last second of each stretch in which as much is served."""
    for _, stretch in groupby(seconds, key=lambda one: round(one.served, 4)):
        whole = list(stretch)
        yield whole[0]
        if len(whole) > 1:
            yield whole[-1]


def _panel(top: float, scenario: Scenario, seconds: Sequence[Second], frame: Frame) -> Iterator[str]:
    curve = PANEL - len(frame.pops) * BAR - 6
    yield _text(LEFT, top + 10, scenario.title, ' font-weight="bold"')
    top += 16
    begun, long = frame.x(frame.begins_s), frame.x(frame.ends_s) - frame.x(frame.begins_s)
    yield f'<rect x="{begun:.1f}" y="{top}" width="{long:.1f}" height="{PANEL}" fill="#f3dede"/>'
    for share in (0.0, 0.5, 1.0):
        y = top + curve * (1 - share)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 20}" y2="{y:.1f}" stroke="#cccccc"/>'
        yield _text(LEFT - 6, y + 4, f"{share:.0%}", ' text-anchor="end"')
    ends = list(_ends(seconds))
    points = " ".join(f"{frame.x(one.at_s):.1f},{top + curve * (1 - one.served):.1f}" for one in ends)
    yield f'<polyline points="{points}" fill="none" stroke="#2050a0" stroke-width="1.5"/>'
    for row, name in enumerate(frame.pops):
        y = top + curve + 6 + row * BAR
        yield _text(LEFT - 6, y + 9, name, ' text-anchor="end"')
        for level, stretch in groupby(seconds, key=lambda one: one.levels[name]):
            whole = list(stretch)
            begin, end = frame.x(whole[0].at_s), frame.x(whole[-1].at_s + 1.0)
            yield (
                f'<rect x="{begin:.1f}" y="{y:.1f}" width="{end - begin:.1f}" height="{BAR - 2}" '
                f'fill="{COLORS[level]}"/>'
            )
    for number in range(int(frame.lasts_s // frame.mark_s) + 1):
        at_s = number * frame.mark_s
        words = frame.marks.format(seconds=at_s, minutes=at_s / 60.0)
        yield _text(frame.x(at_s), top + PANEL + 12, words, ' text-anchor="middle" fill="#666666"')


def main(path: Path) -> None:
    """Live through every scenario, draw them, and say their figures."""
    lives = []
    for scenario in SCENARIOS:
        with TemporaryDirectory() as directory:
            seconds = World(scenario, Path(directory)).live()
        sys.stdout.write(f"{scenario.title}: {figures(seconds)}\n")
        lives.append((scenario, seconds))
    path.write_text(picture(lives), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
