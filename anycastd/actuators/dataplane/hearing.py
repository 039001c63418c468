"""What an event of the kernel means for the picture of it."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from anycastd.actuators.dataplane import messages, wire
from anycastd.actuators.dataplane.picture import Picture


class Heard(NamedTuple):
    """Devices that changed; whether routes did; whether the picture may now be wrong, so that all is to be read."""

    links: frozenset[str] = frozenset()
    changed: bool = False
    doubtful: bool = False


def take(picture: Picture, message: Any) -> Heard:
    """Take an event in."""
    event = message.get("event")
    if "route" in message:
        route = message["route"]
        return Heard() if route is None else _route(picture, event, route, message["header"]["flags"])
    if event in ("RTM_NEWRULE", "RTM_DELRULE"):
        return Heard(doubtful=True)
    if event in ("RTM_NEWADDR", "RTM_DELADDR"):
        return _address(picture, event, message)
    # others of its family tell of a bridge port's own view of a device
    if event in ("RTM_NEWLINK", "RTM_DELLINK") and message["family"] == socket.AF_UNSPEC:
        return _link(picture, event, message)
    return Heard()


def _route(picture: Picture, event: str, route: wire.WireRoute, flags: int) -> Heard:
    if event == "RTM_NEWROUTE":
        beside = bool(flags & wire.NLM_F_APPEND) and not route.odd
        return Heard(changed=picture.put(route, beside=beside))
    changed = picture.drop(route)
    return Heard(changed=changed, doubtful=not changed and picture.holds_key(route.key))


def _address(picture: Picture, event: str, message: Any) -> Heard:
    found = messages.address_of(message)
    links = picture.set_address(*found, present=event == "RTM_NEWADDR") if found is not None else frozenset()
    # the last IPv4 address of a device takes the device's IPv4 routes along, without an event
    return Heard(links, doubtful=event == "RTM_DELADDR" and picture.uses(int(message["index"])))


def _link(picture: Picture, event: str, message: Any) -> Heard:
    index = int(message["index"])
    if event == "RTM_DELLINK":
        lost = picture.drop_device(index)
        return Heard(picture.drop_link(index), lost, lost)
    name = picture.name_of(index)
    addresses = picture.links[name].addresses if name is not None else frozenset()
    link = messages.link_of(message, addresses)
    lost = not link.admin_up and picture.drop_device(index)
    links = picture.set_link(link)
    return Heard(links, lost, lost or (bool(links) and picture.uses(index)))
