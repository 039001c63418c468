"""Reading the file, and looking at the files it names."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from anycastd.config.document import MAX_BYTES
from anycastd.config.load import load
from anycastd.errors import ConfigError
from tests.unit.config.places import SMALLEST, load_text

SECRET = "a-secret-that-is-nowhere-told"


def told(path: Path) -> list[str]:
    """Return what is said of a file, without its name."""
    with pytest.raises(ConfigError) as refused:
        load(str(path))
    return [str(problem).removeprefix(str(path)) for problem in refused.value.problems]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    fifo, large = tmp_path / "fifo", tmp_path / "large"
    os.mkfifo(fifo)
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    assert told(tmp_path / "none") == [":1:1: cannot be read: no such file or directory"]
    assert told(tmp_path) == [":1:1: cannot be read: is a directory"]
    assert told(fifo) == [":1:1: cannot be read: not a regular file"]
    assert told(large) == [":1:1: is larger than 16384 KiB"]
    assert told(Path("a\0b")) == [":1:1: cannot be read: not a file name"]


def with_password(tmp_path: Path, content: str, mode: int) -> list[str]:
    """Return what is said of a file whose neighbor has this password file."""
    file, secret = tmp_path / "anycastd.yaml", tmp_path / "secret"
    file.write_text(SMALLEST.replace("asn: 64496", "asn: 64496, password_file: secret"))
    secret.write_text(content)
    secret.chmod(mode)
    return [line.partition("password_file: ")[2] for line in told(file)]


def test_password_files(tmp_path: Path) -> None:
    for mode in (0o604, 0o660, 0o641):
        refused = f"secret can be used by others, or written by its group (mode {mode:04o}); chmod 600 it"
        assert with_password(tmp_path, SECRET, mode) == [f"{refused}, or 640 with the daemon's group"]
    (tmp_path / "secret").chmod(0o640)
    assert load(str(tmp_path / "anycastd.yaml")).neighbors
    assert with_password(tmp_path, "", 0o600) == ["secret is empty"]
    assert with_password(tmp_path, "x" * 83, 0o600) == ["secret holds 83 bytes; a TCP MD5 password has at most 80"]


def test_a_password_file_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    file = tmp_path / "anycastd.yaml"
    file.write_text(SMALLEST.replace("asn: 64496", "asn: 64496, password_file: secret"))
    assert told(file) == [":2:73: neighbors.transit.password_file: secret is not a regular file"]


def test_a_good_password_file_is_named_absolutely_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "secret").chmod(0o600)
    config = load_text(SMALLEST.replace("asn: 64496", "asn: 64496, password_file: secret"), tmp_path)
    (neighbor,) = config.neighbors.values()
    assert neighbor.password_file == str(tmp_path / "secret")
    assert SECRET not in repr(config)


def test_a_password_written_by_mistake_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "anycastd.yaml"
    file.write_text(SMALLEST.replace("asn: 64496", f"asn: 64496, password: {SECRET}"))
    assert SECRET not in "".join(told(file))


def test_a_byte_order_mark_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "anycastd.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert load(str(file)).pop.name == "fra"


@pytest.mark.slow
def test_ten_thousand_prefixes(tmp_path: Path) -> None:
    rows = "".join(f"  10.{number // 256}.{number % 256}.0/24: {{}}\n" for number in range(10_000))
    head = SMALLEST.partition("prefixes:")[0].replace("asn: 64496", "asn: 64496, max_prefixes: 20000")
    assert len(load_text(f"{head}prefixes:\n{rows}", tmp_path).prefixes) == 10_000


def test_an_authorities_file_must_hold_something(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    file = tmp_path / "anycastd.yaml"
    file.write_text(SMALLEST.replace("{tcp: {port: 80}}", "{https: {host: www.example.net, ca_file: ca.pem}}"))
    (line,) = told(file)
    assert line.endswith("regions.eu.backends.web.checks[0].https.ca_file: ca.pem is empty")


def test_more_tunnels_than_tables(tmp_path: Path) -> None:
    head, _, tail = SMALLEST.partition("    tunnels:")
    rest = tail.partition("\n")[2]
    rows = "".join(
        f"      t{n}: {{device: gre{n}, local: 10.1.{n // 250}.{n % 250 + 1}, far_end: 10.2.0.1, checks: [ping]}}\n"
        for n in range(501)
    )
    file = tmp_path / "anycastd.yaml"
    file.write_text(f"checks: {{ping: {{icmp: {{}}}}}}\n{head}    tunnels:\n{rows}{rest}")
    assert told(file) == [":4:1: regions: 501 tunnels; there are tables for 500"]


@pytest.mark.slow
def test_ten_thousand_eips_with_and_without_a_mistake_in_each(tmp_path: Path) -> None:
    head = SMALLEST.partition("prefixes:")[0] + "prefixes: {10.0.0.0/16: {}}\neips:\n"
    rows = "".join(
        f"  10.0.{number // 256}.{number % 256}: {{ping: pop, bind: [{{backend: eu/web, weight: 50}}]}}\n"
        for number in range(10_000)
    )
    config = load_text(head + rows, tmp_path)
    assert len(config.eips) == len({eip.id for eip in config.eips.values()}) == 10_000
    file = tmp_path / "anycastd.yaml"
    file.write_text(head + rows.replace("eu/web", "eu/wob"))
    lines = told(file)
    assert len(lines) == 10_000
    assert lines[-1].endswith("no backend is called 'eu/wob'; did you mean 'eu/web'?")
    file.write_text(head + rows.replace("weight: 50", "weight: 256"))
    assert len(told(file)) == 10_000


def test_reading_a_file_leaves_the_search_for_cycles_as_it_was(tmp_path: Path) -> None:
    gc.disable()
    try:
        load_text(SMALLEST, tmp_path)
        assert not gc.isenabled()
    finally:
        gc.enable()
    load_text(SMALLEST, tmp_path)
    assert gc.isenabled()
