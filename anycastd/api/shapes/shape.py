"""What every shape of an answer or body has in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

LevelName = Literal["WITHDRAWN", "GSHUT", "DEPREF", "NORMAL"]


class Shape(BaseModel):
    """A JSON object without unknown members."""

    model_config = ConfigDict(extra="forbid")
