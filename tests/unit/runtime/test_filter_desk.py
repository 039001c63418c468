"""The desk of blackholes and flow rules on a real file: what is kept, what ends, what a restart and a full disk do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.address import FlowFamily
from anycastd.model.attack import AttackState, AttackView, Rate, Shape, Share, Standing
from anycastd.model.bgp import (
    Announce,
    AnnounceFlow,
    EndOfRib,
    FlowRoute,
    Route,
    Withdraw,
    WithdrawFlow,
)
from anycastd.model.filters import Auto, Blackhole, FilterKind, FlowRule
from anycastd.model.flow import FlowMatch
from anycastd.model.nft import Count
from anycastd.model.status import Alarm
from anycastd.resources.filters import Release
from anycastd.resources.refusal import Code
from anycastd.runtime.kept import filters_file, memory_file
from anycastd.runtime.kept.filters_file import Found
from anycastd.runtime.kept.memory_file import Clocks as FileClocks
from anycastd.runtime.kept.orders_file import Kept
from anycastd.runtime.orders.filter_desk import AUTOMATIC, FILTERS
from tests.unit.runtime.filter_world import EIP, UDP, Bgp, Scene, flow, hole, with_filter
from tests.unit.runtime.world import UP


async def test_what_is_ordered_is_on_disk_at_the_neighbor_and_in_the_packet_filter(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    done = await scene.order(hole())
    await scene.order(flow(rate_bytes_s=10_000))
    route = scene.bgp.filters[ip_network(EIP)]
    assert isinstance(route, Route)
    assert (route.communities, route.as_path) == (("65535:666", "65535:65281"), (64500,))
    assert route.is_blackhole
    assert [one.rate_bytes_s for one in scene.desk.local] == [0, 10_000]
    assert (scene.local, scene.ends) == (2, 2)
    assert scene.notes == [("blackhole", "set"), ("flow", "set")]
    assert json.loads((tmp_path / FILTERS).read_text())["filters"][0]["id"] == done.id
    await scene.order(Release(id=done.id, kind=FilterKind.BLACKHOLE, owner="ann"))
    assert set(map(type, scene.bgp.filters.values())) == {FlowRoute}
    assert scene.notes[-1] == ("blackhole", "ended")


async def test_a_dry_run_changes_nothing_and_a_key_is_answered_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    said = await scene.order(hole(), dry_run=True)
    assert "is set" in said.changes[0]
    assert not (tmp_path / FILTERS).exists()
    assert scene.bgp.said == []
    first = await scene.order(hole(), key="k", digest="d")
    again = await Scene(tmp_path, bgp=scene.bgp).order(hole(), key="k", digest="d")
    assert (again.id, again.replayed) == (first.id, True)
    assert await scene.refusal(hole(), key="k", digest="other") is Code.KEY_REUSED


async def test_each_ends_in_its_time_with_a_warning_before_and_one_after_the_other(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for number in range(3):
        await scene.order(hole(number, ttl_s=600.0))
    await scene.wait(299)
    assert not scene.reported.details
    await scene.wait(2)
    assert [alarm for alarm, _ in scene.reported.details] == [Alarm.FILTER_ENDS] * 3
    await scene.order(hole(2, ttl_s=600.0))
    await scene.wait(1)
    assert len(scene.reported.details) == 2, "who extends it is warned no more"
    left: list[int] = []
    for _ in range(5):
        await scene.wait(0.5 if left else 298.0)
        left.append(len(scene.bgp.filters))
    assert left == [2, 2, 1, 1, 1], "of two that end at once one ends a second later"
    await scene.wait(400)
    assert scene.bgp.filters == {}
    assert not scene.reported.details


async def test_of_what_has_ended_nothing_is_remembered_but_what_was_dropped(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for _ in range(3):
        done = await scene.order(hole())
        scene.desk.take_counts({})
        await scene.order(Release(id=done.id, kind=FilterKind.BLACKHOLE, owner="ann"))
    while scene.desk.filters.standing:
        scene.now_s += 10.0
        await scene.desk.look()
    assert not scene.desk._until
    assert not scene.desk.dropped
    assert list(scene.desk.filtered) == [EIP]


async def test_a_restart_finds_what_stands_and_never_says_what_ended_meanwhile(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.order(hole(ttl_s=600.0))
    await scene.order(flow(ttl_s=60.0))
    # 100 s later, after power was lost: another boot, whose clock began anew
    found, _ = filters_file.load(tmp_path / FILTERS, memory_file.clocks())
    at = memory_file.clocks()
    (tmp_path / FILTERS).write_text(
        filters_file.encode(found, FileClocks("another boot", at.monotonic_s, at.wall_s - 100.0))
    )
    again = Scene(tmp_path)
    assert [type(action) for action in again.bgp.said] == [Announce]
    (one,) = again.desk.filters.standing
    assert 499 < one.expires_s - at.monotonic_s < 501
    # ExaBGP that ran on, with both: only what ended is said
    ran_on = Scene(tmp_path, bgp=Bgp(dict(scene.bgp.filters)))
    assert [type(action) for action in ran_on.bgp.said] == [WithdrawFlow]


async def test_the_bridge_is_told_each_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.order(hole(ttl_s=600.0))
    await scene.order(flow(ttl_s=600.0))
    first, second = scene.desk.stages()
    assert [type(action) for stage in (first, second) for action in stage.actions] == [Withdraw, WithdrawFlow]
    assert first.at_s is not None
    assert second.at_s is not None
    assert second.at_s - first.at_s >= 1.0
    assert abs(first.at_s - scene.now_s - 600) < 1


async def test_a_disk_that_takes_nothing_refuses_and_what_ends_ends_all_the_same(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.order(hole(ttl_s=60.0))
    (tmp_path / FILTERS).with_suffix(".new").mkdir()
    assert await scene.refusal(hole(1)) is Code.STORE
    assert len(scene.bgp.filters) == 1
    assert any(alarm is Alarm.STATE_NOT_SAVED for alarm, _ in scene.reported.details)
    await scene.wait(61)
    assert scene.bgp.filters == {}
    assert Scene(tmp_path).desk.filters.standing != (), "its time is not over by the real clock"


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_text("{"), lambda path: path.write_text('{"format": 2}')], ids=["torn", "newer"]
)
async def test_a_file_that_cannot_be_read_holds_nothing_and_takes_nothing(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(tmp_path / FILTERS)
    scene = Scene(tmp_path)
    assert scene.desk.filters.standing == ()
    assert await scene.refusal(hole()) is Code.STORE
    assert [alarm for alarm, _ in scene.reported.details] == [Alarm.ORDERS_UNREAD]
    (tmp_path / FILTERS).unlink()
    await scene.wait(1)
    await scene.order(hole())


async def test_a_freeze_lets_end_but_not_begin(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    done = await scene.order(hole())
    scene.held = "night"
    assert await scene.refusal(flow()) is Code.FROZEN
    await scene.order(Release(id=done.id, kind=FilterKind.BLACKHOLE, owner="ann"))
    assert scene.bgp.filters == {}


async def test_a_prefix_that_leaves_the_file_takes_its_filters_along(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.order(hole())
    base = scene.desk.config
    scene.desk.configure(replace(base, prefixes={p: s for p, s in base.prefixes.items() if EIP not in p}))
    await scene.wait(0.1)
    assert scene.bgp.filters == {}


async def test_end_of_rib_of_flow_rules_waits_until_all_are_said(tmp_path: Path) -> None:
    owed = frozenset({(UP, FlowFamily.IPV4_FLOW), (UP, FlowFamily.IPV6_FLOW)})
    scene = Scene(tmp_path, bgp=Bgp(owed=owed))
    assert [type(action) for action in scene.bgp.said] == [EndOfRib, EndOfRib]
    await scene.order(flow())
    again = Bgp(owed=owed)
    follower = Scene(tmp_path, bgp=again)
    assert [type(action) for action in again.said] == [AnnounceFlow]
    follower.desk.follow(follower.now_s)
    assert [type(action) for action in again.said] == [AnnounceFlow, EndOfRib, EndOfRib]
    follower.desk.stop()
    follower.desk.follow(follower.now_s + 60)
    assert len(again.said) == 3, "nothing is said any more"


async def test_counters_go_on_over_a_flush(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    done = await scene.order(hole())
    name = "filter_" + done.id.replace("-", "_")
    readings = iter([{name: Count(10, 1000)}, {name: Count(15, 1500)}, {}, {name: Count(4, 400)}])
    for expected in (10, 15, 15, 19):
        scene.desk.take_counts(next(readings))
        assert scene.desk.dropped[done.id].packets == expected
    await scene.order(Release(id=done.id, kind=FilterKind.BLACKHOLE, owner="ann"))
    assert scene.desk.dropped == {}
    assert scene.desk.filtered == {EIP: Count(19, 1900)}, "what came in did come in"


def under_attack() -> AttackView:
    shape = Shape(sampled=500, protocols=(Share("udp", 97),), source_ports=(Share("53", 95),))
    standing = Standing(AttackState.ATTACK, rate=Rate(1e5, 1e9), usual=Rate(1e3, 1e6), shape=shape)
    return AttackView(eips={EIP: standing})


async def test_the_rule_that_fits_is_proposed_and_set_only_where_that_was_asked_for(tmp_path: Path) -> None:
    for auto in (Auto.OFF, Auto.PROPOSE):
        scene = Scene(tmp_path / auto, its_config=with_filter(auto=auto))
        scene.desk.attack = under_attack
        await scene.desk.meet()
        assert scene.desk.filters.standing == ()
        assert bool(scene.desk.proposals(EIP)) is (auto is Auto.PROPOSE)
    scene = Scene(tmp_path / "apply", its_config=with_filter(auto=Auto.APPLY))
    scene.desk.attack = under_attack
    await scene.desk.meet()
    (rule,) = scene.desk.filters.rules
    assert (rule.owner, rule.match.source_ports) == (AUTOMATIC, ((53, 53),))
    await scene.desk.meet()
    assert scene.desk.filters.rules == (rule,), "it stands, and is not renewed each time"
    await scene.wait(2000)
    await scene.desk.meet()
    assert scene.desk.filters.rules[0].expires_s > rule.expires_s
    scene.desk.attack = AttackView
    await scene.wait(3601)
    assert scene.desk.filters.standing == ()


async def test_what_an_operator_set_is_not_changed_by_the_machine(tmp_path: Path) -> None:
    scene = Scene(tmp_path, its_config=with_filter(auto=Auto.APPLY))
    scene.desk.attack = under_attack
    await scene.order(flow(ttl_s=60.0))
    await scene.desk.meet()
    assert [one.owner for one in scene.desk.filters.rules] == ["ann"]


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    at = memory_file.clocks()
    assert filters_file.load(tmp_path / FILTERS, at) == (Found(), "")
    common: dict[str, Any] = {"owner": "ann", "reason": "\u00fc", "began_s": 1.0, "expires_s": at.monotonic_s + 60}
    match = FlowMatch(
        destination=ip_network("2001:db8::/48"),
        source=ip_network("2001:db8:bad::/48"),
        protocols=(6,),
        destination_ports=((1, 2), (5, 5)),
        source_ports=((9, 9),),
        lengths=((0, 100),),
        tcp_set=2,
        tcp_unset=16,
    )
    standing = (
        Blackhole(id="blackhole-1", address=ip_address("2001:db8::1"), neighbors=(UP,), **common),
        FlowRule(id="flow-2", match=match, rate_bytes_s=9600, **common),
        FlowRule(id="flow-3", match=UDP, **common),
    )
    found = Found(standing, {"k": Kept("d", at.monotonic_s, {"id": "flow-2", "changes": []})})
    assert filters_file.decode(filters_file.encode(found, at), at) == found


@pytest.mark.parametrize("field", ["began_s", "expires_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_a_time_that_never_comes_is_refused(field: str, value: float) -> None:
    at = memory_file.clocks()
    one = FlowRule(id="f", match=UDP, owner="", reason="", began_s=0.0, expires_s=1.0)
    text = filters_file.encode(Found((replace(one, **{field: value}),)), at)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"f.{field}: '.*' is not a time"):
        filters_file.decode(text, at)
    other = filters_file.encode(Found((one,)), replace(at, wall_s=value))
    with pytest.raises(ValueError, match=r"clocks\.wall_s"):
        filters_file.decode(other, at)


async def test_what_is_released_together_ends_one_by_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ids = [(await scene.order(hole(number))).id for number in range(3)]
    told = [(await scene.order(Release(id=id_, kind=FilterKind.BLACKHOLE, owner="ann"))).changes[0] for id_ in ids]
    assert [words.partition(" ends")[2] for words in told] == [
        "", " in 1s, behind the one before it", " in 2s, behind the one before it",
    ]  # fmt: skip
    left = []
    for _ in range(5):
        left.append(len(scene.bgp.filters))
        await scene.wait(0.5)
    assert left == [2, 2, 1, 1, 0]
    await scene.wait(60)
    alone = await scene.order(hole())
    (words,) = (await scene.order(Release(id=alone.id, kind=FilterKind.BLACKHOLE, owner="ann"))).changes
    assert words.endswith(" ends")


async def test_the_kernel_is_told_an_end_of_its_own_that_stays_until_it_is_renewed(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.order(hole(ttl_s=60.0))
    (first,) = scene.desk.local
    wall_s = 1_790_000_000.0 + scene.now_s
    assert first.until_unix_s is not None
    assert wall_s + 60 + 42 <= first.until_unix_s <= wall_s + 60 + 46
    scene.now_s += 7.25
    assert scene.desk.local == (first,), "else the rules would be put anew again and again"
    await scene.order(hole(ttl_s=60.0))
    (renewed,) = scene.desk.local
    assert renewed.until_unix_s in (first.until_unix_s + 7, first.until_unix_s + 8)
    assert scene.local == 2


@pytest.mark.parametrize("stepped_s", [86_400.0, -86_400.0, 30.0])
async def test_a_clock_that_is_set_leaves_the_end_of_each_in_the_packet_filter_where_it_is(
    tmp_path: Path, stepped_s: float
) -> None:
    scene = Scene(tmp_path, its_config=with_filter(blackhole_ttl_s=600.0))
    await scene.order(hole())
    told, (before,) = scene.local, scene.desk.local
    await scene.wait(0.4)
    assert (scene.local, scene.desk.local) == (told, (before,))
    # a machine without a clock of its own is set when the network is there; the kernel's rule goes by that clock
    scene.stepped_s = stepped_s
    await scene.wait(0.4)
    (after,) = scene.desk.local
    assert before.until_unix_s is not None
    assert after.until_unix_s is not None
    assert scene.local == told + 1
    assert abs(after.until_unix_s - before.until_unix_s - stepped_s) <= 1
    await scene.wait(0.4)
    assert scene.local == told + 1


async def test_a_clock_that_is_slewed_changes_no_rule_at_each_look(tmp_path: Path) -> None:
    scene = Scene(tmp_path, its_config=with_filter(blackhole_ttl_s=3600.0, release_each_s=0.0))
    await scene.order(hole())
    for _ in range(100):
        scene.stepped_s += 0.05
        await scene.wait(1.0)
        one = scene.desk.local[0]
        standing = scene.desk.filters.standing[0]
        assert one.until_unix_s is not None
        left_s = standing.expires_s - scene.now_s
        assert one.until_unix_s >= 1_790_000_000.0 + scene.now_s + scene.stepped_s + left_s
    assert scene.local <= 4


async def test_what_stands_in_a_file_that_can_be_read_again_is_led_to_all_who_must_know(tmp_path: Path) -> None:
    before = Scene(tmp_path)
    done = await before.order(hole())
    text = (tmp_path / FILTERS).read_text()
    (tmp_path / FILTERS).write_text(text[:40])
    scene = Scene(tmp_path)
    assert not scene.desk.filters.standing
    await scene.wait(0.0)
    assert (scene.local, scene.ends) == (0, 0)
    (tmp_path / FILTERS).write_text(text)
    await scene.wait(0.0)
    assert [one.id for one in scene.desk.local] == [done.id]
    # the packet filter, the bridge (which ends it should no daemon be there), and the neighbors
    assert (scene.local, scene.ends) == (1, 1)
    assert ip_network(EIP) in scene.bgp.filters


async def test_what_stands_is_there_again_when_a_file_on_trial_that_lacks_its_prefix_is_taken_back(
    tmp_path: Path,
) -> None:
    its_config = replace(with_filter(), state_dir=str(tmp_path))
    scene = Scene(tmp_path, its_config=its_config)
    done = await scene.order(hole(ttl_s=60.0))
    gone = replace(its_config, prefixes={p: one for p, one in its_config.prefixes.items() if EIP not in p})
    on_trial = True
    scene.desk.on_trial = lambda: on_trial
    scene.desk.configure(gone)
    await scene.wait(1.0)
    # what is not ours is not said, nor dropped; it is still on disk
    assert scene.bgp.filters == {}
    assert not scene.desk.filters.standing
    assert json.loads((tmp_path / FILTERS).read_text())["filters"][0]["id"] == done.id
    scene.desk.configure(its_config)
    await scene.wait(1.0)
    assert [one.id for one in scene.desk.local] == [done.id]
    assert ip_network(EIP) in scene.bgp.filters
    # a file that stays takes it along; one that is over does not come back
    for stays, seconds in ((True, 1.0), (False, 70.0)):
        again = Scene(tmp_path / str(stays), its_config=its_config)
        await again.order(hole(ttl_s=60.0))
        again.desk.on_trial = lambda: True
        again.desk.configure(gone)
        await again.wait(1.0)
        again.desk.on_trial = (lambda: False) if stays else (lambda: True)
        await again.wait(seconds)
        again.desk.configure(its_config)
        await again.wait(1.0)
        assert again.bgp.filters == {}
        assert json.loads((tmp_path / str(stays) / FILTERS).read_text())["filters"] == []
        assert again.notes[-1] == ("blackhole", "ended")
