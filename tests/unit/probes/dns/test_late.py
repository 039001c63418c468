"""Our own loop stands still while an answer lies in the kernel: what counts is when it came, not when we read it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from select import select

import pytest

from anycastd.model.checks import CheckKind, DnsOptions, NameTarget, ProbeSpec, Resolver, Timing
from anycastd.model.dns import Transport
from anycastd.model.probe import Why
from anycastd.probes import receive_time
from anycastd.probes.dns.exchange import DATAGRAMS_AT_ONCE, DnsExchange
from anycastd.probes.receive_time import Stamping, arrived_s
from tests.unit.probes.name_server import QUESTION, Query, name_server, record, reply
from tests.unit.probes.world import Probing, probing, spec
from tests.wait import wait_until

TIMEOUT_S = 0.5
TIMING = Timing(interval_s=3600.0, timeout_s=TIMEOUT_S)
HOSTS = ["127.0.0.1", "::1"]
LOW_S = 0.015


def until_s(at_s: float) -> None:
    """Stand still until then: the loop runs nothing meanwhile."""
    wait_until("the time has come", 5, lambda: time.monotonic() > at_s)


def aged() -> bool:
    """Return whether the kernel stamps a packet when it comes: one that has lain there for a while is that old."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        receive_time.turn_on(sock)
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"x", sock.getsockname())
        until_s(time.monotonic() + LOW_S)
        age_s = receive_time.age_s(sock.recvmsg(10, receive_time.STAMP_BYTES)[1])
        return age_s is not None and age_s >= LOW_S


@pytest.fixture(autouse=True)
def stamped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernel stamps packets as they come, before and after; so nobody need wait until it does."""
    holder = Stamping(time.monotonic)
    holder.join()
    wait_until("true stamps", 10, aged)
    monkeypatch.setattr(receive_time, "TRUE_AFTER_S", -1.0)
    yield
    holder.close()


def check(host: str, port: int) -> ProbeSpec:
    return spec(CheckKind.DNS, DnsOptions(name="www.example.net", port=port), target=host, timing=TIMING)


def answer(query: Query) -> list[bytes]:
    return [reply(query, record(QUESTION, "A", "192.0.2.1"))]


def asked(probe: Probing, wanted: ProbeSpec) -> DnsExchange:
    """Begin a probe, and give nothing else a turn."""
    probe.engine.set_probes([])
    probe.engine.set_probes([wanted])
    probe.engine.nudge(wanted.id)
    now_s = time.monotonic()
    probe.engine._start_due(now_s, now_s + 60.0)
    (attempt,) = probe.engine._checks[wanted.id].running
    assert isinstance(attempt, DnsExchange)
    return attempt


def lies_there(attempt: DnsExchange) -> bool:
    assert attempt.sock is not None
    return bool(select([attempt.sock], [], [], 0)[0])


@pytest.mark.parametrize("host", HOSTS)
async def test_an_answer_that_was_in_time_and_is_read_late_is_good(host: str) -> None:
    with name_server(answer, host) as running:
        async with probing() as probe:
            for _ in range(20):
                attempt = asked(probe, check(host, running.port))
                wait_until("the answer lies there", 10, lambda it=attempt: lies_there(it))  # type: ignore[misc]
                was_in_time = time.monotonic() < attempt.deadline_s
                until_s(attempt.deadline_s + 0.1)
                probe.results.clear()
                await probe.until("a result", lambda: bool(probe.results))
                if was_in_time:
                    break
            else:
                pytest.fail("this machine gave the name server no turn within half a second, twenty times")
    (result,) = probe.results
    assert result.why is Why.ANSWERED
    assert 0 <= result.ended_s - result.started_s < TIMEOUT_S, "the latency is the network's, without ours"


@pytest.mark.parametrize("host", HOSTS)
async def test_an_answer_that_was_late_is_a_timeout_although_we_read_it_even_later(host: str) -> None:
    """Our own standing still takes nothing from the target, and gives it nothing."""
    go_on = threading.Event()

    def late(query: Query) -> list[bytes]:
        go_on.wait()
        return answer(query)

    with name_server(late, host) as running:
        async with probing() as probe:
            attempt = asked(probe, check(host, running.port))
            until_s(attempt.deadline_s + 0.3)
            go_on.set()
            wait_until("the answer lies there", 10, lambda: lies_there(attempt))
            until_s(time.monotonic() + 0.1)
            await probe.until("a result", lambda: bool(probe.results))
    (result,) = probe.results
    assert result.why is Why.TIMEOUT
    assert result.detail.startswith("A www.example.net: the answer came ") and result.detail.endswith(" ms too late")


async def test_a_named_server_is_judged_by_the_same_deadline() -> None:
    def script(query: Query) -> list[bytes]:
        return [reply(query, record(QUESTION, "A", "127.0.0.1"))]

    with name_server(script) as running:
        resolver = Resolver(servers=(ip_address("127.0.0.1"),), port=running.port)
        wanted = replace(check("192.0.2.99", running.port), name=NameTarget("ns.example.net", 4, resolver))
        async with probing() as probe:
            result = await probe.first(replace(wanted, check=replace(wanted.check, timing=Timing(timeout_s=15.0))))
    assert (result.why, result.detail) == (
        Why.ANSWERED,
        "ns.example.net is 127.0.0.1: A www.example.net: 127.0.0.1, TTL 300 s",
    )


async def test_the_kernel_stamps_as_long_as_a_check_over_udp_needs_it() -> None:
    over_tcp = spec(CheckKind.DNS, DnsOptions(name="a.example", transport=Transport.TCP), name="self/a/tcp")
    over_udp = spec(CheckKind.DNS, DnsOptions(name="a.example"), name="self/a/udp")
    async with probing() as probe:
        stamping = probe.engine._registry.stamping
        for wanted, age_s in (([over_tcp], None), ([over_tcp, over_udp], 0.1), ([over_udp], 0.1), ([], None)):
            probe.engine.set_probes(wanted)
            assert stamping.believed(0.1) == age_s


def test_a_stamp_of_a_clock_that_was_set_is_not_believed() -> None:
    assert arrived_s(10.0, 0.5, 9.0) == 9.5
    assert [arrived_s(10.0, age_s, 9.0) for age_s in (None, -0.001, 1.001, float("nan"))] == [None] * 4


async def test_an_answer_behind_many_of_others_is_found_when_the_time_is_up() -> None:
    """In one turn only so many are read; the last look reads on, for nothing comes after it."""

    def behind_others(query: Query) -> list[bytes]:
        return [*(reply(query, id_=query.id ^ 1) for _ in range(2 * DATAGRAMS_AT_ONCE)), *answer(query)]

    with name_server(behind_others) as running:
        async with probing() as probe:
            attempt = asked(probe, check("127.0.0.1", running.port))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as after:
                # it answers one after the other: then all of the first question's lie there
                after.sendto(attempt.query, ("127.0.0.1", running.port))
                wait_until("the next is answered", 10, lambda: bool(select([after], [], [], 0)[0]))
            assert attempt.last_look()
    (result,) = probe.results
    assert result.why is Why.ANSWERED
