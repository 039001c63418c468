"""One's fault told from the other's: tunnel, backend, region, POP, and our own (I2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.health.assess import assess, index_of
from anycastd.model.address import BackendId, CheckId, RegionName, TunnelId
from anycastd.model.health import CheckState, FaultScope, Health, HealthReason, HealthView, SelfTestView
from anycastd.model.topology import AtLeast, Condition, Config, Group, Member, MemberKind, Need, Scope
from tests.unit.policy.pops import NOW_S, TWO, Place, believed, pop

OK, BAD, NEW, BLIND = Health.HEALTHY, Health.UNHEALTHY, Health.INITIAL, Health.UNKNOWN
POOR = Health.DEGRADED
EU, US = RegionName("eu"), RegionName("us")
CONFIG = pop({"eu": TWO, "us": TWO})


@dataclass(frozen=True)
class Case:
    """What the checks say, and what must be believed of region eu, its tunnels a, b and backends web-1, web-2."""

    name: str
    checks: dict[str, Health]
    tunnels: tuple[Health, Health]
    backends: tuple[Health, Health]
    region: tuple[Health, HealthReason]
    fault: FaultScope
    rest: Health = field(default=OK)


WELL = (OK, HealthReason.ENOUGH_BACKENDS)
CASES = (
    Case("all is well", {}, (OK, OK), (OK, OK), WELL, FaultScope.NONE),
    # a silent cut: the tunnel's own check and every backend check through it time out
    Case("a tunnel is cut", {"tunnel/eu/a": BAD, "backend/eu/web-1/web@a": BAD, "backend/eu/web-2/web@a": BAD},
         (BAD, OK), (OK, OK), WELL, FaultScope.TUNNEL),
    Case("a tunnel is cut, backend checks not yet", {"tunnel/eu/a": BAD}, (BAD, OK), (OK, OK), WELL,
         FaultScope.TUNNEL),
    Case("a backend is dead", {"backend/eu/web-1": BAD}, (OK, OK), (BAD, OK), WELL, FaultScope.BACKEND),
    Case("a backend fails through one tunnel only", {"backend/eu/web-1/web@a": BAD}, (OK, OK), (OK, OK), WELL,
         FaultScope.NONE),
    Case("a backend is dead, a tunnel is cut", {"tunnel/eu/a": BAD, "backend/eu/web-1": BAD, "backend/eu/web-2/web@a":
         BAD}, (BAD, OK), (BAD, OK), WELL, FaultScope.TUNNEL),
    Case("a tunnel is degraded", {"tunnel/eu/a": POOR}, (POOR, OK), (OK, OK), WELL, FaultScope.TUNNEL),
    Case("all tunnels of the region are degraded", {"tunnel/eu": POOR}, (POOR, POOR), (OK, OK),
         (POOR, HealthReason.TUNNELS_DEGRADED), FaultScope.TUNNEL),
    Case("one degraded, the other cut", {"tunnel/eu/a": POOR, "tunnel/eu/b": BAD, "backend/eu/web-1/web@b": BAD},
         (POOR, BAD), (OK, OK), (POOR, HealthReason.TUNNELS_DEGRADED), FaultScope.TUNNEL),
    Case("one degraded, the other not decided", {"tunnel/eu/a": POOR, "tunnel/eu/b": NEW}, (POOR, NEW), (OK, OK),
         (POOR, HealthReason.TUNNELS_DEGRADED), FaultScope.TUNNEL),
    Case("a backend is degraded", {"backend/eu/web-1": POOR}, (OK, OK), (POOR, OK), WELL, FaultScope.NONE),
    Case("a backend is degraded through one tunnel", {"backend/eu/web-1/web@a": POOR}, (OK, OK), (OK, OK), WELL,
         FaultScope.NONE),
    Case("all backends are degraded", {"backend/eu": POOR}, (OK, OK), (POOR, POOR),
         (POOR, HealthReason.BACKENDS_DEGRADED), FaultScope.NONE),
    Case("one backend is degraded, the other dead", {"backend/eu/web-1": POOR, "backend/eu/web-2": BAD}, (OK, OK),
         (POOR, BAD), (POOR, HealthReason.BACKENDS_DEGRADED), FaultScope.BACKEND),
    Case("all backends are dead", {"backend/eu": BAD}, (OK, OK), (BAD, BAD),
         (BAD, HealthReason.TOO_FEW_BACKENDS), FaultScope.REGION),
    Case("all tunnels of the region are cut", {"tunnel/eu": BAD, "backend/eu": BAD}, (BAD, BAD), (BLIND, BLIND),
         (BAD, HealthReason.NO_USABLE_TUNNEL), FaultScope.REGION),
    Case("all tunnels of the POP are cut", {"tunnel": BAD, "backend": BAD}, (BAD, BAD), (BLIND, BLIND),
         (BAD, HealthReason.NO_USABLE_TUNNEL), FaultScope.POP),
    Case("we cannot look at a tunnel", {"tunnel/eu/a": BLIND, "backend/eu/web-1/web@a": BLIND,
         "backend/eu/web-2/web@a": BLIND}, (BLIND, OK), (OK, OK), WELL, FaultScope.SELF),
    Case("we cannot look at anything", {}, (BLIND, BLIND), (BLIND, BLIND), (BLIND, HealthReason.TUNNELS_UNKNOWN),
         FaultScope.SELF, BLIND),
    Case("we cannot look at the backends", {"backend/eu": BLIND}, (OK, OK), (BLIND, BLIND),
         (BLIND, HealthReason.CHECK_BROKEN), FaultScope.NONE),
    Case("cold start", {}, (NEW, NEW), (NEW, NEW), (NEW, HealthReason.CHECKS_PENDING), FaultScope.NONE, NEW),
    Case("tunnels are up, backends not asked yet", {"tunnel": OK}, (OK, OK), (NEW, NEW),
         (NEW, HealthReason.CHECKS_PENDING), FaultScope.NONE, NEW),
    Case("one path failed, the other not decided", {"backend/eu/web-1/web@a": BAD, "backend/eu/web-1/web@b": NEW},
         (OK, OK), (NEW, OK), WELL, FaultScope.NONE),
    Case("one tunnel is cut, the other not decided", {"tunnel/eu/a": BAD, "tunnel/eu/b": NEW, "backend/eu": NEW},
         (BAD, NEW), (NEW, NEW), (NEW, HealthReason.CHECKS_PENDING), FaultScope.TUNNEL),
    Case("one tunnel is cut, the other not to be seen", {"tunnel/eu/a": BAD, "tunnel/eu/b": BLIND}, (BAD, BLIND),
         (BLIND, BLIND), (BLIND, HealthReason.TUNNELS_UNKNOWN), FaultScope.TUNNEL),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_believed(case: Case) -> None:
    view = believed(CONFIG, case.checks, rest=case.rest)
    assert tuple(view.tunnels[TunnelId(f"eu/{key}")].health for key in "ab") == case.tunnels
    assert tuple(view.backends[BackendId(f"eu/web-{n}")].health for n in (1, 2)) == case.backends
    assert (view.regions[EU].health, view.regions[EU].reason) == case.region
    assert view.fault is case.fault
    assert bool(view.fault_detail) is (case.fault is not FaultScope.NONE)


@pytest.mark.parametrize(
    ("need", "bad", "expected"),
    [
        (Need(), 1, OK),
        (Need(), 2, BAD),
        (Need(all=True), 1, BAD),
        (Need(count=2), 1, BAD),
        (Need(percent=50), 1, OK),
        (Need(percent=51), 1, BAD),
    ],
    ids=str,
)
def test_how_many_backends_a_region_needs(need: Need, bad: int, expected: Health) -> None:
    config = pop({"eu": replace(TWO, usable_when=need)})
    view = believed(config, {f"backend/eu/web-{n}": BAD for n in range(1, bad + 1)})
    assert view.regions[EU].health is expected


def test_a_backend_whose_only_way_is_cut_does_not_keep_its_region_unknown() -> None:
    """Its IPv6 tunnel is down; that the region's IPv4 tunnel is up is no use to it."""
    config = pop({"eu": Place({"a": "4", "b": "6"}, {"web-1": 6})})
    view = believed(config, {"tunnel/eu/b": BAD, "backend": BAD})
    assert view.backends[BackendId("eu/web-1")].reason is HealthReason.NO_USABLE_TUNNEL
    assert (view.regions[EU].health, view.regions[EU].reason) == (BAD, HealthReason.TOO_FEW_BACKENDS)


