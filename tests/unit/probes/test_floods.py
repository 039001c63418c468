"""Servers that never stop sending: their own check runs into its timeout, and all others go on meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from anycastd.model.checks import CheckKind, DnsOptions, HttpOptions, ProbeSpec, Timing
from anycastd.model.dns import Transport
from anycastd.model.probe import Why
from tests.unit.probes.world import Script, hang, probing, server, spec, tcp

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD_BYTES = 2 << 20
SLOW = Timing(interval_s=60.0, timeout_s=0.3)
BESIDE = Timing(interval_s=0.01, timeout_s=5.0)
AT_LEAST = 2
"""Of some thirty: the server that floods is a thread of ours and takes its share. With the loop held there is none."""


def flood(data: bytes) -> Script:
    """Return a script that sends without an end; each call is the kernel's, so that it outruns any reader."""

    def script(peer: socket.socket, ended: threading.Event) -> None:
        peer.recv(65536)
        while not ended.is_set():
            peer.sendall(data)

    return script


def http_of(port: int) -> ProbeSpec:
    options = HttpOptions(port=port, contains="never", max_body_bytes=65536)
    return spec(CheckKind.HTTP, options, name="self/flood", timing=SLOW)


def dns_of(port: int) -> ProbeSpec:
    options = DnsOptions(name="www.example.net", port=port, transport=Transport.TCP)
    return spec(CheckKind.DNS, options, name="self/flood", timing=SLOW)


@pytest.mark.parametrize(
    ("data", "check"),
    [
        (HEAD + b"1\r\na\r\n" * (FLOOD_BYTES // 6), http_of),
        (HEAD + (b"1;" + b"x" * 250 + b"\r\na\r\n") * (FLOOD_BYTES // 257), http_of),
        (b"\0" * FLOOD_BYTES, dns_of),
    ],
    ids=["chunks of a byte", "chunks with long lines", "messages of nothing"],
)
async def test_others_have_their_turn(data: bytes, check: Callable[[int], ProbeSpec]) -> None:
    with server(flood(data)) as flooding, server(hang) as beside:
        async with probing() as probe:
            probe.engine.set_probes([check(flooding.port), tcp(beside.port, name="self/beside", timing=BESIDE)])
            probe.engine.nudge(check(flooding.port).id)
            await probe.until("the flood is given up", lambda: bool(probe.of("self/flood")), 30.0)
            ended = probe.of("self/flood")[0]
            meanwhile = [one for one in probe.of("self/beside") if ended.started_s < one.ended_s < ended.ended_s]
    assert ended.why in (Why.TIMEOUT, Why.BAD_ANSWER)
    assert len(meanwhile) >= AT_LEAST
