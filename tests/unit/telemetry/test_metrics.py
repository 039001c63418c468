"""What Prometheus scrapes: read back with its own parser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from anycastd.api.views.readiness import conditions
from anycastd.model.address import CheckId, Family
from anycastd.model.bfd import BfdView
from anycastd.model.bgp import Announce, EndOfRib, Withdraw
from anycastd.model.filters import FilterFacts, FilterKind
from anycastd.model.health import Health
from anycastd.model.journal import EntryKind, JournalFacts, LostWhy
from anycastd.model.nft import Count
from anycastd.model.probe import Note, ProbeResult, Why
from anycastd.model.probing import LATE_BOUNDS_S, EngineStats, ProbingFacts
from anycastd.model.spread import SpreadFacts
from anycastd.model.status import Alarm, AlarmView, FailoverTimer, Status
from anycastd.telemetry.catalogue import BUCKETS_S, CATALOGUE, Kind
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.status_builder import EUC1, NOW_S, TRANSIT_A, V4, V6
from tests.unit.telemetry.test_traffic import facts as traffic_facts

PATH, WEB = CheckId(f"tunnel/{EUC1}/path"), CheckId("backend/eu-central/web-1/web@euc-1")


STATS = EngineStats(checks=3, running=2, sockets_open=1, skipped=4, unopened=5, late_counts=(0, 7, 1, *[0] * 10, 1))
PROBING = ProbingFacts(STATS, (("1", True), ("2", False)), 6)


def families(metrics: Metrics, status: Status) -> dict[str, Metric]:
    text = asyncio.run(metrics.expose(status, conditions(status))).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(metrics: Metrics, status: Status) -> dict[tuple[str, ...], float]:
    """Return every sample by name and label values, in the catalogue's order of labels."""
    order = {spec.name.removesuffix("_total"): (*spec.labels, "le") for spec in CATALOGUE}
    return {
        (s.name, *(s.labels[label] for label in order[family.name] if label in s.labels)): s.value
        for family in families(metrics, status).values()
        for s in family.samples
    }


def lively() -> Metrics:
    """Return metrics in which every counter has counted."""
    metrics = Metrics(wall=lambda: 1_790_000_000.0)
    metrics.probe(ProbeResult(PATH, Why.ANSWERED, 0.0, 0.1))
    metrics.verdict(Health.UNHEALTHY)
    metrics.decision(build.isolated().prefixes[V4].decision)
    metrics.rerouted()
    metrics.action(Announce(TRANSIT_A, build.serving().wanted_routes[TRANSIT_A][V4]))
    metrics.action(Withdraw(TRANSIT_A, V4, "192.0.2.1"))
    metrics.action(EndOfRib(TRANSIT_A, Family.IPV4_UNICAST))
    metrics.command_acknowledged(3)
    metrics.command_refused()
    metrics.speaker_started()
    metrics.reload(True)
    metrics.reload(False)
    metrics.stage_failed("watch")
    metrics.log_suppressed(4)
    metrics.failover(FailoverTimer(V4, "NORMAL -> DEPREF", 10.0, 10.002, 10.003, 10.02))
    metrics.watch_traffic(traffic_facts)
    metrics.watch_filters(
        lambda: [FilterFacts("flow-1", FilterKind.FLOW, "203.0.113.10", 1_790_000_060.0, Count(7, 700))]
    )
    metrics.watch_spread(lambda: SpreadFacts({"call": 2, "shed": 0}, {("call", "holding"): 2}, {"joined": 1}))
    metrics.watch_journal(lambda: JournalFacts({EntryKind.CHECK: 7}, {LostWhy.QUEUE_FULL: 2}, 4096, 3, 1))
    return metrics


def with_certificate() -> Status:
    """Return a status in which one check has seen a certificate."""
    serving = build.serving()
    seen = ProbeResult(WEB, Why.ANSWERED, NOW_S, NOW_S, note=Note(certificate_ends_s=1_800_000_000.0))
    return replace(serving, checks={**serving.checks, WEB: replace(serving.checks[WEB], last=seen)})


