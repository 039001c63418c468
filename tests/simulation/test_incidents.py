"""The incidents that this project exists for, each a story in a file, lived through in virtual time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anycastd.model.decision import Reason
from anycastd.policy.guard import Verdict
from anycastd.simulation.clock import run
from tests.simulation import incidents
from tests.simulation.incident import Incident

pytestmark = pytest.mark.slow

FILES = sorted(Path(incidents.__path__[0]).glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_incident(path: Path, tmp_path: Path) -> None:
    incident = Incident(path, tmp_path)
    run(incident.live(), start_s=50_000.0)
    assert incident.looked > 0


def test_every_story_says_what_happened_and_has_something_that_must_hold() -> None:
    assert len(FILES) >= 6
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("incident: ")
        assert "  - expect:" in text


def _allowed(*args: object, **kwargs: object) -> Verdict:
    return Verdict(True, Reason.FORCED, "the guard is taken away")


WITHOUT = {
    "facebook-2021": ("anycastd.policy.rules.leaving.may_withdraw", _allowed),
    "facebook-2021-seen": ("anycastd.policy.rules.leaving.may_withdraw", _allowed),
    "front-door-2025": ("anycastd.policy.rules.leaving.may_withdraw", _allowed),
    "gce-2016": ("anycastd.runtime.reloading.reload.refuse", lambda *args, **kwargs: ()),
    "resolver-2025": ("anycastd.config.change._uprooted", lambda old, new: ()),
    "byoip-2026": ("anycastd.model.safety.BreakerConfig.limit", lambda spec, prefixes: prefixes),
    "congestion-2025": ("tests.simulation.site.no_room", lambda *args: None),
}
"""The rule without which an incident happens again."""


@pytest.mark.parametrize("name", WITHOUT)
def test_without_its_rule_the_incident_happens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*WITHOUT[name])
    path = next(path for path in FILES if path.stem == name)
    with pytest.raises(AssertionError, match=re.escape(path.name)):
        run(Incident(path, tmp_path).live(), start_s=50_000.0)
