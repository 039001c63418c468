"""Where the files of these tests are, and a small configuration to vary."""

from __future__ import annotations

from pathlib import Path

from anycastd.config.load import load
from anycastd.model.topology import Config

ROOT = Path(__file__).parents[3]
GOOD = ROOT / "tests" / "config" / "good"
BAD = ROOT / "tests" / "config" / "bad"
EXAMPLE = ROOT / "etc" / "anycastd.yaml"

SMALLEST = (GOOD / "smallest.yaml").read_text()


def load_text(text: str, directory: Path) -> Config:
    """Return the configuration of a text."""
    file = directory / "anycastd.yaml"
    file.write_text(text)
    return load(str(file))
