"""Collect everything that is wrong with a file, each with its path, and refuse once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anycastd.lab.errors import TopologyRefused


class Refusals:
    """The list of what is wrong so far; the same sentence is kept once."""

    def __init__(self) -> None:
        self._problems: dict[str, None] = {}

    def add(self, where: str, what: str) -> None:
        """Note one problem."""
        self._problems[f"{where}: {what}"] = None

    def raise_if_any(self, source: str) -> None:
        """Raise TopologyRefused with all problems, if there are any."""
        if self._problems:
            raise TopologyRefused(source, tuple(self._problems))

    def only(self, raw: Mapping[str, object], supported: Iterable[str], where: str) -> None:
        """Refuse every key that is not supported."""
        known = sorted(supported)
        for key in raw:
            if key not in known:
                self.add(inside(where, key), f"not supported; supported here: {', '.join(known)}")

    def mapping(self, raw: object, where: str) -> dict[str, object]:
        """Give a mapping; null counts as empty, anything else is refused."""
        if raw is None:
            return {}
        if not isinstance(raw, dict):
            self.add(where, f"must be a mapping, is {named(raw)}")
            return {}
        return raw

    def sequence(self, raw: object, where: str) -> list[object]:
        """Give a list; null counts as empty, anything else is refused."""
        if raw is None:
            return []
        if not isinstance(raw, list):
            self.add(where, f"must be a list, is {named(raw)}")
            return []
        return raw

    def text(self, raw: object, where: str) -> str | None:
        """Give a text that is not empty, or refuse and give None."""
        if not isinstance(raw, str):
            self.add(where, f"must be text, is {named(raw)}")
            return None
        if not raw.strip() or "\0" in raw:
            self.add(where, "must not be empty")
            return None
        return raw

    def scalar(self, raw: object, where: str) -> str:
        """Give text, a number or a truth value as the text that a program would see."""
        if isinstance(raw, bool):
            return "true" if raw else "false"
        if isinstance(raw, str | int):
            return str(raw)
        if raw is not None:
            self.add(where, f"must be text or a number, is {named(raw)}")
        return ""

    def integer(self, raw: object, where: str, low: int, high: int) -> int | None:
        """Give a whole number within bounds, or refuse and give None."""
        if isinstance(raw, bool) or not isinstance(raw, int):
            self.add(where, f"must be a whole number, is {named(raw)}")
            return None
        if not low <= raw <= high:
            self.add(where, f"must be {low} to {high}, is {raw}")
            return None
        return raw


def inside(where: str, key: str) -> str:
    """Give the path of a key."""
    return f"{where}.{key}" if where else key


def named(raw: object) -> str:
    """Name the type of a value in the file's own words."""
    if raw is None:
        return "empty"
    if isinstance(raw, bool):
        return "true or false"
    if isinstance(raw, int):
        return "a number"
    if isinstance(raw, dict):
        return "a mapping"
    return "a list" if isinstance(raw, list) else "text" if isinstance(raw, str) else type(raw).__name__
