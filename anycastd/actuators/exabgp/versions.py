"""Which ExaBGP was proven, and what is to be said of the one that runs. Pure."""

from __future__ import annotations

import re

PROVEN_FROM, PROVEN_BELOW = (5, 0, 13), (6,)
"""What the daemon reads back was proven with these; others word their answers differently."""


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers at the head of a version, none if there are none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def is_proven(text: str) -> bool:
    """Return whether a version is one of those."""
    return PROVEN_FROM <= version_of(text) < PROVEN_BELOW


def complaint(running: str, installed: str, end: str) -> str:
    """Return what is wrong with the version that runs ("": it does not say), beside the one that is installed here.

    `end` is the command that ends it, so that the installed one is started.
    """
    if not running:
        return ""
    if not is_proven(running):
        return f"ExaBGP {running} runs, which was never tried: its answers may be understood wrongly"
    if installed and installed != running:
        return f"ExaBGP {running} runs, {installed} is installed; to replace it, sessions come up anew: {end}"
    return ""
