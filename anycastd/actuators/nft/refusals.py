"""Elements that the kernel refused, told once each, and told to be over."""

from __future__ import annotations

from collections.abc import Callable, Container

from anycastd.actuators.nft import codec
from anycastd.actuators.nft.layout import LAYOUTS
from anycastd.model.nft import NftChange

REMEMBERED = 32
"""Subjects told of at once; ten thousand elements that fail alike are one cause, not ten thousand alarms."""


def subject_of(change: NftChange) -> str:
    """Return what a change is about, in words."""
    key = change.key if isinstance(change.key, tuple) else (change.key,)
    fits = len(key) == len(LAYOUTS[change.set].key) and all(not isinstance(part, str) for part in key)
    return f"{change.set.value} {codec.key_text(change.set, change.key) if fits else change.key}"


class Refusals:
    """The refusals that stand."""

    def __init__(self, told: Callable[[str, str | None], None]) -> None:
        self._told = told
        self._standing: dict[str, str] = {}

    def failed(self, change: NftChange, detail: str) -> None:
        """Tell that the kernel refused a change, unless the same is known."""
        self.say(subject_of(change), f"refused: {detail}")

    def settled(self, change: NftChange) -> None:
        """Tell that a change came about, if it had been refused."""
        if self._standing:
            self.over(subject_of(change))

    def say(self, subject: str, detail: str) -> None:
        """Tell what is wrong with a subject, unless the same is known."""
        if self._standing.get(subject) == detail:
            return
        if subject not in self._standing and len(self._standing) >= REMEMBERED:
            return
        self._standing[subject] = detail
        self._told(subject, detail)

    def over(self, subject: str) -> None:
        """Tell that nothing is wrong with a subject any more, if something was."""
        if self._standing.pop(subject, None) is not None:
            self._told(subject, None)

    def all_over(self, but: Container[str]) -> None:
        """Tell of every subject, but these, that nothing is wrong with it any more."""
        for subject in [subject for subject in self._standing if subject not in but]:
            self.over(subject)
