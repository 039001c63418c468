"""Reloads among everything else: nothing fails, nothing is left of the old file, and all heals."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import SessionState
from anycastd.model.operator import DrainPhase, DrainScope
from anycastd.model.probe import Why
from tests.property.reload_histories import PREFIXES, REGIONS, UPSTREAMS, File, History
from tests.unit.runtime.fleet_world import RR

POP = st.sampled_from(["fra", "sin"])
SOME = st.frozensets(st.sampled_from(PREFIXES))
PHASES = (DrainPhase.DEPREF, DrainPhase.GSHUT, DrainPhase.WITHDRAW, DrainPhase.LINGER)


class Anything(RuleBasedStateMachine):
    """Anything in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()

    @rule(
        pop=POP, prefixes=st.frozensets(st.sampled_from(PREFIXES), min_size=1), standbys=SOME,
        upstreams=st.frozensets(st.sampled_from(UPSTREAMS), min_size=1),
        regions=st.frozensets(st.sampled_from(REGIONS), min_size=1), has_observer=st.booleans(),
    )  # fmt: skip
    def reload(
        self, pop: str, prefixes: frozenset[Prefix], standbys: frozenset[Prefix], upstreams: frozenset[NeighborName],
        regions: frozenset[str], has_observer: bool,
    ) -> None:  # fmt: skip
        self.history.reload(pop, File(prefixes, upstreams, regions, standbys & prefixes, has_observer))

    @rule(pop=POP, match=st.sampled_from(["", "eu/", "us/", "tunnel/", "backend/eu"]), good=st.booleans())
    def answer(self, pop: str, match: str, good: bool) -> None:
        self.history.fleet.answer(pop, match, Why.ANSWERED if good else Why.TIMEOUT)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 60.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.history.wait(seconds)

    @rule(pop=POP, neighbor=st.sampled_from([*UPSTREAMS, RR]), up=st.booleans())
    def session(self, pop: str, neighbor: NeighborName, up: bool) -> None:
        self.history.session(pop, neighbor, SessionState.ESTABLISHED if up else SessionState.DOWN)

    @rule(pop=POP)
    def stir(self, pop: str) -> None:
        """Have what waits for others decided soon, and not at once."""
        self.history.fleet[pop].link.decide_anew(self.history.fleet[pop].world.control.config.prefixes)

    @rule(pop=POP, scope=st.sampled_from([None, DrainScope.POP, DrainScope.NEIGHBOR]),
          neighbor=st.sampled_from(UPSTREAMS), phase=st.sampled_from(PHASES), cold=st.booleans())  # fmt: skip
    def order(self, pop: str, scope: DrainScope | None, neighbor: NeighborName, phase: DrainPhase, cold: bool) -> None:
        self.history.order(pop, scope, neighbor, phase, cold)

    @rule(pop=POP, prefixes=SOME, whole=st.booleans())
    def attack(self, pop: str, prefixes: frozenset[Prefix], whole: bool) -> None:
        self.history.attack(pop, prefixes, whole=whole)

    @rule(pop=POP, prefixes=SOME, out=st.booleans())
    def shed(self, pop: str, prefixes: frozenset[Prefix], out: bool) -> None:
        self.history.shed(pop, prefixes, out)

    @invariant()
    def nothing_is_left_of_the_old_file(self) -> None:
        self.history.check()

    def teardown(self) -> None:
        self.history.heal()
        self.history.check_healed()


TestReloads = Anything.TestCase
TestReloads.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
pytestmark = pytest.mark.slow
