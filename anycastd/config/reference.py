"""Print the reference of the configuration file, from the schema: `python -m anycastd.config.reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from anycastd.config.schema.base import Section, key_of
from anycastd.config.schema.checks import CheckSection, TimedCheck
from anycastd.config.schema.eips import TargetSection
from anycastd.config.schema.root import REQUIRED, Root
from anycastd.config.schema.rules import GroupSection, RuleSection
from anycastd.config.schema.timers import TimersSection
from anycastd.config.validate import inner
from anycastd.config.values.fields import ValueType, duration_text
from anycastd.model.topology import PrefixTimers

_HEAD = """\
# Configuration

Generated from the schema by `make docs`; a commented example is [etc/anycastd.yaml](../etc/anycastd.yaml).

`anycastd check -c FILE` tells every mistake at once, as `file:line:column: path: message`, and exits with 78 if there
is one. A file with a mistake is refused whole; the running daemon then keeps what it has.

The file is YAML with few surprises: only `true`, `false` and decimal numbers are typed, all else is text, so
`64496:100` and `no` stay what they are. Unknown keys, keys written twice, keys without a value, anchors, aliases,
merge keys and tags are refused. Times are `300ms`, `9s`, `5m`, `1h`, `30d`, or a number of seconds; rates are `64kbit`,
`200mbit`, `1gbit` (decimal), or a number of bits per second.

A reload that would remove more than a tenth of the prefixes or of the EIPs (more than one of fewer than ten), or all
prefixes, EIPs, neighbors, regions, tunnels or backends, or that would unbind or block as many EIPs, or leave as many
prefixes none of the neighbors they had, is refused unless
`anycastd reload --expect-removals N` says how many of all these go, or stop.

A prefix that a file splits (a /24 becomes two /25), joins or narrows is not withdrawn before each of its neighbors has
what takes its place, or for as long as its packets are carried (`linger`). A POP that cannot serve at that moment
announces the new ones depreferenced, as it did the old one, unless they say `last_resort: withdraw`.
"""

_MIXED = {
    CheckSection: "list (name or check)",
    TargetSection: "list (region/backend or mapping)",
}
"""Lists of names or of what is written in place."""
_KEYS = {"prefixes": "prefixes.PREFIX", "eips": "eips.ADDRESS"}


def types_of(annotation: Any, metadata: tuple[object, ...] = ()) -> Iterator[ValueType]:
    """Yield the value types inside an annotation."""
    yield from (one for one in metadata if isinstance(one, ValueType))
    own = getattr(annotation, "__metadata__", ())
    yield from (one for one in own if isinstance(one, ValueType))
    arguments = get_args(annotation)
    for argument in arguments[:1] if own else arguments:
        yield from types_of(argument)


def _label(field: FieldInfo) -> str:
    annotation = inner(field.annotation) or field.annotation
    if annotation is RuleSection:
        labels = [one.label for one in types_of(field.annotation, tuple(field.metadata))]
        return f"{labels[0]}, or a [rule](#rules)" if labels else "[rule](#rules)"
    labels = [one.label for one in types_of(annotation, tuple(field.metadata))]
    if get_origin(annotation) is dict:
        return f"mapping ({labels[0]}: ...)"
    if get_origin(annotation) is tuple and inner(get_args(annotation)[0]) is RuleSection:
        return "list (name or rule)" if labels else "list (rule)"
    if get_origin(annotation) is tuple:
        return _MIXED.get(inner(get_args(annotation)[0]), f"list ({labels[0]})")
    return labels[0] if labels else "mapping"


def _default(name: str, field: FieldInfo, owner: type[BaseModel]) -> str:
    if field.is_required() or (owner is Root and name in REQUIRED):
        return "required"
    if owner is TimersSection:
        return f"`{duration_text(getattr(PrefixTimers(), f'{name}_s'))}`"
    value = field.default
    if value is None or isinstance(value, BaseModel) or value in ((), {}):
        return ""
    show = next(types_of(field.annotation, tuple(field.metadata))).show
    if isinstance(value, tuple):
        return f"`[{', '.join(show(one) for one in value)}]`"
    return f"`{show(value)}`"


def _table(model: type[BaseModel], without: type[BaseModel] | None = None) -> Iterator[str]:
    inherited = set(without.model_fields) if without is not None else set()
    rows = [(name, field) for name, field in model.model_fields.items() if name not in inherited]
    if not rows:
        return
    yield "| key | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in rows:
        default = _default(name, field, model)
        yield f"| `{key_of(name, field)}` | {_label(field)} | {default} | {field.description} |"


def _about(model: type[BaseModel]) -> str:
    return cleandoc(model.__doc__ or "")


def _section(title: str, model: type[BaseModel], level: int) -> Iterator[str]:
    """Yield one section and the sections inside it; `title` is its path in the file."""
    yield from (f"\n{'#' * level} {title}\n", _about(model), "")
    if model is CheckSection:
        yield from _checks(level)
        return
    yield from _table(model)
    for name, field in model.model_fields.items():
        below = _model_in(field)
        if below in (CheckSection, TimersSection, RuleSection):
            continue
        if below is not None:
            key = {dict: f"{name}.NAME", tuple: f"{name}[N]"}.get(_form(field), name)
            yield from _section(f"{title}.{key}", below, level + 1)


def _checks(level: int) -> Iterator[str]:
    yield "Every kind has:\n"
    yield from _table(TimedCheck)
    for kind, field in CheckSection.model_fields.items():
        model = inner(field.annotation)
        yield from (f"\n{'#' * (level + 1)} checks.NAME.{kind}\n", _about(model), "")
        yield from _table(model, without=TimedCheck)
        for key, own in model.model_fields.items():
            below = _model_in(own)
            if below is not None and issubclass(below, Section):
                yield from _section(f"checks.NAME.{kind}.{key}", below, level + 2)


def _form(field: FieldInfo) -> Any:
    """Return dict, tuple or None: what a key holds several things in."""
    return get_origin(inner(field.annotation))


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    found = inner(field.annotation)
    if get_origin(found) in (dict, tuple):
        arguments = get_args(found)
        found = inner(arguments[1] if get_origin(found) is dict else arguments[0])
    return found if isinstance(found, type) else None


def page() -> str:
    """Return the whole page."""
    lines = [_HEAD, "## The file\n"]
    lines += _table(Root)
    for name, field in Root.model_fields.items():
        model = _model_in(field)
        if model is None:
            continue
        if model is GroupSection:
            lines += _section("rules", RuleSection, 2)
        key = _KEYS.get(name, f"{name}.NAME" if _form(field) is dict else name)
        lines += _section(key, model, 2)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
