"""What `explain` says can be done: in its second look, and only where something is not as usual."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anycastd.api.views.advice import DO, advice
from anycastd.api.views.explain import explain
from anycastd.model.decision import Level, PrefixState, Reason
from anycastd.model.status import Status
from tests.unit import status_builder as build

MEND = "mend tunnels eu-central/euc-1, eu-central/euc-2, us-east/use-1"


def told(status: Status) -> list[str]:
    """Return the first lines of what is said of the IPv4 prefix, up to the checks."""
    text = explain(status, status.prefixes[build.V4])["text"]
    return [line.strip() for line in text[: next(n for n, line in enumerate(text) if line.startswith("  checks"))]]


def test_a_pop_that_is_cut_off_says_in_its_first_lines_what_to_mend_and_what_else_there_is() -> None:
    headline, why, do, more = told(build.isolated())
    assert headline.startswith("203.0.113.0/24 is announced at preference DEPREF 3")
    assert why.startswith("why        static guard: nobody to ask")
    assert do == f"do         {MEND}"
    assert more.endswith("anycastd override prefix 203.0.113.0/24 --level withdrawn --force --reason TEXT")


def test_what_is_as_usual_needs_no_advice() -> None:
    assert len(told(build.serving())) == 1


def test_everything_that_holds_a_prefix_back_has_a_word_on_what_to_do() -> None:
    assert {reason for reason in Reason if reason.holds} <= DO.keys()


@pytest.mark.parametrize("reason", DO, ids=lambda reason: reason.value)
def test_each_is_said_once_with_the_prefix_in_it(reason: Reason) -> None:
    view = build.isolated().prefixes[build.V4]
    view = replace(view, decision=replace(view.decision, level=Level.DEPREF, reason=reason, hold=reason))
    (said,) = advice(view, ())
    assert said == DO[reason].format(prefix="203.0.113.0/24")


def test_without_a_session_the_neighbors_are_named_also_at_normal() -> None:
    view = replace(build.serving().prefixes[build.V4], state=PrefixState.FAILED)
    assert advice(view, ()) == [
        "bring a neighbor up that carries it: transit-a, transit-b; anycastd status says why it is down"
    ]


def test_of_many_a_few_are_named() -> None:
    checks = [{"tunnel": f"eu/t{n}", "backend": f"eu/b{n}", "health": "UNHEALTHY"} for n in range(7)]
    said = advice(build.isolated().prefixes[build.V4], checks)
    assert said[0] == "mend backends eu/b0, eu/b1, eu/b2, eu/b3 and 3 more"
