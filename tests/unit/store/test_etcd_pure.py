"""The fleet's store without a store: how it words requests, whom it asks, and what it does not believe."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.store.etcd import trust, wire
from anycastd.store.etcd.members import REST_S, Freshness, Members
from anycastd.store.etcd.trust import Known
from anycastd.store.port import Item, Write

HEADER = {"cluster_id": "7", "revision": "41"}


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


@given(st.text(max_size=40))
@settings(max_examples=40)
def test_every_text_comes_back_as_it_was(text: str) -> None:
    assert wire.decoded(wire.encoded(text)) == text


def test_a_prefix_ends_where_the_next_key_begins() -> None:
    assert wire.end_of("/anycastd/data/") == "/anycastd/data0"
    body = wire.page("/a/", "/a/k", 500, 12)
    assert (wire.decoded(body["key"]), wire.decoded(body["range_end"])) == ("/a/k\0", "/a0")
    assert (body["limit"], body["revision"]) == ("500", "12")
    assert "revision" not in wire.page("/a/", "", 5, 0)


def test_a_transaction_compares_every_key_and_asks_for_those_that_differ() -> None:
    body = wire.transaction({"/k": 3, "/new": 0}, [wire.operation(Write("/k", "v")), wire.operation(Write("/x", None))])
    assert [(wire.decoded(one["key"]), one["mod_revision"]) for one in body["compare"]] == [("/k", "3"), ("/new", "0")]
    assert list(body["success"][1]) == ["request_delete_range"]
    assert [wire.decoded(one["request_range"]["key"]) for one in body["failure"]] == ["/k", "/new"]


def test_a_watch_goes_on_after_the_last_change_that_was_sent_not_after_the_header() -> None:
    """etcd sends a long history in parts, each under the header of now: from there on a part would be lost."""
    event = {"kv": {"key": b64("/k"), "value": b64("v"), "mod_revision": "12"}}
    gone = {"type": "DELETE", "kv": {"key": b64("/x"), "mod_revision": "13"}}
    told = wire.told(json.dumps({"result": {"header": HEADER, "watch_id": "1", "events": [event, gone]}}).encode())
    assert (told.revision, told.header.revision) == (13, 41)
    assert told.changes == {"/k": Item("v", 12), "/x": Item(None, 13)}


def test_a_watch_that_began_too_long_ago_is_told_so() -> None:
    body = {"header": HEADER, "watch_id": "1", "canceled": True, "compact_revision": "20"}
    assert wire.told(json.dumps({"result": body}).encode()).compacted


@pytest.mark.parametrize(
    "line",
    [b"{}", b"[]", b'{"error":{"message":"no leader"}}', b'{"result":{"events":[]}}', b"not json", b'{"result":7}'],
)
def test_what_is_no_message_of_a_watch_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        wire.told(line)


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, {"header": HEADER}, None),
        (503, {"error": "etcdserver: no leader", "code": 14}, wire.Fault.NEXT),
        (504, {"error": "timeout", "code": 4}, wire.Fault.NEXT),
        (502, "<html>", wire.Fault.NEXT),
        (500, {"error": "bad gateway"}, wire.Fault.NEXT),
        (401, {"error": "etcdserver: invalid auth token", "code": 16}, wire.Fault.TOKEN),
        (400, {"error": "etcdserver: user name is empty", "code": 3}, wire.Fault.TOKEN),
        (400, {"error": "etcdserver: revision of auth store is old", "code": 3}, wire.Fault.TOKEN),
        (400, {"error": "etcdserver: mvcc: required revision has been compacted", "code": 11}, wire.Fault.COMPACTED),
        (404, {"error": "etcdserver: requested lease not found", "code": 5}, wire.Fault.LEASE_GONE),
        (429, {"error": "etcdserver: mvcc: database space exceeded", "code": 8}, wire.Fault.REFUSED),
        (403, {"error": "etcdserver: permission denied", "code": 7}, wire.Fault.REFUSED),
    ],
)
def test_each_answer_that_is_no_success_calls_for_something(status: int, body: Any, fault: wire.Fault | None) -> None:
    found = wire.fault_of(status, body)
    assert (found and found[0]) == fault


def test_a_member_that_failed_is_passed_over_until_it_has_rested() -> None:
    members = Members(("a", "b", "c"))
    assert members.choose(0.0) == "a"
    members.failed("a", 0.0)
    assert members.choose(0.0) == "b"
    # one that works is kept, also when the first is well again
    assert members.choose(REST_S + 1) == "b"
    members.failed("b", 10.0)
    members.failed("c", 10.5)
    assert members.choose(10.6) == "a"


def test_when_every_member_failed_the_one_that_rests_longest_is_asked() -> None:
    members = Members(("a", "b", "c"))
    for number, name in enumerate(("b", "c", "a")):
        members.failed(name, float(number))
    assert members.choose(2.5) == "b"
    members.worked("c")
    members.failed("b", 2.6)
    assert members.choose(2.7) == "c"


def test_a_stream_is_stale_when_our_heartbeat_did_not_come_back_in_time() -> None:
    fresh = Freshness(9.0)
    fresh.seen(100.0)
    assert fresh.left_s(108.0) == 1.0
    assert fresh.left_s(109.5) < 0
    fresh.seen(108.0)
    assert fresh.left_s(109.5) > 0


KNOWN = Known("7", 100, beat=90, bound=10)


def test_the_store_we_know_is_believed() -> None:
    assert trust.history_doubt(KNOWN, "7", 100, 90) == ""
    assert trust.history_doubt(Known("", 0), "9", 1, 0) == ""
    assert trust.contents_doubt(KNOWN, 5) == ""
    assert trust.contents_doubt(Known("", 0), 0) == ""
    assert trust.removal_doubt(10, 5) == ""


@pytest.mark.parametrize(
    ("doubt", "word"),
    [
        (trust.history_doubt(KNOWN, "8", 200, 150), "the cluster is 8"),
        (trust.history_doubt(KNOWN, "7", 99, 90), "revision 99"),
        # restored from a snapshot, and written to since until it was beyond what we know
        (trust.history_doubt(KNOWN, "7", 5000, 80), "our own heartbeat"),
        (trust.contents_doubt(KNOWN, 0), "no EIP is bound"),
        (trust.contents_doubt(KNOWN, 4), "more than half"),
        (trust.removal_doubt(10, 6), "6 of 10"),
        (trust.removal_doubt(1, 1), "1 of 1"),
    ],
)
def test_what_looks_lost_or_foreign_is_not(doubt: str, word: str) -> None:
    assert word in doubt
