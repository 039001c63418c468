"""Actions into ExaBGP's command lines, with every attribute explicit. Pure.

The grammar is ExaBGP 5.0's. A command names its neighbor, so that two neighbors are never mixed up, and a line that
ExaBGP would take for another command is refused here: it looks for any command name as a substring of the line
(measured: `community [ graceful-shutdown ]` makes 5.0.15 end itself, and the word `json` ends it with an error).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from anycastd.errors import ActuatorRejected
from anycastd.model.address import Address, Family, FlowFamily, Prefix
from anycastd.model.bgp import FlowRoute, Route

ASK_SESSIONS = "show neighbor json"
ASK_ALIVE = "show neighbor summary"
ASK_ROUTES = "show adj-rib out json"
CLEAR = "clear adj-rib out"

LINE_LIMIT = 8000
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_ANNOUNCEMENT = re.compile(r"neighbor \S+ (?:announce|withdraw) (?:route|attributes|eor) ")
_OTHER_COMMANDS = (
    r"version|teardown|silence-ack|shutdown|show|restart|reset|reload|help|flush|enable-ack|disable-ack|crash|clear"
    r"|watchdog|operational|route-refresh|vpls|#"
)
_TRAPS = re.compile(rf"(?:{_OTHER_COMMANDS}|flow)(?: |$)| json(?: |$)")
_FLOW = re.compile(r"neighbor \S+ (?:announce|withdraw) flow route destination\S* \S+/\S+(?: [^\s;{}]+)*")
_FLOW_TRAPS = re.compile(rf"(?:{_OTHER_COMMANDS})(?: |$)| json(?: |$)")
_U16, _U32 = (1 << 16) - 1, (1 << 32) - 1
_RATE = 10**12
"""Of ExaBGP; what is above it makes it less by itself."""


def check(line: str) -> str:
    """Return the line if ExaBGP can only read it as the one announcement it is; else raise ActuatorRejected."""
    if len(line) > LINE_LIMIT or not _PRINTABLE.fullmatch(line):
        message = f"not one printable ASCII line of at most {LINE_LIMIT} characters"
        raise ActuatorRejected(message)
    verbs = len(re.findall(r"\b(?:announce|withdraw)\b", line))
    if not _ANNOUNCEMENT.match(line) or verbs != 1 or _TRAPS.search(line):
        message = f"ExaBGP would misread it: {line!r}"
        raise ActuatorRejected(message)
    return line


def check_flow(line: str) -> str:
    """Return the line if ExaBGP can only read it as the one flow rule it is; else raise ActuatorRejected.

    It prints ports by name and takes names too, and a port called `pehelp` at the end of a word list is its `help`.
    """
    verbs = len(re.findall(r"\b(?:announce|withdraw)\b", line))
    if len(line) > LINE_LIMIT or not _PRINTABLE.fullmatch(line) or not _FLOW.fullmatch(line):
        message = f"not one flow rule with a destination, of at most {LINE_LIMIT} characters: {line[:200]!r}"
        raise ActuatorRejected(message)
    if verbs != 1 or line.count(" flow ") != 1 or _FLOW_TRAPS.search(line):
        message = f"ExaBGP would misread it: {line!r}"
        raise ActuatorRejected(message)
    return line


def announce_flow(neighbor: Address, flow: FlowRoute) -> str:
    """Return the command that announces a flow rule; what there was for the same match is replaced."""
    action = f"rate-limit {_number('rate', flow.rate_bytes_s, _RATE)}" if flow.rate_bytes_s else "discard"
    tag = _community(flow.tag, 3, _U32)
    return check_flow(f"neighbor {neighbor} announce flow route {_match(flow)} {action} large-community [ {tag} ]")


def withdraw_flow(neighbor: Address, flow: FlowRoute) -> str:
    """Return the command that withdraws a flow rule: its match is all that counts."""
    return check_flow(f"neighbor {neighbor} withdraw flow route {_match(flow)}")


def _match(flow: FlowRoute) -> str:
    match = flow.match
    if isinstance(match, str):
        return match
    words = [f"destination {match.destination}"]
    if match.source is not None:
        words.append(f"source {match.source}")
    kind = "protocol" if match.destination.version == 4 else "next-header"
    for name, ranges in (
        (kind, tuple((one, one) for one in match.protocols)),
        ("destination-port", match.destination_ports),
        ("source-port", match.source_ports),
        ("packet-length", match.lengths),
    ):
        if ranges:
            words.append(f"{name} [ {' '.join(_range(*one) for one in ranges)} ]")
    # one term: all of these on, none of those
    flags = [f"={match.tcp_set:#x}"] if match.tcp_set else []
    flags += [f"!{match.tcp_unset:#x}"] if match.tcp_unset else []
    if flags:
        words.append(f"tcp-flags [ {'&'.join(flags)} ]")
    return " ".join(words)


def _range(low: int, high: int) -> str:
    return f"={low}" if low == high else f">={low}&<={high}"


def announce(neighbor: Address, routes: Sequence[Route]) -> str:
    """Return the command that announces these routes, whose attributes must be equal."""
    said = attributes(routes[0])
    if len(routes) == 1:
        return check(f"neighbor {neighbor} announce route {routes[0].prefix} {said}")
    if any(attributes(route) != said for route in routes[1:]):
        message = "routes of one command must have equal attributes"
        raise ActuatorRejected(message)
    prefixes = " ".join(str(route.prefix) for route in routes)
    return check(f"neighbor {neighbor} announce attributes {said} nlri {prefixes}")


def withdraw(neighbor: Address, prefixes: Sequence[Prefix], next_hop: str) -> str:
    """Return the command that withdraws prefixes of one family; the next hop is there for the grammar only."""
    hop = _next_hop(next_hop, prefixes[0].version)
    if len(prefixes) == 1:
        return check(f"neighbor {neighbor} withdraw route {prefixes[0]} next-hop {hop}")
    return check(f"neighbor {neighbor} withdraw attributes next-hop {hop} nlri {' '.join(map(str, prefixes))}")


def end_of_rib(neighbor: Address, family: Family | FlowFamily) -> str:
    """Return the command that sends End-of-RIB (RFC 4724); ExaBGP refuses it while the session is down."""
    if isinstance(family, FlowFamily):
        # as `check` has it, but for the one word at its end
        return check(f"neighbor {neighbor} announce eor ipv{family.version} unicast").removesuffix("unicast") + "flow"
    return check(f"neighbor {neighbor} announce eor ipv{family.version} unicast")


def resend(neighbor: Address) -> str:
    """Return the command that sends everything held for a neighbor again."""
    return f"neighbor {neighbor} flush adj-rib out"


def attributes(route: Route) -> str:
    """Return a route's attributes in ExaBGP's words; raise ActuatorRejected for what cannot be said.

    ExaBGP 5.0.15 does not look whether a bunch's next hop fits its prefixes, and sends what no router can read.
    """
    words = [f"next-hop {_next_hop(route.next_hop, route.prefix.version)}", "origin igp"]
    if route.as_path:
        words.append(f"as-path [ {' '.join(_number('AS', asn, _U32) for asn in route.as_path)} ]")
    if route.med is not None:
        words.append(f"med {_number('MED', route.med, _U32)}")
    if route.local_preference is not None:
        words.append(f"local-preference {_number('local preference', route.local_preference, _U32)}")
    if route.communities:
        words.append(f"community [ {' '.join(_community(one, 2, _U16) for one in route.communities)} ]")
    if route.large_communities:
        words.append(f"large-community [ {' '.join(_community(one, 3, _U32) for one in route.large_communities)} ]")
    return " ".join(words)


def _number(what: str, value: int, most: int) -> str:
    if not 0 <= value <= most:
        message = f"{what} {value} is not between 0 and {most}"
        raise ActuatorRejected(message)
    return str(int(value))


def _community(text: str, parts: int, most: int) -> str:
    numbers = text.split(":")
    if len(numbers) != parts or not all(one.isascii() and one.isdigit() and int(one) <= most for one in numbers):
        message = f"community {text!r} is not {parts} numbers of at most {most}"
        raise ActuatorRejected(message)
    return text


def _next_hop(text: str, version: int) -> str:
    try:
        hop = ip_address(text)
    except ValueError:
        message = f"next hop {text!r} is not an address"
        raise ActuatorRejected(message) from None
    if hop.version != version:
        message = f"next hop {hop} is not IPv{version}"
        raise ActuatorRejected(message)
    return str(hop)
