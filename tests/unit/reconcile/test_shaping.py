"""HTB classes, wanted against observed: what is done in which order, and what is never touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.shaping import (
    MAJOR,
    MINORS,
    Bucket,
    ClassView,
    CreateRoot,
    DeleteClass,
    DeleteRoot,
    PutClass,
    Queue,
    QueueKind,
    SetQueue,
    ShapingAction,
    ShapingFault,
    UplinkView,
)
from anycastd.reconcile.shaping import MAX_QUEUE_BYTES, MIN_QUEUE_BYTES, Plan, bucket_of, diff, queue_of

MBIT = 10**6
ONE, TWO = MINORS[0], MINORS[-1]
PLAIN = QueueKind.BFIFO
BARE = UplinkView(name="eth1", index=7, root="noqueue")
OURS = replace(BARE, root="htb", major=MAJOR)


def there(bps: int, *, waiting: int = 0) -> ClassView:
    """Return a class as it is read back for a rate."""
    bucket, queue = bucket_of(bps), queue_of(bps, PLAIN)
    return ClassView(rate=bucket, ceil=bucket, queue=queue.kind, limit_bytes=queue.limit_bytes, waiting=waiting)


def ours(**classes: ClassView) -> UplinkView:
    return replace(OURS, classes={int(key.lstrip("c"), 16): view for key, view in classes.items()})


def plan(wanted: dict[int, int], *views: UplinkView, **more: set[int] | set[str]) -> Plan:
    return diff(wanted, ["eth1"], {view.name: view for view in views}, kind=PLAIN, **more)  # type: ignore[arg-type]


def put(minor: int, bps: int) -> PutClass:
    return PutClass("eth1", 7, minor, bucket_of(bps), queue_of(bps, PLAIN))


def test_nothing_is_done_when_all_is_there() -> None:
    assert plan({0x100: MBIT}, ours(c100=there(MBIT))) == Plan()
    assert plan({}, BARE) == Plan()
    assert plan({}) == Plan(), "a device that is missing is missed by nobody"


def test_the_root_comes_first_and_classes_with_the_next_look() -> None:
    assert plan({ONE: MBIT, TWO: MBIT}, BARE) == Plan((CreateRoot("eth1", 7, -14),))
    assert plan({ONE: MBIT}, replace(BARE, has_ethernet=False)) == Plan((CreateRoot("eth1", 7, 0),))
    assert plan({ONE: MBIT, TWO: 2 * MBIT}, OURS) == Plan((put(ONE, MBIT), put(TWO, 2 * MBIT)))


DIFFERENT: list[tuple[str, ClassView, type[ShapingAction]]] = [
    ("rate", replace(there(MBIT), rate=bucket_of(2 * MBIT)), PutClass),
    ("ceil", replace(there(MBIT), ceil=bucket_of(2 * MBIT)), PutClass),
    ("burst", replace(there(MBIT), rate=bucket_of(MBIT)._replace(burst_ns=64)), PutClass),
    ("no queue", replace(there(MBIT), queue="", limit_bytes=0), SetQueue),
    ("other queue", replace(there(MBIT), queue="pfifo"), SetQueue),
    ("other limit", replace(there(MBIT), limit_bytes=1), SetQueue),
]


@pytest.mark.parametrize(("view", "action"), [row[1:] for row in DIFFERENT], ids=[row[0] for row in DIFFERENT])
def test_what_differs_is_changed_in_place_and_alone(view: ClassView, action: type[ShapingAction]) -> None:
    (found,) = plan({0x100: MBIT, 0x101: MBIT}, ours(c100=view, c101=there(MBIT))).actions
    assert isinstance(found, action)
    assert (found.device, found.index, found.minor) == ("eth1", 7, 0x100)  # type: ignore[union-attr]


def test_a_class_is_made_before_another_goes() -> None:
    found = plan({0x101: MBIT}, ours(c100=there(MBIT)))
    assert found.actions == (put(0x101, MBIT), DeleteClass("eth1", 7, 0x100))


def test_a_class_stays_while_packets_are_sent_to_it_or_wait_in_it() -> None:
    view = ours(c100=there(MBIT), c101=there(MBIT, waiting=3), c102=there(MBIT))
    assert plan({}, view, kept={0x100}) == Plan((DeleteClass("eth1", 7, 0x102),), leaving=True)
    assert plan({}, ours(c101=there(MBIT, waiting=3)), expired={"eth1"}) == Plan(leaving=True)
    assert plan({}, ours(c100=there(MBIT)), kept={0x100}, expired={"eth1"}) == Plan(leaving=True)


def test_the_last_class_takes_the_root_along_when_its_time_is_over() -> None:
    gone = DeleteClass("eth1", 7, 0x100)
    assert plan({}, ours(c100=there(MBIT))) == Plan((gone,), idle=frozenset({"eth1"}))
    expired = plan({}, ours(c100=there(MBIT)), expired={"eth1"})
    assert expired == Plan((gone, DeleteRoot("eth1", 7)), idle=frozenset({"eth1"}))
    assert plan({}, OURS, expired={"eth1"}).actions == (DeleteRoot("eth1", 7),)
    assert plan({0x100: MBIT}, ours(c100=there(MBIT)), expired={"eth1"}) == Plan()


def test_a_device_that_is_no_uplink_any_more_is_cleared() -> None:
    other = replace(ours(c100=there(MBIT)), name="eth2", index=8)
    found = plan({0x100: MBIT}, other, ours(c100=there(MBIT)), kept={0x100}, expired={"eth2"})
    assert found.actions == (DeleteClass("eth2", 8, 0x100), DeleteRoot("eth2", 8))


FOREIGN = [
    replace(BARE, root="fq_codel", major=0x8001),
    replace(BARE, root="htb", major=1),
    replace(BARE, root="prio", major=MAJOR),
    replace(BARE, root="htb", major=MAJOR, default_class=0x10),
    replace(BARE, root="noqueue", major=2),
]


@pytest.mark.parametrize("view", FOREIGN, ids=lambda view: f"{view.root} {view.major:x}")
def test_a_root_that_somebody_made_is_told_of_and_not_touched(view: UplinkView) -> None:
    found = plan({0x100: MBIT, 0x101: MBIT}, view, expired={"eth1"})
    assert found.actions == ()
    (problem,) = found.problems
    assert (problem.device, problem.fault) == ("eth1", ShapingFault.FOREIGN)
    assert problem.detail.startswith(
        f"2 EIPs with `htb` have no limit to clients over eth1: its root qdisc is a {view.root}"
    )
    assert plan({}, view) == Plan(), "nothing is shaped, so nothing is wrong"


@pytest.mark.parametrize("root", ["", "noqueue", "pfifo_fast", "mq", "fq_codel", "fq", "pfifo"])
def test_a_root_that_the_kernel_chose_makes_room(root: str) -> None:
    assert isinstance(plan({0x100: MBIT}, replace(BARE, root=root)).actions[0], CreateRoot)


def test_classes_that_are_not_of_our_numbers_stay_and_keep_the_root() -> None:
    theirs = ours(c1=there(MBIT), c100=there(MBIT))
    found = plan({}, theirs, expired={"eth1"})
    assert found == Plan((DeleteClass("eth1", 7, 0x100),))


def test_what_cannot_be_shaped_is_said() -> None:
    (problem,) = plan({0x100: MBIT}).problems
    assert (problem.fault, problem.detail) == (
        ShapingFault.MISSING, "1 EIP with `htb` has no limit to clients over eth1: there is no such device",
    )  # fmt: skip
    (problem,) = diff({0x100: MBIT}, (), {"eth1": BARE}, kind=PLAIN).problems
    assert (problem.device, problem.fault) == ("eip.uplinks", ShapingFault.NO_UPLINKS)


RATES = [
    (64_000, 8_000, 400_000_000, MIN_QUEUE_BYTES),
    (MBIT, 125_000, 25_600_000, MIN_QUEUE_BYTES),
    (10 * MBIT, 1_250_000, 10_000_000, 125_000),
    (1000 * MBIT, 125_000_000, 10_000_000, 12_500_000),
    (400_000 * MBIT, 50_000_000_000, 10_000_000, MAX_QUEUE_BYTES),
]


@pytest.mark.parametrize(("bps", "bytes_per_s", "burst_ns", "limit_bytes"), RATES)
def test_bursts_and_queues_follow_the_rate(bps: int, bytes_per_s: int, burst_ns: int, limit_bytes: int) -> None:
    assert bucket_of(bps) == Bucket(bytes_per_s, burst_ns)
    assert queue_of(bps, PLAIN) == Queue(kind=PLAIN, limit_bytes=limit_bytes)


@pytest.mark.parametrize(("bps", "target_us"), [(64_000, 283_875), (MBIT, 18_168), (10 * MBIT, 5000)])
def test_fair_queues_aim_at_a_delay_that_the_rate_can_keep(bps: int, target_us: int) -> None:
    queue = queue_of(bps, QueueKind.FQ_CODEL)
    assert (queue.kind, queue.target_us) == (QueueKind.FQ_CODEL, target_us)
    assert queue.limit_bytes == 2 * queue_of(bps, PLAIN).limit_bytes


rates = st.integers(64_000, 400 * 10**9)
minors = st.sampled_from([0x100, 0x101, 0x102, 0xFEFF])


def view_of(name: str, root: tuple[str, int, int], classes: dict[int, ClassView]) -> UplinkView:
    view = UplinkView(name=name, index=ord(name[-1]), root=root[0], major=root[1], default_class=root[2])
    return replace(view, classes=classes) if view.is_ours else view


views = st.builds(
    view_of,
    st.sampled_from(["eth1", "eth2", "eth3"]),
    st.sampled_from([("htb", MAJOR, 0), ("htb", MAJOR, 1), ("htb", 1, 0), ("mq", 0, 0), ("mq", MAJOR, 0)]),
    st.dictionaries(minors | st.just(1), st.builds(lambda bps, n: there(bps, waiting=n), rates, st.integers(0, 1))),
)


def after(action: ShapingAction, views: dict[str, UplinkView]) -> None:
    """Do what the kernel would; a root takes its classes along."""
    view = views[action.device]
    match action:
        case CreateRoot():
            views[view.name] = replace(view, root="htb", major=MAJOR, default_class=0, classes={})
        case PutClass(_, _, minor, bucket, queue):
            made = ClassView(rate=bucket, ceil=bucket, queue=queue.kind, limit_bytes=queue.limit_bytes)
            views[view.name] = replace(view, classes={**view.classes, minor: made})
        case SetQueue(_, _, minor, queue):
            one = replace(view.classes[minor], queue=queue.kind, limit_bytes=queue.limit_bytes)
            views[view.name] = replace(view, classes={**view.classes, minor: one})
        case DeleteClass(_, _, minor):
            views[view.name] = replace(view, classes={key: one for key, one in view.classes.items() if key != minor})
        case DeleteRoot():
            views[view.name] = replace(view, root="noqueue", major=0, classes={})


@given(
    st.dictionaries(minors, rates),
    st.lists(st.sampled_from(["eth1", "eth2", "eth4"]), unique=True),
    st.lists(views, unique_by=lambda view: view.name),
    st.sets(minors),
)
def test_every_uplink_gets_every_class_and_nothing_foreign_is_touched(
    wanted: dict[int, int], uplinks: list[str], before: list[UplinkView], kept: set[int]
) -> None:
    world = {view.name: view for view in before}
    for _ in range(3):
        found = diff(wanted, uplinks, world, kind=PLAIN, kept=kept, expired={"eth1", "eth2", "eth3"})
        for action in found.actions:
            assert world[action.device].is_ours or isinstance(action, CreateRoot)
            after(action, world)
    assert not found.actions, "it comes to an end"
    told = {problem.device for problem in found.problems}
    for view in before:
        now = world[view.name]
        if view.major and not view.is_ours:
            assert now == view
            assert (view.name in told) == (bool(wanted) and view.name in uplinks)
            continue
        mine = wanted if view.name in uplinks else {}
        for minor, bps in mine.items():
            assert now.classes[minor].rate == now.classes[minor].ceil == bucket_of(bps)
            assert now.classes[minor].limit_bytes == queue_of(bps, PLAIN).limit_bytes
        stays = {1, *(minor for minor, one in view.classes.items() if one.waiting)}
        stays |= kept if view.name in uplinks else set()
        assert now.classes.keys() - mine.keys() == (view.classes.keys() & (stays - mine.keys()))
        assert now.is_ours == bool(now.classes)
    assert told >= ({name for name in uplinks if name not in world} if wanted else set())
