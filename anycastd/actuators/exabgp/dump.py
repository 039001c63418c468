"""What ExaBGP prints, into values: routes of its adj-rib-out, states of sessions, events. Pure.

Routes come out exactly as they were said, so that wanted and observed compare equal: ExaBGP 5.0 prints well-known
communities by name, and an AS path as numbered segments.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from anycastd.model.address import Address
from anycastd.model.bgp import FlowRoute, Route, SessionState
from anycastd.model.flow import key_of_tag

ROUTE_START = '{"peer": '
EVENT_START = '{ "exabgp": '
HELLO_START = '{"bridge": "hello"'
SESSIONS_START = "["

_UPDATE = '"type": "update"'
_HEAD_CHARACTERS = 300
"""The type of an event stands within so many (a host name has at most 64), before anything that a peer said."""

_NAMES = {
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-export-subconfed": "65535:65283",
    "no-peer": "65535:65284",
    "nopeer": "65535:65284",
    "blackhole": "65535:666",
    "graceful-shutdown": "65535:0",
}
SEQUENCE = "as-sequence"
_FLOW, _RATE = '"safi": "flow"', "rate-limit:"


@dataclass(frozen=True, slots=True)
class Hello:
    """A bridge's first line. `exabgp` is the pid of its ExaBGP; `config` the digest of what that was started with.

    `version` is that of its ExaBGP, "" from the bridge of a release that did not tell it.
    """

    pid: int
    exabgp: int
    dropped: int
    dead_man: str | None
    config: str
    uptime_s: float
    version: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One session as `show neighbor json` has it; `age_s` is how long it has been in its state."""

    peer: Address
    state: SessionState
    age_s: float
    families: frozenset[str]
    updates_sent: int


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A session's change of state."""

    peer: Address
    state: SessionState
    reason: str


@dataclass(frozen=True, slots=True)
class Update:
    """A neighbor that is listened to said something, in a line not yet read: there may be very many."""

    line: str


class NotUnderstoodError(ValueError):
    """A line that is not in the form that ExaBGP 5.0 prints."""


# a number that is too large is an OverflowError, brackets without end are a RecursionError
_OTHER_FORM = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def hello(line: str) -> Hello:
    """Return a bridge's hello; raise NotUnderstoodError."""
    try:
        said = json.loads(line)
        return Hello(
            pid=int(said["pid"]),
            exabgp=int(said["exabgp"]),
            dropped=int(said["dropped"]),
            dead_man=said["deadman"],
            config=str(said["config"]),
            uptime_s=float(said["uptime_s"]),
            version=str(said.get("version", "")),
        )
    except _OTHER_FORM as error:
        raise NotUnderstoodError(line[:200]) from error


def route(line: str) -> tuple[Address, Route]:
    """Return the peer and route of one line of `show adj-rib out json`; raise NotUnderstoodError."""
    try:
        said = json.loads(line)
        nlri, more = said["route"]["nlri"], said["route"]["attributes"]
        return ip_address(str(said["peer"]["address"])), Route(
            prefix=ip_network(str(nlri["prefix"])),
            next_hop=str(ip_address(str(nlri["nexthop"]))),
            as_path=_as_path(more.get("as-path", {})),
            med=more.get("med"),
            local_preference=more.get("local-preference"),
            communities=tuple(sorted((_NAMES.get(one, one) for one in more.get("community", ())), key=_numbers)),
            large_communities=tuple(sorted(more.get("large-community", ()), key=_numbers)),
        )
    except _OTHER_FORM as error:
        raise NotUnderstoodError(line[:200]) from error


def is_flow(line: str) -> bool:
    """Return whether a line of `show adj-rib out json` is of a flow rule."""
    return _FLOW in line


def flow(line: str) -> tuple[Address, FlowRoute]:
    """Return the peer and flow rule of one line of `show adj-rib out json`; raise NotUnderstoodError.

    A rule that is not tagged by us has its match as its key.
    """
    try:
        said = json.loads(line)
        nlri, more = said["route"]["nlri"], said["route"]["attributes"]
        match = " ".join(f"{name} {_values(values)}" for name, values in nlri["rules"].items())
        rates = [one.removeprefix(_RATE) for one in more.get("extended-community", ()) if one.startswith(_RATE)]
        tags = more.get("large-community", ())
        tag = tags[0] if len(tags) == 1 else ""
        prefix = next(values[0] for name, values in nlri["rules"].items() if name.startswith("destination-ip"))
        return ip_address(str(said["peer"]["address"])), FlowRoute(
            key=key_of_tag(tag) if tag else match,
            # of IPv6 an offset follows the length
            destination=ip_network("/".join(prefix.split("/")[:2])),
            match=match,
            rate_bytes_s=int(float(rates[0])) if rates else -1,
            tag=tag,
        )
    except (*_OTHER_FORM, StopIteration, IndexError) as error:
        raise NotUnderstoodError(line[:200]) from error


def _values(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"[ {' '.join(values)} ]"


def _numbers(community: str) -> tuple[int, ...]:
    return tuple(int(part) for part in community.split(":"))


def _as_path(segments: dict[str, Any]) -> tuple[int, ...]:
    path: list[int] = []
    for number in sorted(segments, key=int):
        if segments[number]["element"] != SEQUENCE:
            raise NotUnderstoodError(str(segments))
        path += segments[number]["value"]
    return tuple(path)


_FSM = {
    "ESTABLISHED": SessionState.ESTABLISHED,
    "OPENSENT": SessionState.CONNECTED,
    "OPENCONFIRM": SessionState.CONNECTED,
}


def sessions(line: str) -> tuple[Session, ...]:
    """Return what `show neighbor json` says; raise NotUnderstoodError."""
    try:
        return tuple(
            Session(
                peer=ip_address(one["peer"]["address"]),
                state=_FSM.get(one["fsm"], SessionState.DOWN),
                # `state` says down, and `duration` is another time, in the first second of a session
                age_s=float(one["duration"]) if (one["state"] == "up") == (one["fsm"] == "ESTABLISHED") else 0.0,
                families=frozenset(one["families"]),
                updates_sent=int(one["messages"]["sent"].get("update", 0)),
            )
            for one in json.loads(line)
        )
    except _OTHER_FORM as error:
        raise NotUnderstoodError(line[:200]) from error


def is_update(line: str) -> bool:
    """Return whether an event is an UPDATE of a neighbor."""
    return line.find(_UPDATE, 0, _HEAD_CHARACTERS) >= 0


_STATES = {"up": SessionState.ESTABLISHED, "connected": SessionState.CONNECTED, "down": SessionState.DOWN}


def event(line: str) -> SessionEvent | None:
    """Return a change of a session's state, with the notification's text if there was one; None for other events."""
    try:
        said = json.loads(line)
        if said["type"] != "state":
            return None
        about = said["neighbor"]
        state = _STATES.get(about["state"])
        if state is None:
            return None
        return SessionEvent(ip_address(about["address"]["peer"]), state, str(about.get("reason", "")))
    except _OTHER_FORM as error:
        raise NotUnderstoodError(line[:200]) from error
