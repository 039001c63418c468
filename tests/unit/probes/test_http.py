"""The HTTP check against servers that answer well, badly, slowly and not at all."""

from __future__ import annotations

from typing import Any

import pytest

from anycastd.model.checks import CheckKind, HttpOptions, Timing
from anycastd.model.probe import Why
from tests.unit.probes.world import OK, Script, answer, drip, hang, http, probing, reset, server, spec, unused_port

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n"
BIG = HEAD + b"Content-Length: 10000000\r\n\r\n" + b"x" * 300_000

CASES: dict[str, tuple[Script, dict[str, Any], Why]] = {
    "good": (answer(OK), {}, Why.ANSWERED),
    "until close": (answer(HEAD + b"\r\nhello"), {"contains": "hello"}, Why.ANSWERED),
    "until close, wrong text": (answer(HEAD + b"\r\nhello"), {"contains": "other"}, Why.BAD_ANSWER),
    "chunked, text across chunks": (answer(CHUNKED), {"contains": "def"}, Why.ANSWERED),
    "status wanted": (answer(b"HTTP/1.0 503 No\r\n\r\n"), {"status": (503,)}, Why.ANSWERED),
    "status": (answer(b"HTTP/1.1 503 No\r\n\r\n"), {}, Why.BAD_STATUS),
    "redirect is not followed": (answer(b"HTTP/1.1 301 x\r\nLocation: /\r\n\r\n"), {}, Why.BAD_STATUS),
    "interim answer first": (answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK), {}, Why.ANSWERED),
    "garbage": (answer(b"SSH-2.0-OpenSSH_9.2\r\n"), {}, Why.BAD_ANSWER),
    "nothing": (answer(b""), {}, Why.BAD_ANSWER),
    "cut short": (answer(HEAD + b"Content-Length: 10\r\n\r\nabc"), {}, Why.BAD_ANSWER),
    "huge header": (answer(HEAD + b"X: " + b"y" * 200_000), {}, Why.BAD_ANSWER),
    "huge body is bounded": (answer(BIG), {}, Why.ANSWERED),
    "text beyond the bound": (
        answer(HEAD + b"\r\n" + b"x" * 100 + b"ok"),
        {"contains": "ok", "max_body_bytes": 100},
        Why.BAD_ANSWER,
    ),
    "slow, but in time": (drip(OK, each_s=0.002), {"contains": "ok"}, Why.ANSWERED),
    "slow drip": (drip(OK, each_s=0.1), {}, Why.TIMEOUT),
    "hang": (hang, {}, Why.TIMEOUT),
    "reset": (reset, {}, Why.RESET),
}


@pytest.mark.parametrize("case", CASES)
async def test_verdict(case: str) -> None:
    """Each behaviour of the server has its one verdict."""
    script, options, why = CASES[case]
    with server(script) as running:
        async with probing() as probe:
            result = await probe.first(spec(CheckKind.HTTP, HttpOptions(port=running.port, **options)))
    assert (result.why, bool(result.detail)) == (why, why is not Why.ANSWERED), result


async def test_refused() -> None:
    """Nothing listens: the target's fault."""
    async with probing() as probe:
        assert (await probe.first(http(unused_port()))).why is Why.REFUSED


async def test_a_banner_before_the_request_is_garbage() -> None:
    """A server that speaks first is found out at once, not by the timeout."""

    def banner(peer: Any, ended: Any) -> None:
        peer.sendall(b"220 mail ESMTP\r\n")
        ended.wait()

    with server(banner) as running:
        async with probing() as probe:
            result = await probe.first(http(running.port, timing=Timing(interval_s=0.1, timeout_s=3.0)))
    assert result.why is Why.BAD_ANSWER
    assert result.latency_ms < 2000


@pytest.mark.parametrize(
    ("target", "host", "line"),
    [
        ("127.0.0.1", None, b"Host: 127.0.0.1:%d\r\n"),
        ("::1", None, b"Host: [::1]:%d\r\n"),
        ("127.0.0.1", "www.example.org", b"Host: www.example.org\r\n"),
    ],
)
async def test_request(target: str, host: str | None, line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request names the host and us, over IPv4 and IPv6, and no proxy of the environment is used."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    seen: list[bytes] = []

    def script(peer: Any, _ended: Any) -> None:
        seen.append(peer.recv(65536))
        peer.sendall(OK)

    with server(script, target) as running:
        async with probing() as probe:
            options = HttpOptions(port=running.port, path="/health?x=1", host=host)
            result = await probe.first(spec(CheckKind.HTTP, options, target=target))
    assert result.why is Why.ANSWERED
    assert seen[0].startswith(b"GET /health?x=1 HTTP/1.1\r\n")
    assert (line % running.port if b"%d" in line else line) in seen[0]
    assert b"User-Agent: anycastd\r\n" in seen[0]
    assert b"Connection: close\r\n" in seen[0]
    assert seen[0].endswith(b"\r\n\r\n")
