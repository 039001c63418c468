"""Messages about qdiscs and classes: another implementation (pyroute2) reads in them what was meant, and so do we."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from anycastd.actuators.dataplane import attributes as a
from anycastd.actuators.dataplane import shaping_wire as wire
from anycastd.model.shaping import MAJOR, Bucket, ClassView, Queue, QueueKind, UplinkView
from anycastd.reconcile.shaping import bucket_of, queue_of

ROOT, CLASS = 0xA0010000, 0xA0010123
CREATE, EXCL, REPLACE, ACK = 0x400, 0x200, 0x100, 0x005
GBIT = 10**9


def decoded(data: bytes) -> Any:
    message = tcmsg(data)
    message.decode()
    return message


def options(message: Any) -> dict[str, Any]:
    return {key: value for key, value, *_ in message.get("options")["attrs"]}


def attributes_of(data: bytes) -> dict[int, bytes]:
    return a.parse(data, 16 + 20)


def raw_options(data: bytes) -> bytes:
    return attributes_of(data)[2]


def head(message: Any) -> tuple[int, ...]:
    header = message["header"]
    return header["type"], header["flags"], header["sequence_number"], message["index"]


def test_the_root_counts_what_is_behind_the_link_header_and_takes_nobodys_place() -> None:
    message = decoded(wire.encode_create_root(7, -14, 9))
    assert head(message) == (36, CREATE | EXCL | ACK, 9, 7)
    assert (message["handle"], message["parent"], message.get("kind")) == (ROOT, 0xFFFFFFFF, "htb")
    made = options(message)["TCA_HTB_INIT"]
    assert (made["version"], made["rate2quantum"], made["defcls"]) == (3, 10, 0)
    # struct tc_sizespec (linux/pkt_sched.h), which pyroute2 does not read
    sizes = a.parse(attributes_of(wire.encode_create_root(7, -14, 9))[8])
    assert sizes == {1: struct.pack("=BBhiIIII", 0, 0, 0, -14, 1, 0, 0, 0)}
    assert 8 not in attributes_of(wire.encode_create_root(7, 0, 9))


def test_a_class_has_one_rate_and_no_tables() -> None:
    message = decoded(wire.encode_class(7, 0x123, Bucket(1_250_000, 10_000_000), 9))
    assert head(message) == (40, CREATE | ACK, 9, 7)
    assert (message["handle"], message["parent"], message.get("kind")) == (CLASS, ROOT, "htb")
    found = options(message)
    assert found.keys() == {"TCA_HTB_PARMS"}
    parameters = found["TCA_HTB_PARMS"]
    assert parameters["rate"] == parameters["ceil"] == 1_250_000
    # pyroute2 does not name the link layer, which says that no tables come along
    assert parameters["rate___reserved"] == parameters["ceil___reserved"] == 1
    assert parameters["buffer"] == parameters["cbuffer"] == 10_000_000 // 64
    assert parameters["quantum"] == 16384


@pytest.mark.parametrize(("bytes_per_s", "wide"), [(2**32 - 1, False), (2**32, True), (50 * GBIT, True)])
def test_rates_above_34_gbit_have_attributes_of_their_own(bytes_per_s: int, wide: bool) -> None:
    message = decoded(wire.encode_class(7, 0x123, Bucket(bytes_per_s, 64), 9))
    found = options(message)
    assert found["TCA_HTB_PARMS"]["rate"] == min(bytes_per_s, 2**32 - 1)
    assert ("TCA_HTB_RATE64" in found, "TCA_HTB_CEIL64" in found) == (wide, wide)
    if wide:
        assert found["TCA_HTB_RATE64"] == found["TCA_HTB_CEIL64"] == bytes_per_s


def test_a_fair_queue_gets_its_target_and_its_memory_and_no_number_of_flows() -> None:
    queue = Queue(kind=QueueKind.FQ_CODEL, limit_bytes=196_608, target_us=18_168)
    message = decoded(wire.encode_queue(7, 0x123, queue, 9))
    assert head(message) == (36, CREATE | REPLACE | ACK, 9, 7)
    assert (message["handle"], message["parent"], message.get("kind")) == (0, CLASS, "fq_codel")
    assert options(message)["TCA_FQ_CODEL_TARGET"] == 18_168
    # the kernel takes a number of flows only once, at the begin; pyroute2 does not know the memory limit's number
    assert [kind for kind, _ in a.each(raw_options(wire.encode_queue(7, 0x123, queue, 9)))] == [1, 9]


def test_a_plain_queue_gets_its_bytes() -> None:
    data = wire.encode_queue(7, 0x123, Queue(kind=QueueKind.BFIFO, limit_bytes=98_304), 9)
    message = decoded(data)
    assert head(message) == (36, CREATE | REPLACE | ACK, 9, 7)
    assert (message["handle"], message["parent"], message.get("kind")) == (0, CLASS, "bfifo")
    assert raw_options(data) == struct.pack("=I", 98_304)


def test_what_is_removed_is_named_by_our_numbers() -> None:
    message = decoded(wire.encode_delete_root(7, 9))
    assert (*head(message), message["handle"], message["parent"]) == (37, ACK, 9, 7, ROOT, 0xFFFFFFFF)
    message = decoded(wire.encode_delete_class(7, 0x123, 9))
    assert (*head(message), message["handle"]) == (41, ACK, 9, 7, CLASS)


def test_dumps_are_asked_for() -> None:
    assert head(decoded(wire.encode_dump_qdiscs(9))) == (38, 0x301, 9, 0)
    assert head(decoded(wire.encode_dump_classes(7, 9))) == (42, 0x301, 9, 7)


def stats(waiting: int, dropped: int) -> bytes:
    return a.nested(7, a.attribute(3, struct.pack("=IIIII", waiting, waiting * 1500, dropped, 0, 5)))


@given(st.integers(64_000, 400 * GBIT), st.integers(1, 0xFFFF), st.integers(0, 9), st.integers(0, 9))
def test_a_class_is_read_back_as_it_was_made(bps: int, minor: int, waiting: int, dropped: int) -> None:
    bucket = bucket_of(bps)
    body = wire.encode_class(7, minor, bucket, 9)[16:] + stats(waiting, dropped)
    assert wire.parse_class(body) == (minor, ClassView(rate=bucket, ceil=bucket, waiting=waiting))


def test_classes_of_other_qdiscs_are_passed_over() -> None:
    body = bytearray(wire.encode_class(7, 0x123, bucket_of(10**6), 9)[16:])
    body[8:12] = struct.pack("=I", 0x00010123)
    assert wire.parse_class(bytes(body)) is None
    assert wire.parse_class(wire.encode_delete_class(7, 0x123, 9)[16:]) is None, "nothing is known of it"


@pytest.mark.parametrize("kind", QueueKind)
def test_queues_are_read_back_as_they_were_made(kind: QueueKind) -> None:
    queue = queue_of(10**8, kind)
    facts = wire.parse_qdisc(wire.encode_queue(7, 0x123, queue, 9)[16:] + stats(3, 4))
    assert facts == wire.QdiscFacts(7, 0, CLASS, kind, 0, queue.limit_bytes, 4)


def test_roots_are_read_back_with_the_class_of_what_has_none() -> None:
    body = wire.encode_create_root(7, -14, 9)[16:]
    assert wire.parse_qdisc(body) == wire.QdiscFacts(7, MAJOR << 16, 0xFFFFFFFF, "htb", 0, 0, 0)
    theirs = body.replace(struct.pack("=III", 3, 10, 0), struct.pack("=III", 3, 10, 0x10))
    assert wire.parse_qdisc(theirs).default_class == 0x10
    bare = struct.pack("=BxxxiIII", 0, 7, 0, 0xFFFFFFFF, 0) + a.text(1, "noqueue")
    assert wire.parse_qdisc(bare) == wire.QdiscFacts(7, 0, 0xFFFFFFFF, "noqueue", 0, 0, 0)


@pytest.mark.parametrize(("kind", "has_ethernet"), [(1, True), (772, True), (65534, False), (512, False)])
def test_a_device_is_told_by_its_link(kind: int, has_ethernet: bool) -> None:
    body = struct.pack("=BBHiII", 0, 0, kind, 7, 0, 0) + a.text(3, "eth1")
    assert wire.parse_link(body) == UplinkView(name="eth1", index=7, has_ethernet=has_ethernet)
