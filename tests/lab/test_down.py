"""`anycastd down`: leaves, and with --purge removes all that is ours from a kernel in which others live too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.unit_stage import PREFIXES, PYTHON, UnitStage, unit_stage
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
FOREIGN = """
link add other0 type bridge
link set other0 up
addr add 10.77.0.1/24 dev other0
route add 198.51.100.0/24 dev other0 proto static
route add blackhole 198.51.99.0/24 proto 202
rule add pref 999 from 10.77.0.9 lookup 77 proto 202
"""


@pytest.fixture
def units() -> Iterator[UnitStage]:
    with unit_stage() as made:
        yield made
        made.tell()


def down(units: UnitStage, *options: str) -> tuple[int, str]:
    """Run the verb as root, in the POP's namespace."""
    argv = ("ip", "netns", "exec", units.pop, str(PYTHON.with_name("anycastd")), "down", "-c", str(units.config))
    done = subprocess.run([*argv, *options], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def kernel(units: UnitStage) -> list[str]:
    """Return everything that is in the kernel, but for link-local addresses, which it makes and settles by itself."""
    said = [
        units.say("ip", "-4", "route", "show", "table", "all"),
        units.say("ip", "-6", "route", "show", "table", "all"),
        units.say("ip", "rule"),
        units.say("ip", "-6", "rule"),
        units.say("ip", "-o", "link"),
        units.say("ip", "-o", "address"),
        units.say("nft", "list", "tables"),
    ]
    lines = (line.strip() for text in said for line in text.splitlines())
    return sorted(line for line in lines if "fe80::" not in line and "ff00::/8" not in line)


def test_down_leaves_and_purge_removes_what_is_ours_and_nothing_else(units: UnitStage) -> None:
    units.ip(units.pop, FOREIGN)
    units.say("nft", "add", "table", "inet", "other")
    before = kernel(units)
    speaker, daemon = units.speaker(), units.daemon()
    wait_until("both prefixes at the router", 30, lambda: units.announced() == set(PREFIXES.values()))

    status, said = down(units, "--purge", "--yes")
    assert (status, f"a daemon runs (pid {daemon.pid})" in said) == (75, True), said
    status, said = down(units, "--purge", "--dry-run", "--force")
    listed = [line.removeprefix("would remove: ") for line in said.splitlines()]
    assert status == 0
    for what in ("nft table inet anycastd", "device vx0", "rule 1", "route blackhole 203.0.113.0/24"):
        assert any(line.startswith(what) for line in listed), (what, listed)
    assert daemon.poll() is None

    status, said = down(units, "--yes")
    assert (status, "the kernel goes on forwarding" in said) == (0, True), said
    assert daemon.wait(5) == 0
    assert speaker.poll() is None
    wait_until("nothing at the router", 10, lambda: units.routes(4) | units.routes(6) == {})
    assert "vx0" in units.say("ip", "-o", "link")
    status, said = down(units)
    assert (status, "no daemon answers" in said) == (69, True)

    status, said = down(units, "--purge")
    assert (status, "say --yes" in said) == (64, True)
    status, said = down(units, "--purge", "--yes")
    assert status == 0, said
    assert kernel(units) == before
    assert down(units, "--purge", "--yes") == (0, "nothing of ours was in the kernel\n")


def test_purge_by_force_ends_what_runs_with_everything_withdrawn(units: UnitStage) -> None:
    speaker, daemon = units.speaker(), units.daemon()
    wait_until("both prefixes at the router", 30, lambda: units.announced() == set(PREFIXES.values()))
    status, said = down(units, "--purge", "--force", "--yes")
    assert status == 0, said
    assert daemon.wait(5) == 0
    speaker.wait(10)
    assert units.routes(4) | units.routes(6) == {}
    assert "anycastd" not in units.say("nft", "list", "tables")
