"""Reads one HTTP/1.1 response (RFC 9112) and judges it; pure, takes bytes in any pieces, never raises.

The verdict depends on the bytes only, never on how they were cut. Lines must end in CRLF.
"""

from __future__ import annotations

from anycastd.model.probe import Why

MAX_HEAD_BYTES = 32768
MAX_CHUNK_LINE_BYTES = 256
_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
_NO_BODY = (101, 204, 304)

Verdict = tuple[Why, str]


# states of the reader: plain numbers, since a member of an Enum is looked up a dozen times for each answer
_HEAD, _COUNTED, _CHUNK_LINE, _CHUNK_DATA, _CHUNK_END, _UNTIL_CLOSE = range(6)


class ResponseReader:
    """Feed it what was received, then `closed()` at the end of the stream; each returns the verdict once it stands."""

    __slots__ = ("_body", "_body_bytes", "_buffer", "_contains", "_head_bytes", "_left", "_max", "_state", "_status")

    def __init__(self, status: tuple[int, ...], contains: bytes | None, max_body_bytes: int) -> None:
        self._status, self._contains, self._max = status, contains, max_body_bytes
        self._state, self._buffer = _HEAD, b""
        self._left = self._head_bytes = self._body_bytes = 0
        # what is not searched is only counted
        self._body = None if contains is None else bytearray()

    @property
    def begun(self) -> bool:
        """Return whether anything has come."""
        return bool(self._buffer) or self._head_bytes > 0

    def feed(self, data: bytes) -> Verdict | None:
        """Take received bytes in; return the verdict, or None while more is needed."""
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            state, left = self._state, len(self._buffer)
            verdict = self._step()
            if verdict is not None or (self._state is state and len(self._buffer) == left):
                return verdict

    def closed(self) -> Verdict:
        """Return the verdict after the other side has closed."""
        if self._state is _UNTIL_CLOSE:
            return self._body_ended()
        if not self.begun:
            return Why.BAD_ANSWER, "closed without an answer"
        return Why.BAD_ANSWER, "closed in the middle of the answer"

    def _step(self) -> Verdict | None:
        if self._state is _HEAD:
            return self._head()
        if self._state is _CHUNK_LINE:
            return self._chunk_line()
        if self._state is _CHUNK_END:
            return self._chunk_end()
        return self._data()

    def _head(self) -> Verdict | None:
        buffer = self._buffer
        if buffer[:7] != b"HTTP/1."[: len(buffer)]:
            return Why.BAD_ANSWER, "not an HTTP/1 answer"
        end = buffer.find(b"\r\n\r\n")
        if (end if end >= 0 else len(buffer) - 3) > MAX_HEAD_BYTES - self._head_bytes:
            return Why.BAD_ANSWER, f"header longer than {MAX_HEAD_BYTES} bytes"
        if end < 0:
            return None
        self._buffer = buffer[end + 4 :]
        self._head_bytes += end + 4
        line, _, rest = buffer[:end].partition(b"\r\n")
        code = line[9:12]
        if line[:9] not in _VERSIONS or not (len(code) == 3 and code.isdigit()) or line[12:13] not in (b"", b" "):
            return Why.BAD_ANSWER, "bad status line"
        status = int(code)
        if 100 <= status < 200 and status != 101:
            return None
        if status not in self._status:
            return Why.BAD_STATUS, f"status {status}"
        return self._framing(status, rest)

    def _framing(self, status: int, lines: bytes) -> Verdict | None:
        """Find out where the body ends (RFC 9112 section 6.3)."""
        lengths: set[bytes] = set()
        codings: list[bytes] = []
        for line in lines.lower().split(b"\r\n") if lines else ():
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                return Why.BAD_ANSWER, "bad header line"
            if name == b"content-length":
                lengths.add(value.strip())
            elif name == b"transfer-encoding":
                codings.extend(coding.strip() for coding in value.split(b","))
        if status in _NO_BODY:
            return self._body_ended()
        if codings:
            self._state = _CHUNK_LINE if codings[-1] == b"chunked" else _UNTIL_CLOSE
            return None
        if not lengths:
            self._state = _UNTIL_CLOSE
            return None
        length = lengths.pop()
        if lengths or not length.isdigit() or len(length) > 18:
            return Why.BAD_ANSWER, "bad Content-Length"
        self._left, self._state = int(length), _COUNTED
        return None

    def _data(self) -> Verdict | None:
        """Take body bytes in, up to the bound."""
        if self._state is _UNTIL_CLOSE:
            piece, self._buffer = self._buffer, b""
        else:
            piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
            self._left -= len(piece)
        verdict = self._take(piece)
        if verdict is None and self._left == 0:
            if self._state is _COUNTED:
                return self._body_ended()
            if self._state is _CHUNK_DATA:
                self._state = _CHUNK_END
        return verdict

    def _take(self, piece: bytes) -> Verdict | None:
        piece = piece[: self._max - self._body_bytes]
        self._body_bytes += len(piece)
        wanted, body = self._contains, self._body
        if wanted is not None and body is not None:
            searched = max(0, len(body) - len(wanted) + 1)
            body += piece
            if body.find(wanted, searched) >= 0:
                return Why.ANSWERED, ""
        if self._body_bytes >= self._max:
            if wanted is not None:
                return Why.BAD_ANSWER, f"wanted text not in the first {self._max} bytes"
            return Why.ANSWERED, ""
        return None

    def _chunk_line(self) -> Verdict | None:
        end = self._buffer.find(b"\r\n")
        if (end if end >= 0 else len(self._buffer) - 1) > MAX_CHUNK_LINE_BYTES:
            return Why.BAD_ANSWER, "bad chunk"
        if end < 0:
            return None
        size = self._buffer[:end].partition(b";")[0].strip(b" \t")
        self._buffer = self._buffer[end + 2 :]
        if not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
            return Why.BAD_ANSWER, "bad chunk"
        self._left = int(size, 16)
        if self._left == 0:
            return self._body_ended()
        self._state = _CHUNK_DATA
        return None

    def _chunk_end(self) -> Verdict | None:
        if self._buffer[:2] != b"\r\n"[: len(self._buffer)]:
            return Why.BAD_ANSWER, "bad chunk"
        if len(self._buffer) >= 2:
            self._buffer, self._state = self._buffer[2:], _CHUNK_LINE
        return None

    def _body_ended(self) -> Verdict:
        if self._contains:
            return Why.BAD_ANSWER, "wanted text not in the body"
        return Why.ANSWERED, ""
