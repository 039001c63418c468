"""The ladder with other POPs in view: who leaves, who waits for whom, who comes back. The static guard: test_engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest

from anycastd.model.address import NeighborName
from anycastd.model.bgp import BgpObserved, Route, SessionState, SessionView
from anycastd.model.decision import Decision, Level, Memory, Penalty, Reason, Truth
from anycastd.model.fleet import Claim, NotCounted, Others, Uncounted
from anycastd.model.topology import LastResort, PrefixSpec, PrefixTimers
from anycastd.policy.claims import claim_of
from anycastd.policy.desired import route_for
from anycastd.policy.draft import Facts, Order
from anycastd.policy.engine import decide
from anycastd.policy.guard import wanted
from anycastd.policy.snapshot import Snapshot, decode, encode, replay
from tests.unit.policy.pops import TWO, UP, V4, neighbor, pop

NOW_S = 10_000.0
SPEC = PrefixSpec(prefix=ip_network("203.0.113.0/24"))
EPOCH = 5
SERVING = Memory(level=Level.NORMAL, level_since_s=1000.0, was_announced=True, fine_since_s=1000.0, epoch=EPOCH)
SICK = replace(
    SERVING, level=Level.DEPREF, level_since_s=NOW_S - 60.0, fine_since_s=None, bad_since_s=NOW_S - 60.0,
    confirmed_since_s=NOW_S - 50.0,
)  # fmt: skip
SHUT = replace(SICK, level=Level.GSHUT)
GONE = replace(SICK, level=Level.WITHDRAWN, confirmed_since_s=None)
MENDING = replace(SICK, bad_since_s=None, fine_since_s=NOW_S - 55.0, confirmed_since_s=None)
INTENDS = replace(SERVING, intends=True)
FRESH = Memory()

SEEN = Others(pops=3, entry=EPOCH, counted=("ams",), present=("ams",), normal=("ams",), sure_from_s=NOW_S - 1.0,
              boot_at_s=NOW_S - 1.0, uncounted=(Uncounted("nyc", NotCounted.STALE),))  # fmt: skip
ALONE = replace(SEEN, counted=(), present=(), normal=(), uncounted=(Uncounted("ams", NotCounted.GONE),))
BLIND = replace(ALONE, blind_since_s=NOW_S - 20.0, uncounted=(Uncounted("ams", NotCounted.BLIND),))
BOTH_SICK = replace(SEEN, counted=(), normal=(), uncounted=(Uncounted("ams", NotCounted.DEPREF),))
SLOW = replace(SPEC, timers=PrefixTimers(gshut_wait_s=30.0))
LAST = replace(SPEC, last_resort=LastResort.WITHDRAW)

T, F, U = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
W, G, D, N = Level.WITHDRAWN, Level.GSHUT, Level.DEPREF, Level.NORMAL
R = Reason


def facts(condition: Truth, fleet: Others | None, spec: PrefixSpec = SPEC, **other: object) -> Facts:
    return replace(Facts(now_s=NOW_S, spec=spec, condition=condition, fleet=fleet), **other)  # type: ignore[arg-type]


def drain(level: Level = D, *, forced: bool = False) -> Order:
    return Order(level, forced, "pop is drained")


@dataclass(frozen=True)
class Case:
    """A situation and what must come of it; `wake_in_s` None: nothing to wait for."""

    name: str
    memory: Memory
    facts: Facts
    level: Level
    hold: Reason | None = None
    wake_in_s: float | None = None
    says: str = ""
    intends: bool = False
    given: Reason | None = field(default=None)


CASES = (
    # down: DEPREF at once, further only by the word of others
    Case("sick: DEPREF at once, whoever is there", SERVING, facts(F, SEEN), D, R.SETTLING, 2.0),
    Case("sick, nobody there: DEPREF at once", SERVING, facts(F, ALONE), D, R.SETTLING, 2.0),
    Case("an old confirmation is worth nothing, without settle too", SERVING,
         facts(F, SEEN, replace(SPEC, timers=PrefixTimers(settle_s=0.0))), D, R.NOT_ENOUGH_ANNOUNCERS,
         says="must see it depreferenced first"),
    Case("confirmed: it leaves", SICK, facts(F, SEEN), W, given=R.OTHERS_CONFIRMED, says="ams: NORMAL, and saw us"),
    Case("confirmed just now: settle", replace(SICK, confirmed_since_s=None), facts(F, SEEN), D, R.SETTLING, 2.0),
    Case("confirmation of another entry", SICK, facts(F, replace(SEEN, entry=EPOCH - 1)), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("entry not followed yet", SICK, facts(F, replace(SEEN, entry=-1)), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("both sick: neither leaves", SICK, facts(F, BOTH_SICK), D, R.NOT_ENOUGH_ANNOUNCERS,
         says="0 of 1 wanted are confirmed (ams depref): it stays"),
    Case("two wanted by default in a fleet of four", SICK, facts(F, replace(SEEN, pops=4)), D, R.NOT_ENOUGH_ANNOUNCERS,
         says="1 of 2 wanted"),
    Case("two wanted, two there", SICK, facts(F, replace(SEEN, pops=4, counted=("ams", "nyc"))), W),
    Case("three wanted, as written", SICK, facts(F, replace(SEEN, counted=("ams", "nyc")),
         replace(SPEC, min_announcers=3)), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("blind", SICK, facts(F, BLIND), D, R.OBSERVERS_BLIND, says="nobody can be seen"),
    Case("suspect checker", SICK, facts(F, SEEN, checker_suspect=True), D, R.CHECKER_SUSPECT),
    Case("frozen", SICK, facts(F, SEEN, frozen="maintenance"), D, R.FROZEN),
    Case("no budget", replace(SICK, penalty=Penalty(1500.0, 1500.0, NOW_S)), facts(F, SEEN), D, R.CHANGE_BUDGET, 593.1),
    Case("the operator said it may go dark", SICK, facts(F, ALONE, LAST), W, given=R.LAST_RESORT_WITHDRAW),
    Case("nobody can be asked at all", SICK, facts(F, None), D, R.STATIC_GUARD),
    # GSHUT: only with others confirmed, taken off when they are no more
    Case("GSHUT first", SICK, facts(F, SEEN, SLOW), G, R.GSHUT_WAIT, 30.0),
    Case("GSHUT, waiting", replace(SHUT, level_since_s=NOW_S - 10.0), facts(F, SEEN, SLOW), G, R.GSHUT_WAIT, 20.0),
    Case("GSHUT over, looked again", SHUT, facts(F, SEEN, SLOW), W, given=R.OTHERS_CONFIRMED),
    Case("GSHUT over, the others are sick", SHUT, facts(F, BOTH_SICK, SLOW), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("GSHUT, the others went", replace(SHUT, level_since_s=NOW_S - 10.0), facts(F, ALONE, SLOW), D,
         R.NOT_ENOUGH_ANNOUNCERS),
    Case("GSHUT, no budget: it stays there", replace(SHUT, penalty=Penalty(1500.0, 1500.0, NOW_S)),
         facts(F, SEEN, SLOW), G, R.CHANGE_BUDGET, 593.1),
    Case("never GSHUT when nobody is there", SICK, facts(F, ALONE, SLOW), D, R.NOT_ENOUGH_ANNOUNCERS),
    # up
    Case("slow start while others are NORMAL", MENDING, facts(T, SEEN), D, R.SLOW_START, 245.0),
    Case("no slow start when nobody is", MENDING, facts(T, BOTH_SICK), N),
    Case("nor steps", MENDING, facts(T, BOTH_SICK, replace(SPEC, return_prepends=(2, 1))), N),
    Case("blind: slow start", MENDING, facts(T, BLIND), D, R.SLOW_START, 245.0),
    Case("nobody heard yet: slow start", MENDING, facts(T, replace(ALONE, sure_from_s=NOW_S + 2.0)), D, R.SLOW_START,
         2.0),
    Case("fine again, nobody NORMAL: DEPREF, soon more", GONE, facts(T, ALONE), D, R.SLOW_START, 2.0),
    # come back
    Case("sick and gone, others there", GONE, facts(F, SEEN), W),
    Case("sick and gone, others at any level", GONE, facts(F, BOTH_SICK), W),
    Case("the last other one died", GONE, facts(F, ALONE), D, R.NOT_ENOUGH_ANNOUNCERS, says="0 of 1 wanted announce"),
    Case("under no budget", replace(GONE, penalty=Penalty(1900.0, 2900.0, NOW_S)), facts(F, ALONE), D,
         R.NOT_ENOUGH_ANNOUNCERS),
    Case("nor under a freeze", GONE, facts(F, ALONE, frozen="maintenance"), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("blind for long enough", GONE, facts(F, BLIND), D, R.OBSERVERS_BLIND),
    Case("blind just now", GONE, facts(F, replace(BLIND, sure_from_s=NOW_S + 7.0)), W, wake_in_s=7.0),
    Case("health unknown", GONE, facts(U, ALONE), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("blackhole missing", GONE, facts(F, ALONE, blackhole_ready=False), W, R.DATA_PLANE_NOT_READY),
    Case("may be dark", GONE, facts(F, ALONE, LAST), W),
    Case("ExaBGP not seen", GONE, facts(F, ALONE, bgp_observed=False), W, R.OBSERVATION_MISSING),
    Case("lost with ExaBGP: back at once, whoever is there", replace(GONE, was_lost=True), facts(F, SEEN), D,
         R.NOT_ENOUGH_ANNOUNCERS),
    # boot
    Case("first start, unable, others there", FRESH, facts(F, SEEN), W),
    Case("first start, unknown, nobody there", FRESH, facts(U, replace(ALONE, boot_at_s=NOW_S + 40.0)), W,
         R.HEALTH_UNKNOWN, 40.0),
    Case("first start took too long", FRESH, facts(U, ALONE), D, R.BOOT_FAIL_OPEN),
    Case("kernel not ready for too long", FRESH, facts(T, ALONE, data_plane_ready=False), D, R.BOOT_FAIL_OPEN),
    Case("kernel not ready, others there", FRESH, facts(T, SEEN, data_plane_ready=False), W, R.DATA_PLANE_NOT_READY),
    Case("restarted while gone: verdict first", GONE,
         facts(U, replace(ALONE, boot_at_s=NOW_S + 40.0), first_checks=True), W, R.FIRST_CHECKS, 40.0),
    Case("restarted while gone, still unable", GONE, facts(F, replace(ALONE, boot_at_s=NOW_S + 40.0)), D,
         R.NOT_ENOUGH_ANNOUNCERS),
    # drains: intent, rank, then as health
    Case("drained: the others are told first", SERVING, facts(T, SEEN, drain=drain()), N, R.DRAIN_QUEUED, intends=True,
         says="told first"),
    Case("drained, seen by all", INTENDS, facts(T, SEEN, drain=drain()), D, R.NOT_ENOUGH_ANNOUNCERS, intends=True),
    Case("drained, behind another", INTENDS, facts(T, replace(SEEN, goes_first=("ams",)), drain=drain()), N,
         R.DRAIN_QUEUED, intends=True, says="behind ams"),
    Case("drained, another goes first, a third stays", INTENDS,
         facts(T, replace(SEEN, counted=("ams", "nyc"), goes_first=("ams",)), drain=drain()), D,
         R.NOT_ENOUGH_ANNOUNCERS, intends=True),
    Case("drained, nobody there", INTENDS, facts(T, ALONE, drain=drain()), N, R.NOT_ENOUGH_ANNOUNCERS, intends=True),
    Case("drained, blind", SERVING, facts(T, BLIND, drain=drain()), N, R.OBSERVERS_BLIND, intends=True),
    Case("drained by force", SERVING, facts(T, ALONE, drain=drain(forced=True)), D),
    Case("drained, DEPREF, confirmed", replace(MENDING, confirmed_since_s=NOW_S), facts(T, SEEN, drain=drain()), D),
    Case("drained, WITHDRAW, confirmed", replace(MENDING, confirmed_since_s=NOW_S), facts(T, SEEN, drain=drain(W)), W,
         given=R.OTHERS_CONFIRMED),
    Case("drained, WITHDRAW, both", MENDING, facts(T, BOTH_SICK, drain=drain(W)), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("drained and gone", GONE, facts(T, SEEN, drain=drain(W)), W),
    Case("drained and gone, the last other died", GONE, facts(T, ALONE, drain=drain(W)), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("drained by force and gone", GONE, facts(T, ALONE, drain=drain(W, forced=True)), W),
    Case("drained and gone, may be dark", GONE, facts(T, ALONE, LAST, drain=drain(W)), W),
    Case("override, first DEPREF", SERVING, facts(T, SEEN, override=Order(W, False, "by hand")), D,
         R.NOT_ENOUGH_ANNOUNCERS),
    Case("override, confirmed", MENDING, facts(T, SEEN, override=Order(W, False, "by hand")), W),
    Case("override by force", SERVING, facts(T, ALONE, override=Order(W, True, "by hand")), W, given=R.FORCED),
    # stop
    Case("stop: DEPREF first", SERVING, facts(T, SEEN, stopping=True), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("stop, confirmed: leaves, without settle", replace(MENDING), facts(T, SEEN, stopping=True), W,
         given=R.OTHERS_CONFIRMED),
    Case("stop, nobody there: stays", MENDING, facts(T, ALONE, stopping=True), D, R.NOT_ENOUGH_ANNOUNCERS),
    Case("stop, nobody can be asked: leaves", SERVING, facts(T, None, stopping=True), W, given=R.STOPPING),
    Case("stop while gone", GONE, facts(F, ALONE, stopping=True), W),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_ladder_in_a_fleet(case: Case) -> None:
    decision, after = decide(case.facts, case.memory)
    assert (decision.level, decision.hold, decision.intends) == (case.level, case.hold, case.intends)
    wake_in_s = None if decision.wake_at_s is None else round(decision.wake_at_s - NOW_S, 1)
    assert wake_in_s == case.wake_in_s
    assert case.given is None or case.given in {step.reason for step in decision.trail}
    assert any(case.says in step.evidence for step in decision.trail)
    at = case.memory.level
    for step in decision.trail:
        assert step.before is at
        at = step.after
    assert at is decision.level is after.level
    # each entry into DEPREF and each intent is one that nobody has seen yet
    enters = decision.level is D and case.memory.level is not D
    assert after.epoch == case.memory.epoch + enters + (case.intends and not case.memory.intends)
    assert replay(decode_again(case, decision)) == decision


def decode_again(case: Case, decision: Decision) -> Snapshot:
    return decode(encode(Snapshot(case.facts, case.memory, decision)))


def test_an_old_journal_is_replayed_as_decided_without_a_fleet() -> None:
    decision, _ = decide(facts(F, None), SICK)
    text = encode(Snapshot(facts(F, None), SICK, decision))
    del text["facts"]["fleet"], text["memory"]["intends"], text["memory"]["confirmed_since_s"]
    del text["decision"]["intends"], text["facts"]["spec"]["timers"]["gshut_wait_s"]
    text["facts"]["spec"]["min_announcers"] = 1
    assert replay(decode(text)) == decision


def test_how_many_others_are_wanted() -> None:
    assert [wanted(SPEC, pops) for pops in (1, 2, 3, 4, 50)] == [1, 1, 1, 2, 2]
    assert wanted(replace(SPEC, min_announcers=1), 50) == 1


def test_confirmed_without_a_break_for_settle() -> None:
    memory = replace(SICK, confirmed_since_s=None)
    for after_s, fleet, level in ((0.0, SEEN, D), (1.5, SEEN, D), (1.6, ALONE, D), (1.7, SEEN, D), (3.6, SEEN, D),
                                  (3.7, SEEN, W)):  # fmt: skip
        now = replace(facts(F, fleet), now_s=NOW_S + after_s)
        decision, memory = decide(now, memory)
        assert decision.level is level, after_s


def test_no_refusal_names_more_than_a_few_of_fifty() -> None:
    many = tuple(Uncounted(f"pop-{n}", NotCounted.GONE) for n in range(49))
    decision, _ = decide(facts(F, replace(ALONE, pops=50, uncounted=many)), SICK)
    assert decision.trail[-1].evidence == (
        "0 of 2 wanted are confirmed (pop-0 gone, pop-1 gone, pop-2 gone, pop-3 gone and 45 more): it stays"
    )


def test_a_claim_is_what_an_established_upstream_was_sent() -> None:
    config = pop({"eu": TWO})
    spec, other = config.prefixes[V4], NeighborName("transit-b")
    config = replace(
        config,
        neighbors={UP: neighbor(), other: replace(neighbor(), name=other)},
        prefixes={V4: replace(spec, neighbors=(UP, other))},
    )
    routes = {level: route_for(neighbor(), spec, level) for level in Level}

    def bgp(up: Level | None, state: SessionState = SessionState.ESTABLISHED, *, busy: bool = False) -> BgpObserved:
        route: Route | None = None if up is None else routes[up]
        sessions = {UP: SessionView(state), other: SessionView(SessionState.DOWN)}
        held = {UP: {} if route is None else {V4: route}, other: {V4: routes[N]}}
        in_flight = frozenset({(UP, V4)} if busy else set())
        return BgpObserved(routes=held, sessions=sessions, in_flight=in_flight)  # type: ignore[arg-type]

    def decided(level: Level, reason: Reason = R.SERVING, condition: Truth = T) -> Decision:
        return Decision(V4, level, level, reason, None, 0.0, (), condition=condition)

    assert claim_of(config, decided(N), bgp(N)) is Claim.NORMAL
    assert claim_of(config, decided(N), bgp(N, SessionState.CONNECTED)) is Claim.GONE
    assert claim_of(config, decided(N), bgp(N), min_upstreams=2) is Claim.GONE
    assert claim_of(config, decided(N), bgp(D)) is Claim.DEPREF
    assert claim_of(config, decided(N), bgp(N, busy=True)) is Claim.DEPREF
    assert claim_of(config, decided(N), bgp(None, busy=True)) is Claim.GONE
    assert claim_of(config, decided(N), BgpObserved()) is Claim.GONE
    assert claim_of(config, decided(D, R.UNABLE_TO_SERVE, F), bgp(N)) is Claim.DEPREF
    assert claim_of(config, decided(G, R.DRAINING), bgp(G)) is Claim.DRAINING
    assert claim_of(config, decided(G, R.DRAINING, F), bgp(G)) is Claim.DEPREF
    assert claim_of(config, decided(W), bgp(N)) is Claim.GONE
