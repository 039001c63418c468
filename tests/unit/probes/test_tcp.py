"""The TCP check, and where its packets come from."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from anycastd.model.checks import CheckKind, TcpOptions
from anycastd.model.probe import Outcome, Why
from tests.unit.probes.world import hang, probing, server, spec, tcp, unused_port


@pytest.mark.parametrize("target", ["127.0.0.1", "::1"])
async def test_open(target: str) -> None:
    """A port that takes connections, over both families."""
    with server(hang, target) as running:
        async with probing() as probe:
            result = await probe.first(spec(CheckKind.TCP, TcpOptions(port=running.port), target=target))
    assert result.why is Why.ANSWERED
    assert 0 <= result.latency_ms < 400


async def test_refused() -> None:
    """Nothing listens."""
    async with probing() as probe:
        assert (await probe.first(tcp(unused_port()))).why is Why.REFUSED


async def test_connect_hangs() -> None:
    """A listener whose queue is full drops the SYN, as a dead machine does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with probing() as probe:
            result = await probe.first(tcp(full.getsockname()[1]))
    assert (result.why, result.detail) == (Why.TIMEOUT, "connecting")


async def test_source_address() -> None:
    """The target sees the connection come from the tunnel's address."""
    seen: list[str] = []

    def script(peer: Any, _ended: Any) -> None:
        seen.append(peer.getpeername()[0])

    with server(script) as running:
        async with probing() as probe:
            options = TcpOptions(port=running.port)
            probe.engine.set_probes([spec(CheckKind.TCP, options, source="127.0.0.9")])
            await probe.until("seen by the server", lambda: bool(seen))
    assert seen[0] == "127.0.0.9"


async def test_source_address_gone_is_our_own_fault() -> None:
    """An address that is not on this machine says nothing of the target."""
    async with probing() as probe:
        result = await probe.first(tcp(9, source="192.0.2.77"))
    assert (result.why, result.outcome) == (Why.NO_ADDRESS, Outcome.BROKEN)
