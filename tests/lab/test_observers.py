"""What an observer may say: over IPv6, through real route servers, forged, replayed, signed; nothing of it is believed
that should not be, and each of it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from anycastd.fleet.codec import Kind, call_of, name_of, parts_of, route_of
from anycastd.model.fleet import Beacon, Claim, Epoch, Part
from anycastd.runtime.fleet.trust import read_key
from tests.lab.observed_stage import (
    DEPREF,
    GONE,
    NORMAL,
    POP,
    PREFIX,
    SERVERS,
    SPEC,
    STANDBY,
    Observed,
    observed_stage,
)
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def made() -> Iterator[Observed]:
    with observed_stage() as stage:
        yield stage


@pytest.fixture
def stage(made: Observed) -> Iterator[Observed]:
    """The prefix is NORMAL, nobody else is heard, and so it is again afterwards."""
    made.sicken(False)
    made.wait_level(NORMAL)
    yield made
    for number in (1, 2, 3):
        made.forget(number)
    made.sicken(False)
    made.wait_level(NORMAL)


BOOTS = iter(range(2000, 4000))


def normal(stage: Observed, pop: int = 2, *, claim: Claim = Claim.NORMAL) -> Beacon:
    """Return what another POP says: it has seen fra's newest epoch, and is of a start later than any before."""
    mine = stage.wait_beacon("rr", POP, Claim.NORMAL)
    echoes = {1: Epoch(mine.boot, mine.epoch)}
    return Beacon(pop=pop, boot=next(BOOTS), seq=1, upstreams=1, claims={PREFIX: claim}, echoes=echoes)


def reflected(stage: Observed, beacon: Beacon) -> Beacon:
    """Have the reflector pass on a POP's first two beacons: after a long silence the first alone would not count."""
    stage.reflect(beacon)
    stage.reflect(beacon := replace(beacon, seq=beacon.seq + 1))
    return beacon


def echoing(stage: Observed, beacon: Beacon, speaker: str = "rr", by: str = POP) -> Beacon:
    """Return the POP's next beacon, after it saw that fra is depreferenced."""
    mine = stage.wait_beacon(speaker, by, Claim.DEPREF)
    return replace(beacon, seq=beacon.seq + 1, echoes={1: Epoch(mine.boot, mine.epoch)})


@pytest.mark.parametrize("by", SERVERS)
def test_a_prefix_leaves_by_the_word_of_a_pop_behind_a_route_server_over_ipv6(stage: Observed, by: str) -> None:
    server, _ = SERVERS[by]
    sin, iad = normal(stage), normal(stage, 3, claim=Claim.DEPREF)
    stage.say("sin", server, sin)
    stage.say("iad", server, iad)
    stage.wait_heard(sin=by, iad=by)
    told = len(stage.look())
    stage.sicken()
    stage.wait_level(DEPREF)
    stage.wait_hold("not_enough_announcers")
    # iad says that it is depreferenced itself: its word is none
    stage.say("iad", server, echoing(stage, iad, "iad", server))
    stage.say("sin", server, echoing(stage, sin, "sin", server))
    stage.wait_level(GONE)
    assert stage.look()[told:] == [DEPREF, GONE]
    stage.wait_alarms()
    for number, speaker in ((2, "sin"), (3, "iad")):
        stage.forget(number, speaker, server)


def test_what_is_forged_stripped_foreign_or_twice_is_refused_told_and_changes_nothing(stage: Observed) -> None:
    sin = reflected(stage, normal(stage))
    stage.wait_heard(sin="rr")
    told = list(stage.look())
    whole, other = (route_of(SPEC, parts_of(one)[0])[1] for one in (sin, normal(stage, 3)))
    foreign: list[dict[str, Any]] = [{"path": [64666]}, {"originator": "192.0.2.66"}]
    changed: list[dict[str, Any]] = [
        {"large": []}, {"large": whole[1:]}, {"large": [*whole, f"{SPEC.asn}:1:{Kind.CLAIM << 28}"]},
        {"large": ["64666:1:2"]}, {"large": other},  # the last are iad's words at sin's place
    ]  # fmt: skip
    for pop, ways in ((3, foreign), (2, changed)):
        heard = {"sin": "rr"} if pop == 3 else {}
        for way in ways:
            stage.reflect(normal(stage, pop))
            stage.wait_heard(**{**heard, SPEC.pops[pop]: "rr"})
            stage.reflect(normal(stage, pop), **way)
            stage.wait_heard(**heard)
    stage.wait_alarms(("beacon_refused", "iad"), ("beacon_unreadable", "sin"))
    stage.forget(3)
    stage.sicken()
    stage.wait_level(DEPREF)
    stage.wait_hold("not_enough_announcers")
    assert stage.look() == [*told, DEPREF], "no router heard of anything but this"
    # of all that was said only this is believed
    stage.reflect(echoing(stage, replace(sin, boot=next(BOOTS))))
    stage.wait_level(GONE)


