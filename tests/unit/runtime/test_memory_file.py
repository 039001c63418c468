"""The memory file: what outlives the daemon, a reboot, a full disk and a kill at any moment."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anycastd.model.address import Prefix
from anycastd.model.decision import Level, Memory, Penalty
from anycastd.runtime.kept import memory_file
from anycastd.runtime.kept.memory_file import Clocks, decode, encode, load, save

A: Prefix = ip_network("203.0.113.0/24")
HERE = Clocks("boot-1", 5000.0, 1_790_000_000.0)
FULL = Memory(
    level=Level.DEPREF,
    level_since_s=4000.0,
    was_announced=True,
    bad_since_s=4001.0,
    fine_since_s=4002.0,
    relapses=3,
    last_relapse_s=3999.0,
    epoch=7,
    penalty=Penalty(500.0, 1500.0, 4003.0),
)
TIMES = st.floats(0.0, 1e9)
MEMORIES = st.builds(
    Memory,
    level=st.sampled_from(Level),
    level_since_s=TIMES,
    was_announced=st.booleans(),
    bad_since_s=st.none() | TIMES,
    fine_since_s=st.none() | TIMES,
    relapses=st.integers(0, 10**6),
    last_relapse_s=st.none() | TIMES,
    epoch=st.integers(0, 10**6),
    penalty=st.builds(Penalty, plain=TIMES, strict=TIMES, at_s=TIMES),
)
V4 = st.integers(0, 2**24 - 1).map(lambda number: ip_network((number << 8, 24)))
V6 = st.integers(2**47, 2**48 - 1).map(lambda number: ip_network((number << 80, 48)))
PREFIXES: st.SearchStrategy[Prefix] = V4 | V6


def shift_of(before: Memory, after: Memory) -> set[float | None]:
    pairs = (
        (before.level_since_s, after.level_since_s),
        (before.bad_since_s, after.bad_since_s),
        (before.fine_since_s, after.fine_since_s),
        (before.last_relapse_s, after.last_relapse_s),
        (before.penalty.at_s, after.penalty.at_s),
    )
    return {None if old is None or new is None else new - old for old, new in pairs}


@given(st.dictionaries(PREFIXES, MEMORIES, max_size=5), TIMES)
def test_what_was_saved_is_read_in_the_same_boot(memories: dict[Prefix, Memory], later_s: float) -> None:
    now = replace(HERE, monotonic_s=HERE.monotonic_s + later_s, wall_s=0.0)
    assert decode(encode(memories, HERE), now) == memories


def test_another_boot_shifts_every_time_by_how_long_we_were_away() -> None:
    now = Clocks("boot-2", 30.0, HERE.wall_s + 600.0)
    after = decode(encode({A: FULL}, HERE), now)[A]
    # 5000 was the moment of saving, and that was 600 s before 30
    assert shift_of(FULL, after) == {30.0 - 600.0 - 5000.0}
    assert replace(after, penalty=Penalty(500.0, 1500.0, 0.0)).relapses == 3


def test_a_wall_clock_that_was_set_back_counts_as_no_time() -> None:
    now = Clocks("boot-2", 30.0, HERE.wall_s - 86400.0)
    assert shift_of(FULL, decode(encode({A: FULL}, HERE), now)[A]) == {30.0 - 5000.0}


def test_an_unset_time_stays_unset_in_another_boot() -> None:
    after = decode(encode({A: Memory()}, HERE), Clocks("boot-2", 1.0, HERE.wall_s))[A]
    assert (after.bad_since_s, after.fine_since_s, after.last_relapse_s) == (None, None, None)


def edited(change: Callable[[dict[str, object]], object]) -> str:
    document = json.loads(encode({A: FULL}, HERE))
    change(document)
    return json.dumps(document)


GOOD = encode({A: FULL}, HERE)
BAD = {
    "empty": "",
    "cut off": GOOD[: len(GOOD) // 2],
    "not an object": "[]",
    "null": "null",
    "too deep": "[" * 100_000,
    "another format": GOOD.replace('"format": 1', '"format": 2'),
    "no format": edited(lambda d: d.pop("format")),
    "no clocks": edited(lambda d: d.pop("clocks")),
    "no prefixes": edited(lambda d: d.pop("prefixes")),
    "prefixes are a list": edited(lambda d: d.update(prefixes=[1])),
    "a memory is a list": edited(lambda d: d.update(prefixes={str(A): []})),
    "host bits": GOOD.replace("203.0.113.0/24", "203.0.113.1/24"),
    "unknown level": GOOD.replace("DEPREF", "SIDEWAYS"),
    "a time is text": GOOD.replace("4001.0", '"then"'),
    "a time is NaN": GOOD.replace("4002.0", "NaN"),
    "a time is infinite": GOOD.replace("4003.0", "1e999"),
    "a time is beyond all measure": GOOD.replace("4001.0", "-1e300"),
    "a time is a truth": GOOD.replace("4001.0", "true"),
    "the clocks are NaN": GOOD.replace("5000.0", "NaN"),
    "the clocks are infinite": GOOD.replace("1790000000.0", "Infinity"),
    "a count is text": GOOD.replace('"relapses": 3', '"relapses": "many"'),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_not_ours_is_as_good_as_none_and_says_so(what: str, tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text(BAD[what])
    memories, complaint = load(path)
    assert memories == {}
    assert complaint.startswith(f"{path}: ")
    assert len(complaint) > len(f"{path}: ")


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data: bytes) -> None:
    try:
        decode(data.decode("utf-8", "replace"), HERE)
    except ValueError:
        return


@given(st.integers(0, len(GOOD) - 1), st.sampled_from('x0-"{}[],:. e9'))
def test_no_single_wrong_character_makes_it_fail_otherwise(at: int, character: str) -> None:
    text = GOOD[:at] + character + GOOD[at + 1 :]
    for now in (HERE, Clocks("boot-2", 1.0, 2.0)):
        try:
            decode(text, now)
        except ValueError:
            continue


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "memory.json").mkdir()
    assert load(tmp_path / "memory.json")[0] == {}
    assert "directory" in load(tmp_path / "memory.json")[1]
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    assert load(tmp_path / "bytes.json")[1]


def test_a_first_start_complains_of_nothing(tmp_path: Path) -> None:
    assert load(tmp_path / "none.json") == ({}, "")


def test_saved_to_a_new_directory_and_read_with_the_real_clocks(tmp_path: Path) -> None:
    path = tmp_path / "state" / "memory.json"
    save(path, encode({A: FULL}, memory_file.clocks()))
    assert load(path) == ({A: FULL}, "")
    assert path.stat().st_mode & 0o137 == 0
    save(path, encode({}, memory_file.clocks()))
    assert load(path) == ({}, "")


def in_child(act: Callable[[], None]) -> int:
    """Run `act` in a forked child; return its exit status (0 it returned, 1 it raised OSError, -N killed by N)."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            act()
            status = 0
        except OSError:
            status = 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# forked children of a process with threads: CPython 3.12 warns of it
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestInChild:
    def test_killed_before_the_rename_keeps_the_old(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "memory.json"
        save(path, GOOD)

        def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(Path, "replace", die)
        assert in_child(lambda: save(path, "something else")) == -signal.SIGKILL
        monkeypatch.undo()
        assert path.read_text() == GOOD
        save(path, "short")
        assert path.read_text() == "short", "what the killed one left is not in the way"

    def test_a_full_disk_is_an_oserror_and_keeps_the_old(self, tmp_path: Path) -> None:
        path = tmp_path / "memory.json"
        save(path, GOOD)

        def save_too_much() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            save(path, "x" * 100_000)

        assert in_child(save_too_much) == 1
        assert path.read_text() == GOOD
        assert [one.name for one in tmp_path.iterdir()] == ["memory.json"], "what did not fit takes no room"


def test_what_is_saved_outlives_the_power_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is on disk before it has the name, and the name before anybody is told that it is saved."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    save(tmp_path / "orders.json", "{}")
    assert done == ["fsync orders.new", "rename to orders.json", f"fsync {tmp_path.name}"]


def test_a_directory_that_cannot_be_synced_is_none_the_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    save(tmp_path / "orders.json", "{}")
    assert (tmp_path / "orders.json").read_text() == "{}"


def test_two_saves_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    texts = [str(number) * (50_000 * number) for number in range(1, 5)]
    failed: list[OSError] = []

    def write(text: str) -> None:
        for _ in range(5):
            try:
                save(path, text)
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert path.read_text() in texts
