"""What all sections share: unknown keys are refused, values do not change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

NAME_TAG, INLINE_TAG = "<name>", "<inline>"
"""What tells a name from a mapping where either may be written."""


class Section(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def key_of(name: str, field: FieldInfo) -> str:
    """Return a field's key in the file."""
    return field.alias or name
