"""BFD sessions of a routing daemon on this machine, as its own tool tells them. Pure.

Read with FRR 8.4 (`show bfd peers json`) and BIRD 2.0 (`show bfd sessions`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from anycastd.model.address import Address
from anycastd.model.checks import Via
from anycastd.model.probe import Why

COMMANDS: Mapping[Via, tuple[str, ...]] = {
    Via.FRR: ("/usr/bin/env", "vtysh", "-c", "show bfd peers json"),
    Via.BIRD: ("/usr/bin/env", "birdc", "-r", "show", "bfd", "sessions"),
}
NAMES = {Via.FRR: "FRR", Via.BIRD: "BIRD"}
_ADMIN = "administratively down"


class UnreadableError(ValueError):
    """The tool said something else than sessions."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session: its state in the daemon's words, and why it is so, as far as it says."""

    state: str
    diagnostic: str = ""
    remote_diagnostic: str = ""

    @property
    def verdict(self) -> tuple[Why, str]:
        """Return what it says of the path."""
        state = self.state.lower()
        if state == "up":
            return Why.ANSWERED, "Up"
        if state in ("shutdown", "admindown") or _ADMIN in (self.diagnostic, self.remote_diagnostic):
            return Why.BFD_UNKNOWN, f"{self.state}: taken down on purpose"
        return Why.BFD_DOWN, f"{self.state}: {self.diagnostic}" if self.diagnostic else self.state


def sessions(via: Via, text: str) -> dict[Address, Session]:
    """Return the sessions by the peer's address; raise UnreadableError for what is no list of them."""
    return _of_frr(text) if via is Via.FRR else _of_bird(text)


def _of_frr(text: str) -> dict[Address, Session]:
    try:
        return {
            ip_address(one["peer"]): Session(str(one["status"]), _of(one, "diagnostic"), _of(one, "remote-diagnostic"))
            for one in json.loads(text)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = "no list of peers in JSON"
        raise UnreadableError(message) from error


def _of(one: Mapping[str, object], key: str) -> str:
    said = str(one.get(key, ""))
    return "" if said == "ok" else said


def _of_bird(text: str) -> dict[Address, Session]:
    found: dict[Address, Session] = {}
    headed = False
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["IP", "address"]:
            headed = True
        elif headed and len(words) >= 6:
            try:
                found[ip_address(words[0])] = Session(words[2])
            except ValueError as error:
                message = f"{words[0]!r} is no address"
                raise UnreadableError(message) from error
    if not headed:
        message = "no table of sessions"
        raise UnreadableError(message)
    return found
