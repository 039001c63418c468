"""What the store holds can be read again, whatever an EIP has; what it should not hold is told."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import (
    Affinity,
    Bandwidth,
    Binding,
    Eip,
    EipId,
    EipStatus,
    Mode,
    Ping,
    PortMap,
    Shaping,
    Spread,
    Target,
    Task,
    TaskId,
    TaskState,
    Tracking,
    Transport,
    WhenUnhealthy,
)
from anycastd.resources.codec import (
    Answer,
    DialAnswer,
    decode_answer,
    decode_dial,
    decode_dial_answer,
    decode_eip,
    decode_task,
    encode_answer,
    encode_dial,
    encode_dial_answer,
    encode_eip,
    encode_task,
)

times = st.floats(0, 4e9)
addresses = st.ip_addresses()
texts = st.text(max_size=20)
ports = st.builds(PortMap, st.sampled_from(Transport), st.integers(1, 65535), st.integers(1, 65535))
targets = st.builds(
    Target,
    backend=st.sampled_from(["eu/web-1", "us/web-2"]).map(BackendId),
    weight=st.integers(0, 255),
    priority=st.integers(1, 100),
    mode=st.none() | st.sampled_from(Mode),
    ports=st.lists(ports, max_size=2).map(tuple),
)
bindings = st.builds(
    Binding,
    targets=st.lists(targets, min_size=1, max_size=3).map(tuple),
    spread=st.sampled_from(Spread),
    affinity=st.sampled_from(Affinity),
    when_unhealthy=st.sampled_from(WhenUnhealthy),
)
rates = st.none() | st.integers(64_000, 4 * 10**11)
eips = st.builds(
    Eip,
    id=texts.map(EipId),
    address=addresses,
    binding=st.none() | bindings,
    bandwidth=st.builds(Bandwidth, in_bps=rates, out_bps=rates, shaping=st.sampled_from(Shaping)),
    ping=st.sampled_from(Ping),
    tracking=st.sampled_from(Tracking),
    blocked=st.booleans(),
    blocked_reason=texts,
    description=texts,
    generation=st.integers(1, 10**9),
    created_unix_s=times,
    changed_unix_s=times,
    released_unix_s=st.none() | times,
    last_error=texts,
)
tasks = st.builds(
    Task,
    id=texts.map(TaskId),
    eip=texts.map(EipId),
    address=addresses,
    verb=texts,
    generation=st.integers(1, 10**9),
    created_unix_s=times,
    state=st.sampled_from(TaskState),
    detail=texts,
    ended_unix_s=st.none() | times,
)
changes = st.lists(texts, max_size=2).map(tuple)
answers = st.builds(Answer, texts, times, st.sampled_from(EipStatus), eips, st.none() | tasks, changes)


@settings(max_examples=30)
@given(eips)
def test_eips(eip: Eip) -> None:
    assert decode_eip(encode_eip(eip)) == eip


@settings(max_examples=30)
@given(tasks)
def test_tasks(task: Task) -> None:
    assert decode_task(encode_task(task)) == task


@settings(max_examples=30)
@given(answers)
def test_answers(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)) == answer


def test_dials() -> None:
    assert decode_dial(encode_dial(25)) == 25
    answer = DialAnswer("digest", 1.5, RegionName("us-east"), 25, 100, None, ("the dial changed",))
    assert decode_dial_answer(encode_dial_answer(answer)) == answer


def test_what_has_its_default_is_left_out_and_equal_bindings_are_one() -> None:
    plain = Eip(id=EipId("eip-1"), address=ip_address("203.0.113.1"), created_unix_s=1.5, changed_unix_s=2.5)
    assert encode_eip(plain) == '{"id":"eip-1","address":"203.0.113.1","generation":1,"created":1.5,"changed":2.5}'
    bound = replace(plain, binding=Binding(targets=(Target(backend=BackendId("eu/web-1")),)))
    one, other = decode_eip(encode_eip(bound)), decode_eip(encode_eip(bound))
    assert one.binding is other.binding


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "7", "{}", '{"id":"a","address":7}', '{"id":"a","address":"203.0.113.x"}', "[" * 9999],
)
def test_what_is_no_record(text: str) -> None:
    for decode in (decode_eip, decode_task, decode_answer, decode_dial, decode_dial_answer):
        with pytest.raises(ValueError):
            decode(text)


@pytest.mark.parametrize("binding", ['""', '"[]"', "{}", '"{\\"targets\\":[{}]}"', "7"])
def test_what_is_no_binding(binding: str) -> None:
    head = '{"id":"a","address":"203.0.113.1","generation":1,"created":1,"changed":1,"binding":'
    with pytest.raises(ValueError):
        decode_eip(head + binding + "}")
