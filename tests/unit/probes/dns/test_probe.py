"""The DNS check against a real name server on loopback."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from anycastd.model.checks import CheckKind, DnsOptions, ProbeSpec, Timing
from anycastd.model.dns import Rcode, RecordType, Transport, Truncated
from anycastd.model.probe import ProbeResult, Why
from tests.unit.probes.name_server import QUESTION, NameServer, Query, Script, name_server, record, reply, zone
from tests.unit.probes.world import hang, probing, reset, server, spec, unused_port

ONE = zone(
    www_example_net={"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "TXT": ["hello world"]},
    example_net={"MX": ["10 mail.example.net"]},
)
PATIENT = Timing(interval_s=0.5, timeout_s=5.0)
HASTY = Timing(interval_s=0.1, timeout_s=0.1)


def check(port: int, *, timing: Timing = PATIENT, target: str = "127.0.0.1", source: str | None = None,
          **options: Any) -> ProbeSpec:  # fmt: skip
    wanted = DnsOptions(**({"name": "www.example.net"} | options), port=port)
    return spec(CheckKind.DNS, wanted, target=target, source=source, timing=timing)


async def run(running: NameServer, **options: Any) -> ProbeResult:
    async with probing() as probe:
        return await probe.first(check(running.port, **options))


async def ask(script: Script, **options: Any) -> ProbeResult:
    with name_server(script) as running:
        return await run(running, **options)


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({}, "A www.example.net: 192.0.2.1, 192.0.2.2, TTL 300 s"),
        ({"expect": ("192.0.2.2", "192.0.2.1")}, "A www.example.net: 192.0.2.1, 192.0.2.2, TTL 300 s"),
        ({"contains": ("192.0.2.2",)}, "A www.example.net: 192.0.2.1, 192.0.2.2, TTL 300 s"),
        ({"type": RecordType.AAAA}, "AAAA www.example.net: 2001:db8::1, TTL 300 s"),
        ({"type": RecordType.MX, "name": "example.net"}, "MX example.net: 10 mail.example.net, TTL 300 s"),
        ({"name": "no.example.net", "rcode": Rcode.NXDOMAIN}, "A no.example.net: NXDOMAIN"),
    ],
)
async def test_good_answers(transport: Transport, options: dict[str, Any], detail: str) -> None:
    result = await ask(ONE, transport=transport, **options)
    assert (result.why, result.detail) == (Why.ANSWERED, detail)


@pytest.mark.parametrize(
    ("options", "why", "detail"),
    [
        ({"expect": ("192.0.2.1",)}, Why.BAD_ANSWER,
         "A www.example.net: wanted exactly 192.0.2.1, came 192.0.2.1, 192.0.2.2, TTL 300 s"),
        ({"contains": ("192.0.2.9",)}, Why.BAD_ANSWER,
         "A www.example.net: wanted 192.0.2.9 among the values, came 192.0.2.1, 192.0.2.2, TTL 300 s"),
        ({"type": RecordType.MX}, Why.BAD_ANSWER, "MX www.example.net: wanted a value, came no value"),
        ({"name": "no.example.net"}, Why.BAD_RCODE, "A no.example.net: wanted NOERROR, came NXDOMAIN"),
        ({"rcode": Rcode.NXDOMAIN}, Why.BAD_RCODE, "A www.example.net: wanted NXDOMAIN, came NOERROR"),
    ],
)  # fmt: skip
async def test_bad_answers_say_what_was_wanted_and_what_came(options: dict[str, Any], why: Why, detail: str) -> None:
    result = await ask(ONE, **options)
    assert (result.why, result.detail) == (why, detail)


async def test_over_ipv6_and_from_the_tunnels_address() -> None:
    with name_server(ONE, "::1") as running:
        assert (await run(running, target="::1", source="::1")).why is Why.ANSWERED
    with name_server(ONE) as running:
        assert (await run(running, source="127.0.0.7")).why is Why.ANSWERED
        assert (await run(running, source="127.0.0.8", transport=Transport.TCP)).why is Why.ANSWERED
        assert [query.source for query in running.queries[:1] + running.queries[-1:]] == ["127.0.0.7", "127.0.0.8"]
        gone = await run(running, source="192.0.2.77")
        assert (gone.why, gone.outcome) == (Why.NO_ADDRESS, "broken")


def large(query: Query) -> list[bytes]:
    """Answer with 100 addresses, truncated over UDP."""
    if not query.over_tcp:
        return [reply(query, truncated=True)]
    return [reply(query, *(record(QUESTION, "A", f"192.0.2.{n}") for n in range(100)))]


async def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    with name_server(large) as running:
        result = await run(running)
        assert (result.why, "and 95 more" in result.detail) == (Why.ANSWERED, True)
        assert [query.over_tcp for query in running.queries[:2]] == [False, True]
        refused = await run(running, truncated=Truncated.FAIL)
        assert (refused.why, refused.detail) == (Why.BAD_ANSWER, "A www.example.net: the answer is truncated")


async def test_answers_to_other_questions_are_passed_over() -> None:
    """Another id, another name, then the right one: the first two decide nothing."""

    def confused(query: Query) -> list[bytes]:
        good = record(QUESTION, "A", "192.0.2.1")
        bad = record(QUESTION, "A", "192.0.2.66")
        other = query.question.replace(b"www", b"evi")
        return [
            reply(query, bad, id_=query.id ^ 1),
            b"x",
            reply(query, bad, question=other),
            reply(query, good),
        ]

    for transport in Transport:
        result = await ask(confused, expect=("192.0.2.1",), transport=transport)
        assert result.why is Why.ANSWERED, result


async def test_only_wrong_answers_are_a_timeout_that_says_so() -> None:
    result = await ask(lambda query: [reply(query, id_=query.id ^ 1)] * 2, timing=HASTY)
    assert (result.why, result.detail) == (
        Why.TIMEOUT,
        "A www.example.net: no answer over UDP; 2 answers to other questions passed over",
    )


async def test_an_answer_from_another_address_is_dropped() -> None:
    """The right answer, sent from an address that was not asked: the kernel never shows it to us."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5.0)
        async with probing() as probe:
            wanted = check(listener.getsockname()[1], timing=Timing(interval_s=3600.0, timeout_s=0.3))
            probe.engine.set_probes([wanted])
            probe.engine.nudge(wanted.id)
            await probe.until("a result", lambda: _forge(listener) or bool(probe.results))
            assert probe.results[0].why is Why.TIMEOUT