def test_a_replayed_beacon_does_not_count(stage: Observed) -> None:
    sin = reflected(stage, normal(stage))
    stage.wait_heard(sin="rr")
    stage.sicken()
    stage.wait_level(DEPREF)
    answer = echoing(stage, sin)
    gone = replace(answer, seq=answer.seq + 1, claims={PREFIX: Claim.GONE})
    stage.reflect(gone)
    # both were said, in this order: `answer` would make fra leave
    for old in (sin, answer):
        stage.reflect(old)
    stage.reflect(replace(gone, seq=gone.seq + 1))
    wait_until("it was all heard", 60, lambda: seq_of(stage, "sin") == gone.seq + 1)
    stage.wait_hold("not_enough_announcers")
    assert stage.look()[-1] == DEPREF


def seq_of(stage: Observed, pop: str) -> int:
    return next(int(one["seq"]) for one in stage.status()["fleet"]["pops"] if one["pop"] == pop)


@pytest.fixture
def as_before(stage: Observed) -> Iterator[None]:
    yield
    stage.sicken(False)
    stage.reload(None)


@pytest.mark.usefixtures("as_before")
def test_a_recording_that_is_played_to_a_restarted_daemon_keeps_nothing_away(stage: Observed) -> None:
    """sin, on whose word the prefix left, dies while fra's daemon is away, and what it said is played on."""
    stage.reload(None, blind="2s")
    sin = reflected(stage, normal(stage))
    stage.wait_heard(sin="rr")
    stage.sicken()
    stage.wait_level(DEPREF)
    stage.reflect(answer := echoing(stage, sin))
    stage.wait_level(GONE)
    stage.restart()

    def so() -> bool:
        # as a recording goes on; its first may come before the daemon listens
        nonlocal answer
        stage.reflect(answer := replace(answer, seq=answer.seq + 1))
        assert (why := why_of(stage, "sin")) == "not_answered", why
        return True

    wait_until("sin is heard, and does not answer", 60, so)
    stage.wait_level(DEPREF)
    stage.reflect(echoing(stage, answer))
    stage.wait_heard(sin="rr")


def why_of(stage: Observed, pop: str) -> str | None:
    return next(
        None if one["why"] is None else str(one["why"]) for one in stage.status()["fleet"]["pops"] if one["pop"] == pop
    )


def test_replays_and_numbers_used_twice_are_told(stage: Observed) -> None:
    """With a heartbeat so short that what is old is so soon; what is said is said until it is told of."""
    told = list(stage.look())
    stage.reload(None, heartbeat="200ms")
    last = normal(stage, claim=Claim.DEPREF)
    seqs = iter(range(2, 1_000_000))

    mine = stage.wait_beacon("rr", POP, Claim.NORMAL)
    ours = Beacon(pop=1, boot=mine.boot, seq=mine.seq + 100_000, claims={})
    iad = normal(stage, 3, claim=Claim.DEPREF)
    stranger = replace(iad, pop=9)
    wanted = {("beacon_replayed", "sin"), ("own_number_taken", "fra"), ("pop_twice", "iad"), ("unknown_pop", "9")}

    def so() -> bool:
        stage.reflect(replace(last, seq=next(seqs)))
        twice = replace(iad, seq=next(seqs)), replace(iad, boot=iad.boot - 1000, seq=next(seqs))
        for one in (last, ours, *twice, stranger):
            stage.reflect(one)
        assert wanted <= (have := stage.alarms()), have
        return True

    wait_until("all of it is told", 60, so)
    assert stage.look() == told, "nothing changed"
    for number in (1, 2, 3, 9):
        stage.forget(number)
    stage.wait_alarms()
    stage.reload(None)


CALL = """
name: call
prefixes: ["2001:db8:113::/48"]
when: [{load_above: 95%, for: 5m}]
steps: [{more_announcers: {}, verify_after: [10s]}]
"""


@pytest.fixture
def sin(stage: Observed) -> Beacon:
    """sin announces a second prefix, and carries the first; fra hears it."""
    claims = {STANDBY: Claim.NORMAL, PREFIX: Claim.GONE}
    said = reflected(stage, replace(normal(stage), claims=claims))
    stage.wait_heard(sin="rr")
    return said


@pytest.fixture
def standby(stage: Observed, sin: Beacon) -> Iterator[Observed]:
    """fra is a standby for that prefix, and has a playbook that calls on standbys for the first."""
    del sin  # who has too few announcers would come up, standby or not
    (stage.made.directory / "call.yaml").write_text(CALL, encoding="ascii")
    spread = {"capacity": "1gbit", "playbooks": ["call.yaml"], "standby_calm": "1s", "standby_leave": "0s"}
    sections = {"prefixes": {str(PREFIX): {}, str(STANDBY): {"announce": "standby"}}, "attack": {"spread": spread}}
    stage.reload(None, sections=sections)
    yield stage
    stage.reload(None, "--expect-removals", "1")


