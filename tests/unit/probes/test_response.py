"""The reader of HTTP responses: no bytes make it raise, and how they are cut changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.probe import Why
from anycastd.probes.http.response import MAX_CHUNK_LINE_BYTES, MAX_HEAD_BYTES, ResponseReader, Verdict

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 503\r\n",
    b"HTTP/1.1 204 x\r\n",
    b"Content-Length: 5\r\n",
    b"content-length: 0\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: gzip, Chunked\r\n",
    b"A: b\r\n",
    b": x\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"fff;a=b\r\n",
    b"hello",
    b"needle",
    b"nee",
    b"dle",
    b"\r",
    b"\n",
    b"x" * 70,
]


def judge(pieces: Sequence[bytes], contains: bytes | None = None, max_body_bytes: int = 64) -> Verdict:
    """Return the verdict on a stream that comes in these pieces and then ends."""
    reader = ResponseReader((200, 204), contains, max_body_bytes)
    for piece in pieces:
        verdict = reader.feed(piece) if piece else None
        if verdict is not None:
            return verdict
    return reader.closed()


@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=9), max_size=14).map(b"".join),
    st.lists(st.integers(0, 400), max_size=8),
    st.sampled_from([None, b"needle", b"ok"]),
)
def test_any_split_gives_the_same_verdict(data: bytes, cuts: list[int], contains: bytes | None) -> None:
    """Whole, in pieces, or byte by byte: one verdict, with the same words."""
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    whole = judge([data], contains)
    assert judge([data[a:b] for a, b in pairwise(bounds)], contains) == whole
    assert judge([bytes((byte,)) for byte in data], contains) == whole


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("limit", ["head", "chunk line"])
def test_bounds_do_not_depend_on_the_split(limit: str, extra: int) -> None:
    """At the very edge of a bound, too."""
    if limit == "head":
        start = b"HTTP/1.1 200 OK\r\nA: "
        data = start + b"x" * (MAX_HEAD_BYTES - len(start) + extra) + b"\r\n\r\n"
    else:
        start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        data = start + b"1;" + b"x" * (MAX_CHUNK_LINE_BYTES - 2 + extra) + b"\r\na\r\n0\r\n\r\n"
    whole = judge([data])
    assert whole[0] is (Why.ANSWERED if extra <= 0 else Why.BAD_ANSWER)
    for cut in range(len(data) - 12, len(data) + 1):
        assert judge([data[:cut], data[cut:]]) == whole


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nneedl", Why.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nneedle", Why.ANSWERED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 7\r\n\r\nneedle", Why.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nneedle", Why.ANSWERED),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nneeXX3\r\ndle", Why.BAD_ANSWER),
        (b"HTTP/1.1 204 No\r\n\r\nneedle", Why.BAD_ANSWER),
        (b"HTTP/2 200\r\n\r\n", Why.BAD_ANSWER),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", Why.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nA b: c\r\n d: e\r\n\r\nneedle", Why.BAD_ANSWER),
    ],
)
def test_framing(data: bytes, why: Why) -> None:
    """Where the body ends is where RFC 9112 section 6.3 says."""
    assert judge([data], b"needle")[0] is why
