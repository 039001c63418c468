"""Targets by name: real name servers, real targets, and resolvers that fail in every way."""

from __future__ import annotations

import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.model.checks import CheckKind, HttpOptions, NameTarget, ProbeSpec, Resolver, TcpOptions, Timing
from anycastd.model.probe import Outcome, Why
from anycastd.probes.resolve.system import system_servers
from tests.unit.probes.name_server import QUESTION, Query, encode_name, name_server, record, reply, zone
from tests.unit.probes.world import OK, answer, hang, probing, server, spec, unused_port

LOCAL = ip_address("127.0.0.1")
EAGER = Resolver(servers=(LOCAL,), timeout_s=0.2, retry_s=0.1, min_ttl_s=0.1, max_ttl_s=0.1, stale_s=0.5)
QUICK = Timing(interval_s=0.1, timeout_s=0.5)
NAME = "www.example.net"


def named(port: int, resolver: Resolver, *, version: int = 4, timing: Timing = QUICK, name: str = NAME,
          id_: str = "self/a/b") -> ProbeSpec:  # fmt: skip
    """Return a TCP check of a name; what it is used for has an address where nobody is."""
    plain = spec(CheckKind.TCP, TcpOptions(port=port), target="192.0.2.99", timing=timing, name=id_)
    return replace(plain, name=NameTarget(name, version, resolver))


def at(port: int, **settings: object) -> Resolver:
    return replace(EAGER, port=port, **settings)  # type: ignore[arg-type]


async def test_a_name_is_resolved_and_its_address_probed() -> None:
    """The first probe waits for the address; the detail says which it was; the Host header is the name."""
    with name_server(zone(www_example_net={"A": ["127.0.0.1"]})) as names, server(answer(OK)) as running:
        async with probing() as probe:
            plain = spec(CheckKind.HTTP, HttpOptions(port=running.port, host=NAME), target="192.0.2.99", timing=QUICK)
            result = await probe.first(replace(plain, name=NameTarget(NAME, 4, at(names.port))))
            assert (result.why, result.detail) == (Why.ANSWERED, f"{NAME} is 127.0.0.1")
            assert probe.troubles == {}
        assert [(query.name, query.kind, query.recursion) for query in names.queries] == [(NAME, "A", True)]


async def test_family_is_a_choice() -> None:
    both = zone(www_example_net={"A": ["127.0.0.1"], "AAAA": ["::1"]})
    with name_server(both) as names, server(answer(OK), "::1") as running:
        async with probing() as probe:
            result = await probe.first(named(running.port, at(names.port), version=6))
            assert (result.why, result.detail) == (Why.ANSWERED, f"{NAME} is ::1")


async def test_an_address_is_kept_while_the_name_has_it_and_left_when_not() -> None:
    """Of several the lowest is used first; the order of an answer moves nothing."""
    addresses = ["127.0.0.3", "127.0.0.2"]

    def script(query: Query) -> list[bytes]:
        return [reply(query, *(record(QUESTION, "A", address, ttl_s=0) for address in addresses))]

    with name_server(script) as names, server(answer(OK), "0.0.0.0") as running:
        async with probing() as probe:
            assert (await probe.first(named(running.port, at(names.port)))).detail == f"{NAME} is 127.0.0.2"
            addresses[:] = ["127.0.0.1", "127.0.0.2"]
            count = len(names.queries)
            await probe.until("asked again", lambda: len(names.queries) > count + 1)
            assert probe.results[-1].detail == f"{NAME} is 127.0.0.2"
            addresses[:] = ["127.0.0.4"]
            await probe.until("moved", lambda: probe.results[-1].detail == f"{NAME} is 127.0.0.4")
        assert probe.whys() == {Why.ANSWERED}


@pytest.mark.slow
async def test_an_answer_is_kept_for_its_ttl_between_floor_and_ceiling() -> None:
    with name_server(zone(www_example_net={"A": ["127.0.0.1"]})) as names, server(answer(OK)) as running:
        async with probing() as probe:
            probe.engine.set_probes([named(running.port, at(names.port, max_ttl_s=3600.0))])
            await probe.until("five results", lambda: len(probe.results) >= 5)
            assert len(names.queries) == 1
            probe.engine.set_probes([named(running.port, at(names.port, max_ttl_s=0.2))])
            await probe.until("asked again", lambda: len(names.queries) >= 4)


