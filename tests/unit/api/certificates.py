"""Authorities and certificates for tests, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=20)


def authority(directory: Path, name: str = "ca") -> Pair:
    """Return a new authority."""
    pair = Pair(directory / f"{name}.pem", directory / f"{name}.key")
    _openssl("req", "-x509", *CURVE, "-keyout", str(pair.key), "-out", str(pair.cert), "-days", "2", "-subj",
             f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    return pair


def certificate(directory: Path, ca: Pair, name: str, alternative: str, subject: str = "CN") -> Pair:
    """Return a certificate of an authority for a subject alternative name such as IP:127.0.0.1."""
    pair, request = Pair(directory / f"{name}.pem", directory / f"{name}.key"), directory / f"{name}.csr"
    extensions = directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n", encoding="ascii")
    _openssl("req", "-new", *CURVE, "-keyout", str(pair.key), "-out", str(request), "-subj", f"/{subject}={name}")
    _openssl("x509", "-req", "-in", str(request), "-CA", str(ca.cert), "-CAkey", str(ca.key), "-CAcreateserial",
             "-days", "2", "-extfile", str(extensions), "-out", str(pair.cert))  # fmt: skip
    return pair