def test_who_counts_and_who_is_heard_of_the_fleet() -> None:
    found = samples(Metrics(), build.in_a_fleet())
    assert found["anycastd_guard", "echo"] == 1.0
    assert found["anycastd_guard", "static"] == 0.0
    assert found["anycastd_prefix_announcers", str(V4), "counted"] == 1.0
    assert (found["anycastd_pop_heard", "sin"], found["anycastd_pop_heard", "iad"]) == (1.0, 0.0)
    assert found["anycastd_beacon_age_seconds", "iad"] == 40.0
    assert ("anycastd_beacon_age_seconds", "hkg") not in found
    assert found["anycastd_observers", "established"] == 1.0
    assert found["anycastd_observer_updates_total", "rr1", "flooded"] == 3.0
    assert samples(Metrics(), build.serving())["anycastd_guard", "static"] == 1.0


def test_steps_in_force_are_told_and_a_playbook_without_any_is_at_0() -> None:
    found = samples(lively(), build.serving())
    assert (found["anycastd_playbook_steps", "call"], found["anycastd_playbook_steps", "shed"]) == (2.0, 0.0)
    assert found["anycastd_playbook_prefixes", "call", "holding"] == 2.0
    assert found["anycastd_standbys", "joined"] == 1.0


def test_what_is_exposed_is_what_the_catalogue_lists() -> None:
    spoken = BfdView(sessions={"Up": 2}, sent=9, heard=8, discarded={"ttl": 1})
    ordered = replace(with_certificate(), orders=build.ordered().orders, bfd=spoken, probing=PROBING)
    ordered = replace(ordered, fleet=build.in_a_fleet().fleet)
    exposed = families(lively(), ordered)
    known = {re.sub("_total$", "", spec.name): spec for spec in CATALOGUE}
    assert set(exposed) == set(known)
    for name, family in exposed.items():
        spec = known[name]
        assert family.type == spec.kind.value
        assert family.documentation == spec.text
        assert all(set(sample.labels) - {"le"} == set(spec.labels) for sample in family.samples), name
        assert family.samples, name


def test_bfd_is_told_where_it_is_spoken_by_state_and_by_why_packets_were_discarded() -> None:
    assert not any(key[0].startswith("anycastd_bfd") for key in samples(Metrics(), build.serving()))
    view = BfdView(sessions={"Up": 2, "unknown": 1}, late_s=0.002, late_worst_s=0.009, downs=3, discarded={"ttl": 4})
    found = samples(Metrics(), replace(build.serving(), bfd=view))
    assert {key[1]: value for key, value in found.items() if key[0] == "anycastd_bfd_sessions"} == {
        "AdminDown": 0.0, "Down": 0.0, "Init": 0.0, "Up": 2.0, "unknown": 1.0,
    }  # fmt: skip
    assert found["anycastd_bfd_transmit_late_seconds", "max"] == 0.009
    assert found["anycastd_bfd_downs_total",] == 3.0
    assert found["anycastd_bfd_discarded_total", "ttl"] == 4.0


def test_names_have_the_prefix_the_unit_and_a_help_text() -> None:
    names = [spec.name for spec in CATALOGUE]
    assert len(names) == len(set(names))
    for spec in CATALOGUE:
        assert re.fullmatch(r"anycastd_[a-z_]+[a-z]", spec.name)
        assert spec.name.endswith("_total") is (spec.kind is Kind.COUNTER)
        assert spec.text.endswith(".")
        assert not spec.name.endswith(("_ms", "_milliseconds"))


def test_every_alarm_is_always_there() -> None:
    raised = (
        AlarmView(Alarm.SESSION_DOWN, "transit-a", NOW_S, ""),
        AlarmView(Alarm.SESSION_DOWN, "transit-b", NOW_S, ""),
    )
    found = samples(Metrics(), replace(build.serving(), alarms=raised))
    assert {key[1]: value for key, value in found.items() if key[0] == "anycastd_alarm"} == {
        alarm.value: 2.0 if alarm is Alarm.SESSION_DOWN else 0.0 for alarm in Alarm
    }


