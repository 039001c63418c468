"""Stories of whole incidents, read like a runbook and replayed against the pure core.

After a change that is meant, `ANYCASTD_REWRITE=1 pytest tests/unit/test_transcripts.py` writes them anew; commit the
difference only if you can say why each of its lines changed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anycastd.config.load import load
from tests import transcripts
from tests.transcripts.story import blocks, told

FOLDER = Path(transcripts.__path__[0])
STORIES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    recorded = path.read_text(encoding="utf-8")
    now = told(load(str(FOLDER / "pop.yaml")), recorded)
    if os.environ.get("ANYCASTD_REWRITE") == "1":
        path.write_text(now, encoding="utf-8")
    else:
        assert now == recorded


def test_the_stories_are_there_and_were_recorded() -> None:
    assert len(STORIES) >= 6
    for path in STORIES:
        answers = [answer for _, commands, answer in blocks(path.read_text(encoding="utf-8")) if commands]
        assert answers
        assert all(answers), path.name