def _forge(listener: socket.socket) -> bool:
    listener.settimeout(0)
    try:
        raw, peer = listener.recvfrom(2000)
    except BlockingIOError:
        return False
    query = Query(raw, over_tcp=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.9", listener.getsockname()[1]))
        stranger.sendto(reply(query, record(QUESTION, "A", "192.0.2.1")), peer)
    return False


@pytest.mark.parametrize("garbage", [b"", b"\x81\x80", b"\xff" * 40])
async def test_garbage_with_our_id_is_a_bad_answer(garbage: bytes) -> None:
    result = await ask(lambda query: [query.raw[:2] + garbage])
    assert (result.why, result.detail.startswith("not a DNS answer: ")) == (Why.BAD_ANSWER, True)


async def test_nobody_listens() -> None:
    port = unused_port()
    async with probing() as probe:
        assert (await probe.first(check(port))).why is Why.REFUSED
    async with probing() as probe:
        assert (await probe.first(check(port, transport=Transport.TCP))).why is Why.REFUSED


async def test_tcp_that_hangs_closes_or_resets() -> None:
    for script, why in ((hang, Why.TIMEOUT), (reset, Why.RESET), (lambda _peer, _ended: None, Why.BAD_ANSWER)):
        with server(script) as running:
            async with probing() as probe:
                timing = Timing(interval_s=0.1, timeout_s=0.2) if script is hang else PATIENT
                result = await probe.first(check(running.port, transport=Transport.TCP, timing=timing))
                # closed with our question unread, the kernel says reset
                assert result.why is why or (why is Why.BAD_ANSWER and result.why is Why.RESET), result


async def test_nothing_is_left_open() -> None:
    """After answers, time-outs, a change over to TCP in the middle, and a cancel."""
    with name_server(large) as running, name_server(lambda _: []) as silent:
        async with probing() as probe:
            await probe.first(check(running.port))
            probe.engine.set_probes([check(silent.port, timing=Timing(interval_s=0.1, timeout_s=0.3))])
            await probe.until("timed out", lambda: Why.TIMEOUT in probe.whys())
            assert probe.engine.stats.sockets_open > 0
            probe.engine.set_probes([])
            assert (probe.engine.stats.sockets_open, probe.engine.stats.running) == (0, 0)
