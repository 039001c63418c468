"""HTTPS: who may be trusted, under which name, and until when."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.checks import CheckKind, HttpOptions, Timing
from anycastd.model.probe import ProbeResult, Why
from tests.unit.probes.certificates import certificate
from tests.unit.probes.world import OK, Script, answer, hang, probing, server, spec

# TLS is slow on a busy machine, and none of these but the hang waits for its timeout
PATIENT = Timing(interval_s=0.5, timeout_s=5.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the certificates are."""
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def valid(folder: Path) -> ssl.SSLContext:
    """Return the context of a server with a good certificate."""
    return certificate(folder / "valid", "21200101000000Z")


@pytest.fixture(scope="module")
def expired(folder: Path) -> ssl.SSLContext:
    """Return the context of a server whose certificate has expired."""
    return certificate(folder / "expired", "20200201000000Z")


async def _run(tls: ssl.SSLContext | None, script: Script, **options: Any) -> ProbeResult:
    timing = options.pop("timing", PATIENT)
    with server(script, tls=tls) as running:
        async with probing() as probe:
            wanted = HttpOptions(port=running.port, tls=True, **options)
            return await probe.first(spec(CheckKind.HTTP, wanted, timing=timing))


@pytest.mark.parametrize("name", [{"server_name": "good.example"}, {"host": "good.example:8443"}, {}])
async def test_good(folder: Path, valid: ssl.SSLContext, name: dict[str, str]) -> None:
    """Trusted under its name, under the Host header's name, and under its address."""
    result = await _run(valid, answer(OK), ca_file=str(folder / "valid/cert.pem"), contains="ok", **name)
    assert result.why is Why.ANSWERED, result


async def test_large_answer_over_tls(folder: Path, valid: ssl.SSLContext) -> None:
    """Many TLS records, text in the last: nothing is left lying in the TLS layer."""
    body = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000 + b"needle"
    ca_file = str(folder / "valid/cert.pem")
    result = await _run(valid, answer(body), ca_file=ca_file, contains="needle", max_body_bytes=1_000_000)
    assert result.why is Why.ANSWERED, result


async def test_wrong_name(folder: Path, valid: ssl.SSLContext) -> None:
    """A certificate for another name."""
    result = await _run(valid, answer(OK), ca_file=str(folder / "valid/cert.pem"), server_name="bad.example")
    assert (result.why, "bad.example" in result.detail) == (Why.TLS_FAILED, True)


async def test_expired(folder: Path, expired: ssl.SSLContext) -> None:
    """A certificate of the past."""
    result = await _run(expired, answer(OK), ca_file=str(folder / "expired/cert.pem"))
    assert (result.why, "expired" in result.detail) == (Why.TLS_FAILED, True)


async def test_not_trusted_and_not_verified(expired: ssl.SSLContext) -> None:
    """The system's trust does not cover it; without `verify` it is not asked."""
    assert (await _run(expired, answer(OK))).why is Why.TLS_FAILED
    assert (await _run(expired, answer(OK), verify=False, server_name="bad.example")).why is Why.ANSWERED


async def test_not_tls_at_all() -> None:
    """A plain server on the port."""
    assert (await _run(None, answer(OK))).why is Why.TLS_FAILED


async def test_hang_in_the_handshake() -> None:
    """Connected, but no handshake: the detail says where it hung."""
    result = await _run(None, hang, timing=Timing(interval_s=0.2, timeout_s=0.3))
    assert (result.why, result.detail) == (Why.TIMEOUT, "TLS handshake")


async def test_missing_ca_file_is_our_own_fault(tmp_path: Path) -> None:
    """It says nothing of the target, and no descriptor is lost."""
    result = await _run(None, answer(OK), ca_file=str(tmp_path / "none.pem"))
    assert result.why is Why.FILE_UNUSABLE
    assert "none.pem" in result.detail


async def test_replaced_ca_file_is_read_again(folder: Path, tmp_path: Path, valid: ssl.SSLContext) -> None:
    """A rotated trust takes effect without a restart."""
    ca_file = tmp_path / "ca.pem"
    other = folder / "other"
    certificate(other, "21200101000000Z")
    ca_file.write_bytes((other / "cert.pem").read_bytes())
    with server(answer(OK), tls=valid) as running:
        async with probing() as probe:
            options = HttpOptions(port=running.port, tls=True, ca_file=str(ca_file))
            assert (await probe.first(spec(CheckKind.HTTP, options, timing=PATIENT))).why is Why.TLS_FAILED
            ca_file.write_bytes((folder / "valid/cert.pem").read_bytes())
            os.utime(ca_file, ns=(1, 1))
            await probe.until("trusted", lambda: Why.ANSWERED in probe.whys())
