"""Where traffic lands: nothing is made or lost on the way, and the measured cases come out as measured."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.attack.cascade import cascade
from anycastd.attack.flows import LIKELY, Amount, Flow, Flows, Guess, at_first, guesses, placed
from anycastd.attack.forecast import clients_lost, forecast, loads_of, outcome
from anycastd.attack.ladder import joining, marking, prepending, shunning, with_steps
from anycastd.attack.measured import ONE_TAKES, PREPEND
from anycastd.attack.plan import Announcement, Effects, Plan, PlannedAttack, PlannedPop
from tests.unit.simulation.attack_plans import announcements, plan, plans, pop

NONE = Announcement()


def total(flows: Flows) -> tuple[float, ...]:
    return tuple(map(sum, zip(*(astuple(flow) for flow in flows.values()), strict=True)))


def near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-3) for a, b in zip(one, other, strict=True))


@given(st.data())
@settings(max_examples=80)
def test_all_traffic_is_somewhere_whatever_is_announced(data: st.DataObject) -> None:
    made = data.draw(plans())
    announcement = data.draw(announcements(made))
    guess = data.draw(st.sampled_from(tuple(guesses(made, announcement))))
    before, after = at_first(made), placed(made, announcement, guess)
    assert all(value >= 0 for flow in after.values() for value in astuple(flow))
    standing = {*made.announcing, *announcement.joined} - announcement.withdrawn
    assert after.keys() == standing
    assert not standing or near(total(before), total(after))
    lost = clients_lost(loads_of(made, after))
    assert 0 <= lost <= 1
    assert standing or lost == 1


@given(plans())
@settings(max_examples=60)
def test_shares_of_clients_and_attack_are_one_in_sum(made: Plan) -> None:
    clients, *_, attack_bps, _ = total(at_first(made))
    assert math.isclose(clients, 1)
    assert math.isclose(attack_bps, made.attack.bps, abs_tol=1e-3)


@given(plans())
@settings(max_examples=60)
def test_a_cascade_ends_when_all_carry_or_none_is_left(made: Plan) -> None:
    for found in (cascade(made), cascade(made, worst=True)):
        assert len(found.rounds) <= len(made.announcing) + 1
        last = found.rounds[-1]
        assert found.dark is (set(found.withdrawn) == set(made.announcing))
        assert last.clients_lost == (1 if found.dark else 0)
        assert all(load.full <= 1 for load in last.loads.values())
        for each in found.rounds[:-1]:
            assert set(each.withdrawn) == {name for name, load in each.loads.items() if load.full > 1}


@given(plans())
@settings(max_examples=40)
def test_prepends_that_all_have_in_common_change_nothing(made: Plan) -> None:
    everywhere = Announcement(prepends=dict.fromkeys(made.announcing, 2))
    assert placed(made, everywhere, LIKELY) == placed(made, NONE, LIKELY)


@given(st.data())
@settings(max_examples=40)
def test_the_likely_value_lies_in_its_range(data: st.DataObject) -> None:
    made = data.draw(plans())
    found = outcome(made, data.draw(announcements(made)), "")
    for value in (*found.full.values(), found.clients_lost):
        assert value.low <= value.likely <= value.high


def test_all_withdrawn_is_dark_and_said_so() -> None:
    made = plan(pop("fra", 10, 0.5, 1), pop("iad", 10, 0.5, 1), gbit=1)
    found = outcome(made, Announcement(withdrawn=frozenset({"fra", "iad"})), "")
    assert (found.dark, found.clients_lost.likely, found.over()) == (True, 1.0, ())
    assert not outcome(made, Announcement(withdrawn=frozenset({"fra"})), "").dark


def test_what_a_pop_cannot_carry_is_lost_in_equal_parts() -> None:
    made = plan(pop("fra", 10, 0.5, 2), pop("iad", 100, 0.5, 2), gbit=18, fra=1.0)
    now = forecast(made).now
    assert now.loads["fra"].full == pytest.approx(2.0)
    assert now.loads["fra"].lost_bps == pytest.approx(10e9)
    assert now.over() == ("fra",)
    # half of the clients reach fra, and half of their packets get through
    assert now.clients_lost.likely == pytest.approx(0.25)


def test_packets_fill_a_pop_as_well_as_bits() -> None:
    made = plan(pop("fra", 10, 1.0, 1, capacity_pps=1e6, usual_pps=0.5e6), gbit=1)
    made = replace(made, attack=replace(made.attack, pps=3.5e6))
    assert forecast(made).now.loads["fra"].full == pytest.approx(4.0)


def test_a_withdrawn_pop_leaves_in_proportion_or_mostly_to_one() -> None:
    made = plan(pop("fra", 10, 0.4), pop("iad", 10, 0.4), pop("sin", 10, 0.2), gbit=0)
    gone = Announcement(withdrawn=frozenset({"fra"}))
    likely = placed(made, gone, LIKELY)
    assert likely["iad"].clients == pytest.approx(0.4 + 0.4 * 2 / 3)
    toward = placed(made, gone, Guess(toward="sin"))
    assert toward["sin"].clients == pytest.approx(0.2 + 0.4 * ONE_TAKES)
    past = placed(made, gone, Guess(past="sin"))
    assert past["sin"].clients == pytest.approx(0.2)
    full = outcome(made, gone, "").clients_lost
    assert (full.low, full.high) == (0, 0)


def test_what_was_measured_is_taken_instead_and_has_no_range() -> None:
    known = Effects(withdrawn={"iad": 0.75, "sin": 0.25}, prepend={1: 0.5})
    made = plan(pop("fra", 10, 0.4, effects=known), pop("iad", 10, 0.4), pop("sin", 10, 0.2), gbit=10)
    gone = outcome(made, Announcement(withdrawn=frozenset({"fra"})), "")
    assert gone.full["iad"].low == gone.full["iad"].high == pytest.approx(0.7)
    prepended = outcome(made, Announcement(prepends={"fra": 1}), "")
    assert prepended.full["fra"].low == prepended.full["fra"].high == pytest.approx(0.2)
    # both takers gone: the one that is left takes all
    alone = placed(made, Announcement(withdrawn=frozenset({"fra", "iad"})), LIKELY)
    assert alone["sin"].clients == pytest.approx(1.0)


def test_steps_add_up_and_a_further_prepend_replaces_the_one_before() -> None:
    announcement = NONE
    for step in (
        joining(("gru",)),
        shunning({"fra": frozenset({"one"})}),
        shunning({"fra": frozenset({"two"})}),
        marking({"fra": frozenset({"a"})}),
        marking({"fra": frozenset({"b"})}),
        prepending({"fra": 1}),
        prepending({"fra": 2}),
    ):
        announcement = step.after(announcement)
    assert announcement == Announcement(
        joined=("gru",),
        shunned={"fra": frozenset({"one", "two"})},
        communities={"fra": frozenset({"a", "b"})},
        prepends={"fra": 2},
    )


def test_selective_neighbors_move_at_most_what_came_in_by_those_named() -> None:
    neighbors = Effects(neighbors={"one": 0.7, "two": 0.3}, withdrawn={"iad": 1.0})
    made = plan(pop("fra", 10, 0.5, effects=neighbors), pop("iad", 10, 0.5), gbit=0)
    only = Announcement(shunned={"fra": frozenset({"two"})})
    left = [placed(made, only, Guess(amount))["fra"].clients for amount in Amount]
    assert left == pytest.approx([0.5 * 0.85, 0.5, 0.5 * 0.7])


def test_a_pop_that_joins_draws_an_even_share_unless_measured() -> None:
    normal = (pop("fra", 10, 0.6), pop("iad", 10, 0.4))
    joined = Announcement(joined=("gru",))
    drawn = placed(plan(*normal, pop("gru", 10, standby=True), gbit=0), joined, LIKELY)
    assert drawn["gru"].clients == pytest.approx(1 / 3)
    known = pop("gru", 10, standby=True, effects=Effects(joins={"iad": 0.5}))
    drawn = placed(plan(*normal, known, gbit=0), joined, LIKELY)
    assert [drawn[name].clients for name in ("fra", "iad", "gru")] == pytest.approx([0.6, 0.2, 0.2])


def test_a_plan_without_steps_gets_those_of_a_playbook() -> None:
    made = plan(pop("fra", 1, 0.5), pop("iad", 100, 0.5), pop("gru", 10, standby=True), gbit=10)
    assert [step.title for step in with_steps(made).steps] == [
        "more announcers: gru", "prepend 1: fra", "prepend 2: fra", "prepend 3: fra",
    ]  # fmt: skip
    calm = plan(pop("fra", 100, 1.0), gbit=1)
    assert with_steps(calm).steps == ()
    assert with_steps(with_steps(made)) == with_steps(made)


def test_what_is_assumed_is_said_with_its_range_and_what_is_known_is_not() -> None:
    made = plan(pop("fra", 1, 0.5), pop("iad", 100, 0.5), pop("gru", 10, standby=True), gbit=10)
    said = "\n".join(forecast(with_steps(made)).notes)
    assert "prepend 1 at fra: 79% of a catchment moves (4% to 91%)" in said
    assert "wrong by 6.8 points of all clients on average, 10.6 at most" in said
    assert "gru joining" in said
    known = Effects(withdrawn={"iad": 1.0}, prepend={1: 0.5, 2: 0.6, 3: 0.7})
    other = Effects(withdrawn={"fra": 1.0})
    made = plan(pop("fra", 1, 0.5, effects=known), pop("iad", 100, 0.5, effects=other), gbit=10)
    (only,) = forecast(with_steps(made)).notes
    assert only.startswith("figures that are not of your own")


SITES = ("CDG", "IAD", "LHR", "MIA", "POA", "SYD")
MEASURED = {
    "base": (245800, 520290, 796172, 543614, 714439, 584351),
    "0xCDG": (0, 524606, 898451, 568066, 785460, 588814),
    "0xIAD": (574952, 0, 819646, 586190, 758402, 614244),
    "0xLHR": (561638, 730327, 0, 594266, 811167, 649882),
    "0xMIA": (281877, 555064, 961681, 0, 812621, 745096),
    "0xPOA": (347292, 851852, 906501, 696501, 0, 561467),
    "0xSYD": (470715, 519713, 823306, 829334, 724302, 0),
    "1xCDG": (26843, 518692, 871143, 573414, 779012, 618674),
    "1xIAD": (247682, 496264, 764976, 571137, 715610, 602439),
    "1xLHR": (513731, 583022, 269513, 591990, 767710, 666844),
    "1xMIA": (265825, 510327, 939467, 129679, 758644, 796428),
    "1xPOA": (267210, 834957, 924673, 643822, 123237, 586779),
    "1xSYD": (450440, 511518, 810334, 849939, 725339, 50786),
    "2xCDG": (23709, 522182, 874569, 571178, 778516, 611955),
    "2xIAD": (237991, 494514, 846597, 547606, 667576, 589051),
    "2xLHR": (535216, 682302, 102354, 601388, 800648, 657876),
    "2xMIA": (259658, 545721, 1024941, 79526, 689061, 780194),
    "2xPOA": (278628, 820920, 933777, 665832, 99279, 586707),
    "2xSYD": (410086, 511576, 854052, 829560, 722102, 48870),
    "3xCDG": (21113, 523013, 877361, 575072, 779304, 620329),
    "3xIAD": (241597, 495266, 850191, 543499, 665862, 590410),
    "3xLHR": (540528, 715838, 66819, 604723, 802205, 665585),
    "3xMIA": (263599, 547158, 1025358, 79038, 688127, 788494),
    "3xPOA": (276762, 831094, 936799, 660348, 98914, 590656),
    "3xSYD": (411264, 512430, 856369, 835333, 725305, 48886),
}
"""Answering targets by site: github.com/LMBertholdo/anygility-tangled 186a2e17, prepend+withdraw-dataframe.csv."""


def _measured(row: str) -> dict[str, float]:
    counts = MEASURED[row]
    return {site: count / sum(counts) for site, count in zip(SITES, counts, strict=True)}


def _against_measured(row: str) -> tuple[float, int, int, int]:
    """Return the error (points of all), and how many loads lie above, below and were compared."""
    times, site = int(row[0]), row[2:]
    base, found = _measured("base"), _measured(row)
    pops = {name: PlannedPop(name=name, capacity_bps=1, usual_bps=base[name], catchment=base[name]) for name in SITES}
    said = Announcement(prepends={site: times}) if times else Announcement(withdrawn=frozenset({site}))
    full = outcome(Plan(pops=pops, attack=PlannedAttack(bps=0, pps=0, sources={})), said, row).full
    error = 50 * sum(abs(full[name].likely - found[name]) for name in SITES)
    stay = [name for name in SITES if times or name != site]
    above = sum(found[name] > full[name].high + 0.0005 for name in stay)
    below = sum(found[name] < full[name].low - 0.0005 for name in stay)
    return error, above, below, len(stay)


def test_the_published_measurements_come_out_as_the_docs_say() -> None:
    rows = {times: [_against_measured(f"{times}x{site}") for site in SITES] for times in range(4)}
    errors = {times: [row[0] for row in some] for times, some in rows.items()}
    assert (round(sum(errors[0]) / 6, 1), round(max(errors[0]), 1)) == (6.8, 10.6)
    assert (round(sum(errors[1]) / 6, 1), round(max(max(errors[times]) for times in (1, 2, 3)), 1)) == (7.4, 12.9)
    counted = [sum(row[column] for some in rows.values() for row in some) for column in (1, 2, 3)]
    assert counted == [0, 13, 138]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_range_of_a_prepend_is_that_of_the_published_measurements(times: int) -> None:
    base = _measured("base")
    shed = sorted(1 - _measured(f"{times}x{site}")[site] / base[site] for site in SITES)
    median = (shed[2] + shed[3]) / 2
    assert [PREPEND[times].low, PREPEND[times].likely, PREPEND[times].high] == pytest.approx(
        [shed[0], median, shed[-1]], abs=0.006
    )


def test_flows_add_and_scale_field_by_field() -> None:
    one = Flow(0.1, 1, 2, 3, 4)
    assert astuple(one.plus(one)) == astuple(one.times(2))
    assert (one.bps, one.pps) == (4, 6)
