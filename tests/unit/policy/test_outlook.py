"""What is believed of a region's backends, as seen through the tunnel that carries its packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.address import BackendId, RegionName, TunnelId
from anycastd.model.health import Health
from anycastd.policy.outlook import UNREACHED_MS, RegionOutlook, outlook_of, region_outlook
from tests.unit.policy.eips import BAD, BLIND, NEW, OK, SUSPECT, view_of, world
from tests.unit.policy.pops import Place, believed

EU, US = RegionName("eu"), RegionName("us")
WEB, SIX = BackendId("eu/web-1"), BackendId("eu/six")
CONFIG = world({"eu": Place({"a": "46", "b": "46", "c": "6"}, {"web-1": 4, "six": 6}), "us": Place({"a": "4"}, {})})
A, B, C = (TunnelId(f"eu/{key}") for key in "abc")


def seen(
    tunnels: str = "++",
    through: str = "++",
    best: TunnelId | None = A,
    latency_ms: dict[str, float] | None = None,
    version: int = 4,
) -> RegionOutlook:
    """Return the outlook: tunnels a and b, and the backends through them: + good, - bad, ? not known, 0 new."""
    words = {"+": OK, "-": BAD, "?": BLIND, "0": NEW}
    states = {f"tunnel/eu/{key}": words[mark] for key, mark in zip("ab", tunnels, strict=True)}
    for name in ("web-1", "six"):
        states |= {f"backend/eu/{name}/web@{key}": words[mark] for key, mark in zip("ab", through, strict=True)}
    took = {f"tunnel/eu/{key}": ms for key, ms in (latency_ms or {}).items()}
    return region_outlook(CONFIG, EU, version, believed(CONFIG, states, latency_ms=took), best)


@pytest.mark.parametrize(
    ("tunnels", "through", "best", "state"),
    [
        # through the best tunnel
        ("++", "++", A, OK),
        ("++", "+-", A, OK),
        ("++", "-+", A, BAD),
        ("++", "-+", B, OK),
        ("++", "--", A, BAD),
        ("++", "?+", A, BLIND),
        ("++", "0+", A, NEW),
        ("++", "?-", A, BLIND),
        ("++", "0-", A, NEW),
        # what is not known of another tunnel makes nothing better
        ("++", "-?", A, BAD),
        ("++", "-0", A, BAD),
        # the best is not known, or cannot be used: through any
        ("++", "-+", None, OK),
        ("++", "-?", None, BLIND),
        ("++", "-0", None, NEW),
        ("++", "--", None, BAD),
        ("-+", "-+", A, OK),
        ("-+", "+-", A, BAD),
        ("?+", "+-", A, BAD),
        ("+-", "-+", B, BAD),
        # with no tunnel that can be used nothing is seen; with all down nothing can be there
        ("??", "++", A, BLIND),
        ("0?", "++", A, NEW),
        ("-?", "++", A, BLIND),
        ("--", "++", A, BAD),
        ("--", "??", None, BAD),
        # a tunnel that left the file
        ("++", "-+", TunnelId("eu/gone"), OK),
    ],
)
def test_a_backend_counts_as_seen_by_the_way_that_packets_take(
    tunnels: str, through: str, best: TunnelId | None, state: Health
) -> None:
    assert seen(tunnels, through, best).backends == {WEB: state}
    assert seen(tunnels, through, best).reached is ("+" in tunnels)


def test_each_family_has_its_own_backends_and_tunnels() -> None:
    assert seen(version=6).backends == {SIX: OK}
    assert seen("--", version=6, best=C).reached, "c carries IPv6 and is well"
    assert not seen("--", best=C).reached
    assert seen("++", "-+", best=C).backends == {WEB: OK}, "c carries no IPv4: which tunnel does is not known"


@pytest.mark.parametrize(
    ("tunnels", "latency_ms", "found"),
    [
        ("++", {"a": 9.4, "b": 20.0}, 9),
        ("+-", {"a": 30.0, "b": 2.0}, 30),
        ("--", {"a": 30.0, "b": 2.0}, 2),
        ("++", {}, UNREACHED_MS),
        ("++", {"c": 1.0}, UNREACHED_MS),
        ("++", {"b": 0.4}, 0),
    ],
)
def test_latency_is_that_of_the_quickest_tunnel_of_the_family(
    tunnels: str, latency_ms: dict[str, float], found: int
) -> None:
    assert seen(tunnels, latency_ms=latency_ms).latency_ms == found


def test_a_region_without_a_tunnel_of_the_family_is_not_reached() -> None:
    none = region_outlook(CONFIG, US, 6, view_of({}, config=CONFIG))
    assert none == RegionOutlook({}, reached=False)


def test_the_whole_outlook_takes_each_regions_own_tunnel() -> None:
    health = believed(CONFIG, {"backend/eu/web-1/web@a": BAD, "backend/eu/six/web@b": BAD}, self_test=SUSPECT)
    whole = outlook_of(CONFIG, 4, health, {EU: 30}, {(EU, 4): A, (EU, 6): B})
    assert whole.state(WEB) is BAD
    assert (whole.dial(EU), whole.dial(US), whole.suspect) == (30, 100, True)
    assert outlook_of(CONFIG, 6, health, {}, {(EU, 4): A, (EU, 6): B}).state(SIX) is BAD
    assert outlook_of(CONFIG, 6, health, {}, {(EU, 4): A, (EU, 6): A}).state(SIX) is OK
    assert outlook_of(CONFIG, 4, health, {}).state(WEB) is OK


RANK = {BAD: 0, BLIND: 1, NEW: 1, OK: 2}
MARKS = st.text("+-?0", min_size=2, max_size=2)
BETTER = {"-": "?0+", "?": "+", "0": "+", "+": ""}


@given(
    tunnels=MARKS,
    through=MARKS,
    best=st.sampled_from((A, B, C, None)),
    place=st.integers(0, 1),
    better=st.integers(0, 2),
)
def test_a_backend_that_is_seen_better_through_a_tunnel_is_never_believed_worse(
    tunnels: str, through: str, best: TunnelId | None, place: int, better: int
) -> None:
    choices = BETTER[through[place]] or through[place]
    after = through[:place] + choices[better % len(choices)] + through[place + 1 :]
    ranks = [RANK[seen(tunnels, one, best).backends[WEB]] for one in (through, after)]
    assert ranks[0] <= ranks[1]
