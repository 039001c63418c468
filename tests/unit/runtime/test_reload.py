"""A reload with real files: judged whole, then taken, or nothing of it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from anycastd.actuators.disk import Disk
from anycastd.api.ports import ReloadOutcome
from anycastd.config.load import load
from anycastd.model.topology import Config
from anycastd.runtime.reloading.reload import reload_config

EXAMPLE = Path(__file__).parents[3] / "etc" / "anycastd.yaml"
B = ip_network("198.18.0.0/24")


class Place:
    """A configuration file that runs, and may be edited."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text(EXAMPLE.read_text())
        self.running = load(str(path))

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    async def reload(self, expected_removals: int | None = None) -> tuple[Config | None, ReloadOutcome]:
        return await reload_config(str(self.path), self.running, expected_removals, Disk("reload"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "anycastd.yaml")


async def test_the_same_file_is_applied_and_changes_nothing(place: Place) -> None:
    new, outcome = await place.reload()
    assert new == place.running
    assert outcome == ReloadOutcome(True)


async def test_a_good_file_is_applied_and_says_what_it_changes(place: Place) -> None:
    place.edit("settle: 2s, return_after: 5m", "settle: 4s, return_after: 5m")
    new, outcome = await place.reload()
    assert new is not None
    assert new.prefixes[ip_network("203.0.113.0/24")].timers.settle_s == 4.0
    assert outcome.applied
    assert outcome.changes == ("prefixes changed: 203.0.113.0/24",)
    assert outcome.problems == ()


@pytest.mark.parametrize("text", ["", "pop: [", "\x00", "pop: {}", "nonsense: 1"])
async def test_a_bad_file_is_refused_with_its_problems(place: Place, text: str) -> None:
    place.path.write_text(text)
    new, outcome = await place.reload()
    assert new is None
    assert not outcome.applied
    assert outcome.problems
    assert all(str(place.path) in problem for problem in outcome.problems)
    assert outcome.changes == ()


async def test_a_file_that_is_gone_or_unreadable_is_refused(place: Place) -> None:
    place.path.unlink()
    new, outcome = await place.reload()
    assert new is None
    assert outcome.problems
    place.path.mkdir()
    new, outcome = await place.reload()
    assert new is None
    assert outcome.problems


async def test_a_shrunken_file_is_refused_unless_the_number_is_told(place: Place) -> None:
    text = place.path.read_text()
    gone = text[text.index("  198.18.0.0/24:") : text.index("\ntimers:")]
    place.edit(gone, "")
    new, outcome = await place.reload()
    assert new is None
    assert "--expect-removals 8" in outcome.problems[0]  # two prefixes and the six EIPs that the cut takes with them
    new, outcome = await place.reload(7)
    assert new is None
    new, outcome = await place.reload(8)
    assert new is not None
    assert B not in new.prefixes
    assert outcome.applied


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("name: fra ", "name: ams ", "pop.name"),
        ("router_id: 192.0.2.1", "router_id: 192.0.2.7", "pop.router_id"),
        ("asn: 64500 ", "asn: 64501 ", "pop.asn"),
    ],
)
async def test_another_identity_is_refused_even_with_the_number(place: Place, old: str, new: str, name: str) -> None:
    place.edit(old, new)
    for expected in (None, 0):
        config, outcome = await place.reload(expected)
        assert config is None
        assert any(name in problem and "restart" in problem for problem in outcome.problems)


async def test_settings_that_need_a_restart_stay_as_they_are(place: Place) -> None:
    place.edit("port: 8179", "port: 8180")
    place.edit("protocol: 201", "protocol: 202")
    place.edit("state_dir: /var/lib/anycastd", "state_dir: /srv/anycastd")
    place.edit("switch_hysteresis_ms: 5 ", "switch_hysteresis_ms: 6 ")
    new, outcome = await place.reload()
    assert new is not None
    assert (new.api, new.state_dir) == (place.running.api, place.running.state_dir)
    assert (new.kernel.protocol, new.kernel.switch_hysteresis_ms) == (201, 6.0)
    assert any("needs a restart" in sentence and "api.port" in sentence for sentence in outcome.changes)
    assert (await reload_config(str(place.path), new, None, Disk("reload")))[1].changes[0].startswith("needs a restart")
