"""Beside FRR or BIRD, which have the session to the transit: what docs/operations.md says, on routes and packets."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.lab.beside_stage import TUNNEL_BACK, Beside, beside
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(170)]
NORMAL, DEPREF = {"frr": 2, "bird": 1}, {"frr": 5, "bird": 4}
"""How many AS numbers the transit has: BIRD puts in one for all that the daemon writes, FRR beside them."""


@pytest.fixture(scope="module", params=["frr", "bird"])
def made(request: pytest.FixtureRequest) -> Iterator[Beside]:
    with beside(request.param) as stage:
        stage.start()
        yield stage


def wait_normal(made: Beside) -> None:
    both = (NORMAL[made.kind],) * 2
    wait_until("the transit has both prefixes as usual", 60, lambda: made.lengths() == both)


def answers(made: Beside) -> bool:
    return made.asked(4) and made.asked(6)


def test_the_transit_has_both_families_and_their_packets_reach_the_backend(made: Beside) -> None:
    wait_normal(made)
    assert {*made.path(4), *made.path(6)} == {64500}, "the private number stays here"
    wait_until("the backend answers by both", 20, lambda: answers(made))


def test_a_drain_is_seen_by_the_transit_as_a_longer_path(made: Beside) -> None:
    wait_normal(made)
    made.pop.cli("drain", "pop", "--yes")
    wait_until("both are depreferenced", 40, lambda: made.lengths() == (DEPREF[made.kind],) * 2)
    assert answers(made), "who comes all the same is served"
    made.pop.cli("undrain", "pop")
    wait_normal(made)


def test_a_lost_tunnel_too_and_the_way_back(made: Beside) -> None:
    wait_normal(made)
    made.inside("r", "ip", "link", "set", "tun0", "down")
    wait_until("both are depreferenced", 40, lambda: made.lengths() == (DEPREF[made.kind],) * 2)
    made.inside("r", "ip", "-batch", "-", text=TUNNEL_BACK)
    wait_normal(made)
    wait_until("the backend answers by both", 20, lambda: answers(made))


def test_a_killed_daemon_and_the_next_change_nothing_at_the_transit(made: Beside) -> None:
    wait_normal(made)
    before = made.updates()
    made.pop.stop(signal.SIGKILL)
    assert answers(made), "forwarding goes on without it"
    made.pop.start()
    wait_until("it is ready", 40, lambda: made.pop.try_ask("/readyz") is not None)
    assert made.updates() == before
    assert answers(made)
    made.pop.cli("drain", "pop", "--yes")
    wait_until("the next one is heard", 40, lambda: made.updates() > before)
    made.pop.cli("undrain", "pop")


def test_a_router_that_begins_anew_is_told_everything_again(made: Beside) -> None:
    wait_normal(made)
    made.kill_router()
    wait_until("the transit has nothing that is not stale", 60, lambda: made.lengths() == (0, 0))
    made.start_router()
    wait_normal(made)
    wait_until("the backend answers by both", 20, lambda: answers(made))


def test_a_stop_withdraws_by_way_of_the_router(made: Beside) -> None:
    wait_normal(made)
    made.pop.stop()
    wait_until("the transit has neither", 40, lambda: made.lengths() == (0, 0))
