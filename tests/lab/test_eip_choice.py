"""Where packets go by priority and order, and when nothing that an EIP is bound to is well."""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.lab.eip_count import totals, watch, watched
from tests.lab.eip_stage import BOTH, Answers, Stage
from tests.lab.fleet import NORMAL
from tests.lab.measured import Measured, Row
from tests.lab.numbered import numbered
from tests.lab.topology_facts import PREFIX_A4, PREFIX_A6, SITES, make_backend
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

COUNT = 60


def goes_to(stage: Stage, wanted: dict[str, set[str]]) -> bool:
    """Return whether all new connections to each EIP are answered by these backends, each of them by some."""
    got = stage.ask(*wanted, count=COUNT, every_ms=2)
    have = {address: set(Answers(got.of(address).rows).all_ok().by()) for address in wanted}
    assert have == wanted, have
    return True


def test_connections_go_by_priority_and_in_the_order_given(stage: Stage) -> None:
    by_priority = [stage.bound(version, "eu/b1", "eu/b2@2", "us/b1@3") for version in BOTH]
    ordered, nearest = [stage.allocate(version) for version in BOTH], [stage.allocate(version) for version in BOTH]
    for address in ordered:
        stage.bind(address, "us/b1", "eu/b1", "eu/b2", spread="ordered")
    for address in nearest:
        stage.bind(address, "us/b1", "eu/b1", "eu/b2", spread="nearest")

    def expect(what: str, priority: str, in_order: set[str], near: set[str]) -> None:
        wanted = {one: {priority} for one in by_priority} | dict.fromkeys(ordered, in_order)
        wait_until(what, 15, partial(goes_to, stage, wanted | dict.fromkeys(nearest, near)))

    def make(backend: str, mode: str) -> None:
        make_backend(stage.lab, backend, mode)
        stage.world.undo.append(lambda: make_backend(stage.lab, backend, "normal"))

    expect("all is well", "eu/b1", {"us/b1"}, {"eu/b1", "eu/b2"})
    make("eu-b1", "error500")
    expect("the first is ill", "eu/b2", {"us/b1"}, {"eu/b2"})
    make("us-b1", "error500")
    expect("the first region of the order is ill too", "eu/b2", {"eu/b2"}, {"eu/b2"})
    make("us-b1", "normal")
    make("eu-b2", "error500")
    expect("a whole region is ill", "us/b1", {"us/b1"}, {"us/b1"})
    make("eu-b1", "normal")
    make("eu-b2", "normal")
    expect("all is well again", "eu/b1", {"us/b1"}, {"eu/b1", "eu/b2"})


def alarms(stage: Stage) -> set[str]:
    return {one["alarm"] for one in stage.get("/v1/status")["alarms"]}


def test_with_all_backends_ill_packets_go_to_the_least_bad_or_are_dropped_and_counted(
    stage: Stage, measured: Measured
) -> None:
    opened = [stage.bound(version, "eu/b1") for version in BOTH]
    dropped = [stage.allocate(version) for version in BOTH]
    for address in dropped:
        stage.bind(address, "eu/b1", when_unhealthy="drop")
    watch(stage, *opened, *dropped)
    with numbered(stage, *opened, *dropped) as numbers:
        # its checks fail; the machine goes on
        at_s = stage.world.hurt(
            lambda: make_backend(stage.lab, "eu-b1", "error500"), lambda: make_backend(stage.lab, "eu-b1", "normal")
        )
        wait_until("the alarms", 15, lambda: {"eip_fail_open", "eip_no_path"} <= alarms(stage))
        for address in opened:
            wait_until("why", 5, lambda a=address: "least bad" in str(stage.get(f"/v1/eips/{a}")))  # type: ignore[misc]
        for address in dropped:
            wait_until("dropped", 5, lambda a=address: totals(stage, a)["in no_path"][0] > 0)  # type: ignore[misc]
        begin_s = time.monotonic()
        numbers.more(200)
        numbers.go_on()
        end_s = time.monotonic()
        state = {(pop, prefix): stage.world.table()[pop, prefix] for pop in SITES for prefix in (PREFIX_A4, PREFIX_A6)}
        assert set(state.values()) == {NORMAL}, state
        for site in SITES.values():
            assert stage.world.told(site, (PREFIX_A4, PREFIX_A6), at_s) == (), "no router heard of it"
    lost = sum(len(numbers.flows[address].lost) for address in opened)
    assert lost <= numbers.unable, "fail open: what comes goes on to the backend"
    # while they are still dropped: of a cause that is over, what came since the last reading is in no total
    for address in dropped:
        flow = numbers.flows[address]
        wait_until("each packet that came is counted", 15, partial(is_counted, stage, address))
        assert (
            flow.all_lost(begin_s, end_s) <= len(flow.lost) <= totals(stage, address)["in no_path"][0] + numbers.unable
        )
    make_backend(stage.lab, "eu-b1", "normal")
    wait_until("they are delivered again", 15, partial(goes_to, stage, {one: {"eu/b1"} for one in dropped}))
    wait_until("no alarm", 15, lambda: not {"eip_fail_open", "eip_no_path"} & alarms(stage))
    sent = sum(numbers.flows[address].sent for address in opened)
    measured.add(
        Row("EIP: all its backends ill, fail open", "packets go on to the last one; no route", None, None, lost, sent)
    )


def is_counted(stage: Stage, address: str) -> bool:
    """Return whether what was carried and what was dropped is what has come."""
    came, said = watched(stage, address, "in"), totals(stage, address)
    parts = [said[way] for way in ("in", "in no_path")]
    assert came == tuple(sum(part) for part in zip(*parts, strict=True)), (came, parts)
    return True
