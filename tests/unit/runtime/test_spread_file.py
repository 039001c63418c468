"""The file of playbooks' runs and standbys: read as it was written, and refused when a time in it is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from anycastd.attack.playbook import Doing, Run, Taken
from anycastd.attack.standby import Stage, Standby
from anycastd.model.address import Prefix
from anycastd.model.effect import Effect
from anycastd.runtime.kept.memory_file import Clocks
from anycastd.runtime.kept.spread_file import Kept, decode, encode, load

A: Prefix = ip_network("203.0.113.0/24")
B: Prefix = ip_network("2001:db8:113::/48")
THEN = Clocks("boot-1", 5000.0, 1_790_000_000.0)
RUN = Run(
    taken=(Taken(0, 4000.0, 1e9, 3, next(iter(Effect))), Taken(1, 4500.0)),
    approved=2,
    approved_s=4900.0,
    relapses=1,
    undone_s=3000.0,
    doing=Doing.VERIFYING,
)
KEPT = Kept({("relieve", A): RUN}, {B: Standby(Stage.JOINED, 4200.0, None, ("sin",))})


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(encode(KEPT, THEN))
    change(document)
    return json.dumps(document)


def test_it_is_read_as_it_was_written_and_another_boot_shifts_every_time() -> None:
    assert decode(encode(KEPT, THEN), THEN) == KEPT
    # a minute later by the wall clock, and 10 s after a boot: 5000 is now -50
    found = decode(encode(KEPT, THEN), Clocks("boot-2", 10.0, THEN.wall_s + 60.0))
    run = found.runs["relieve", A]
    assert [one.at_s for one in run.taken] == [-1050.0, -550.0]
    assert (run.approved_s, run.undone_s, found.standbys[B].since_s) == (-150.0, -2050.0, -850.0)


def run_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["runs"][0]["run"]
    return found


PLACES: dict[str, Callable[[dict[str, Any], float], object]] = {
    "clocks.monotonic_s": lambda d, value: d["clocks"].update(monotonic_s=value),
    "clocks.wall_s": lambda d, value: d["clocks"].update(wall_s=value),
    "run.taken": lambda d, value: run_of(d)["taken"][1].update(at_s=value),
    "run.approved_s": lambda d, value: run_of(d).update(approved_s=value),
    "run.undone_s": lambda d, value: run_of(d).update(undone_s=value),
    "standby.since_s": lambda d, value: d["standbys"][0]["standby"].update(since_s=value),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300, 1e300, 10**400, True, "soon"])
@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_what_is_no_time_is_refused_and_named(place: str, value: float, boot: str) -> None:
    text = edited(lambda document: PLACES[place](document, value))
    with pytest.raises(ValueError, match=place) as raised:
        decode(text, replace(THEN, boot=boot))
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("place", [place for place in PLACES if not place.startswith("clocks")])
def test_a_step_that_was_taken_after_the_file_was_written_is_refused(place: str) -> None:
    text = edited(lambda document: PLACES[place](document, THEN.monotonic_s + 1e6))
    with pytest.raises(ValueError, match=f"{place}.*later than the file"):
        decode(text, THEN)


def test_a_file_that_is_not_ours_is_as_good_as_none_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "spread.json"
    assert load(path, THEN) == (Kept(), "")
    for text in ("", "[]", '{"format": 2}', edited(lambda d: d.pop("runs")), "[" * 100_000):
        path.write_text(text)
        kept, why = load(path, THEN)
        assert kept == Kept() and why.startswith(f"{path}: ")
