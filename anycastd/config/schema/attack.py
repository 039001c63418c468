"""Attacks: how they are seen, and what is done about them. One file for each part."""

from __future__ import annotations

from pydantic import Field

from anycastd.config.schema.absorb import AbsorbSection
from anycastd.config.schema.base import Section
from anycastd.config.schema.detect import DetectSection
from anycastd.config.schema.filter import FilterSection
from anycastd.config.schema.spread import SpreadSection


class AttackSection(Section):
    """Attacks: how they are seen, and what is done about them ([attack](attack.md))."""

    detect: DetectSection = Field(default=DetectSection(), description="When traffic is called an attack.")
    absorb: AbsorbSection = Field(default=AbsorbSection(), description="What health may not do meanwhile.")
    spread: SpreadSection = Field(default=SpreadSection(), description="How load is spread over POPs and neighbors.")
    filter: FilterSection = Field(default=FilterSection(), description="Blackholes and flow rules.")
