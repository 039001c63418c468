"""Tunnel devices, wanted against observed: what is done in which order, and what is never touched."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.address import TunnelId
from anycastd.model.tunnel_device import (
    ALIAS,
    AddAddress,
    CreateDevice,
    DeleteAddress,
    DeleteDevice,
    DeviceAction,
    DeviceFault,
    DevicesObserved,
    DeviceView,
    Endpoint,
    Geneve,
    IpTunnel,
    SetAlias,
    SetMtu,
    SetSysctl,
    SetUp,
    SetWireGuard,
    Shape,
    Sysctl,
    TunnelKind,
    Vxlan,
    WantedDevice,
    WireGuard,
    default_mtu_bytes,
)
from anycastd.reconcile.devices import Plan, diff

T1 = TunnelId("eu/t1")
HERE, THERE = ip_address("198.51.100.2"), ip_address("198.51.100.77")
SHAPE = Vxlan(vni=102, local=HERE, remote=THERE)
OWN = frozenset({ip_interface("10.255.2.1/30"), ip_interface("fd00:2::1/64")})
ASKED = WantedDevice(tunnel=T1, name="vx1", shape=SHAPE, mtu_bytes=1450, addresses=OWN)
ADOPTED = WantedDevice(tunnel=T1, name="vx1")
THERE_ALL = DeviceView(
    name="vx1", index=7, kind="vxlan", alias=f"{ALIAS}eu/t1", mtu_bytes=1450, admin_up=True, addresses=OWN,
    shape=SHAPE, rp_filter=0, keep_addresses=1,
)  # fmt: skip
FOREIGN = replace(THERE_ALL, alias="")
KEYS = WireGuard(
    private_key_file="/etc/key", public_key="p", allowed=frozenset({ip_network("::/0")}), key_digest="d1"
)  # fmt: skip


def seen(*views: DeviceView, rp_filter_all: int = 0) -> DevicesObserved:
    return DevicesObserved({view.name: view for view in views}, rp_filter_all)


def test_nothing_is_done_when_all_is_there() -> None:
    assert diff([ASKED], seen(THERE_ALL)) == Plan()
    assert diff([], seen(FOREIGN)) == Plan()


def test_a_missing_device_is_made_and_then_given_what_it_lacks() -> None:
    assert diff([ASKED], seen()) == Plan((CreateDevice(ASKED),))
    bare = replace(THERE_ALL, addresses=frozenset(), admin_up=False, rp_filter=1, keep_addresses=0)
    assert diff([ASKED], seen(bare)).actions == (
        SetSysctl("vx1", Sysctl.RP_FILTER, 0),
        SetSysctl("vx1", Sysctl.KEEP_ADDRESSES, 1),
        AddAddress("vx1", 7, ip_interface("10.255.2.1/30")),
        AddAddress("vx1", 7, ip_interface("fd00:2::1/64")),
        SetUp("vx1", 7),
    )


SMALL: list[tuple[str, DeviceView, DeviceAction]] = [
    ("mtu", replace(THERE_ALL, mtu_bytes=1500), SetMtu("vx1", 7, 1450)),
    ("down", replace(THERE_ALL, admin_up=False), SetUp("vx1", 7)),
    ("alias", replace(THERE_ALL, alias=f"{ALIAS}eu/old"), SetAlias("vx1", 7, f"{ALIAS}eu/t1")),
    (
        "one address too many",
        replace(THERE_ALL, addresses=OWN | {ip_interface("10.9.9.9/24")}),
        DeleteAddress("vx1", 7, ip_interface("10.9.9.9/24")),
    ),
]


@pytest.mark.parametrize(("view", "action"), [row[1:] for row in SMALL], ids=[row[0] for row in SMALL])
def test_what_can_be_changed_in_place_is(view: DeviceView, action: DeviceAction) -> None:
    assert diff([ASKED], seen(view)).actions == (action,)


def test_a_new_address_comes_before_the_old_one_goes() -> None:
    moved = replace(ASKED, addresses=frozenset({ip_interface("10.255.9.1/30")}))
    kinds = [type(action) for action in diff([moved], seen(THERE_ALL)).actions]
    assert kinds == [AddAddress, DeleteAddress, DeleteAddress]


OTHER: list[tuple[Shape, DeviceView, str]] = [
    (replace(SHAPE, vni=103), THERE_ALL, "changed: vni from 102 to 103"),
    (replace(SHAPE, lower="eth1"), THERE_ALL, "changed: lower from none to eth1"),
    (Geneve(vni=1, remote=THERE), THERE_ALL, "kind changed from vxlan to geneve"),
    (SHAPE, replace(THERE_ALL, shape=None), "parameters that were never ours"),
]


@pytest.mark.parametrize(("shape", "view", "why"), OTHER, ids=[row[2] for row in OTHER])
def test_other_parameters_make_it_anew(shape: Shape, view: DeviceView, why: str) -> None:
    assert diff([replace(ASKED, shape=shape)], seen(view)) == Plan((DeleteDevice("vx1", 7, why),))


def test_a_foreign_device_of_the_name_is_told_of_and_not_touched() -> None:
    for view in (FOREIGN, replace(FOREIGN, kind="dummy", shape=None, admin_up=False, mtu_bytes=9000)):
        plan = diff([ASKED], seen(view), expired={"vx1"})
        assert plan.actions == ()
        assert [(one.tunnel, one.fault) for one in plan.problems] == [(T1, DeviceFault.FOREIGN)]
        assert view.kind in plan.problems[0].detail


def test_an_adopted_device_is_only_tuned() -> None:
    odd = replace(FOREIGN, addresses=frozenset(), admin_up=False, rp_filter=1, keep_addresses=0)
    tuned = (SetSysctl("vx1", Sysctl.RP_FILTER, 0), SetSysctl("vx1", Sysctl.KEEP_ADDRESSES, 1))
    assert diff([ADOPTED], seen(odd)) == Plan(tuned)
    assert diff([replace(ADOPTED, tune=False)], seen(odd)) == Plan()
    assert diff([replace(ADOPTED, mtu_bytes=1400, tune=False)], seen(odd)).actions == (SetMtu("vx1", 7, 1400),)
    (problem,) = diff([ADOPTED], seen()).problems
    assert problem.fault is DeviceFault.MISSING


@pytest.mark.parametrize(("mtu_bytes", "told"), [(1450, False), (1451, True), (1500, True), (8950, False)])
def test_an_adopted_vxlan_that_fragments_is_told_of(mtu_bytes: int, told: bool) -> None:
    plan = diff([ADOPTED], seen(replace(FOREIGN, mtu_bytes=mtu_bytes)))
    assert ([one.fault for one in plan.problems] == [DeviceFault.MTU]) is told
    assert plan.actions == ()


@pytest.mark.parametrize(
    ("every", "own", "wanted"),
    [(0, 0, None), (0, 1, 0), (0, 2, None), (1, 0, 2), (1, 1, 2), (1, 2, None), (2, 1, None), (0, None, None)],
)
def test_the_reverse_path_filter_is_never_strict(every: int, own: int | None, wanted: int | None) -> None:
    plan = diff([ADOPTED], seen(replace(FOREIGN, rp_filter=own), rp_filter_all=every))
    assert plan.actions == (() if wanted is None else (SetSysctl("vx1", Sysctl.RP_FILTER, wanted),))
    if wanted is not None:
        assert max(every, wanted) != 1


def test_what_left_the_file_stays_until_its_time_is_over() -> None:
    assert diff([], seen(THERE_ALL)) == Plan(strays=frozenset({"vx1"}))
    gone = DeleteDevice("vx1", 7, "no longer in the configuration")
    assert diff([], seen(THERE_ALL), expired={"vx1"}) == Plan((gone,))


def test_a_device_that_got_another_name_makes_room_at_once() -> None:
    named = replace(ASKED, name="vx2")
    (action,) = (one for one in diff([named], seen(THERE_ALL)).actions if isinstance(one, DeleteDevice))
    assert (action.name, action.why) == ("vx1", "eu/t1 now has it as vx2")
    other = replace(ASKED, name="vx2", tunnel=TunnelId("eu/t2"))
    assert isinstance(diff([other], seen(THERE_ALL)).actions[0], DeleteDevice), "two of one vni cannot be"
    apart = replace(other, shape=replace(SHAPE, vni=9))
    assert diff([apart], seen(THERE_ALL)) == Plan((CreateDevice(apart),), strays=frozenset({"vx1"}))


def test_a_device_of_ours_that_is_now_adopted_stays() -> None:
    assert diff([ADOPTED], seen(THERE_ALL), expired={"vx1"}) == Plan()


def test_wireguard_is_set_in_place_and_left_alone_where_nothing_was_written() -> None:
    asked = replace(ASKED, shape=KEYS)
    running = replace(KEYS, private_key_file="", listen_port=40000, endpoint=Endpoint(THERE, 51820))
    view = replace(THERE_ALL, kind="wireguard", shape=running)
    assert diff([asked], seen(view)) == Plan()
    for changed in (
        replace(KEYS, key_digest="d2"),
        replace(KEYS, public_key="q"),
        replace(KEYS, listen_port=51820),
        replace(KEYS, endpoint=Endpoint(HERE, 51820)),
        replace(KEYS, keepalive_s=25),
    ):
        other = replace(asked, shape=changed)
        assert diff([other], seen(view)).actions == (SetWireGuard(other, 7),)
    assert diff([asked], seen(replace(view, shape=None))).actions == (SetWireGuard(asked, 7),)


HERE6, THERE6 = ip_address("2001:db8::2"), ip_address("2001:db8::77")


@pytest.mark.parametrize(
    ("shape", "mtu_bytes"),
    [
        (SHAPE, 1450),
        (Vxlan(vni=1, remote=THERE6), 1430),
        (Geneve(vni=1, remote=THERE), 1450),
        (Geneve(vni=1, remote=THERE6), 1430),
        (IpTunnel(kind=TunnelKind.GRE, local=HERE, remote=THERE), 1476),
        (IpTunnel(kind=TunnelKind.GRE, local=HERE, remote=THERE, key=0), 1472),
        (IpTunnel(kind=TunnelKind.IP6GRE, local=HERE6, remote=THERE6), 1456),
        (IpTunnel(kind=TunnelKind.GRETAP, local=HERE, remote=THERE), 1462),
        (IpTunnel(kind=TunnelKind.IPIP, local=HERE, remote=THERE), 1480),
        (IpTunnel(kind=TunnelKind.IP6TNL, local=HERE6, remote=THERE6), 1452),
        (KEYS, 1420),
    ],
)
def test_the_default_mtu_is_the_textbooks(shape: Shape, mtu_bytes: int) -> None:
    assert default_mtu_bytes(shape) == mtu_bytes


names = st.sampled_from(["vx1", "vx2", "vx3"])
shapes = st.sampled_from([SHAPE, replace(SHAPE, vni=7), Geneve(vni=1, remote=THERE)])
views = st.builds(
    lambda name, shape, ours, up: replace(
        THERE_ALL, name=name, kind=str(shape.kind), shape=shape, alias=f"{ALIAS}eu/{name}" if ours else "", admin_up=up
    ),
    names, shapes, st.booleans(), st.booleans(),
)  # fmt: skip
asked_of = st.builds(
    lambda name, shape: replace(ASKED, name=name, tunnel=TunnelId(f"eu/{name}"), shape=shape),
    names, st.none() | shapes,
)  # fmt: skip


@given(st.lists(asked_of, unique_by=lambda one: one.name), st.lists(views, unique_by=lambda one: one.name))
def test_nothing_foreign_is_ever_named_but_for_sysctls(wanted: list[WantedDevice], there: list[DeviceView]) -> None:
    plan = diff(wanted, seen(*there), expired={"vx1", "vx2", "vx3"})
    foreign = {view.index for view in there if view.owner is None} - {view.index for view in there if view.owner}
    ours = {view.name for view in there if view.owner is not None}
    for action in plan.actions:
        if isinstance(action, CreateDevice):
            assert action.device.name not in {view.name for view in there}
        elif isinstance(action, SetWireGuard):
            assert action.index not in foreign
        elif not isinstance(action, SetSysctl | SetMtu):
            assert action.name in ours