def test_prefixes_are_told_by_state_preference_and_hold() -> None:
    found = samples(Metrics(), build.serving())
    six = str(V6)
    assert found["anycastd_prefix_preference", str(V4)] == 3.0
    assert found["anycastd_prefix_preference", six] == 2.0
    assert found["anycastd_prefix_wanted_preference", six] == 3.0
    assert found["anycastd_prefix_hold", six, "slow_start"] == 1.0
    assert not any(key[:2] == ("anycastd_prefix_hold", str(V4)) for key in found)
    states = {key[2]: value for key, value in found.items() if key[:2] == ("anycastd_prefix_state", six)}
    assert states == {"ANNOUNCED": 1.0}
    assert found["anycastd_region_tunnel", "eu-central", "euc-1", "ipv4"] == 1.0


def test_the_end_of_a_certificate_is_told_while_it_is_seen() -> None:
    found = samples(Metrics(), with_certificate())
    told = {key: value for key, value in found.items() if key[0] == "anycastd_check_certificate_expiry_seconds"}
    assert told == {("anycastd_check_certificate_expiry_seconds", WEB): 1_800_000_000.0}


def test_health_latency_and_readiness_are_told() -> None:
    isolated = build.isolated()
    stale = {id_: replace(view, latency_ms=8.1) for id_, view in isolated.health.tunnels.items()}
    found = samples(Metrics(), replace(isolated, health=replace(isolated.health, tunnels=stale)))
    assert found["anycastd_tunnel_health", "eu-central", "euc-1"] == 0.0
    assert ("anycastd_tunnel_latency_seconds", "eu-central", "euc-1") not in found
    assert found["anycastd_check_latency_seconds", WEB] == pytest.approx(0.012)
    assert found["anycastd_ready",] == 1.0
    began = samples(Metrics(), build.starting())
    assert began["anycastd_ready",] == 0.0
    assert began["anycastd_ready_condition", "speaker"] == 0.0
    assert began["anycastd_tunnel_health", "eu-central", "euc-1"] == -1.0
    assert ("anycastd_neighbor_routes", "transit-a", "observed") not in began


def test_times_of_day_are_unix_seconds() -> None:
    found = samples(Metrics(), build.serving())
    assert found["anycastd_start_time_seconds",] == pytest.approx(build.WALL_S - 273_900.0)


def test_probe_results_are_counted_by_kind_outcome_and_why() -> None:
    metrics = Metrics()
    for why in (Why.ANSWERED, Why.ANSWERED, Why.TIMEOUT, Why.NO_PERMISSION):
        metrics.probe(ProbeResult(PATH, why, 0.0, 0.1))
    metrics.probe(ProbeResult(WEB, Why.BAD_STATUS, 0.0, 0.1))
    found = samples(metrics, build.serving())
    name = "anycastd_probe_results_total"
    assert {key[1:]: value for key, value in found.items() if key[0] == name} == {
        ("icmp", "ok", "answered"): 2.0,
        ("icmp", "failed", "timeout"): 1.0,
        ("icmp", "broken", "no_permission"): 1.0,
        ("http", "failed", "bad_status"): 1.0,
    }


def test_counters_do_not_shrink_when_a_check_is_removed() -> None:
    metrics, status = Metrics(), build.serving()
    metrics.probe(ProbeResult(PATH, Why.ANSWERED, 0.0, 0.1))
    key = ("anycastd_probe_results_total", "icmp", "ok", "answered")
    assert samples(metrics, status)[key] == 1.0
    without = replace(status, config=replace(status.config, probes=()))
    assert samples(metrics, without)[key] == 1.0


