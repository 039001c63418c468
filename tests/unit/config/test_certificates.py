"""Certificates and keys that a file names: loaded as the probes load them, each mistake at its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from anycastd.config.load import examine
from anycastd.config.trust import TrustError, context_of
from anycastd.model.checks import HttpOptions, TlsOptions, Trust
from anycastd.probes.tls.contexts import Contexts, TlsClient
from tests.unit.config.places import SMALLEST
from tests.unit.probes.certificates import openssl, own

CHECKS = """
checks:
  web:
    https:
      host: www.example.net
      ca_file: ca.pem
      cert_file: us.pem
      key_file: us.key
  port:
    tls:
      server_name: www.example.net
      cert_file: both.pem
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all files in order."""
    folder = tmp_path_factory.mktemp("made")
    own(folder, "us")
    own(folder, "other")
    shutil.copy(folder / "other.pem", folder / "ca.pem")
    (folder / "both.pem").write_bytes((folder / "us.key").read_bytes() + (folder / "us.pem").read_bytes())
    (folder / "both.pem").chmod(0o600)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Return a copy of it that may be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "here"))


def said(folder: Path) -> list[str]:
    """Return what is said of a configuration with these checks."""
    file = folder / "anycastd.yaml"
    file.write_text(SMALLEST + CHECKS)
    return [str(problem).removeprefix(f"{file}:") for problem in examine(str(file)).problems]


def lines() -> dict[str, int]:
    """Return the line of each key of the checks."""
    at = {}
    for number, line in enumerate((SMALLEST + CHECKS).splitlines(), start=1):
        at[line.strip().replace(": ", "=")] = number
    return at


def test_files_in_order_are_taken(folder: Path) -> None:
    assert said(folder) == []
    config = examine(str(folder / "anycastd.yaml")).config
    assert config is not None


@pytest.mark.parametrize(
    ("spoil", "key", "says"),
    [
        (lambda f: (f / "us.key").chmod(0o644), "key_file=us.key", "can be used by others"),
        (lambda f: (f / "both.pem").chmod(0o604), "cert_file=both.pem", "can be used by others"),
        (lambda f: (f / "us.key").unlink(), "key_file=us.key", "us.key cannot be looked at: no such file or directory"),
        (lambda f: (f / "ca.pem").write_text(""), "ca_file=ca.pem", "ca.pem is empty"),
        (lambda f: (f / "ca.pem").write_text("no"), "ca_file=ca.pem", "ca.pem holds no certificates to trust"),
        (lambda f: (f / "us.pem").write_text("no"), "cert_file=us.pem", "us.pem holds no certificate"),
        (lambda f: shutil.copy(f / "other.key", f / "us.key"), "key_file=us.key", "us.key is not the key of"),
        (lambda f: (f / "us.key").write_text("no"), "key_file=us.key", "us.key holds no key that can be read"),
        (lambda f: (f / "both.pem").write_bytes((f / "us.pem").read_bytes()), "cert_file=both.pem", "holds no key"),
        (
            lambda f: openssl(f, "ec -in other.key -aes256 -passout pass:secret -out us.key"),
            "key_file=us.key",
            "without a password",
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_told_at_its_place(folder: Path, spoil, key: str, says: str) -> None:  # type: ignore[no-untyped-def]
    spoil(folder)
    problems = said(folder)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"{lines()[key]}:"), problems
    assert says in problems[0]


def test_relative_names_begin_at_the_file(folder: Path) -> None:
    text = SMALLEST.replace("checks: [", "checks: [web, port, ", 1) + CHECKS if "checks: [" in SMALLEST else ""
    assert text, "the smallest file has a list of checks"
    (folder / "anycastd.yaml").write_text(text)
    config = examine(str(folder / "anycastd.yaml")).config
    assert config is not None
    options = [probe.check.options for probe in config.probes]
    web = next(one for one in options if isinstance(one, HttpOptions) and one.tls)
    port = next(one for one in options if isinstance(one, TlsOptions))
    assert web.trust.files == tuple(str(folder / name) for name in ("ca.pem", "us.pem", "us.key"))
    assert port.trust.files == (str(folder / "both.pem"),)


def test_a_machine_without_authorities_cannot_judge_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each server's certificate would be refused for our own fault, and the target taken for down."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    with pytest.raises(TrustError, match="there are none; install ca-certificates"):
        context_of(Trust())
    client = TlsClient(Contexts(), Trust(), "www.example.net")
    assert client.prepare() == (None, "TLS set-up: the system's certificates: there are none; install ca-certificates")
    assert context_of(Trust(verify=False)).check_hostname is False


def test_what_the_unit_hides_from_the_daemon_is_warned_of(tmp_path: Path) -> None:
    text = f"""{SMALLEST}
checks:
  out: {{file: {{path: /tmp/maintenance}}}}
  good: {{file: {{path: /run/anycastd/maintenance}}}}
  home: {{exec: {{argv: [/bin/true, /home/ann/list]}}}}
"""
    file = tmp_path / "anycastd.yaml"
    for bgp, wanted in (("", []), ("bgp: {launch: service}\n", ["checks.out.file.path", "checks.home.exec.argv[1]"])):
        file.write_text(text + bgp, encoding="utf-8")
        warned = [one for one in examine(str(file)).warnings if "does not see the machine's" in one.message]
        assert [one.path for one in warned] == wanted
