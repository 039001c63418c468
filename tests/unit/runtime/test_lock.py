"""One daemon a POP."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from anycastd.runtime.process.lock import KernelLock, Lock, TakenError
from tests.wait import wait_until

HOLD = """
import signal, sys
from pathlib import Path
from anycastd.runtime.process.lock import Lock
Lock(Path(sys.argv[1])).take()
print("held", flush=True)
signal.pause()
"""


def free(path: Path) -> Lock | None:
    lock = Lock(path)
    try:
        lock.take()
    except TakenError:
        return None
    return lock


def test_a_second_process_is_told_who_holds_it_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run" / "anycastd.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(TakenError, match=rf"pid {holder.pid}\) holds .*anycastd\.lock"):
                Lock(path).take()
            assert path.read_text() == f"{holder.pid}\n", "who was refused changes nothing"
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    lock = wait_until("the kernel lets go of it", 5.0, lambda: free(path))
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_released_it_can_be_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "anycastd.lock"
    first, second = Lock(path), Lock(path)
    first.take()
    with pytest.raises(TakenError):
        second.take()
    first.release()
    first.release()
    second.take()
    second.release()


def test_no_child_inherits_it(tmp_path: Path) -> None:
    path = tmp_path / "anycastd.lock"
    lock = Lock(path)
    lock.take()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        # exec wakes us a moment before it closes what is not inherited
        wait_until("a child that lives on keeps nobody out", 5.0, lambda: free(path)).release()
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


def test_a_place_that_cannot_be_made_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Lock(tmp_path / "file" / "anycastd.lock").take()


def test_one_daemon_works_in_a_network_namespace_whatever_its_file_says(tmp_path: Path) -> None:
    first = KernelLock(tmp_path)
    first.take()
    with pytest.raises(TakenError, match=rf"pid {os.getpid()}\) works in this network namespace already"):
        KernelLock(tmp_path).take()
    first.release()
    second = KernelLock(tmp_path)
    second.take()
    second.release()
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_what_killed_daemons_left_goes_with_the_next_start_and_what_is_held_stays(tmp_path: Path) -> None:
    held, left = Lock(tmp_path / "kernel-1.lock"), tmp_path / "kernel-2.lock"
    held.take()
    left.write_text("999999\n")
    ours = KernelLock(tmp_path)
    ours.take()
    assert (tmp_path / "kernel-1.lock").exists()
    assert not left.exists()
    ours.release()
    held.release()


def test_a_file_that_is_removed_between_open_and_lock_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock, removed = tmp_path / "anycastd.lock", fcntl.flock, list[int]()

    def late(descriptor: int, how: int) -> None:
        if not removed:
            removed.append(descriptor)
            path.unlink()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    lock = Lock(path)
    lock.take()
    assert free(path) is None, "the lock is on the file that others find"
    lock.release()


def test_without_a_right_to_its_file_the_lock_of_the_kernel_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    KernelLock(tmp_path / "file").take()
