"""A private key is read from its file, or it is said why not, without a byte of it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from anycastd.actuators.dataplane.private_key import KeyFileError, read_key

KEY = bytes(range(1, 33))
TEXT = base64.b64encode(KEY).decode()


@pytest.mark.parametrize("text", [TEXT, TEXT + "\n", f" {TEXT}\r\n"])
def test_it_is_read_as_wg_writes_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    assert read_key(str(file)) == KEY


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (TEXT, 0o644, "can be used by others, or written by its group; chmod 600 it"),
        (TEXT[:-1], 0o600, "holds no private key"),
        (TEXT + TEXT, 0o600, "holds no private key"),
        ("A" * 43 + "=", 0o600, "holds no private key"),
        ("\u00e4" * 22, 0o600, "holds no private key"),
        ("", 0o600, "holds no private key"),
    ],
)
def test_what_is_no_secret_key_is_refused_and_not_quoted(tmp_path: Path, text: str, mode: int, said: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(KeyFileError) as refused:
        read_key(str(file))
    assert str(refused.value) == f"{file} {said}"
    assert refused.value.__cause__ is None


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such file"):
        read_key(str(tmp_path / "nowhere"))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="holds no private key"):
        read_key(str(tmp_path / "pipe"))
