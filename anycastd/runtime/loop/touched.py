"""Of which prefixes something was heard since somebody looked. Pure."""

from __future__ import annotations

from collections.abc import Collection

from anycastd.model.address import Prefix


class Touched:
    """Gathers prefixes; None stands for any. Before anything was heard it may be any."""

    def __init__(self) -> None:
        self._prefixes: set[Prefix] | None = None

    def add(self, prefixes: Collection[Prefix] | None) -> None:
        """Take note that something else is observed of these, or of any."""
        if prefixes is None or self._prefixes is None:
            self._prefixes = None
        else:
            self._prefixes.update(prefixes)

    def take(self) -> Collection[Prefix] | None:
        """Return what was gathered, once."""
        prefixes, self._prefixes = self._prefixes, set()
        return prefixes
