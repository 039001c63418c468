"""From the text of a configuration file to plain values, with the place of every key and value. Pure.

PyYAML's own typing reads `65535:0` as 3932100 and `no` as False. Here only `true`, `false`, `null` and decimal
numbers are typed, all else is text. Refused: a key written twice, tags, anchors, aliases and merge keys (a value
must stand where it is used, so that the place of a mistake is unambiguous and nothing can grow by reference), a
second document, and files too large or too deep. Nothing is ever constructed from a tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import yaml

from anycastd.errors import Problem

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 24
MAX_PROBLEMS = 200

Path = tuple[str | int, ...]
Value = dict[str, "Value"] | list["Value"] | str | int | float | bool | None

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.[0-9]{1,15}\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
# libyaml is some 20 times faster; the pure parser then only words the errors
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the file; `line` and `column` count from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a file; `keys` and `values` give the place of each path. Problems never hide the rest."""

    file: str
    value: dict[str, Value] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    empty: frozenset[Path] = frozenset()
    """Paths written without a value: left out of `value` and already told."""

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """Return a problem at a path, or at its nearest parent that is in the file."""
        places = (self.keys, self.values) if at_key else (self.values, self.keys)
        for length in range(len(path), -1, -1):
            place = places[0].get(path[:length]) or places[1].get(path[:length])
            if place is not None:
                break
            places = (self.keys, self.values)
        else:
            place = Place()
        return Problem(place.line, place.column, dotted(path), message, self.file)


def dotted(path: Path) -> str:
    """Return a path as people write it: `regions.eu.tunnels.t1.checks[1]`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def parse(text: str, file: str = "") -> Document:
    """Return the document of a text; what is wrong with it is in `problems`, never raised."""
    if len(text) > MAX_BYTES:
        return Document(file, problems=(Problem(1, 1, "", f"is larger than {MAX_BYTES // 1024} KiB", file),))
    try:
        return _Composer(file).document(_events(text, _FAST))
    except _TooMuch as error:
        return Document(file, problems=(Problem(error.place.line, error.place.column, "", str(error), file),))
    except (yaml.YAMLError, ValueError, OverflowError):
        # the pure parser words its errors best, but takes a minute for the largest files
        loader = yaml.SafeLoader if len(text) < 256 * 1024 else _FAST
        return Document(file, problems=(_syntax_problem(text, file, loader),))


def _events(text: str, loader: type[yaml.SafeLoader]) -> Iterator[yaml.Event]:
    # ValueError and OverflowError: PyYAML's scanner calls int() and chr() on what it finds in escapes
    yield from yaml.parse(text, Loader=loader)


class _TooMuch(Exception):
    """The file is deeper than any configuration is."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"is more than {MAX_DEPTH} levels deep")
        self.place = place


class _Mark(Protocol):
    """What the pure and the C parser's marks have."""

    line: int
    column: int


