"""What reads a small file of its own (a gateway's, a plan's): every mistake at once, each with its line and column.

The daemon's own file has a schema (`config/schema/`), which takes long to import; these files need none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from anycastd.config.document import Document, Path, Value
from anycastd.config.near import did_you_mean
from anycastd.config.shown import shown
from anycastd.errors import Problem


class Kind(Protocol):
    """How one value is read: `read` returns it, or raises ValueError with a sentence that fits behind `path: `."""

    @property
    def read(self) -> Any:
        """Return the function that takes what the document holds."""
        ...


class Reading:
    """Reads one document; what is wrong is noted in `problems` and left out."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = list(document.problems)
        self.wronged: set[Path] = set()
        """Paths that something was already said of."""

    def mapping(self, path: Path) -> dict[str, Value]:
        """Return the mapping at a path; an empty one where there is none, or something else, which is a mistake."""
        here: Value = self.document.value
        for part in path:
            if isinstance(here, list) and isinstance(part, int):
                here = here[part] if part < len(here) else None
            else:
                here = here.get(str(part)) if isinstance(here, dict) else None
        if here is not None and not isinstance(here, dict):
            self.wrong(path, f"a mapping is wanted here, not {shown(here)}")
        return here if isinstance(here, dict) else {}

    def known(self, path: Path, mapping: dict[str, Value], keys: Iterable[str]) -> None:
        """Refuse every key but these."""
        keys = tuple(keys)
        for key in mapping:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"; known here: {', '.join(keys)}"
                self.wrong((*path, key), f"there is no such key{hint}", at_key=True)

    def needed(self, path: Path, mapping: dict[str, Value], key: str, kind: Kind) -> Any:
        """Return the value of a key that must be there; None if it is not, or wrong."""
        if key not in mapping and (*path, key) not in self.document.empty:
            self.wrong(path, f"'{key}' is missing", at_key=True)
        return self.value((*path, key), mapping.get(key), kind)

    def value(self, path: Path, value: Value, kind: Kind, *, at_key: bool = False) -> Any:
        """Return a value as its kind reads it; None if it is not there, or wrong."""
        if value is None:
            return None
        try:
            return kind.read(value)
        except ValueError as error:
            self.wrong(path, str(error), at_key=at_key)
            return None

    def wrong(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Note a mistake."""
        self.wronged.add(path)
        self.problems.append(self.document.problem(path, message, at_key=at_key))