def test_a_backend_nobody_checks_is_unknown_for_that_reason() -> None:
    config = pop({"eu": Place({"a": "4"}, {"web-1": 6})})
    view = believed(config, {}).backends[BackendId("eu/web-1")]
    assert (view.health, view.reason) == (BLIND, HealthReason.NO_CHECKS)


def test_a_tunnel_nobody_checks_is_unknown_for_that_reason() -> None:
    view = assess(replace(CONFIG, probes=()), index_of(replace(CONFIG, probes=())), {}, NOW_S)
    tunnel = view.tunnels[TunnelId("eu/a")]
    assert (tunnel.health, tunnel.reason) == (BLIND, HealthReason.NO_CHECKS)


def test_a_tunnel_of_two_families_is_as_bad_as_its_worse_one() -> None:
    view = believed(pop({"eu": Place({"a": "46"}, {"web-1": 4})}), {"tunnel/eu/a/path#6": BAD})
    tunnel = view.tunnels[TunnelId("eu/a")]
    assert (tunnel.health, tunnel.evidence) == (BAD, (CheckId("tunnel/eu/a/path#6"),))


def test_a_suspect_checker_outranks_every_other_fault() -> None:
    view = believed(CONFIG, {"tunnel": BAD}, self_test=SelfTestView(BAD, NOW_S + 60.0, "gateway fails too"))
    assert (view.fault, view.fault_detail) == (FaultScope.SELF, "gateway fails too")


