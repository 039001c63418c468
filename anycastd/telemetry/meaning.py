"""What a value of a closed list means: one entry of docs/reasons.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a value says, and what an operator does; empty `do` = nothing."""

    says: str
    do: str = ""
