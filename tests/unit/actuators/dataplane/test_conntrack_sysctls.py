"""The size of the table of connections, on files that stand for the kernel's."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from anycastd.actuators.dataplane import conntrack_sysctls
from anycastd.actuators.dataplane.conntrack_sysctls import BUCKETS, COUNT, LIBERAL, MAX, settle
from anycastd.model.conntrack import ConntrackWanted

AS_IT_IS = ConntrackWanted(None, False)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    for name, value in ((MAX, 262_144), (BUCKETS, 65_536), (COUNT, 100), (LIBERAL, 0)):
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path


def values(kernel: Path) -> tuple[int, ...]:
    return tuple(int((kernel / name).read_text().split()[0]) for name in (MAX, BUCKETS, LIBERAL))


@pytest.mark.parametrize(
    ("wanted", "after"),
    [
        (AS_IT_IS, (262_144, 65_536, 0)),
        (ConntrackWanted(None, True), (262_144, 65_536, 1)),
        (ConntrackWanted(1_048_576, False), (1_048_576, 262_144, 0)),
        # the kernel's own number of buckets is never made less
        (ConntrackWanted(131_072, False), (131_072, 65_536, 0)),
        (ConntrackWanted(262_144, True), (262_144, 65_536, 1)),
    ],
)
def test_what_differs_is_written_and_the_rest_left(
    kernel: Path, wanted: ConntrackWanted, after: tuple[int, ...]
) -> None:
    assert settle(wanted, kernel) == {}
    assert values(kernel) == after
    times = {name: (kernel / name).stat().st_mtime_ns for name in (MAX, BUCKETS, LIBERAL)}
    assert settle(wanted, kernel) == {}
    assert times == {name: (kernel / name).stat().st_mtime_ns for name in times}, "nothing is written twice"


def test_it_is_not_made_less_than_what_is_tracked_until_there_is_less(kernel: Path) -> None:
    (kernel / COUNT).write_text("30000\n")
    problems = settle(ConntrackWanted(20_000, False), kernel)
    assert problems == {MAX: "stays 262144: 30000 connections are tracked, 20000 are wanted at most"}
    assert values(kernel)[0] == 262_144
    (kernel / COUNT).write_text("19000\n")
    assert settle(ConntrackWanted(20_000, False), kernel) == {}
    assert values(kernel)[0] == 20_000


def test_a_full_small_table_is_made_larger(kernel: Path) -> None:
    (kernel / MAX).write_text("20000\n")
    (kernel / COUNT).write_text("20000\n")
    assert settle(ConntrackWanted(32_768, False), kernel) == {}
    assert values(kernel)[0] == 32_768


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_where_it_cannot_be_written_what_to_do_is_said(
    kernel: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conntrack_sysctls, "_write", lambda *_: code)
    problems = settle(ConntrackWanted(1_048_576, True), kernel)
    assert problems.keys() == {MAX, LIBERAL}
    assert "`sysctl -w net.netfilter.nf_conntrack_max=1048576` on the host itself" in problems[MAX]
    (kernel / MAX).write_text("1048576")
    assert settle(ConntrackWanted(1_048_576, False), kernel) == {}, "buckets only where they can be written"


def test_buckets_for_which_there_is_no_memory_are_told(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kernel / MAX).write_text("1048576")
    monkeypatch.setattr(conntrack_sysctls, "_write", lambda *_: errno.ENOMEM)
    problems = settle(ConntrackWanted(1_048_576, False), kernel)
    assert problems == {BUCKETS: "is 65536, and 262144 are needed: Cannot allocate memory"}


def test_what_does_not_stay_is_told(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack_sysctls, "_write", lambda *_: 0)
    assert "is 0 though 1 was written" in settle(ConntrackWanted(None, True), kernel)[LIBERAL]


def test_a_kernel_without_connection_tracking(tmp_path: Path) -> None:
    assert settle(AS_IT_IS, tmp_path) == {}
    problems = settle(ConntrackWanted(65_536, True), tmp_path)
    assert {name: text.split(":")[0] for name, text in problems.items()} == {
        MAX: "is not there",
        LIBERAL: "is not there",
    }
    assert list(tmp_path.iterdir()) == []
