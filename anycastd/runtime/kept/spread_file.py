"""Where runs of playbooks and standbys outlive the daemon: one small file that is replaced whole (`memory_file`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from anycastd.attack.playbook import Doing, Run
from anycastd.attack.standby import Standby
from anycastd.model.address import Prefix
from anycastd.model.plain import from_plain, to_plain
from anycastd.runtime.kept.document import loaded, made_of
from anycastd.runtime.kept.memory_file import Clocks, SavedTimes

FORMAT = 1
Key = tuple[str, Prefix]
"""A playbook's name and a prefix."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in the file."""

    runs: Mapping[Key, Run] = field(default_factory=dict)
    standbys: Mapping[Prefix, Standby] = field(default_factory=dict)

    @property
    def gist(self) -> tuple[object, ...]:
        """Return what a restart must know; timers of conditions begin anew."""
        runs = {
            key: (run.taken, run.approved, run.stopping, run.relapses, run.undone_s)
            for key, run in self.runs.items()
            if run != Run()
        }
        return runs, {prefix: (one.stage, one.since_s) for prefix, one in self.standbys.items()}


def encode(kept: Kept, at: Clocks) -> str:
    """Return the file's text."""
    document = {
        "format": FORMAT,
        "clocks": asdict(at),
        "runs": [
            {"playbook": name, "prefix": str(prefix), "run": to_plain(replace(run, met_since_s=()))}
            for (name, prefix), run in kept.runs.items()
        ],
        "standbys": [{"prefix": str(prefix), "standby": to_plain(one)} for prefix, one in kept.standbys.items()],
    }
    return json.dumps(document, indent=1) + "\n"


def decode(text: str, now: Clocks) -> Kept:
    """Return what is kept, with its times on the present clock; ValueError if the text is not what `encode` writes."""

    def made(document: dict[str, Any]) -> Kept:
        times = SavedTimes.of(document["clocks"], now)
        return Kept(
            {(str(one["playbook"]), ip_network(one["prefix"])): _run(one["run"], times) for one in document["runs"]},
            {ip_network(one["prefix"]): _standby(one["standby"], times) for one in document["standbys"]},
        )

    return made_of(text, FORMAT, "a file of playbooks' runs", ("clocks", "runs", "standbys"), made)


def _run(value: Any, times: SavedTimes) -> Run:
    run = from_plain(Run, value, "run")
    taken = tuple(replace(one, at_s=times.past(one.at_s, "run.taken.at_s")) for one in run.taken)
    return replace(
        run,
        # what was seen before may have passed meanwhile: it must hold, or be calm, anew
        calm_since_s=None,
        taken=taken,
        approved_s=times.past(run.approved_s, "run.approved_s"),
        undone_s=None if run.undone_s is None else times.past(run.undone_s, "run.undone_s"),
        doing=Doing.VERIFYING if taken else Doing.WATCHING,
    )


def _standby(value: Any, times: SavedTimes) -> Standby:
    one = from_plain(Standby, value, "standby")
    return replace(one, since_s=times.past(one.since_s, "standby.since_s"), calm_since_s=None)


def load(path: Path, now: Clocks) -> tuple[Kept, str]:
    """Return what is kept, and why it cannot be read (empty = it can; a file that is not there holds nothing)."""
    return loaded(path, lambda text: decode(text, now), Kept)
