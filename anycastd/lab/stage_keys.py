"""Check `stages` and `healthcheck` of one node."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from anycastd.lab.layers import Found
from anycastd.lab.refusals import Refusals, inside
from anycastd.lab.shape import HealthCheck, Phase, Stage, StageCommand, Wait

_STAGE_NAMES = ", ".join(Stage)
_HEALTH_KEYS = ("interval", "retries", "start-period", "test", "timeout")
_HOUR_S = 3600


def stages_from(found: dict[str, Found], refusals: Refusals) -> tuple[tuple[Wait, ...], tuple[StageCommand, ...]]:
    """Give what a node waits for and the commands of its stages."""
    waits: list[Wait] = []
    commands: list[StageCommand] = []
    for name, value in found.items():
        stage = _stage(name, value.where, refusals)
        raw = refusals.mapping(value.value, value.where)
        refusals.only(raw, ("exec", "wait-for"), value.where)
        if stage is None:
            continue
        where = inside(value.where, "wait-for")
        for at, item in enumerate(refusals.sequence(raw.get("wait-for"), where)):
            waits += _wait(stage, item, f"{where}[{at}]", refusals)
        commands += _commands(stage, raw.get("exec"), inside(value.where, "exec"), refusals)
    return tuple(waits), tuple(commands)


def _stage(raw: object, where: str, refusals: Refusals) -> Stage | None:
    if isinstance(raw, str) and raw in tuple(Stage):
        return Stage(raw)
    refusals.add(where, f"stage not supported: {raw}; supported here: {_STAGE_NAMES}")
    return None


def _wait(at: Stage, raw: object, where: str, refusals: Refusals) -> list[Wait]:
    fields = refusals.mapping(raw, where)
    refusals.only(fields, ("node", "stage"), where)
    node = refusals.text(fields.get("node"), inside(where, "node"))
    stage = _stage(fields.get("stage"), inside(where, "stage"), refusals)
    return [Wait(at, node, stage)] if node and stage else []


def _commands(stage: Stage, raw: object, where: str, refusals: Refusals) -> Iterator[StageCommand]:
    for phase, text, spot in list(_phased(raw, where, refusals)):
        command = refusals.text(text, spot)
        try:
            if command is not None:
                yield StageCommand(stage, phase, tuple(shlex.split(command)))
        except ValueError as error:
            refusals.add(spot, f"cannot be split into words: {str(error).lower()}")


def _phased(raw: object, where: str, refusals: Refusals) -> Iterator[tuple[Phase, object, str]]:
    """Read both forms of containerlab's schema: a list of objects, or lists under on-enter and on-exit."""
    if isinstance(raw, dict):
        refusals.only(raw, tuple(Phase), where)
        for phase in Phase:
            spot = inside(where, phase)
            for at, text in enumerate(refusals.sequence(raw.get(phase), spot)):
                yield phase, text, f"{spot}[{at}]"
        return
    for at, item in enumerate(refusals.sequence(raw, where)):
        spot = f"{where}[{at}]"
        fields = refusals.mapping(item, spot)
        refusals.only(fields, ("command", "phase", "target"), spot)
        phase_text = fields.get("phase")
        if fields.get("target", "container") != "container":
            refusals.add(inside(spot, "target"), f"not supported: {fields['target']}; supported here: container")
        if isinstance(phase_text, str) and phase_text in tuple(Phase):
            yield Phase(phase_text), fields.get("command"), inside(spot, "command")
        else:
            refusals.add(inside(spot, "phase"), f"must be on-enter or on-exit, is {phase_text}")


def healthcheck_from(found: dict[str, Found], refusals: Refusals) -> HealthCheck | None:
    """Give the health check, with the defaults of containers: every 30 s, 30 s for an answer."""
    if not found:
        return None
    where = next(iter(found.values())).where.rpartition(".")[0]
    refusals.only({key: None for key in found}, _HEALTH_KEYS, where)
    seconds = {"interval": 30, "timeout": 30, "retries": 3, "start-period": 0}
    for key in seconds:
        if key in found:
            low = 0 if key == "start-period" else 1
            seconds[key] = refusals.integer(found[key].value, found[key].where, low, _HOUR_S) or seconds[key]
    test = found.get("test")
    words = refusals.sequence(test.value, test.where) if test else []
    texts = [word for word in words if isinstance(word, str)]
    if len(texts) != len(words) or len(texts) < 2 or texts[0] not in ("CMD", "CMD-SHELL"):
        refusals.add(inside(where, "test"), "must be [CMD, program, argument...] or [CMD-SHELL, line]")
        return None
    argv = ("/bin/sh", "-c", " ".join(texts[1:])) if texts[0] == "CMD-SHELL" else tuple(texts[1:])
    return HealthCheck(argv, interval_s=seconds["interval"], timeout_s=seconds["timeout"])