def head_of(stage: Observed, claim: Claim) -> Part | None:
    """Return fra's beacon if it says this of the prefix that it is a standby for."""
    part = stage.beacon("rr", POP)
    said = None if part is None else part.said.get(name_of(STANDBY))
    return part if said is not None and said.claim is claim else None


def test_standbys_are_called_by_beacon_and_leave_past_the_guard(standby: Observed, sin: Beacon) -> None:
    wait_until("fra is silent", 60, lambda: head_of(standby, Claim.GONE))
    assert standby.look(STANDBY) == [], "nobody has called"
    standby.reflect(sin := replace(sin, seq=3, calls=frozenset({STANDBY})))
    standby.wait_level(NORMAL, STANDBY)
    # fra calls as well: sin, which carries the other prefix and is silent, may be a standby for it
    standby.verb("attack", "playbook", "run", "call")
    wait_until("it calls in its own beacon", 60, lambda: calls_of(standby) == frozenset({call_of(PREFIX)}))
    standby.verb("attack", "playbook", "stop", "call")
    wait_until("it calls no more", 60, lambda: calls_of(standby) == frozenset())
    standby.reflect(sin := replace(sin, seq=4, calls=frozenset()))
    standby.wait_level(DEPREF, STANDBY)
    mine = wait_until("it says so", 60, lambda: head_of(standby, Claim.DEPREF))
    standby.reflect(replace(sin, seq=5, echoes={1: Epoch(mine.boot, mine.epoch)}))
    standby.wait_level(GONE, STANDBY)
    assert standby.look(STANDBY) == [NORMAL, DEPREF, GONE]


def calls_of(stage: Observed) -> frozenset[int] | None:
    part = stage.beacon("rr", POP)
    return None if part is None else part.calls


@dataclass(frozen=True)
class Keys:
    """Two keys, one of this fleet and one of another, and the file of the first."""

    file: Path
    right: bytes
    wrong: bytes


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    files = tmp_path / "key", tmp_path / "other"
    for one in files:
        one.touch(0o600)
        one.write_text(f"secret of the fleet, {one.name}")
    return Keys(files[0], *(read_key(str(one)) for one in files))


@pytest.mark.usefixtures("as_before")
def test_with_a_key_only_signed_beacons_of_an_observer_count(stage: Observed, keys: Keys) -> None:
    iad = reflected(stage, normal(stage, 3))
    stage.wait_heard(iad="rr")
    told = list(stage.look())
    stage.reload(keys.file, accept_unsigned=True)
    iad = replace(iad, seq=iad.seq + 1)
    stage.reflect(iad)
    wait_until("what has no signature yet is believed", 60, lambda: seq_of(stage, "iad") == iad.seq)
    stage.reload(keys.file)
    stage.sicken()
    stage.wait_level(DEPREF)
    answer = echoing(stage, iad)
    for key in (b"", keys.wrong):
        stage.reflect(answer, key)
        stage.wait_alarms(("beacon_refused", "iad"))
        stage.wait_hold("not_enough_announcers")
    assert stage.look() == [*told, DEPREF]
    stage.reflect(answer, keys.right)
    stage.wait_level(GONE)
    stage.wait_alarms()
    mine = [row for name, row in stage.heard if name == "rr" and row["kind"] == "announce"][-1]
    kinds = [int(one.split(":")[2]) >> 28 for one in mine["large_communities"]]
    assert kinds.count(Kind.MAC) == 2, "ours is signed"


@pytest.mark.usefixtures("as_before")
def test_with_a_key_only_signed_beacons_of_the_store_count(stage: Observed, keys: Keys) -> None:
    stage.reload(keys.file)
    told = list(stage.look())
    sin = normal(stage)
    stage.sicken()
    stage.wait_level(DEPREF)
    answer = echoing(stage, sin)
    for key in (b"", keys.wrong):
        stage.store(answer, key)
        stage.wait_alarms(("beacon_unreadable", "sin"))
        stage.wait_heard()
        stage.wait_hold("not_enough_announcers")
    assert stage.look() == [*told, DEPREF]
    for one in (answer, replace(answer, seq=answer.seq + 1)):
        stage.store(one, keys.right)
    stage.wait_heard(sin="store")
    stage.wait_level(GONE)
    stage.wait_alarms()
    wait_until("ours is signed there too", 60, lambda: " mac:" in stage.member.ctl("get", "/anycastd/beacons/fra/0"))
    # what is deleted is no word, but a restart of the channel forgets it
    stage.member.ctl("del", "/anycastd/beacons/sin/0")
