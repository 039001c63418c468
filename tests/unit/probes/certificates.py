"""Certificates made by the test with openssl: self-signed, and of an authority that clients are asked for."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

CA = """
[ca]
default_ca = here
[here]
dir = .
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:good.example,IP:127.0.0.1
"""
REQUEST = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def openssl(folder: Path, command: str) -> None:
    """Run one command of openssl in a folder."""
    subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=folder)


def certificate(folder: Path, until: str) -> ssl.SSLContext:
    """Make a self-signed certificate for good.example and 127.0.0.1; return the server's context."""
    folder.mkdir()
    (folder / "ca.cnf").write_text(CA)
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01")
    sign = f"ca -batch -config ca.cnf -selfsign -startdate 20200101000000Z -enddate {until} -in csr.pem"
    openssl(folder, f"{REQUEST} -subj /CN=good.example -keyout key.pem -out csr.pem")
    openssl(folder, f"{sign} -keyfile key.pem -out cert.pem -notext")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def own(folder: Path, name: str) -> tuple[str, str]:
    """Make a client's self-signed certificate; return the names of its file and of its key's, which is ours alone."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl(folder, f"{REQUEST} -x509 -days 30 -subj /CN={name} -keyout {key} -out {cert}")
    key.chmod(0o600)
    return str(cert), str(key)
