"""A look at every route: nothing is left out, whatever changes meanwhile."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import BgpAction, BgpObserved, Route
from anycastd.reconcile.bgp import diff, only
from anycastd.reconcile.sweep import BITE, Sweep

A, B = NeighborName("a"), NeighborName("b")
PREFIXES = [ip_network(f"10.0.{number}.0/24") for number in range(6)]
Rib = dict[NeighborName, dict[Prefix, Route]]


def ribs() -> st.SearchStrategy[Rib]:
    def made(chosen: list[tuple[NeighborName, Prefix, int]]) -> Rib:
        rib: Rib = {A: {}, B: {}}
        for name, prefix, length in chosen:
            rib[name][prefix] = Route(prefix, "192.0.2.1", (64500,) * length)
        return rib

    return st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from(PREFIXES), st.integers(1, 2))).map(made)


@given(ribs(), ribs(), st.frozensets(st.tuples(st.sampled_from([A, B]), st.sampled_from(PREFIXES))))
def test_a_sweep_finds_what_a_look_at_everything_finds(
    wanted: Rib, have: Rib, busy: frozenset[tuple[NeighborName, Prefix]]
) -> None:
    observed = BgpObserved(routes=have, in_flight=busy)
    sweep, said = Sweep(wanted, observed), set[BgpAction]()
    while sweep:
        said.update(diff(*only(sweep.bite(wanted, observed), wanted, observed), {}))
    assert said == set(diff(wanted, observed, {}))


def test_a_bite_is_bounded_and_what_changes_meanwhile_is_seen() -> None:
    many = [ip_network(f"45.{n // 256}.{n % 256}.0/24") for n in range(3 * BITE)]
    wanted = {A: {p: Route(p, "192.0.2.1", (64500,)) for p in many}}
    have: Rib = {A: {}}
    sweep = Sweep(wanted, BgpObserved(routes=have))
    assert len(sweep.bite(wanted, BgpObserved(routes=have))) == BITE
    have[A] |= wanted[A]
    rest = []
    while sweep:
        rest += sweep.bite(wanted, BgpObserved(routes=have))
    assert rest == []
    assert sweep.bite(wanted, BgpObserved(routes=have)) == []
