"""Dumps and events together: whatever their order, the picture ends as the kernel is."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anycastd.actuators.dataplane import hearing, wire
from anycastd.actuators.dataplane.picture import Picture
from anycastd.actuators.dataplane.wire import WireRoute
from anycastd.model.kernel import KernelRoute, LinkView, RouteKind

T1 = LinkView("t1", 2, True, True, "up", frozenset({ip_address("10.0.0.1")}))
T2 = LinkView("t2", 3, True, True, "up")


def over(prefix: str, device: str, metric: int = 100) -> KernelRoute:
    return KernelRoute(ip_network(prefix), RouteKind.UNICAST, metric, via=ip_address("10.0.0.2"), device=device)


def read(picture: Picture, wires: set[WireRoute]) -> None:
    with picture.dumping():
        for _ in picture.dumped(wires):
            pass


def on(route: KernelRoute) -> WireRoute:
    return wire.from_model(route, {"t1": 2, "t2": 3})


A, B, C = over("203.0.113.0/24", "t1"), over("203.0.113.0/24", "t2"), over("198.51.100.0/24", "t1")


def picture_of(*routes: KernelRoute) -> Picture:
    picture = Picture()
    picture.set_links({"t1": T1, "t2": T2})
    read(picture, {on(route) for route in routes})
    return picture


def routes_of(picture: Picture) -> frozenset[KernelRoute]:
    routes = picture.observed.routes
    assert routes is not None
    return routes


def test_nothing_is_known_before_the_first_dump_and_an_empty_one_is_known_to_be_empty() -> None:
    picture = Picture()
    assert picture.observed.routes is None
    read(picture, set())
    assert picture.observed.routes == frozenset()


def test_it_is_the_same_object_until_something_changes() -> None:
    picture = picture_of(A, C)
    seen = picture.observed
    read(picture, {on(A), on(C)})
    assert not picture.put(on(A))
    picture.set_links({"t1": T1, "t2": T2})
    assert picture.observed is seen
    picture.drop(on(A))
    assert picture.observed is not seen


def test_a_route_takes_the_place_of_the_one_before_unless_it_was_put_beside() -> None:
    picture = picture_of(A, C)
    picture.put(on(B))
    assert routes_of(picture) == {B, C}
    picture.put(on(A), beside=True)
    assert routes_of(picture) == {A, B, C}
    picture.put(on(A))
    assert routes_of(picture) == {A, C}


steps = st.lists(st.tuples(st.sampled_from(("put", "drop", "down")), st.sampled_from((A, B, C))), max_size=8)


@given(steps, steps, st.integers(0, 8))
def test_what_happens_during_a_dump_is_not_lost(before: list[Any], during: list[Any], dumped_at: int) -> None:
    """The dump shows the kernel at some moment in the middle; events are all heard, in order."""
    picture = picture_of()
    real = picture_of()

    def do(target: Picture, step: tuple[str, KernelRoute]) -> None:
        what, route = step
        if what == "put":
            target.put(on(route))
        elif what == "drop":
            target.drop(on(route))
        else:
            target.drop_device(on(route).device)

    for step in before:
        do(picture, step)
        do(real, step)
    with picture.dumping():
        moment = {on(route) for route in routes_of(real)}
        for number, step in enumerate(during):
            do(picture, step)
            do(real, step)
            if number < dumped_at:
                moment = {on(route) for route in routes_of(real)}
        for _ in picture.dumped(moment):
            pass
    assert routes_of(picture) == routes_of(real)


def test_a_route_read_back_is_the_object_that_was_asked_for() -> None:
    picture, asked = picture_of(), over("203.0.113.0/24", "t1")
    picture.expect(on(asked), asked)
    picture.put(on(asked))
    assert next(iter(routes_of(picture))) is asked


def test_a_renamed_device_renames_its_routes() -> None:
    picture = picture_of(A, B)
    changed = picture.set_link(LinkView("new", 2, True, True, "up"))
    assert changed == {"t1", "new"}
    assert {route.device for route in routes_of(picture)} == {"new", "t2"}


def link_event(index: int, name: str, *, up: bool, event: str = "RTM_NEWLINK", family: int = 0) -> dict[str, Any]:
    attributes = [("IFLA_IFNAME", name), ("IFLA_OPERSTATE", "UP" if up else "DOWN"), ("IFLA_CARRIER", int(up))]
    return {"event": event, "family": family, "index": index, "flags": int(up), "attrs": attributes}


def test_a_device_that_goes_down_takes_its_routes_along_at_once() -> None:
    picture = picture_of(A, C, over("192.0.2.0/24", "t2"))
    heard = hearing.take(picture, link_event(2, "t1", up=False))
    assert heard == (frozenset({"t1"}), True, True)
    assert {route.device for route in routes_of(picture)} == {"t2"}
    assert picture.links["t1"].addresses == T1.addresses, "addresses have events of their own"


def test_other_devices_and_bridge_ports_cost_no_reading() -> None:
    picture = picture_of(A)
    assert hearing.take(picture, link_event(9, "veth9", up=True)) == (frozenset({"veth9"}), False, False)
    assert hearing.take(picture, link_event(2, "t1", up=False, family=socket.AF_BRIDGE)) == (frozenset(), False, False)
    assert picture.links["t1"].admin_up


def test_a_device_that_goes_takes_everything_along() -> None:
    picture = picture_of(A, B)
    assert hearing.take(picture, link_event(2, "t1", up=False, event="RTM_DELLINK")) == (frozenset({"t1"}), True, True)
    assert "t1" not in picture.links
    assert routes_of(picture) == {B}


def test_addresses_come_and_go() -> None:
    picture = picture_of(A)
    event = {"event": "RTM_DELADDR", "index": 2, "attrs": [("IFA_ADDRESS", "10.0.0.9"), ("IFA_LOCAL", "10.0.0.1")]}
    assert hearing.take(picture, event) == (frozenset({"t1"}), False, True)
    assert picture.links["t1"].addresses == frozenset()
    assert hearing.take(picture, event | {"event": "RTM_NEWADDR"}) == (frozenset({"t1"}), False, False)
    assert picture.links["t1"].addresses == T1.addresses


def test_a_deletion_that_fits_nothing_is_doubtful() -> None:
    picture = picture_of(A)
    event = {"event": "RTM_DELROUTE", "route": on(B), "header": {"flags": 0}}
    assert hearing.take(picture, event) == (frozenset(), False, True)
    assert routes_of(picture) == {A}
    assert hearing.take(picture, event | {"route": on(C)}) == (frozenset(), False, False)
