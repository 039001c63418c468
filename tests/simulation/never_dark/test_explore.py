"""Never dark, exhaustively: every state of two, three and four POPs within bounds that are written here."""

from __future__ import annotations

import pytest

from tests.simulation.never_dark import lines
from tests.simulation.never_dark.explorer import UNLIMITED, Fleet

SICKNESS = {"sick": UNLIMITED, "heal": UNLIMITED}
DRAINS = {"drain": UNLIMITED, "undrain": UNLIMITED}
CUTS = {"cut": UNLIMITED, "join": UNLIMITED}
ROLLBACKS = {"save": 1, "rollback": 1}
TWO = Fleet(events=SICKNESS, on_the_way=1)


def shown(fleet: Fleet) -> None:
    found = fleet.explore()
    print(f"{found.states} states, {found.steps} steps")
    assert not found.trace, "\n".join(found.trace)
    assert found.states > 1000


def dark(fleet: Fleet) -> None:
    assert fleet.explore().trace, "it is not needed: no state is dark without it"


def test_two_pops_any_delay() -> None:
    """C1: sickness and health as often as one likes; the newest beacon may take the place of one on its way."""
    shown(TWO)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fleet", [
    pytest.param(Fleet(events=SICKNESS, on_the_way=2), id="two beacons on the way"),
    pytest.param(Fleet(events={**SICKNESS, **CUTS}, on_the_way=1), id="C2 sessions cut, silently for any time"),
    pytest.param(Fleet(events={**SICKNESS, "stop": UNLIMITED}, on_the_way=1), id="stops"),
    pytest.param(Fleet(events={**SICKNESS, "doubt": UNLIMITED, "sure": UNLIMITED}, on_the_way=1), id="UNKNOWN"),
    pytest.param(Fleet(events=SICKNESS, on_the_way=1, gshut=True), id="GSHUT"),
    pytest.param(Fleet(events=DRAINS, on_the_way=1), id="A8 drains"),
    pytest.param(Fleet(events={**SICKNESS, "die": 1, "revive": 1}, on_the_way=1, deaths_are_dark=False),
                 id="C3 a death: dark only until it is known"),
    pytest.param(Fleet(events={"sick": 3, "heal": 1, **ROLLBACKS}, on_the_way=1), id="the store goes back"),
])  # fmt: skip
def test_two_pops(fleet: Fleet) -> None:
    shown(fleet)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_pops() -> None:
    """C1: three of them turn sick."""
    shown(Fleet(pops=3, events={"sick": 3}, on_the_way=1, speaks_apart=False))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("line", [lines.echo_ignored, lines.no_new_epochs], ids=lambda line: line.__name__)
def test_epochs_are_needed_where_a_store_goes_back(line: lines.Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them what an older snapshot says of NORMAL would be taken."""
    line(monkeypatch)
    dark(Fleet(events={"sick": UNLIMITED, "heal": 1, **ROLLBACKS}, on_the_way=1))


@pytest.mark.soak
@pytest.mark.timeout(7000)
@pytest.mark.parametrize("fleet", [
    pytest.param(Fleet(events={**SICKNESS, **DRAINS}, on_the_way=1), id="two, sick and drained"),
    pytest.param(Fleet(events={**SICKNESS, **CUTS}, on_the_way=2), id="two, cut, two beacons on the way"),
    pytest.param(Fleet(pops=3, events={"sick": 3, "heal": 1}, on_the_way=1, speaks_apart=False), id="three, one heals"),
    pytest.param(Fleet(pops=3, wanted=2, events={"sick": 3, "die": 1}, on_the_way=1, speaks_apart=False),
                 id="A5 three, two wanted, one dies: not dark for a moment"),
    pytest.param(Fleet(events={**SICKNESS, "save": 1, "rollback": UNLIMITED}, on_the_way=1),
                 id="two, by a store that goes back as often as one likes"),
    pytest.param(Fleet(pops=3, events={"sick": 2, **ROLLBACKS}, on_the_way=1, speaks_apart=False),
                 id="three, by a store that goes back"),
    pytest.param(Fleet(pops=4, events={"sick": 2}, on_the_way=1, speaks_apart=False), id="four, two turn sick"),
])  # fmt: skip
def test_larger_fleets(fleet: Fleet) -> None:
    shown(fleet)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("line", "fleet"), [
    (lines.echo_ignored, TWO), (lines.depref_counts, TWO), (lines.no_new_epochs, TWO), (lines.overstated, TWO),
    (lines.any_entry, TWO), (lines.unguarded, TWO),
    (lines.stop_unasked, Fleet(events={"stop": 2}, on_the_way=1)),
    (lines.never_back, Fleet(events={"sick": 1, "die": 1}, on_the_way=1, deaths_are_dark=False)),
], ids=lambda value: getattr(value, "__name__", ""))  # fmt: skip
def test_each_line_of_the_guard_is_needed(line: lines.Line, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    line(monkeypatch)
    dark(fresh(fleet))


def fresh(fleet: Fleet) -> Fleet:
    """Return the same fleet without what it remembers of outcomes."""
    return Fleet(fleet.pops, fleet.wanted, fleet.events, fleet.on_the_way, fleet.gshut, fleet.speaks_apart,
                 fleet.deaths_are_dark)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_other_is_too_few_where_it_may_die() -> None:
    """A5: with one wanted, the POP whose word was taken dies, and its word was the last."""
    dark(Fleet(pops=3, wanted=1, events={"sick": 2, "die": 1}, on_the_way=1, speaks_apart=False))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_coming_back_for_normal_ones_only_is_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """A7: no dark state stays."""
    lines.back_for_normal_only(monkeypatch)
    shown(Fleet(events={**SICKNESS, "die": 1}, on_the_way=1, deaths_are_dark=False))
