"""Events from the daemon as they happen, over its unix socket: begun again when the daemon was away."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from anycastd.cli.client import EX_PROTOCOL, EX_UNAVAILABLE, AskError, UnixConnection

SILENT_S = 120.0
"""Longer than this without even a heartbeat, and the connection is made anew."""
AGAIN_AFTER_S = 1.0
Event = tuple[str, dict[str, Any]]


def followed(path: str, types: str | None, after: int | None) -> Iterator[Event]:
    """Yield the name and the data of each event, for ever; a daemon that goes away is waited for, and that is told.

    AskError if it does not answer at the first time, or refuses.
    """
    answered = False
    while True:
        try:
            for event in _events(path, types, after):
                answered = True
                after = event[1].get("number") or after
                yield event
            told = "the daemon ended"
        except (OSError, http.client.HTTPException) as error:
            if not answered:
                message = f"the daemon does not answer on {path}: {error}"
                raise AskError(message, EX_UNAVAILABLE) from error
            told = f"the daemon is away ({error})"
        answered = True
        sys.stderr.write(f"{told}; waiting for it\n")
        time.sleep(AGAIN_AFTER_S)


def _events(path: str, types: str | None, after: int | None) -> Iterator[Event]:
    query = {name: value for name, value in (("types", types), ("after", after)) if value is not None}
    connection = UnixConnection(path, SILENT_S)
    try:
        connection.request("GET", f"/v1/events?{urlencode(query)}")
        response = connection.getresponse()
        if response.status != 200:
            raise _refusal(response.read())
        fields: dict[str, str] = {}
        while line := response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            else:
                if "data" in fields:
                    yield fields.get("event", ""), json.loads(fields["data"])
                fields = {}
    finally:
        connection.close()


def _refusal(body: bytes) -> AskError:
    try:
        return AskError(str(json.loads(body)["error"]["message"]), EX_UNAVAILABLE)
    except (ValueError, KeyError, TypeError):
        return AskError("the daemon refuses, and does not say why", EX_PROTOCOL)
