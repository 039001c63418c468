"""From a document to the schema: every mistake in our words with its place, and all that is valid for `check`.

An entry with a mistake (one neighbor, one tunnel) is taken out and the rest is validated again, so that what only
the whole file shows is told in the same run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from anycastd.config.document import Document, Path, Value
from anycastd.config.near import did_you_mean
from anycastd.config.schema.base import INLINE_TAG, NAME_TAG, key_of
from anycastd.config.schema.root import Root
from anycastd.config.shown import shown
from anycastd.errors import Problem

_WANTED = {
    "model_type": "a mapping of keys is wanted here",
    "model_attributes_type": "a mapping of keys is wanted here",
    "dict_type": "a mapping of names is wanted here",
    "tuple_type": "a list is wanted here",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """What is valid of a file, without the entries that have mistakes (`dropped`); `root` None = nothing."""

    document: Document
    root: Root | None
    dropped: frozenset[Path]
    problems: tuple[Problem, ...]

    def written(self, *path: str) -> tuple[str, ...]:
        """Return the names written in a mapping of the file, valid or not."""
        value: Value = self.document.value
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        names = tuple(value) if isinstance(value, dict) else ()
        return names + tuple(str(p[-1]) for p in self.document.empty if p[:-1] == path)


def validate(document: Document) -> Draft:
    """Return the draft of a document."""
    value: dict[str, Value] = document.value
    problems: list[Problem] = []
    dropped: set[Path] = set()
    # a second round only finds what the first one's removals uncovered; there is no third
    for _ in range(3):
        try:
            root = Root.model_validate(value)
        except ValidationError as error:
            details = error.errors(include_url=False)
            if not dropped:
                problems.extend(problems_of(document, details, Root))
            dropped |= {_entry(_path(document.value, detail)) for detail in details}
            value = _without(document.value, dropped)
        else:
            return Draft(document, root, frozenset(dropped), tuple(problems))
    return Draft(document, None, frozenset(dropped), tuple(problems))


def problems_of(document: Document, details: Iterable[ErrorDetails], root: type[BaseModel]) -> Iterator[Problem]:
    """Yield what is wrong with a document of which `root` is the schema, in our words and with its place."""
    yield from filter(None, (_problem(document, detail, root) for detail in details))


def _path(value: Value, detail: ErrorDetails) -> Path:
    """Return where in the file a mistake is: pydantic's location without the marks it adds."""
    path: list[str | int] = []
    here: Value = value
    for part in detail["loc"]:
        inside = isinstance(here, dict) and part in here
        if part in (NAME_TAG, INLINE_TAG, "[key]") and not inside:
            continue
        path.append(part)
        if isinstance(here, dict):
            here = here.get(str(part))
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            here = None
    return tuple(path)


def _problem(document: Document, detail: ErrorDetails, root: type[BaseModel]) -> Problem | None:
    path, kind = _path(document.value, detail), detail["type"]
    if path in document.empty and kind != "extra_forbidden":
        # told already: nothing stands there, or nothing that counts
        return None
    if kind == "missing":
        return document.problem(path[:-1], f"'{path[-1]}' is missing", at_key=True)
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1], root)
        hint = did_you_mean(str(path[-1]), known) or (f"; known here: {', '.join(known)}" if known else "")
        return document.problem(path, f"there is no such key{hint}", at_key=True)
    if kind == "value_error":
        at_key = detail["loc"][-1:] == ("[key]",)
        return document.problem(path, str(detail["ctx"]["error"]), at_key=at_key)
    wanted = _WANTED.get(kind, "this is not what is wanted here")
    return document.problem(path, f"{wanted}, not {shown(detail['input'])}")


def _known_keys(path: Path, root: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys that a place of the file may have, by walking the schema."""
    here: Any = root
    for part in path:
        here = _step(here, part)
    return tuple(_fields(here)) if isinstance(here, type) and issubclass(here, BaseModel) else ()


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {key_of(name, field): field for name, field in model.model_fields.items()}


def _step(here: Any, part: str | int) -> Any:
    """Return the type one step further: a field of a model, the values of a mapping, the items of a list."""
    if isinstance(here, type) and issubclass(here, BaseModel):
        field = _fields(here).get(str(part))
        return inner(field.annotation) if field is not None else None
    arguments = getattr(here, "__args__", ())
    return inner(arguments[-1] if getattr(here, "__origin__", None) is dict else arguments[0]) if arguments else None


def inner(annotation: Any) -> Any:
    """Return the model, mapping or list inside an optional, annotated or mixed type."""
    for _ in range(8):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        origin = getattr(annotation, "__origin__", None)
        if origin in (dict, tuple):
            return annotation
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
            continue
        options = [inner(option) for option in getattr(annotation, "__args__", ())]
        structured = [option for option in options if option is not None]
        return structured[0] if structured else None
    return None


def _entry(path: Path) -> Path:
    """Return the smallest part that can be left out alone: a neighbor, a tunnel, a backend, else the section."""
    if path[:1] == ("regions",) and len(path) >= 4 and path[2] in ("tunnels", "backends"):
        return path[:4]
    if path[:1] == ("self_test",) and len(path) >= 3 and path[1] == "targets":
        return path[:3]
    if path[:1] in (("neighbors",), ("checks",), ("groups",), ("prefixes",), ("regions",), ("eips",)):
        return path[:2]
    return path[:1]


def _without(value: dict[str, Value], dropped: set[Path]) -> dict[str, Value]:
    """Return the document without some paths; what they do not touch is shared with it, not copied."""
    copies: dict[Path, dict[str, Value]] = {(): dict(value)}
    for path in dropped:
        here = copies[()]
        for length in range(1, len(path)):
            below = copies.get(path[:length])
            if below is None:
                found = here.get(str(path[length - 1]))
                if not isinstance(found, dict):
                    break
                below = copies[path[:length]] = here[str(path[length - 1])] = dict(found)
            here = below
        else:
            if path:
                here.pop(str(path[-1]), None)
    return copies[()]
