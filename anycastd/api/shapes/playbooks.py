"""The shapes of playbooks in answers."""

from __future__ import annotations

from anycastd.api.shapes.shape import Shape


class PlayStepShape(Shape):
    """A step as it is written."""

    step: int
    what: str
    kind: str
    mode: str
    falls_percent: int
    verify_after_s: list[float]


class PlaybookShape(Shape):
    """A playbook as it is written; no `prefixes`: every one of this POP."""

    name: str
    about: str
    file: str
    when: list[str]
    prefixes: list[str]
    calm_s: float
    steps: list[PlayStepShape]


class PlayTakenShape(Shape):
    """A step in force. `outcome`: what the last of its `looks` found; null before the first."""

    step: int
    what: str
    for_s: float
    looks: int
    outcome: str | None
    before_bps: float | None


class PlayRunShape(Shape):
    """What a playbook does for a prefix, or waits for (docs/playbooks.md)."""

    playbook: str
    prefix: str
    doing: str
    detail: str
    relapses: int
    steps: list[PlayTakenShape]


class StandbyShape(Shape):
    """How far this POP is as a standby for a prefix."""

    prefix: str
    stage: str
    for_s: float
    called_by: list[str]


class PlaybooksShape(Shape):
    """Playbooks, what they do now, and the standbys of this POP. Null: not written, or not measured."""

    mode: str
    capacity_bps: int | None
    load_bps: float | None
    playbooks: list[PlaybookShape]
    runs: list[PlayRunShape]
    standbys: list[StandbyShape]


class PlayDoneShape(Shape):
    """What was ordered, or with `dry_run` what each step would do; sentences."""

    dry_run: bool
    changes: list[str]
