"""Who may ask the API, as the file says it: strangers only with TLS and a token, secrets that only we can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.config.load import examine
from anycastd.model.access import Role, TlsSpec, TokenSpec
from tests.unit.config.places import SMALLEST, load_text

TOKEN = "0123456789abcdef" * 2


def secret(directory: Path, name: str, content: str = TOKEN, mode: int = 0o600) -> None:
    (directory / name).write_text(content, encoding="ascii")
    (directory / name).chmod(mode)


def problems(directory: Path, api: str) -> list[str]:
    file = directory / "anycastd.yaml"
    file.write_text(f"{SMALLEST}api: {api}\n", encoding="utf-8")
    return [f"{one.column} {one.path}: {one.message}" for one in examine(str(file)).problems]


def test_a_whole_api_section(tmp_path: Path) -> None:
    for name in ("ci", "cert", "key"):
        secret(tmp_path, name)
    text = """
api:
  host: 192.0.2.7
  group: operators
  tokens: {ci: {role: operate, file: ci}}
  tls: {cert_file: cert, key_file: key}
"""
    api = load_text(SMALLEST + text, tmp_path).api
    assert (api.host, api.group) == ("192.0.2.7", "operators")
    assert api.tokens == {"ci": TokenSpec(name="ci", role=Role.OPERATE, file=str(tmp_path / "ci"))}
    assert api.tls == TlsSpec(cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key"))
    assert load_text(SMALLEST, tmp_path).api.tls is None


def test_beyond_loopback_both_tls_and_a_token_are_needed(tmp_path: Path) -> None:
    where = "api.host: 192.0.2.7 is not a loopback address: it needs"
    assert problems(tmp_path, "{host: 192.0.2.7}") == [f"13 {where} api.tls", f"13 {where} api.tokens"]
    secret(tmp_path, "ci")
    assert problems(tmp_path, "{host: 192.0.2.7, tokens: {ci: {file: ci}}}") == [f"13 {where} api.tls"]


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (TOKEN, 0o644, "ci can be used by others, or written by its group (mode 0644)"),
        (TOKEN, 0o660, "written by its group (mode 0660)"),
        ("short", 0o600, "ci holds 5 bytes; a token has 24 to 512: openssl rand -hex 32"),
        ("x" * 513, 0o600, "ci holds 513 bytes"),
    ],
)
def test_a_token_file_that_is_no_secret_is_refused_at_its_place(
    content: str, mode: int, told: str, tmp_path: Path
) -> None:
    secret(tmp_path, "ci", content, mode)
    (one,) = problems(tmp_path, "{tokens: {ci: {file: ci}}}")
    assert one.startswith("27 api.tokens.ci.file: ")
    assert told in one


def test_files_of_tls_must_be_there_and_the_key_a_secret(tmp_path: Path) -> None:
    secret(tmp_path, "cert", "", 0o644)
    secret(tmp_path, "key", TOKEN, 0o644)
    told = problems(tmp_path, "{tls: {cert_file: cert, key_file: key, client_ca_file: ca}}")
    assert [one.split(" ", 1)[1].split(": ")[0] for one in told] == [
        "api.tls.cert_file",
        "api.tls.key_file",
        "api.tls.client_ca_file",
    ]
    assert "cert is empty" in told[0]
    assert "chmod 600" in told[1]
    assert "no such file" in told[2]
