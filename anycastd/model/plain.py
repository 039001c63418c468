"""Frozen dataclasses to the values that JSON has, and back: by their annotations, complete, and strict in reading.

A field that is added to a class needs no word here. A text in which it is missing is read with its default, as what was
so when the text was written; a value of another type is refused. So is a field that is not known, unless it says
nothing (`known_of`): a newer release has written it, and nobody used what it is for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum, IntEnum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import NoneType, UnionType
from typing import Any, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Write = Callable[[Any], Any]
Read = Callable[[Any, str], Any]
TAG = "is"
"""The key that names the class where a field may hold one of several; without it, it is the first of them.

So a field for which one class was enough can be given others, and what was written before is still read.
"""
_SCALARS: tuple[type, ...] = (str, bool, int)
_ADDRESSES: frozenset[Any] = frozenset({IPv4Address, IPv6Address})
_NETWORKS: frozenset[Any] = frozenset({IPv4Network, IPv6Network})


def to_plain(value: object) -> dict[str, Any]:
    """Return what JSON can hold of a dataclass, every field."""
    kind: Any = type(value)
    return cast(dict[str, Any], _writer(kind)(value))


def from_plain(kind: type[T], value: object, where: str) -> T:
    """Return the dataclass that `to_plain` wrote; ValueError names the place below `where` that is wrong."""
    known: Any = kind
    return cast(T, _reader(known)(value, where))


def known_of(value: Mapping[str, Any], known: Collection[str], where: str) -> dict[str, Any]:
    """Return an object without the fields that are not `known` and say nothing: null, false, 0, or empty.

    Those are of a newer release, which writes every field; where one says something, what is meant is not understood:
    ValueError. So a field that is added to a file is to say nothing until what it is for is used.
    """
    for name, one in value.items():
        if name not in known and one:
            place = f"{where}.{name}" if where else name
            message = f"{place}: there is no such field in this release, and it says {str(one)[:60]!r}"
            raise ValueError(message)
    return {name: one for name, one in value.items() if name in known}


def _refuse(where: str, wanted: str, value: object) -> ValueError:
    return ValueError(f"{where}: {wanted} is wanted, not {str(value)[:60]!r}")


def _same(value: Any) -> Any:
    return value


@cache
def _writer(kind: Any) -> Write:
    """Return how a value of an annotated type is written."""
    if isinstance(kind, NewType):
        return _writer(kind.__supertype__)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _writer_of_union(arguments)
    if origin is tuple or origin is frozenset:
        return _writer_of_items(_writer(arguments[0]), ordered=origin is tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, item = _writer(arguments[0]), _writer(arguments[1])
        return lambda value: {str(key(name)): item(one) for name, one in value.items()}
    if kind in _ADDRESSES | _NETWORKS:
        return str
    if isinstance(kind, type) and issubclass(kind, Enum):
        return (lambda value: value.name) if issubclass(kind, IntEnum) else (lambda value: value.value)
    if kind in _SCALARS or kind is float:
        return _same
    if is_dataclass(kind):
        return _writer_of_fields(kind)
    message = f"nothing is known of how to write {kind}"
    raise TypeError(message)


def _writer_of_items(item: Write, *, ordered: bool) -> Write:
    if ordered:
        return list if item is _same else (lambda value: [item(one) for one in value])
    return lambda value: sorted(item(one) for one in value)


def _writer_of_union(arguments: tuple[Any, ...]) -> Write:
    several = tuple(one for one in arguments if one is not NoneType)
    if len(several) == 1:
        inner = _writer(several[0])
        return _same if inner is _same else (lambda value: None if value is None else inner(value))
    if frozenset(several) in {_ADDRESSES, _NETWORKS}:
        return lambda value: None if value is None else str(value)
    _must_be_classes(several)

    def write(value: Any) -> Any:
        kind: Any = type(value)
        if value is None or kind is several[0]:
            return None if value is None else _writer(kind)(value)
        return {TAG: kind.__name__, **_writer(kind)(value)}

    return write


def _must_be_classes(several: tuple[Any, ...]) -> None:
    if not all(is_dataclass(one) for one in several):
        message = f"one of {several} cannot be told from another"
        raise TypeError(message)


def _writer_of_fields(kind: Any) -> Write:
    plan: list[tuple[str, Write]] = []

    def write(value: Any) -> dict[str, Any]:
        if not plan:
            # not before: a class may hold others of its own kind
            plan.extend((name, _writer(hint)) for name, hint, _ in _fields(kind))
        return {name: getattr(value, name) if inner is _same else inner(getattr(value, name)) for name, inner in plan}

    return write


def _fields(kind: Any) -> list[tuple[str, Any, Field[Any]]]:
    hints = get_type_hints(kind)
    return [(one.name, hints[one.name], one) for one in fields(kind)]


@cache
def _reader(kind: Any) -> Read:
    """Return how a value of an annotated type is read."""
    if isinstance(kind, NewType):
        return _reader(kind.__supertype__)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _reader_of_union(arguments)
    if origin is tuple or origin is frozenset:
        return _reader_of_items(_reader(arguments[0]), origin)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _reader_of_mapping(_reader(arguments[0]), _reader(arguments[1]))
    if kind in _ADDRESSES | _NETWORKS:
        return _reader_of_text(kind, kind.__name__)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _reader_of_enum(kind)
    if kind is float:
        return _number
    if kind in _SCALARS:
        return _reader_of_scalar(kind)
    if is_dataclass(kind):
        return _reader_of_fields(kind)
    message = f"nothing is known of how to read {kind}"
    raise TypeError(message)


def _reader_of_scalar(kind: type) -> Read:
    def read(value: Any, where: str) -> Any:
        if type(value) is not kind:
            raise _refuse(where, kind.__name__, value)
        return value

    return read


def _number(value: Any, where: str) -> float:
    # NaN is never between, and a whole number of 400 digits is compared without being made a float
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise _refuse(where, "a finite number", value)
    return float(value)


def _reader_of_text(make: Callable[[str], Any], wanted: str) -> Read:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, str):
            raise _refuse(where, wanted, value)
        try:
            return make(value)
        except ValueError:
            raise _refuse(where, wanted, value) from None

    return read


def _reader_of_enum(kind: type[Enum]) -> Read:
    known = {one.name if issubclass(kind, IntEnum) else one.value: one for one in kind}

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, str) or value not in known:
            raise _refuse(where, f"one of {', '.join(known)}", value)
        return known[value]

    return read


def _reader_of_items(item: Read, make: Callable[[list[Any]], Any]) -> Read:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise _refuse(where, "a list", value)
        return make([item(one, f"{where}[{number}]") for number, one in enumerate(value)])

    return read


def _reader_of_mapping(key: Read, item: Read) -> Read:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        return {key(name, where): item(one, f"{where}.{name}") for name, one in value.items()}

    return read


def _reader_of_union(arguments: tuple[Any, ...]) -> Read:
    several = tuple(one for one in arguments if one is not NoneType)
    if len(several) == 1:
        inner = _reader(several[0])
    elif set(several) == _ADDRESSES:
        inner = _reader_of_text(ip_address, "an address")
    elif set(several) == _NETWORKS:
        inner = _reader_of_text(ip_network, "a prefix")
    else:
        _must_be_classes(several)
        inner = _reader_of_tagged(several)
    if NoneType not in arguments:
        return inner
    return lambda value, where: None if value is None else inner(value, where)


def _reader_of_tagged(several: tuple[type, ...]) -> Read:
    known = {one.__name__: one for one in several}

    def read(value: Any, where: str) -> Any:
        name = value.get(TAG, several[0].__name__) if isinstance(value, dict) else None
        if name not in known:
            raise _refuse(where, f"an object whose {TAG!r} is one of {', '.join(known)}", value)
        return _reader(known[name])({key: one for key, one in value.items() if key != TAG}, where)

    return read


def _reader_of_fields(kind: Any) -> Read:
    plan: dict[str, tuple[Read, bool]] = {}

    def read(value: Any, where: str) -> Any:
        if not plan:
            plan.update((name, (_reader(hint), _has_default(one))) for name, hint, one in _fields(kind))
        if not isinstance(value, dict):
            raise _refuse(where, "an object", value)
        value = known_of(value, plan, where)
        for name, (_, optional) in plan.items():
            if name not in value and not optional:
                message = f"{where}.{name}: it is missing"
                raise ValueError(message)
        return kind(**{name: plan[name][0](one, f"{where}.{name}") for name, one in value.items()})

    return read


def _has_default(one: Field[Any]) -> bool:
    return one.default is not MISSING or one.default_factory is not MISSING
