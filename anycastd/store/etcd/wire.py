"""etcd's JSON gateway in words: requests as bodies, answers as snapshots, revisions and faults. Pure.

Keys and values are base64, 64-bit numbers are text (etcd 3.4, api/v3 `rpc.proto` through grpc-gateway).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from anycastd.store.port import Item, Write

Json = dict[str, Any]
DATA, BEAT = 1, 2
"""The watches of a stream, by their ids: what is stored, and our own heartbeat."""


def encoded(text: str) -> str:
    """Return text as the gateway has it."""
    return b64encode(text.encode()).decode("ascii")


def decoded(text: str) -> str:
    """Return the text of a key or value; ValueError if it is not base64.

    Bytes that are not UTF-8, which some other program wrote, are shown: one such key must not stop the watch.
    """
    return b64decode(text, validate=True).decode("utf-8", "backslashreplace")


def end_of(prefix: str) -> str:
    """Return where the keys that begin with a prefix end: the prefix with its last byte one higher (ASCII)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def page(prefix: str, after: str, limit: int, revision: int) -> Json:
    """Return the request for keys with a prefix, those after a key, as of a revision (0 = now)."""
    body: Json = {"key": encoded(f"{after}\0" if after else prefix), "range_end": encoded(end_of(prefix))}
    return body | {"limit": str(limit)} | ({"revision": str(revision)} if revision else {})


def single(key: str) -> Json:
    """Return the request for one key."""
    return {"key": encoded(key)}


def put(key: str, text: str, lease: str = "") -> Json:
    """Return the operation that writes a key, to be gone with a lease if there is one."""
    body: Json = {"key": encoded(key), "value": encoded(text)}
    return {"request_put": body | ({"lease": lease} if lease else {})}


def operation(write: Write) -> Json:
    """Return the operation of one write of a commit."""
    if write.value is None:
        return {"request_delete_range": {"key": encoded(write.key)}}
    return put(write.key, write.value)


def transaction(expected: Mapping[str, int], operations: Iterable[Json]) -> Json:
    """Return a transaction: all is done if every key is as expected, else the keys are told as they are."""
    compare = [
        {"key": encoded(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        for key, revision in expected.items()
    ]
    return {
        "compare": compare,
        "success": list(operations),
        "failure": [{"request_range": single(key)} for key in expected],
    }


def watches(root: str, after_revision: int, beat: str) -> bytes:
    """Return the body of a watch stream: all changes below a root after a revision, and those of one key from now."""
    data = {"key": encoded(root), "range_end": encoded(end_of(root)), "start_revision": str(after_revision + 1)}
    creates = (data | {"watch_id": str(DATA)}, {"key": encoded(beat), "watch_id": str(BEAT)})
    return b"".join(json.dumps({"create_request": one}).encode() + b"\n" for one in creates)


@dataclass(frozen=True, slots=True)
class Header:
    """Who answered, and at which revision."""

    cluster: str
    revision: int


def header_of(body: Json) -> Header:
    """Return the header of an answer; ValueError if it has none."""
    header = body.get("header")
    if not isinstance(header, dict) or "cluster_id" not in header:
        message = f"not an answer of etcd: {str(body)[:120]}"
        raise ValueError(message)
    return Header(str(header["cluster_id"]), int(header.get("revision", 0)))


def items_of(body: Json) -> dict[str, Item]:
    """Return the keys of a range's answer."""
    return {decoded(kv["key"]): _item(kv) for kv in body.get("kvs", ())}


def _item(kv: Json) -> Item:
    return Item(decoded(kv.get("value", "")), int(kv["mod_revision"]))


def found_of(body: Json) -> dict[str, Item]:
    """Return what the keys of a transaction are that was not done; those that are not there are missing."""
    found: dict[str, Item] = {}
    for response in body.get("responses", ()):
        found |= items_of(response.get("response_range", {}))
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a watch stream."""

    header: Header
    watch: int
    created: bool = False
    compacted: bool = False
    canceled: str = ""
    changes: Mapping[str, Item] = field(default_factory=dict)
    revision: int = 0
    """The last revision among the changes: where a watch goes on. The header's may be beyond what was sent so far."""


def told(line: bytes) -> Told:
    """Return a message of a watch stream; ValueError if it is none, or tells of a fault."""
    body = json.loads(line)
    result = body.get("result") if isinstance(body, dict) else None
    if not isinstance(result, dict):
        message = str(body)[:200]
        raise ValueError(message)
    changes: dict[str, Item] = {}
    revision = 0
    for event in result.get("events", ()):
        kv = event["kv"]
        changed = int(kv["mod_revision"])
        value = None if event.get("type") == "DELETE" else decoded(kv.get("value", ""))
        changes[decoded(kv["key"])] = Item(value, changed)
        revision = max(revision, changed)
    compacted = int(result.get("compact_revision", 0)) > 0
    canceled = str(result.get("cancel_reason") or "canceled") if result.get("canceled") else ""
    return Told(
        header_of(result),
        int(result.get("watch_id", 0)),
        bool(result.get("created")),
        compacted,
        canceled,
        changes,
        revision,
    )


class Fault(Enum):
    """What an answer that is no success calls for."""

    NEXT = "ask the next member"
    TOKEN = "authenticate anew"
    COMPACTED = "take a new snapshot"
    LEASE_GONE = "grant a new lease"
    REFUSED = "tell the operator"


_FAULTS = {4: Fault.NEXT, 14: Fault.NEXT, 16: Fault.TOKEN, 11: Fault.COMPACTED, 5: Fault.LEASE_GONE}
_TOKEN_WORDS = ("revision of auth store is old", "user name is empty", "invalid auth token")


def fault_of(status: int, body: object) -> tuple[Fault, str] | None:
    """Return what is wrong with an answer, by its gRPC code; None if nothing is."""
    if status == 200 and isinstance(body, dict) and "code" not in body and "error" not in body:
        return None
    if not isinstance(body, dict):
        return Fault.NEXT, f"status {status}: {str(body)[:200] or 'no JSON'}"
    inner = body.get("error")
    detail: Json = inner if isinstance(inner, dict) else body
    message = str(detail.get("message") or detail.get("error") or body)[:200]
    if any(words in message for words in _TOKEN_WORDS):
        return Fault.TOKEN, message
    code = detail.get("code", detail.get("grpc_code"))
    if code is None and status >= 500:
        return Fault.NEXT, message
    return _FAULTS.get(code if isinstance(code, int) else 0, Fault.REFUSED), message
