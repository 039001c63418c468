"""What a refusal names, as it was typed: the API's fields to the options of the verbs. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

OPTIONS: Mapping[str, str] = {
    # EIPs and dials
    "bandwidth": "--in, --out",
    "bandwidth.in_bps": "--in",
    "bandwidth.out_bps": "--out",
    "bandwidth.shaping": "--shaping",
    "ping": "--ping",
    "tracking": "--tracking",
    "description": "--description",
    "blocked_reason": "--block",
    "prefix": "--prefix",
    "spread": "--spread",
    "affinity": "--affinity",
    "when_unhealthy": "--when-unhealthy",
    "targets": "the targets",
    "traffic_dial_percentage": "PERCENTAGE",
    # drains and overrides
    "reason": "--reason",
    "owner": "--owner",
    "expires_in_s": "--for, --until",
    "after": "--after",
    "level": "--level",
    "state": "--state",
    # blackholes and flow rules
    "ttl_s": "--ttl",
    "neighbors": "--neighbor",
    "rate_bps": "--limit",
    "source": "--source",
    "protocols": "--protocol",
    "destination_ports": "--port",
    "source_ports": "--source-port",
    "lengths": "--length",
    "tcp_flags": "--flag",
    "tcp_flags_set": "--flag",
    "tcp_flags_unset": "--flag",
    # what is looked for in lists
    "since": "--since",
    "status": "--status",
    "region": "--region",
    "backend": "--backend",
    "types": "--types",
}
_ARGUMENTS = frozenset({"address", "destination", "name", "scope", "eip", "prefix"})
"""Fields that may be an argument of the verb and no option: what they are about is named in the message."""
_NO_OPTIONS = ("the targets", "PERCENTAGE")
_NUMBER = re.compile(r"\[[0-9]+\]\Z")
_TARGET = re.compile(r"targets\[([0-9]+)\](?:\.([a-z]+)(\[[0-9]+\])?)?\Z")


def as_typed(problem: str, known: Collection[str]) -> str:
    """Return a problem, `field: message`, with the option in place of the field; what names none stays as it is.

    `known` are the options of the verb: it is not told of others.
    """
    field, colon, message = problem.partition(": ")
    if not colon:
        return problem
    if found := _TARGET.match(field):
        part = {None: "", "backend": "", "ports": ": --port", "mode": ": --mode"}.get(found[2], f": {found[2]}")
        return f"target {int(found[1]) + 1}{part}: {message}"
    plain = _NUMBER.sub("", field.removeprefix("match."))
    option = OPTIONS.get(plain, "")
    if option.split(",")[0] in known or option in _NO_OPTIONS:
        return f"{option}: {message}"
    return message if plain in _ARGUMENTS else problem