def test_since_when_is_kept_while_nothing_changes() -> None:
    first = believed(CONFIG, {})
    later = believed(CONFIG, {"tunnel/eu/a": BAD}, before=first, now_s=NOW_S + 5.0)
    assert later.tunnels[TunnelId("eu/a")].since_s == NOW_S + 5.0
    assert later.tunnels[TunnelId("eu/b")].since_s == NOW_S
    assert later.regions[EU].since_s == NOW_S


def _checks(config: Config, bad: str) -> dict[CheckId, CheckState]:
    return {s.id: CheckState(s.id, BAD if s.id.startswith(bad) else OK) for s in config.probes}


def test_assessing_one_region_gives_what_assessing_all_gives() -> None:
    index = index_of(CONFIG)
    before = assess(CONFIG, index, _checks(CONFIG, "nothing"), NOW_S)
    after = _checks(CONFIG, "tunnel/eu")
    assert assess(CONFIG, index, after, NOW_S + 1.0, before, only=frozenset({EU})) == assess(
        CONFIG, index, after, NOW_S + 1.0, before
    )


@given(st.lists(st.dictionaries(st.sampled_from([s.id for s in CONFIG.probes]), st.sampled_from(Health)), max_size=6))
def test_assessing_what_was_touched_gives_what_assessing_all_gives(steps: list[dict[CheckId, Health]]) -> None:
    index, backend_of = index_of(CONFIG), {spec.id: spec.backend for spec in CONFIG.probes}
    checks = _checks(CONFIG, "nothing")
    view = assess(CONFIG, index, checks, NOW_S)
    for number, step in enumerate(steps, 1):
        checks |= {id_: CheckState(id_, health) for id_, health in step.items()}
        touched = {backend for id_ in step if (backend := backend_of[id_]) is not None}
        now_s, only = NOW_S + number, frozenset(CONFIG.regions)
        whole = assess(CONFIG, index, checks, now_s, view)
        assert assess(CONFIG, index, checks, now_s, view, None, only, touched) == whole
        view = whole


def test_a_region_that_is_not_assessed_keeps_what_was_believed() -> None:
    index = index_of(CONFIG)
    before = assess(CONFIG, index, _checks(CONFIG, "nothing"), NOW_S)
    view: HealthView = assess(CONFIG, index, _checks(CONFIG, "tunnel"), NOW_S, before, only=frozenset({EU}))
    assert view.regions[EU].health is BAD
    assert view.regions[US] is before.regions[US]


def test_the_order_of_the_configuration_does_not_matter() -> None:
    places = {"eu": TWO, "us": TWO}
    checks = {"tunnel/eu": BAD, "backend/us/web-1": BAD}
    one, other = believed(pop(places), checks), believed(pop(places, order=("us", "eu")), checks)
    assert one.tunnels == other.tunnels
    assert one.backends == other.backends
    assert one.regions == other.regions


def test_a_rule_as_usable_when() -> None:
    """One backend that must be there, and one of the two tunnels; the rest of the region does not count."""
    web = Member(MemberKind.BACKEND, "eu/web-1")
    ways = Group("ways", Need(), (Member(MemberKind.TUNNEL, "eu/a"), Member(MemberKind.TUNNEL, "eu/b")))
    config = pop({"eu": TWO})
    rule = AtLeast(Need(all=True), (web, ways, Condition(Scope.BACKENDS)))
    config = replace(config, regions={EU: replace(config.regions[EU], usable_when=rule)})

    def region(**states: Health) -> tuple[Health, HealthReason, str]:
        view = believed(
            config, {f"backend/eu/{key.replace('_', '-')}": state for key, state in states.items()}
        ).regions[EU]
        return view.health, view.reason, view.detail

    holds = "backend eu/web-1 usable; members of group ways usable: eu/a, eu/b; backends usable: eu/web-1, eu/web-2"
    assert region() == (OK, HealthReason.RULE_HOLDS, holds)
    assert region(web_2=BAD)[:2] == (OK, HealthReason.RULE_HOLDS)
    missing = "2 of 3 parts hold, all wanted; missing: (backend eu/web-1 not usable)"
    assert region(web_1=BAD) == (BAD, HealthReason.RULE_FAILS, missing)
    assert region(web_1=POOR)[:2] == (POOR, HealthReason.RULE_HOLDS_DEGRADED)
    assert region(web_1=NEW)[:2] == (NEW, HealthReason.CHECKS_PENDING)
    assert region(web_1=BLIND)[:2] == (BLIND, HealthReason.CHECK_BROKEN)
