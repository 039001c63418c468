"""Bodies of requests to commands; every mistake of shape at once, each with its field."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from anycastd.api.shapes.eips import (
    AllocateBody,
    AssociationShape,
    BandwidthShape,
    DialBody,
    ModifyBody,
    TargetShape,
)
from anycastd.config.near import did_you_mean
from anycastd.config.shown import shown
from anycastd.config.validate import inner
from anycastd.model.address import BackendId, RegionName
from anycastd.model.eip import Bandwidth, Binding, PortMap, Target
from anycastd.resources.commands import KEEP, Allocate, Associate, Dial, Modify
from anycastd.resources.refusal import Code, Refusal, Refused, refused

B = TypeVar("B", bound=BaseModel)

_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text",
    "list_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def body_of(model: type[B], text: bytes) -> B | Refused:
    """Return a request's body in its shape, or every mistake in it."""
    if not text:
        return refused(Code.SHAPE, 400, "a JSON body is needed")
    try:
        # strict: "5" is not 5, and true is not 1
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        found: dict[tuple[str, str], Refusal] = {}
        for detail in error.errors(include_url=False):
            refusal = _refusal(model, detail)
            found.setdefault((refusal.field, refusal.message), refusal)
        return Refused(tuple(found.values()))


def _refusal(model: type[BaseModel], detail: ErrorDetails) -> Refusal:
    kind, where = detail["type"], detail["loc"]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".")
    if kind == "json_invalid":
        return Refusal(Code.SHAPE, 400, f"the body is not JSON: {detail['ctx']['error']}")
    if kind == "missing":
        return Refusal(Code.SHAPE, 400, "is missing", field)
    if kind == "extra_forbidden":
        known = _known(model, where[:-1])
        hint = did_you_mean(str(where[-1]), known) or f"; known here: {', '.join(known)}"
        return Refusal(Code.SHAPE, 400, f"there is no such field{hint}", field)
    if kind == "enum":
        expected = str(detail["ctx"]["expected"]).replace("'", "")
        hint = did_you_mean(str(detail["input"]), expected.replace(",", "").split(" "))
        return Refusal(Code.SHAPE, 400, f"{_shown(detail)} is not {expected}{hint}", field)
    if kind == "value_error":
        return Refusal(Code.SHAPE, 400, str(detail["ctx"]["error"]), field)
    wanted = next((text for start, text in _WANTED.items() if kind.startswith(start)), None)
    said = f"{_shown(detail)} is not {wanted}" if wanted else detail["msg"]
    return Refusal(Code.SHAPE, 400, said, field)


def _shown(detail: ErrorDetails) -> str:
    return "null" if detail["input"] is None else shown(detail["input"])


def _known(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Return the fields that an object in the body may have."""
    here: object = model
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel) and isinstance(part, str):
            field = here.model_fields.get(part)
            here = inner(field.annotation) if field else None
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def allocate(body: AllocateBody) -> Allocate:
    """Return the command."""
    return Allocate(
        address=body.address,
        prefix=body.prefix,
        bandwidth=_bandwidth(body.bandwidth),
        ping=body.ping,
        tracking=body.tracking,
        description=body.description,
    )


def _bandwidth(body: BandwidthShape) -> Bandwidth:
    return Bandwidth(in_bps=body.in_bps, out_bps=body.out_bps, shaping=body.shaping)


def associate(eip: str, body: AssociationShape, *, replace: bool) -> Associate:
    """Return the command."""
    binding = Binding(
        targets=tuple(map(_target, body.targets)),
        spread=body.spread,
        affinity=body.affinity,
        when_unhealthy=body.when_unhealthy,
    )
    return Associate(eip, binding, replace)


def _target(body: TargetShape) -> Target:
    return Target(
        backend=BackendId(body.backend),
        weight=body.weight,
        priority=body.priority,
        mode=body.mode,
        ports=tuple(PortMap(one.transport, one.port, one.to_port) for one in body.ports),
    )


def modify(eip: str, body: ModifyBody) -> Modify:
    """Return the command; a limit that is not in the body stays, null takes it away."""
    limits = body.bandwidth
    given = limits.model_fields_set if limits is not None else frozenset[str]()
    return Modify(
        eip=eip,
        in_bps=limits.in_bps if limits is not None and "in_bps" in given else KEEP,
        out_bps=limits.out_bps if limits is not None and "out_bps" in given else KEEP,
        shaping=limits.shaping if limits is not None else None,
        ping=body.ping,
        tracking=body.tracking,
        description=body.description,
        blocked=body.blocked,
        blocked_reason=body.blocked_reason,
    )


def dial(region: str, body: DialBody) -> Dial:
    """Return the command."""
    return Dial(RegionName(region), body.traffic_dial_percentage)