def _place(mark: _Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark is not None else Place()


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet; `key` is the one that waits for its value."""

    path: Path
    value: dict[str, Value] | list[Value]
    key: str | None = None
    skip: bool = False
    """The value that follows belongs to a key that was refused."""


class _Composer:
    """Builds values from the parser's events with a stack of its own, so that no text can exhaust Python's."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._keys: dict[Path, Place] = {}
        self._values: dict[Path, Place] = {}
        self._problems: list[Problem] = []
        self._empty: set[Path] = set()
        self._stack: list[_Open] = []
        self._root: list[Value] = []
        self._refused = 0
        """How many collections deep we are in something refused: its inside is not looked at."""

    def document(self, events: Iterator[yaml.Event]) -> Document:
        """Return the document of one stream of events."""
        documents = 0
        for event in events:
            if self._refused:
                opens, closes = isinstance(event, yaml.CollectionStartEvent), isinstance(event, yaml.CollectionEndEvent)
                self._refused += opens - closes
                if self._refused > MAX_DEPTH:
                    # the inside is not looked at, but the parser that words errors takes hours for brackets without end
                    raise _TooMuch(_place(event.start_mark))
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, (), "a second document begins here; a configuration is one document")
                    break
            elif isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._stack.pop()
            if len(self._problems) >= MAX_PROBLEMS:
                return self._given_up(_place(event.start_mark).line)
        root = self._root[0] if self._root else None
        if not isinstance(root, dict):
            self._no_mapping(root)
            root = {}
        return Document(
            self._file, root, self._keys, self._values, tuple(self._problems), frozenset(self._empty - {()})
        )

    def _given_up(self, line: int) -> Document:
        """Return a document without values: what stands behind would be told as missing."""
        message = f"the file is not read any further after {MAX_PROBLEMS} mistakes"
        return Document(self._file, problems=(*self._problems, Problem(line + 1, 1, "", message, self._file)))

    def _no_mapping(self, root: Value) -> None:
        if self._problems:
            return
        what = "is empty" if root is None else "must be a mapping of sections (pop, neighbors, regions, prefixes, ...)"
        self._problems.append(Problem(1, 1, "", f"the file {what}", self._file))

    def _refuse(self, event: yaml.Event, path: Path, message: str) -> None:
        place = _place(event.start_mark)
        self._problems.append(Problem(place.line, place.column, dotted(path), message, self._file))

    def _node(self, event: yaml.NodeEvent) -> None:
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(event, top)
            return
        path = self._path(top)
        value = self._value_of(event, path)
        if top is None:
            self._root.append(value)
        elif isinstance(top.value, list):
            top.value.append(value)
        elif top.key is not None and value is not None:
            top.value[top.key] = value
        if top is not None:
            top.key = None
        self._values[path] = _place(event.start_mark)
        if isinstance(value, (dict, list)):
            if len(self._stack) >= MAX_DEPTH:
                raise _TooMuch(_place(event.start_mark))
            self._stack.append(_Open(path, value))

    def _path(self, top: _Open | None) -> Path:
        if top is None:
            return ()
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _key(self, event: yaml.NodeEvent, top: _Open) -> None:
        """Take a key, or the value of a refused key, which goes with it."""
        if top.skip or not isinstance(event, yaml.ScalarEvent):
            if not top.skip:
                self._refuse(event, top.path, "a key must be plain text")
            top.skip = not top.skip
            self._refused = int(isinstance(event, yaml.CollectionStartEvent))
            return
        top.skip = True
        key, plain = event.value, event.implicit[0]
        path = (*top.path, key)
        if event.anchor or event.tag:
            self._refuse(event, path, "anchors and tags are not supported")
        elif plain and key == "<<":
            self._refuse(event, path, "merge keys are not supported: write the values where they are used")
        elif path in self._keys:
            first = self._keys[path]
            self._refuse(event, path, f"is written twice; the first is in line {first.line}")
        elif not key:
            self._refuse(event, top.path, "a key is empty")
        else:
            self._keys[path] = _place(event.start_mark)
            top.key, top.skip = key, False

    def _value_of(self, event: yaml.NodeEvent, path: Path) -> Value:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, path, f"aliases (*{event.anchor}) are not supported: write the value where it is used")
            self._empty.add(path)
            return None
        if event.anchor:
            self._refuse(event, path, f"anchors (&{event.anchor}) are not supported: write the value where it is used")
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag not in (None, "!"):
            self._refuse(event, path, "tags (!...) are not supported")
        if not isinstance(event, yaml.ScalarEvent):
            return {} if isinstance(event, yaml.MappingStartEvent) else []
        value = _typed(event.value) if event.implicit[0] and not event.tag else str(event.value)
        if value is None and path:
            # at the key: where a value that is not there stands, the two parsers see differently
            place = self._keys.get(path) or _place(event.start_mark)
            message = "has no value; write one ({} where every default is wanted) or leave the key out"
            self._problems.append(Problem(place.line, place.column, dotted(path), message, self._file))
            self._empty.add(path)
            return None
        return value


def _typed(text: str) -> Value:
    """Return the value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _DECIMAL.match(text) else text


_WORDING = (
    ("found character '\\t' that cannot start any token", "a tab cannot be used for indentation; use spaces"),
    ("mapping values are not allowed", "a second ':' in one line; put the text in quotes, or break the line"),
    ("could not find expected ':'", "a key without ':'"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or '}'", "a '}' or ',' is missing"),
    ("expected ',' or ']'", "a ']' or ',' is missing"),
    ("found unexpected end of stream", "a quotation mark is never closed"),
    ("expected the node content", "a value is missing, or a bracket is closed that was never opened"),
    ("undefined alias", "aliases are not supported: write the value where it is used"),
    ("special characters are not allowed", "a control character is in the text"),
    ("that cannot start any token", "this character cannot begin a value; put the text in quotes"),
)


def _syntax_problem(text: str, file: str, loader: type[yaml.SafeLoader]) -> Problem:
    """Return what the parser says of a text, in our words."""
    try:
        for _ in _events(text, loader):
            pass
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        return Problem(place.line, place.column, "", f"not YAML: {_worded(error.problem or '')}", file)
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Problem(line, column, "", f"not YAML: {_worded(error.reason)}", file)
    except (yaml.YAMLError, ValueError, OverflowError):
        return Problem(1, 1, "", "not YAML: an escape or number in it is out of range", file)
    return Problem(1, 1, "", "not YAML", file)


def _worded(problem: str) -> str:
    for theirs, ours in _WORDING:
        if theirs in problem:
            return ours
    return problem