async def test_a_resolver_that_falls_silent_takes_nothing_down() -> None:
    """The last good answer is used, an alarm says so, then the check is UNKNOWN; DOWN never; and all comes back."""
    good = zone(www_example_net={"A": ["127.0.0.1"]})
    with name_server(good) as names, server(answer(OK)) as running:
        async with probing() as probe:
            await probe.first(named(running.port, at(names.port)))
            names.script = lambda _: []
            await probe.until("alarm", lambda: f"{NAME} A" in probe.troubles)
            assert "127.0.0.1: timeout (A www.example.net: no answer over UDP)" in probe.troubles[f"{NAME} A"]
            assert "the last good answer is used" in probe.troubles[f"{NAME} A"]
            assert probe.whys() == {Why.ANSWERED}
            await probe.until("too old", lambda: Why.NOT_RESOLVED in probe.whys())
            assert probe.results[-1].outcome is Outcome.BROKEN
            names.script = good
            await probe.until("back", lambda: probe.results[-1].why is Why.ANSWERED)
            assert probe.troubles == {}
        assert {result.outcome for result in probe.results} == {Outcome.OK, Outcome.BROKEN}


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        (zone(), f"{NAME}: 127.0.0.1 says NXDOMAIN, no A"),
        (zone(www_example_net={"AAAA": ["::1"]}), f"{NAME}: 127.0.0.1 says NOERROR, no A"),
        (lambda query: [reply(query, rcode=2)], f"{NAME}: 127.0.0.1: bad rcode (SERVFAIL)"),
        (lambda query: [query.raw[:2] + b"?"], None),
    ],
    ids=["no such name", "no such family", "failure", "garbage"],
)
async def test_a_name_without_an_address_is_unknown(script, detail: str | None) -> None:  # type: ignore[no-untyped-def]
    with name_server(script) as names:
        async with probing() as probe:
            result = await probe.first(named(9, at(names.port)))
            assert (result.why, result.outcome) == (Why.NOT_RESOLVED, Outcome.BROKEN)
            assert detail is None or result.detail == detail
            assert set(probe.troubles) == {f"{NAME} A"}
            probe.engine.set_probes([])
            assert probe.troubles == {}, "nobody asks for it any more"


async def test_nobody_listens_there() -> None:
    async with probing() as probe:
        result = await probe.first(named(9, at(unused_port())))
        assert (result.why, result.detail) == (Why.NOT_RESOLVED, f"{NAME}: 127.0.0.1: refused (Connection refused)")


async def test_the_next_server_is_asked() -> None:
    with name_server(zone(www_example_net={"A": ["127.0.0.1"]}), "127.0.0.2") as names, server(answer(OK)) as running:
        servers = tuple(ip_address(f"127.0.0.{n}") for n in (1, 2))
        async with probing() as probe:
            assert (await probe.first(named(running.port, at(names.port, servers=servers)))).why is Why.ANSWERED


async def test_aliases_and_large_answers_are_followed() -> None:
    def script(query: Query) -> list[bytes]:
        if not query.over_tcp:
            return [reply(query, truncated=True)]
        alias, target = record(QUESTION, "CNAME", "web.example.net"), encode_name("web.example.net")
        return [reply(query, alias, record(target, "A", "127.0.0.1"))]

    with name_server(script) as names, server(answer(OK)) as running:
        async with probing() as probe:
            assert (await probe.first(named(running.port, at(names.port)))).why is Why.ANSWERED


@pytest.mark.slow
async def test_a_resolver_that_hangs_delays_nobody() -> None:
    """Fifty names wait; a check without a name starts each 100 ms all the same, none of it late."""
    with name_server(lambda _: []) as names, server(answer(OK)) as running:
        waiting = [
            named(9, at(names.port), name=f"n{n}.example.net", id_=f"self/n/{n}", timing=Timing(timeout_s=0.3))
            for n in range(50)
        ]
        plain = spec(CheckKind.TCP, TcpOptions(port=running.port), name="self/p/p", timing=Timing(interval_s=0.1))
        async with probing() as probe:
            probe.engine.set_probes([plain, *waiting])
            await probe.until("all told", lambda: len({result.check for result in probe.results}) == 51)
            await probe.until("eight plain ones", lambda: len(probe.of("self/p/p")) >= 8)
            assert {result.why for result in probe.of("self/p/p")} == {Why.ANSWERED}
            told = {result.why for result in probe.results if result.check != "self/p/p"}
            assert told <= {Why.NOT_RESOLVED, Why.LOOP_LATE}
            probe.engine.set_probes([])
            assert (probe.engine.stats.running, probe.engine.stats.sockets_open) == (0, 0)


async def test_a_slow_resolver_is_not_the_targets_fault() -> None:
    """The address came late, so the target had too little time: its silence says nothing of it."""
    held, good = threading.Event(), zone(www_example_net={"A": ["127.0.0.1"]})

    def late(query: Query) -> list[bytes]:
        held.wait(0.15)
        return good(query)

    with name_server(late) as names, server(hang) as running:
        async with probing() as probe:
            timing = Timing(interval_s=3600.0, timeout_s=0.3)
            plain = spec(CheckKind.HTTP, HttpOptions(port=running.port), target="192.0.2.99", timing=timing)
            result = await probe.first(replace(plain, name=NameTarget(NAME, 4, at(names.port, timeout_s=1.0))))
            assert result.outcome is Outcome.BROKEN, result


def test_the_systems_servers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert system_servers(file) == (LOCAL,)
    file.write_text("# no\nsearch example.net\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver ::1 #x\n"
                    "nameserver nonsense\noptions ndots:2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n")  # fmt: skip
    assert [str(address) for address in system_servers(file)] == ["192.0.2.1", "::1", "192.0.2.3"]
