"""The meter's file: a real SQLite database, also when it is full, foreign, damaged or closed in between."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from anycastd.model.eip import EipId
from anycastd.model.nft import Count, NamedCounter
from anycastd.model.traffic import Batch, EipRecord, MeterState, Moment, MonthlyRate, Point, SlotTime, Totals, Volume
from anycastd.store.traffic import TrafficFile, TrafficNotSaved
from anycastd.traffic.slots import month_slots

SEPTEMBER, OCTOBER = month_slots("2026-09"), month_slots("2026-10")
DAYS_S = 86400.0
COUNTS = tuple(range(12))


def opened(path: Path, history_s: float = 35 * DAYS_S, max_points: int = 5000, least_s: float = 0.0) -> TrafficFile:
    file = TrafficFile(path, history_s=history_s, max_points=max_points, least_s=least_s)
    file.open()
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "traffic.db"


@pytest.fixture
def file(path: Path) -> Iterator[TrafficFile]:
    found = opened(path)
    yield found
    found.close()


def record(number: int, address: str = "203.0.113.10", since_unix_s: float = 1.5) -> EipRecord:
    seen, total, mark = (tuple(value * factor for value in COUNTS) for factor in (1, 2**40, 3))
    return EipRecord(number, ip_address(address), EipId(f"eip-{number:08x}"), since_unix_s, seen, total, mark)


def state(slot: int) -> MeterState:
    named = {NamedCounter.NO_PATH: (Count(1, 2), Count(3, 4))}
    return MeterState(Moment("boot", 7.5, slot * 300.0), slot, 12.5, 99, Totals(*COUNTS), named)


def batch(slot: int, *numbers: int, slots: int = 1, in_bytes: int = 300) -> Batch:
    """Return a slot in which each of these EIPs had traffic."""
    points = {number: [Point(slot, slots, Volume(in_bytes=in_bytes, in_packets=1))] for number in numbers}
    records = {number: record(number, f"203.0.113.{number}") for number in numbers}
    return Batch(state(slot + slots), records, points, [SlotTime(slot, slots, slots * 300.0)])


def curve(file: TrafficFile, number: int, slot: int, hours: float = 24.0) -> list[tuple[int, int, int]]:
    history = file.history(number, 0.0, hours * 3600.0, slot * 300.0)
    return [(point.slot, point.slots, point.values[0]) for point in history.points]


def rows(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_new_file_holds_nothing(path: Path) -> None:
    file = TrafficFile(path, history_s=DAYS_S)
    assert file.open() is None
    file.close()


def test_what_is_written_is_read_back_by_the_next_run(path: Path, file: TrafficFile) -> None:
    given = Batch(state(SEPTEMBER.start), {1: record(1), 2: record(2, "2001:db8:113::10")})
    file.write(given)
    file.close()
    saved = opened(path).open()
    assert saved is not None
    assert saved.state == given.state
    assert set(saved.records) == set(given.records.values())


def test_an_address_with_another_number_takes_the_place_of_the_one_before(path: Path, file: TrafficFile) -> None:
    file.write(Batch(state(SEPTEMBER.start), {1: record(1)}))
    file.write(Batch(state(SEPTEMBER.start), {5: record(5)}, gone={1}))
    file.close()
    saved = opened(path).open()
    assert saved is not None
    assert saved.records == (record(5),)


def test_a_slot_met_again_holds_the_traffic_of_both_times(file: TrafficFile) -> None:
    slot = SEPTEMBER.start
    for _ in range(2):
        file.write(batch(slot, 1))
    history = file.history(1, 0.0, 3600.0, slot * 300.0 + 300.0)
    assert [point.values[0] for point in history.points] == [600]
    assert history.times == (SlotTime(slot, 1, 600.0),)


def test_a_span_has_the_points_in_it_and_the_run_that_began_before(file: TrafficFile) -> None:
    slot = SEPTEMBER.start
    file.write(batch(slot, 1, 2, slots=20))
    file.write(batch(slot + 20, 1))
    file.write(batch(slot + 21, 2))
    assert curve(file, 1, slot + 22, 1.0) == [(slot, 20, 300), (slot + 20, 1, 300)]
    assert curve(file, 2, slot + 22, 1.0) == [(slot, 20, 300), (slot + 21, 1, 300)]
    assert curve(file, 1, slot + 40, 1.0) == []


def test_points_are_removed_when_they_are_too_old_and_a_run_when_its_end_is(path: Path) -> None:
    file, slot, now_s = opened(path, history_s=3600.0), OCTOBER.start - 10, OCTOBER.start * 300.0
    file.write(batch(slot, 1, slots=10))
    # the rates of the month before are on record, so that only the age decides
    assert [file.finish_months(now_s, 10) for _ in range(2)] == [False, True]
    for later in range(10, 40):
        file.write(batch(slot + later, 1))
        # an hour back lies within the run until its last slot is an hour old
        assert ((slot, 10, 300) in curve(file, 1, slot + later)) is (later + 1 - 12 < 10)
    # however short the history is: of this month all are needed
    assert curve(file, 1, slot + 40)[0][0] == OCTOBER.start
    assert rows(path, "traffic_slot") == 30
    file.close()


def test_points_of_the_last_month_stay_until_its_rates_are_on_record(path: Path) -> None:
    file = opened(path, history_s=3600.0)
    for slot in range(SEPTEMBER.start, SEPTEMBER.start + 40):
        file.write(batch(slot, 1, in_bytes=3000))
    file.write(batch(OCTOBER.start + 1000, 1))
    now_s = OCTOBER.start * 300.0 + 1001 * 300.0
    expected = MonthlyRate("2026-09", 40, 80, 0, True)
    assert rows(path, "traffic_point") == 41
    assert file.history(1, 0.0, 3600.0, now_s).months[0] == expected
    assert not file.finish_months(now_s, 10)
    assert file.finish_months(now_s, 10)
    for later in range(1, 20):
        file.write(batch(OCTOBER.start + 1000 + later, 1))
    assert rows(path, "traffic_point") == 20
    assert file.history(1, 0.0, 3600.0, now_s).months[0] == expected
    file.close()


def test_the_running_month_is_not_complete_and_counts_idle_slots(file: TrafficFile) -> None:
    for slot in range(OCTOBER.start, OCTOBER.start + 20):
        file.write(batch(slot, *((1, 2) if slot % 10 == 0 else (2,)), in_bytes=3000))
    last, this = file.history(1, 0.0, 3600.0, (OCTOBER.start + 20) * 300.0).months
    assert this == MonthlyRate("2026-10", 20, 80, 0, complete=False)
    assert last == MonthlyRate("2026-09", 0, 0, 0, complete=True)


def test_rates_asked_for_twice_take_in_what_was_written_between(file: TrafficFile) -> None:
    for octets in (3000, 6000):
        file.write(batch(OCTOBER.start, 1, in_bytes=octets))
        found = file.history(1, 0.0, 3600.0, (OCTOBER.start + 1) * 300.0).months[1]
    assert found.in_bps == 9000 * 8 / 600


def full(file: TrafficFile, pages: int) -> None:
    """Let the disk have room for so many pages only."""
    file._rows(f"PRAGMA max_page_count = {pages}")


def test_what_a_full_disk_refuses_waits_and_is_written_later(path: Path, file: TrafficFile) -> None:
    slot = SEPTEMBER.start
    file.write(batch(slot, *range(200)))
    full(file, 1)
    for later in range(1, 6):
        with pytest.raises(TrafficNotSaved, match=r"traffic\.db.*full"):
            file.write(batch(slot + later, *range(200), in_bytes=100))
    assert rows(path, "traffic_point") == 200, "a refused slot leaves nothing behind"
    waiting = [(slot, 1, 300), *((slot + later, 1, 100) for later in range(1, 6))]
    assert curve(file, 7, slot + 6) == waiting, "the API sees what waits"
    full(file, 10**6)
    file.write(batch(slot + 6, 7))
    assert curve(file, 7, slot + 7) == [*waiting, (slot + 6, 1, 300)]
    assert rows(path, "traffic_point") == 1201


def test_a_disk_that_is_full_for_long_makes_the_curve_coarser_and_loses_nothing(path: Path) -> None:
    file, slot = opened(path, max_points=1000), SEPTEMBER.start
    full(file, 1)
    for later in range(30):
        with pytest.raises(TrafficNotSaved):
            file.write(batch(slot + later, *range(100)))
    full(file, 10**6)
    file.write(batch(slot + 30, 7))
    found = curve(file, 7, slot + 31)
    assert sum(octets for _, _, octets in found) == 31 * 300
    assert len(found) < 15
    assert rows(path, "traffic_slot") == len(found)
    file.close()


def test_a_slot_is_written_whole_or_not_at_all(path: Path, file: TrafficFile) -> None:
    refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON traffic_state BEGIN SELECT RAISE(ABORT, 'no'); END"
    file._rows(refuse)
    with pytest.raises(TrafficNotSaved, match="no"):
        file.write(batch(SEPTEMBER.start, 1))
    assert [rows(path, f"traffic_{table}") for table in ("eip", "point", "slot")] == [0, 0, 0]
    file._rows("DROP TRIGGER refuse")
    file.write(batch(SEPTEMBER.start + 1, 1))
    assert [rows(path, f"traffic_{table}") for table in ("eip", "point", "slot")] == [1, 2, 2]


def test_a_file_of_something_else_or_of_a_newer_release_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    before = path.read_bytes()
    with pytest.raises(TrafficNotSaved, match="not a database"):
        opened(path)
    assert path.read_bytes() == before
    path.unlink()
    opened(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(TrafficNotSaved, match="version 2"):
        opened(path)


@pytest.mark.parametrize("document", ["{}", "[]", "nonsense", '{"named": 1}'])
def test_a_state_that_cannot_be_read_is_said(path: Path, file: TrafficFile, document: str) -> None:
    file.write(batch(SEPTEMBER.start, 1))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE traffic_state SET document = ?", (document,))
        database.commit()
    with pytest.raises(TrafficNotSaved, match=str(path)):
        TrafficFile(path, history_s=DAYS_S).open()


def test_a_state_whose_times_are_none_is_said(path: Path, file: TrafficFile) -> None:
    file.write(batch(SEPTEMBER.start, 1))
    with closing(sqlite3.connect(path)) as database:
        (text,) = database.execute("SELECT document FROM traffic_state").fetchone()
        never = json.dumps(json.loads(text) | {"open_seconds": float("nan")})
        database.execute("UPDATE traffic_state SET document = ?", (never,))
        database.commit()
    with pytest.raises(TrafficNotSaved, match="a time is not finite"):
        TrafficFile(path, history_s=DAYS_S).open()


def test_a_file_that_is_not_open_says_so(path: Path) -> None:
    file = TrafficFile(path, history_s=DAYS_S)
    with pytest.raises(TrafficNotSaved, match="not open"):
        file.finish_months(SEPTEMBER.start * 300.0, 1)
    with pytest.raises(TrafficNotSaved, match="not open"):
        file.history(1, 0.0, 3600.0, SEPTEMBER.start * 300.0)
    with pytest.raises(TrafficNotSaved, match="not open"):
        file.write(batch(SEPTEMBER.start, 1))


def test_the_file_is_readable_by_its_group_only(path: Path, file: TrafficFile) -> None:
    assert path.stat().st_mode & 0o027 == 0


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrafficNotSaved):
        opened(tmp_path / "file" / "traffic.db")


def test_replacing_a_state_keeps_one(path: Path, file: TrafficFile) -> None:
    for slot in (1, 2):
        file.write(Batch(replace(state(SEPTEMBER.start), open_slot=slot)))
    assert rows(path, "traffic_state") == 1


def test_a_short_history_makes_the_percentile_of_a_month_no_less_exact(path: Path) -> None:
    file = opened(path, history_s=3600.0)
    assert file.finish_months(OCTOBER.start * 300.0, 10)
    for slot in range(OCTOBER.start, OCTOBER.start + 100):
        # the busy half of the month is its first
        file.write(batch(slot, 1, in_bytes=300_000 if slot < OCTOBER.start + 50 else 300))
    now_s = (OCTOBER.start + 100) * 300.0
    assert file.history(1, 0.0, 3600.0, now_s).months[1] == MonthlyRate("2026-10", 100, 8000, 0, complete=False)
    file.close()


@pytest.mark.parametrize("ahead_s", [40 * DAYS_S, 3600 * DAYS_S])
def test_a_month_that_a_clock_set_forward_took_for_over_is_put_on_record_when_it_is(path: Path, ahead_s: float) -> None:
    file, first = opened(path), SEPTEMBER.stop - 100
    for slot in range(first, SEPTEMBER.stop - 50):
        file.write(batch(slot, 1, in_bytes=300))
    # a receiver of a satellite's time, or a machine's own clock, is wrong for some minutes
    wrong = int(first + ahead_s // 300)
    file.write(batch(wrong, 1))
    while not file.finish_months((wrong + 1) * 300.0, 10):
        pass
    for slot in range(SEPTEMBER.stop - 50, SEPTEMBER.stop):
        file.write(batch(slot, 1, in_bytes=300_000))
    now_s = SEPTEMBER.stop * 300.0
    assert not file.finish_months(now_s, 10)
    assert file.finish_months(now_s, 10)
    expected = MonthlyRate("2026-09", 100, 8000, 0, complete=True)
    assert file.history(1, 0.0, 3600.0, now_s).months[0] == expected
    file.close()


def test_a_clock_set_forward_by_years_empties_nothing(path: Path) -> None:
    file = TrafficFile(path, history_s=35 * DAYS_S)
    file.open()
    for slot in range(SEPTEMBER.stop - 60, SEPTEMBER.stop):
        file.write(batch(slot, 1))
    assert not file.finish_months(SEPTEMBER.stop * 300.0, 10)
    for later in range(20):
        file.write(batch(SEPTEMBER.start + 3_000_000 + later, 1))
        file.finish_months((SEPTEMBER.start + 3_000_001 + later) * 300.0, 10)
    months = file.history(1, 0.0, 3600.0, SEPTEMBER.stop * 300.0).months
    assert months[0] == MonthlyRate("2026-09", 60, 8, 0, complete=True)
    assert [rows(path, f"traffic_{table}") for table in ("point", "slot")] == [80, 80]
    file.close()


def test_a_month_on_record_whose_points_are_gone_stays_as_it_is_when_a_clock_is_set_back(path: Path) -> None:
    file = opened(path, history_s=3600.0)
    for slot in range(SEPTEMBER.start, SEPTEMBER.start + 40):
        file.write(batch(slot, 1, in_bytes=3000))
    now_s = OCTOBER.start * 300.0
    assert [file.finish_months(now_s, 10) for _ in range(2)] == [False, True]
    for slot in range(OCTOBER.start, OCTOBER.start + 40):
        file.write(batch(slot, 1))
    file.write(batch(SEPTEMBER.start + 50, 1))
    assert file.history(1, 0.0, 3600.0, now_s).months[0] == MonthlyRate("2026-09", 40, 80, 0, complete=True)
    file.close()
