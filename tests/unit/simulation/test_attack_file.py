"""The plan's file: what is taken from it, and each mistake at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from anycastd.attack.plan import Effects
from anycastd.config.document import parse
from anycastd.errors import ConfigError
from anycastd.simulation.attack_file import load, read

ROOT = Path(__file__).parents[3]

BAD = """\
attack: {size: 10gb, packets: 3, sources: {fra: 60%, fro: 40%}, port: 53}
pops:
  fra: {capacity: 100gbit, catchment: 80%}
  iad: {catchment: 10%, usual: 0}
  gru: {capacity: 1tbit, announce: standby, usual: 1gbit}
  bad name: {capacity: true}
effects:
  fra: {withdrawn: {iad: 60%}, prepend: [50%, 60%, 70%, 80%], joins: {iad: 1%}}
  lax: {}
  gru: {joins: {iad: 120%}}
steps:
  - more_announcers: [iad]
  - selective_neighbors: {fra: [transit-b]}
  - prepend: {fra: 4, frq: 1}
  - communities: {fra: [1]}
  - gshut: {fra: 1}
  - prepend
"""
TOLD = """\
plan.yaml:1:16: attack.size: '10gb' is not a rate; write 64kbit, 40gbit, 1.2tbit or a number per second
plan.yaml:1:54: attack.sources.fro: no POP called 'fro' announces; did you mean 'fra'?
plan.yaml:1:65: attack.port: there is no such key; known here: size, packets, sources
plan.yaml:2:1: pops: the catchments are 0.9 of 1 in sum: they must be 100%
plan.yaml:4:3: pops.iad: 'capacity' is missing
plan.yaml:5:45: pops.gru.usual: a standby POP has none until it joins
plan.yaml:6:3: pops.bad name: 'bad name' is not a name: a letter, then letters, digits, - or _, 32 at most
plan.yaml:6:3: pops.bad name: 'catchment' is missing: the others have one
plan.yaml:6:24: pops.bad name.capacity: true is not a rate; write 64kbit, 40gbit, 1.2tbit or a number per second
plan.yaml:8:9: effects.fra.withdrawn: the shares are 0.6 of 1 in sum: they must be 100%
plan.yaml:8:41: effects.fra.prepend: a list of up to 3 shares is wanted: what leaves with 1, 2, 3 prepends
plan.yaml:8:63: effects.fra.joins: fra is not standby: it announces already
plan.yaml:9:3: effects.lax: no POP is called 'lax'
plan.yaml:10:22: effects.gru.joins.iad: '120%' is not a share; write it as 0% to 100%
plan.yaml:12:23: steps[0].more_announcers[0]: iad is not standby: it announces already
plan.yaml:13:27: steps[1].selective_neighbors.fra: which share comes in by which neighbor is not known: \
effects.fra.neighbors
plan.yaml:14:20: steps[2].prepend.fra: 4 is not a number of prepends, 0 to 3: more of them move nothing more
plan.yaml:14:23: steps[2].prepend.frq: no POP is called 'frq'; did you mean 'fra'?
plan.yaml:15:25: steps[3].communities.fra[0]: 1 is not a community; write it in quotes, or give it a name of yours
plan.yaml:16:5: steps[4].gshut: there is no such key; known here: more_announcers, selective_neighbors, communities, \
prepend
plan.yaml:17:5: steps[5]: one of more_announcers, selective_neighbors, communities, prepend is wanted here
"""


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as found:
        read(parse(text, "plan.yaml"))
    return [str(problem) for problem in found.value.problems]


def test_every_mistake_is_told_at_its_place() -> None:
    assert refused(BAD) == TOLD.splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("{}", "pops: is missing or empty"),
        ("pops: {}", "pops: is missing or empty"),
        ("attack: {size: 1gbit}\npops: {fra: {capacity: 1gbit}}", "neither 'catchment' nor 'usual'"),
        ("attack: {size: 1gbit}\npops: {fra: {capacity: 1gbit, announce: standby}}", "all are standby"),
        ("pops: {fra: {capacity: 1gbit, usual: 1mbit}}", "'attack' is missing"),
        ("attack: {size: 1gbit}\npops: {fra: {capacity: 1gbit, usual: 1mbit}}\nsteps: {}", "a list is wanted"),
        ("attack: {size: 1gbit}\npops: {fra: [1]}", "a mapping is wanted here, not a list"),
    ],
)
def test_a_plan_that_says_too_little_is_refused_whole(text: str, said: str) -> None:
    problems = refused(text)
    assert any(said in problem for problem in problems)


def test_what_is_written_is_taken() -> None:
    plan = read(
        parse(
            "attack: {size: 1.5tbit, packets: 90mpps}\n"
            "pops:\n"
            "  fra: {capacity: 100gbit, capacity_packets: 10mpps, usual: 30gbit, usual_packets: 800kpps}\n"
            "  iad: {capacity: 40gbit, usual: 10gbit}\n"
            "effects: {fra: {withdrawn: {iad: 100%}, prepend: [50%], communities: {no-peers: 20%},"
            " neighbors: {a: 33%, b: 33%, c: 33%}}}\n"
        )
    )
    fra = plan.pops["fra"]
    assert (plan.attack.bps, plan.attack.pps) == (1.5e12, 90e6)
    assert plan.attack.sources == {"fra": 0.75, "iad": 0.25}
    assert (fra.capacity_bps, fra.capacity_pps, fra.usual_bps, fra.usual_pps) == (100e9, 10e6, 30e9, 800e3)
    third = 0.33 / (0.33 + 0.33 + 0.33)
    assert fra.effects == Effects(
        withdrawn={"iad": 1.0}, prepend={1: 0.5}, communities={"no-peers": 0.2},
        neighbors={"a": third, "b": third, "c": third},
    )  # fmt: skip


def test_what_was_measured_replaces_usual_traffic_and_catchments() -> None:
    text = (
        "attack: {size: 1gbit}\npops: {fra: {capacity: 1gbit, catchment: 50%, usual: 1mbit},"
        " iad: {capacity: 1gbit, catchment: 50%}}"
    )
    plan = read(parse(text), usual_bps={"fra": 3e6, "iad": 1e6, "other": 9e9})
    assert [(one.usual_bps, one.catchment) for one in plan.pops.values()] == [(3e6, 0.75), (1e6, 0.25)]
    with pytest.raises(ConfigError, match="no traffic was measured"):
        read(parse(text), usual_bps={"other": 1.0})


def test_the_example_can_be_read() -> None:
    plan = load(str(ROOT / "etc" / "attack-plan.yaml"))
    assert list(plan.pops) == ["fra", "ams", "iad", "sin", "gru"]
    assert len(plan.steps) == 5