def test_events_are_counted() -> None:
    found = samples(lively(), build.serving())
    assert found["anycastd_commands_total", "acknowledged"] == 3.0
    assert found["anycastd_commands_total", "refused"] == 1.0
    assert found["anycastd_decisions_total", "DEPREF", "unable_to_serve", "static_guard"] == 1.0
    for action in ("announce", "withdraw", "end_of_rib"):
        assert found["anycastd_bgp_actions_total", action, "transit-a"] == 1.0
    assert found["anycastd_reloads_total", "refused"] == 1.0
    assert found["anycastd_reload_last_success_seconds",] == 1_790_000_000.0
    assert found["anycastd_log_lines_suppressed_total",] == 4.0


def test_what_is_alarmed_on_is_there_before_it_happens() -> None:
    found = samples(Metrics(), build.serving())
    assert found["anycastd_commands_total", "refused"] == 0.0
    assert found["anycastd_reloads_total", "refused"] == 0.0
    assert found["anycastd_check_verdicts_total", "UNHEALTHY"] == 0.0


def buckets(found: dict[tuple[str, ...], float], name: str) -> Iterable[float]:
    return [found[f"{name}_bucket", bound] for bound in [*(str(b) for b in BUCKETS_S), "+Inf"]]


def test_the_journal_is_counted_by_kind_and_by_loss() -> None:
    got = samples(lively(), build.serving())
    assert got["anycastd_journal_entries_total", "check"] == 7
    assert got["anycastd_journal_entries_total", "gap"] == 0
    assert got["anycastd_journal_lost_total", "queue_full"] == 2
    assert got["anycastd_journal_lost_total", "slow_reader"] == 0
    assert [got[name,] for name in ("anycastd_journal_size_bytes", "anycastd_journal_waiting")] == [4096, 3]
    assert ("anycastd_journal_size_bytes",) not in samples(Metrics(), build.serving()), "not known is not 0"


def test_failover_times_fall_into_their_buckets() -> None:
    metrics = Metrics()
    metrics.failover(FailoverTimer(V4, "x", 10.0, 10.0004, 10.0014, 10.0044))
    metrics.failover(FailoverTimer(V4, "x", 10.0, 10.0, 30.0, 30.001))
    found = samples(metrics, build.serving())
    assert buckets(found, "anycastd_failover_decide_seconds") == [2.0] * 14
    assert buckets(found, "anycastd_failover_command_seconds") == [0.0] + [1.0] * 12 + [2.0]
    assert found["anycastd_failover_seconds_count",] == 2.0
    assert found["anycastd_failover_seconds_sum",] == pytest.approx(20.0054)


def test_a_change_that_was_not_acknowledged_counts_as_decided_only() -> None:
    metrics = Metrics()
    metrics.failover(FailoverTimer(V4, "x", 10.0, 10.1))
    found = samples(metrics, build.serving())
    assert found["anycastd_failover_decide_seconds_count",] == 1.0
    assert found["anycastd_failover_seconds_count",] == 0.0


async def test_a_scrape_gives_the_loop_back_between_metrics() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    status = replace(build.serving(), bfd=BfdView())
    await Metrics().expose(status, conditions(status))
    ticking.cancel()
    assert ticks >= len(CATALOGUE)


def test_how_late_probes_begin_and_how_workers_do_is_told() -> None:
    found = samples(Metrics(), replace(build.serving(), probing=PROBING))
    late = "anycastd_probe_start_late_seconds"
    assert (found[f"{late}_bucket", "0.001"], found[f"{late}_bucket", "1.0"], found[f"{late}_count",]) == (7, 8, 9)
    assert (found["anycastd_probe_worker_up", "1"], found["anycastd_probe_worker_up", "2"]) == (1, 0)
    assert found["anycastd_probes_skipped_total", "descriptors"] == 5
    assert (STATS.late_below_s(0.5), STATS.late_below_s(0.8), STATS.late_below_s(0.99)) == (0.001, 0.0025, None)
    assert EngineStats().late_below_s(0.99) == 0
    assert LATE_BOUNDS_S == BUCKETS_S
