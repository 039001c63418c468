"""What `anycastd attack playbook` says, of a real desk's answers."""

from __future__ import annotations

from pathlib import Path

from anycastd.api.shapes.playbooks import PlaybooksShape
from anycastd.cli.playbook import list_lines, show_lines
from tests.unit.runtime.spread_world import CALL, TAG, Fleet, book, pop_config


async def test_what_a_playbook_does_is_told_and_a_standby_says_who_called(tmp_path: Path) -> None:
    pops = Fleet({"east": ("fra", "sin"), "west": ("sin", "fra")})
    fra = pops.add(pop_config("fra", tmp_path, (book(CALL, TAG), book(TAG, name="other", about="By hand."))))
    sin = pops.add(pop_config("sin", tmp_path, standby=True))
    pops.demand_bps = {"east": 9e8, "west": 1e8}
    await pops.run(20)
    here, there = fra.desk.listing(), sin.desk.listing()
    for body in (here, there):
        PlaybooksShape.model_validate(body)
    assert [line.rstrip() for line in list_lines(dict(here), colour=False)] == [
        "load 900.0 Mbit/s of 1000 Mbit/s; mode auto",
        "PLAYBOOK  PREFIX          STEPS     DOES                DETAIL",
        "spread    203.0.113.0/24  1 (14 s)  verifying           step 1: call on standbys, 14 s ago: "
        "sent; traffic says nothing yet",
        "other     203.0.113.0/24  -         waits_for_approval  step 1, communities 64496:3 at transit-a: "
        "anycastd attack playbook run other",
    ]
    assert list_lines(dict(there), colour=False)[-1] == "standby for 203.0.113.0/24: joined for 13 s, called by fra"
    lines = show_lines(here["playbooks"][1])
    assert lines[0] == "other: By hand."
    assert lines[-1] == "  back   a step at a time, the last first, each after 1 min of calm"
