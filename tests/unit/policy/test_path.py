"""Which tunnel carries a prefix: the nearest that works, and no other for a trifle."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import TunnelId
from anycastd.model.decision import PathChoice
from anycastd.model.health import Health
from anycastd.model.topology import Condition, Config
from anycastd.policy.desired import forward
from anycastd.policy.path import choose, path_in_kernel
from tests.unit.policy.pops import NOW_S, V4, V6, Place, believed, pop, prefixes_of

OK, BAD, NEW, BLIND = Health.HEALTHY, Health.UNHEALTHY, Health.INITIAL, Health.UNKNOWN
NEAR = Place({"a": "4", "b": "4"}, {"web-1": 4}, priority=1, tunnel_priority={"a": 1, "b": 2})
EQUAL = Place({"a": "4", "b": "4"}, {"web-1": 4}, priority=1)
FAR = Place({"a": "4"}, {"web-1": 4}, priority=2)
CONFIG = pop({"eu": NEAR, "us": FAR})


def chosen(
    config: Config,
    states: dict[str, Health],
    present: str | None = None,
    latency_ms: dict[str, float] | None = None,
    version: int = 4,
) -> str | None:
    prefix = prefixes_of(version)
    before = PathChoice(prefix, TunnelId(present), "", 1.0) if present else None
    view = believed(config, states, latency_ms=latency_ms)
    return choose(config, prefix, Condition(), view, before, NOW_S).tunnel


def test_the_nearest_region_and_its_first_tunnel() -> None:
    assert chosen(CONFIG, {}) == "eu/a"


def test_a_cut_tunnel_is_left_for_the_next_of_its_region() -> None:
    assert chosen(CONFIG, {"tunnel/eu/a": BAD}, "eu/a") == "eu/b"


def test_a_region_without_tunnels_is_left_for_the_next() -> None:
    assert chosen(CONFIG, {"tunnel/eu": BAD}, "eu/a") == "us/a"


def test_a_region_without_backends_is_left_for_the_next() -> None:
    assert chosen(CONFIG, {"backend/eu": BAD}, "eu/a") == "us/a"


def test_a_tunnel_through_which_no_backend_answers_is_left() -> None:
    assert chosen(CONFIG, {"backend/eu/web-1/web@a": BAD}, "eu/a") == "eu/b"


def test_a_healed_better_tunnel_is_taken_again() -> None:
    assert chosen(CONFIG, {}, "eu/b") == "eu/a"
    assert chosen(CONFIG, {}, "us/a") == "eu/a"


def test_a_tunnel_that_we_cannot_see_yields_to_one_that_we_can() -> None:
    assert chosen(CONFIG, {"tunnel/eu/a": BLIND}, "eu/a") == "eu/b"


def test_with_nothing_usable_the_present_choice_stands() -> None:
    choice = choose(
        CONFIG, V4, Condition(), believed(CONFIG, {"tunnel": BAD}), PathChoice(V4, TunnelId("eu/b"), "", 5.0), NOW_S
    )
    assert (choice.tunnel, choice.since_s) == ("eu/b", 5.0)
    assert choice.reason == "nothing usable: the last choice stands"


def test_before_the_first_verdict_there_is_no_choice() -> None:
    assert chosen(CONFIG, {"tunnel": NEW, "backend": NEW}) is None
    assert chosen(CONFIG, {"tunnel": NEW, "backend": NEW}, "eu/b") == "eu/b"


def test_a_choice_that_is_no_longer_configured_is_dropped() -> None:
    assert chosen(CONFIG, {}, "gone/x") == "eu/a"


def test_a_prefix_of_a_family_without_tunnels_has_no_path() -> None:
    assert chosen(CONFIG, {}, version=6) is None


def test_a_dead_tunnel_of_a_usable_region_loses_to_a_living_one_elsewhere() -> None:
    """Region eu is usable over IPv4 only; the IPv6 tunnel of us, which we cannot judge as a region, at least works."""
    config = pop({"eu": Place({"a": "4", "b": "6"}, {"w": 4}), "us": Place({"a": "6"}, {"w": 6}, priority=2)})
    assert chosen(config, {"tunnel/eu/b": BAD, "backend/us": BLIND}, "eu/b", version=6) == "us/a"


def test_lower_latency_wins_among_equals_only_by_more_than_the_hysteresis() -> None:
    config = pop({"eu": EQUAL})
    assert chosen(config, {}, "eu/a", {"tunnel/eu/a": 14.9, "tunnel/eu/b": 10.0}) == "eu/a"
    assert chosen(config, {}, "eu/a", {"tunnel/eu/a": 15.1, "tunnel/eu/b": 10.0}) == "eu/b"
    assert chosen(config, {}, None, {"tunnel/eu/a": 12.0, "tunnel/eu/b": 10.0}) == "eu/b"


def test_priority_outranks_latency() -> None:
    assert chosen(CONFIG, {}, "eu/a", {"tunnel/eu/a": 90.0, "tunnel/eu/b": 1.0}) == "eu/a"


@given(st.lists(st.tuples(st.floats(8.0, 12.9), st.floats(8.0, 12.9)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_it_never_flaps_between_equals(latencies: list[tuple[float, float]]) -> None:
    config = pop({"eu": EQUAL})
    tunnel: str | None = None
    seen = set()
    for a_ms, b_ms in latencies:
        tunnel = chosen(config, {}, tunnel, {"tunnel/eu/a": a_ms, "tunnel/eu/b": b_ms})
        seen.add(tunnel)
    assert len(seen) == 1


@given(
    st.fixed_dictionaries(
        {
            key: st.sampled_from(Health)
            for key in ("tunnel/eu/a", "tunnel/eu/b", "tunnel/us/a", "tunnel/ap/a", "backend/eu", "backend/us")
        }
    ),
    st.sampled_from((None, "eu/a", "eu/b", "us/a", "ap/a")),
)
@settings(max_examples=60, deadline=None)
def test_the_choice_does_not_depend_on_any_order(states: dict[str, Health], present: str | None) -> None:
    places = {"eu": NEAR, "us": FAR, "ap": FAR}
    choices = {chosen(pop(places, order=order), states, present) for order in permutations(places)}
    assert len(choices) == 1


@given(st.fixed_dictionaries({key: st.sampled_from(Health) for key in ("tunnel/eu/a", "tunnel/eu/b", "tunnel/us/a")}))
@settings(max_examples=60, deadline=None)
def test_a_choice_made_is_made_again(states: dict[str, Health]) -> None:
    for present in (None, "eu/a", "eu/b", "us/a"):
        first = chosen(CONFIG, states, present)
        assert first is None or chosen(CONFIG, states, first) == first


def test_a_restarted_daemon_takes_over_the_path_that_the_kernel_has() -> None:
    route = forward(CONFIG, PathChoice(V4, TunnelId("eu/b"), ""))
    assert route is not None
    found = path_in_kernel(CONFIG, V4, frozenset({route}), NOW_S)
    assert found is not None
    assert found.tunnel == "eu/b"
    assert path_in_kernel(CONFIG, V4, frozenset(), NOW_S) is None
    assert path_in_kernel(CONFIG, V6, frozenset({route}), NOW_S) is None
