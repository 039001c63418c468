"""The tls check, and client certificates of tls and https, against real TLS servers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.checks import CheckKind, Expiring, HttpOptions, Timing, TlsOptions
from anycastd.model.probe import Outcome, ProbeResult, Why
from anycastd.probes.tls import contexts
from tests.unit.probes.certificates import certificate, own
from tests.unit.probes.world import OK, Script, answer, hang, probing, server, spec, unused_port

PATIENT = Timing(interval_s=3600.0, timeout_s=5.0)
DAY_S = 86400.0


def accept(peer: socket.socket, _ended: threading.Event) -> None:
    """Shake hands, wait for the other to close, close."""
    peer.recv(100)


def greet(peer: socket.socket, ended: threading.Event) -> None:
    """Speak first, as a mail server does, and stay."""
    peer.sendall(b"220 hello")
    ended.wait()


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the certificates are."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def ten_days(folder: Path) -> ssl.SSLContext:
    """Return the context of a server whose certificate is good for ten days."""
    return certificate(folder / "ten", in_days(10.01))


@pytest.fixture(scope="module")
def expired(folder: Path) -> ssl.SSLContext:
    """Return the context of a server whose certificate has expired."""
    return certificate(folder / "expired", "20200201000000Z")


def asking(folder: Path, trusted: str, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the context of a server that wants a certificate of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ten/cert.pem", folder / "ten/key.pem")
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(trusted)
    return context


async def run(
    tls: ssl.SSLContext | None, script: Script = accept, timing: Timing = PATIENT, **options: Any
) -> ProbeResult:
    with server(script, tls=tls) as running:
        async with probing() as probe:
            wanted = TlsOptions(port=running.port, **({"server_name": "good.example"} | options))
            return await probe.first(spec(CheckKind.TLS, wanted, timing=timing))


async def test_good_for_long_enough(folder: Path, ten_days: ssl.SSLContext) -> None:
    result = await run(ten_days, ca_file=str(folder / "ten/cert.pem"), expires_in_s=9 * DAY_S)
    assert result.why is Why.ANSWERED, result
    assert "TLSv1.3, certificate of good.example ends " in result.detail
    assert result.detail.endswith("in 10.0 days")
    assert result.note is not None
    assert result.note.certificate_ends_s is not None
    assert abs(result.note.certificate_ends_s - datetime.now(UTC).timestamp() - 10.01 * DAY_S) < 60
    assert result.note.warning == ""


async def test_ends_too_soon(folder: Path, ten_days: ssl.SSLContext) -> None:
    """By choice the probe fails, or passes with a warning; what was wanted and what came is said."""
    wanted: dict[str, Any] = {"ca_file": str(folder / "ten/cert.pem"), "expires_in_s": 14 * DAY_S}
    warned = await run(ten_days, **wanted)
    assert (warned.why, warned.note and warned.note.warning) == (Why.ANSWERED, warned.detail)
    failed = await run(ten_days, expiring=Expiring.FAIL, **wanted)
    assert (failed.why, failed.outcome) == (Why.CERTIFICATE_EXPIRES, Outcome.FAILED)
    assert failed.detail.endswith("in 10.0 days; wanted at least 14 days")


async def test_not_valid(folder: Path, ten_days: ssl.SSLContext, expired: ssl.SSLContext) -> None:
    """Expired, for another name, of nobody that the system trusts, not TLS."""
    late = await run(expired, ca_file=str(folder / "expired/cert.pem"))
    assert (late.why, late.detail) == (Why.TLS_FAILED, "certificate has expired")
    other = await run(ten_days, ca_file=str(folder / "ten/cert.pem"), server_name="bad.example")
    assert (other.why, "bad.example" in other.detail) == (Why.TLS_FAILED, True)
    assert (await run(ten_days)).detail.startswith("self-signed certificate")
    assert (await run(None, answer(OK))).why is Why.TLS_FAILED


async def test_hangs_and_refuses() -> None:
    timing = Timing(interval_s=0.5, timeout_s=0.5)
    stuck = await run(None, hang, timing)
    assert (stuck.why, stuck.detail) == (Why.TIMEOUT, "TLS handshake")
    async with probing() as probe:
        options = TlsOptions(port=unused_port(), server_name="good.example")
        assert (await probe.first(spec(CheckKind.TLS, options))).why is Why.REFUSED


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("script", [accept, greet, answer(OK)], ids=["closes", "speaks first", "answers"])
@pytest.mark.usefixtures("ten_days")
async def test_a_client_certificate_is_shown(folder: Path, version: ssl.TLSVersion, script: Script) -> None:
    """TLS 1.3 servers look at it behind the handshake: their refusal is seen all the same."""
    cert, key = own(folder, "client")
    stranger_cert, stranger_key = own(folder, "stranger")
    context = asking(folder, cert, version)
    ca_file = str(folder / "ten/cert.pem")
    good = await run(context, script, ca_file=ca_file, cert_file=cert, key_file=key)
    assert good.why is Why.ANSWERED, good
    bad = await run(context, script, ca_file=ca_file, cert_file=stranger_cert, key_file=stranger_key)
    assert bad.why is Why.TLS_FAILED, bad
    assert "ALERT" in bad.detail


@pytest.mark.usefixtures("ten_days")
async def test_a_server_that_keeps_the_session_open_has_not_complained(folder: Path) -> None:
    cert, key = own(folder, "client")
    context = asking(folder, cert, ssl.TLSVersion.TLSv1_3)
    timing = Timing(interval_s=3600.0, timeout_s=0.3)
    result = await run(context, hang, timing, ca_file=str(folder / "ten/cert.pem"), cert_file=cert, key_file=key)
    assert result.why is Why.ANSWERED, result


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.usefixtures("ten_days")
async def test_https_shows_a_client_certificate_and_takes_a_renewed_one(
    folder: Path, tmp_path: Path, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First one that the server refuses; put in its place, the right one works soon."""
    monkeypatch.setattr(contexts, "LOOK_EACH_S", 0.0)
    cert, key = own(folder, "client")
    names = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}
    _put(own(folder, "stranger"), names)
    with server(answer(OK), tls=asking(folder, cert, version)) as running:
        async with probing() as probe:
            wanted = HttpOptions(port=running.port, tls=True, ca_file=str(folder / "ten/cert.pem"), **names)  # type: ignore[arg-type]
            check = spec(CheckKind.HTTP, wanted, timing=PATIENT)

            async def run_once() -> Why:
                count = len(probe.results)
                probe.engine.nudge(check.id)
                await probe.until("a result", lambda: len(probe.results) > count)
                return probe.results[-1].why

            async def becomes(why: Why) -> None:
                async with asyncio.timeout(30):
                    while await run_once() is not why:
                        continue

            probe.engine.set_probes([check])
            assert await run_once() is Why.TLS_FAILED
            _put((cert, key), names)
            await becomes(Why.ANSWERED)
            (tmp_path / "key.pem").unlink()
            await becomes(Why.FILE_UNUSABLE)
            _put((cert, key), names)
            await becomes(Why.ANSWERED)
            # a disk that hangs: the check goes on with what was read
            hangs, answers = threading.Event(), threading.Event()

            def state(name: str) -> tuple[int, int, int]:
                hangs.set()
                answers.wait(60)
                return (0, 0, 0)

            monkeypatch.setattr(contexts, "_state", state)
            try:
                while not hangs.is_set():
                    assert await run_once() is Why.ANSWERED
                (tmp_path / "key.pem").unlink()
                for _ in range(3):
                    assert await run_once() is Why.ANSWERED
            finally:
                answers.set()


def _put(files: tuple[str, str], names: dict[str, str]) -> None:
    for source, target in zip(files, names.values(), strict=True):
        new = Path(f"{target}.new")
        shutil.copy(source, new)
        new.replace(target)
