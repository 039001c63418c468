"""How a wrong value is shown in a message. Pure."""

from __future__ import annotations


def shown(value: object) -> str:
    """Return a wrong value for a message, short."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")
