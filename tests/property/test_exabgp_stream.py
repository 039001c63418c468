"""What comes from the bridge, cut, garbled, lost or made up: nothing escapes, and no answer is put to another command.

ExaBGP's own lines, word for word, are changed byte by byte and value by value; the talk goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from anycastd.actuators.exabgp import dump
from anycastd.actuators.exabgp.bridge import LINE_LIMIT_BYTES, Lines
from anycastd.actuators.exabgp.events import Acked, Refused
from anycastd.actuators.exabgp.link import Link, Phase, RoutesSeen
from anycastd.actuators.exabgp.server import Connection
from anycastd.model.bgp import Announce, Route, Withdraw
from tests.unit.actuators.exabgp.fake_exabgp import SESSIONS, FakeExabgp, hello
from tests.unit.actuators.exabgp.test_dump import BARE, EVENT, FULL
from tests.unit.actuators.exabgp.test_link import A, Talk, announce, withdraw

REAL = (FULL, BARE, EVENT, SESSIONS, hello())
SOME = settings(max_examples=120, deadline=None)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.sampled_from(["999.1.1.1", "10.0.0.0/99", "::/0", "65000:x", "as-set", 1e999, 10**400, -1]),
)  # fmt: skip


@st.composite
def garbled(draw: st.DrawFn) -> str:
    """Return a real line with a few bytes changed."""
    raw = bytearray(draw(st.sampled_from(REAL)).encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = min(start + draw(st.integers(0, 6)), len(raw))
        raw[start:end] = draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"{", b"]", b'"', b"\\u", b"1e999"])))
    return bytes(raw).decode("ascii", "replace").replace("\n", " ")


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(deeper for key, one in inner for deeper in _paths(one, (*path, key)))]


@st.composite
def reshaped(draw: st.DrawFn) -> str:
    """Return a real line with a value changed or left out, its beginning as it was."""
    line = draw(st.sampled_from(REAL))
    said = json.loads(line)
    path = draw(st.sampled_from(_paths(said)[1:]))
    inside = said
    for key in path[:-1]:
        inside = inside[key]
    if isinstance(inside, dict) and draw(st.booleans()):
        del inside[path[-1]]
    else:
        inside[path[-1]] = draw(ODD)
    text = json.dumps(said)
    return text.replace("{", "{ ", 1) if line is EVENT else text


LINES = st.one_of(garbled(), reshaped(), st.text(st.characters(codec="ascii", exclude_characters="\n"), max_size=40))


@given(LINES)
@example('{"bridge": "hello", "pid": 1, "exabgp": 1e999, "dropped": 0, "deadman": null, "config": "", "uptime_s": 1}')
@SOME
def test_a_line_is_understood_or_is_an_error_of_ours_to_see(line: str) -> None:
    for read in (dump.hello, dump.route, dump.sessions, dump.event):
        try:
            read(line)
        except dump.NotUnderstoodError as error:
            assert len(str(error)) < 1000


@pytest.mark.parametrize("start", ["", dump.ROUTE_START, dump.EVENT_START, dump.HELLO_START])
def test_brackets_without_end_are_an_error_of_ours_to_see(start: str) -> None:
    for read in (dump.hello, dump.route, dump.sessions, dump.event):
        with pytest.raises(dump.NotUnderstoodError):
            read(start + "[" * 100_000)


def heard(chunks: list[bytes]) -> list[str]:
    """Return the lines that a connection makes of chunks."""

    async def main() -> list[str]:
        lines: list[str] = []
        connection = Connection(lambda _, line: lines.append(line), lambda _: None)
        for chunk in chunks:
            connection.data_received(chunk)
        for _ in range(1000):
            await asyncio.sleep(0)
        return lines

    return asyncio.run(main())


@given(st.lists(st.one_of(LINES.map(str.encode), st.binary(max_size=30)), max_size=8), st.data())
@settings(max_examples=40, deadline=None)
def test_lines_are_the_same_wherever_the_stream_is_cut(rows: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join(rows) + b"\nrest"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = [row.decode("ascii", "replace") for row in stream.split(b"\n")[:-1]]
    assert heard(chunks) == whole
    bridge = Lines()
    assert [line for chunk in chunks for line in bridge.feed(chunk)] == stream.split(b"\n")[:-1]


@given(st.integers(-2, 3 * LINE_LIMIT_BYTES // 2), st.sampled_from([1 << 16, 99_991]))
@settings(max_examples=6, deadline=None)
def test_a_line_without_an_end_costs_the_bridge_that_line_only(extra: int, chunk: int) -> None:
    stream = b"before\n" + b"x" * (LINE_LIMIT_BYTES + extra) + b"\nafter\n"
    bridge = Lines()
    lines = [line for start in range(0, len(stream), chunk) for line in bridge.feed(stream[start : start + chunk])]
    assert (lines[0], lines[-1]) == (b"before", b"after")
    assert len(lines) <= 3


class Holds(FakeExabgp):
    """An ExaBGP that knows what it holds, to tell when it is asked; the words on a prefix are the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[str, str] = {}

    def answer(self) -> list[str]:
        """Carry out the next command of ours."""
        if not self.taken:
            return []
        if self.taken[0] == "show adj-rib out json":
            self.taken.popleft()
            return [*self.table.values(), "done"]
        said = super().answer()
        if said == ["done"]:
            self._keep(self.done[-1].split())
        return said

    def _keep(self, words: list[str]) -> None:
        peer, prefixes = words[1], [word for word in words if "/" in word]
        for prefix in prefixes:
            if words[2] == "withdraw":
                self.table.pop(f"{peer} {prefix}", None)
                continue
            attributes = {"origin": "igp", "as-path": {"0": {"element": "as-sequence", "value": [65000]}}, "med": 0}
            if "med" in words:
                attributes["med"] = int(words[words.index("med") + 1])
            nlri = {"prefix": prefix, "nexthop": "10.9.0.1"}
            line = {"peer": {"address": peer}, "route": {"nlri": nlri, "attributes": attributes}}
            self.table[f"{peer} {prefix}"] = json.dumps(line)


