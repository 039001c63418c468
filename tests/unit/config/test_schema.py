"""The schema as a whole: value types everywhere, descriptions everywhere, defaults as in the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from anycastd.config.reference import page, types_of
from anycastd.config.schema.base import key_of
from anycastd.config.schema.checks import TimedCheck
from anycastd.config.schema.root import Root
from anycastd.config.schema.timers import TimersSection
from anycastd.config.values.fields import ValueType
from anycastd.model.checks import Limits, Timing
from anycastd.model.topology import PrefixTimers
from tests.unit.config.places import ROOT


def models(model: type[BaseModel] = Root, seen: set[type[BaseModel]] | None = None) -> set[type[BaseModel]]:
    """Return every model of the file."""
    seen = seen if seen is not None else set()
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for leaf in leaves(field.annotation):
                if isinstance(leaf, type) and issubclass(leaf, BaseModel):
                    models(leaf, seen)
    return seen


def leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types at the ends of an annotation; those with a value type come as their Annotated form."""
    if any(isinstance(one, ValueType) for one in getattr(annotation, "__metadata__", ())):
        yield annotation
    elif hasattr(annotation, "__metadata__"):
        yield from leaves(get_args(annotation)[0])
    elif get_origin(annotation) is not None or get_args(annotation):
        for argument in get_args(annotation):
            yield from leaves(argument)
    elif annotation not in (type(None), ...):
        yield annotation


def every_field() -> Iterator[tuple[str, FieldInfo]]:
    for model in models():
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{key_of(name, field)}", field


def test_no_field_is_a_bare_type() -> None:
    bare = [
        (name, leaf)
        for name, field in every_field()
        if not any(isinstance(one, ValueType) for one in field.metadata)
        for leaf in leaves(field.annotation)
        if not any(isinstance(one, ValueType) for one in getattr(leaf, "__metadata__", ()))
        and not (isinstance(leaf, type) and issubclass(leaf, BaseModel))
    ]
    assert bare == []
    assert sum(1 for _ in every_field()) > 80


def test_every_field_says_what_it_does() -> None:
    assert [name for name, field in every_field() if not (field.description or "").endswith((".", '".'))] == []


def test_every_default_is_a_value_that_could_be_written() -> None:
    for name, field in every_field():
        types = list(types_of(field.annotation, tuple(field.metadata)))
        for value in field.default if isinstance(field.default, tuple) else (field.default,):
            if len(types) == 1 and value not in (None, {}) and not field.is_required():
                text = types[0].show(value)
                accepted = [kind for kind in (text, value) if _reads(types[0], kind, value)]
                assert accepted, f"{name}: {value!r}"


def _reads(kind: ValueType, written: object, value: object) -> bool:
    try:
        return kind.read(written) == value
    except ValueError:
        return False


def test_every_timer_of_the_model_can_be_configured() -> None:
    assert {field.name.removesuffix("_s") for field in fields(PrefixTimers)} == set(TimersSection.model_fields)
    keys = {field.name.removesuffix("_s") for field in fields(Timing)}
    keys |= {field.name.removesuffix("_ms") for field in fields(Limits)}
    assert keys | {"target", "target_family"} == set(TimedCheck.model_fields)


def test_the_reference_page_is_current() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == page(), "run: make docs"


def test_the_reference_page_names_every_key() -> None:
    text = page()
    names = [name for name, _ in every_field() if not name.startswith("CheckSection.")]
    assert [name for name in names if f"| `{name.partition('.')[2]}` |" not in text] == []