class Garbled(RuleBasedStateMachine):
    """Commands are given while lines are lost, doubled, garbled and made up.

    Answers bear no number, so a lost one can be noticed only by the next question. What must hold is that it is
    noticed: nothing raises, the talk finds back to READY, and what it then says of the table is the truth.
    """

    @initialize(window=st.integers(2, 16))
    def begin(self, window: int) -> None:
        self.talk = Talk(window=window)
        self.talk.exabgp = self.exabgp = Holds()
        self.wanted: dict[int, Announce | Withdraw] = {}
        self.talk.connect()

    @rule(n=st.integers(0, 5), med=st.integers(0, 2))
    def say(self, n: int, med: int) -> None:
        self.wanted[n] = announce(n, med=med)
        self.talk.submit(self.wanted[n])

    @rule(n=st.integers(0, 5))
    def take_back(self, n: int) -> None:
        self.wanted[n] = withdraw(n)
        self.talk.submit(self.wanted[n])

    @rule(times=st.integers(1, 12))
    def answer(self, times: int) -> None:
        for _ in range(times):
            self.talk.feed(*self.exabgp.answer())

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        lines = self.exabgp.answer()
        self.talk.feed(*[line for line in lines if data.draw(st.booleans())])

    @rule(line=LINES)
    def make_up(self, line: str) -> None:
        if not line.startswith(dump.HELLO_START):
            self.talk.feed(line)

    @rule(line=st.sampled_from(["done", "error", "[]", "Peer x"]))
    def once_too_often(self, line: str) -> None:
        self.talk.feed(line)

    @rule(seconds=st.floats(0.0, 0.9))
    def pass_time(self, seconds: float) -> None:
        self.talk.at(seconds)

    @rule()
    def cut_off(self) -> None:
        self.talk.link.disconnected(self.talk.now_s)
        self.talk.pump()
        self.talk.connect()

    def teardown(self) -> None:
        """Leave it in peace: what it reads in the end is what ExaBGP holds, and what was wanted if said again."""
        if not hasattr(self, "talk"):
            return
        self._in_peace()
        seen = self.talk.of(RoutesSeen)[-1].routes[A]
        assert seen == self._held()
        again = [one for one in self.wanted.values() if self._differs(one)]
        self.talk.submit(*again)
        self._in_peace()
        for one in self.wanted.values():
            assert not self._differs(one), one

    def _in_peace(self) -> None:
        for step in range(40):
            if self.talk.link.phase in (Phase.WEDGED, Phase.OFFLINE):
                self.exabgp.taken.clear()
                self.talk.connect()
            self.talk.run()
            if step % 10 == 0:
                self.talk.link.ask_routes(self.talk.now_s)
            self.talk.at(0.3)
        assert self.talk.is_ready
        assert not self.talk.link.in_flight
        assert self.talk.link.queued == 0

    def _held(self) -> dict[object, Route]:
        rows = [dump.route(line) for key, line in self.exabgp.table.items() if key.startswith("10.9.0.2 ")]
        return {route.prefix: route for _, route in rows}

    def _differs(self, one: Announce | Withdraw) -> bool:
        if isinstance(one, Announce):
            return self._held().get(one.route.prefix) != one.route
        return one.prefix in self._held()


Garbled.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestGarbled = Garbled.TestCase


@given(st.lists(LINES, max_size=10))
@settings(max_examples=60, deadline=None)
def test_before_the_hello_and_after_the_end_nothing_is_believed(lines: list[str]) -> None:
    link = Link({})
    for begin in (None, link.connected, link.disconnected):
        if begin is not None:
            begin(1.0)
        for line in lines:
            if not line.startswith(dump.HELLO_START):
                link.feed_line(line, 1.0)
        assert not any(isinstance(event, Acked | Refused | RoutesSeen) for event in link.take_events())
        assert link.take_output() == b""
