"""What happens in a POP, in the words of the journal."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from anycastd.model.address import NeighborName
from anycastd.model.fleet import NotCounted
from anycastd.model.fleet_view import FleetView, Guard, PopSeen
from anycastd.model.journal import EntryKind
from anycastd.model.probe import Why
from anycastd.runtime.journal.follow import Followed
from anycastd.runtime.journal.recorder import Recorder
from anycastd.runtime.journal.scribe import ADDRESSES_NAMED, Scribe
from anycastd.telemetry.metrics import Metrics
from tests.unit.journal_world import Noted, made
from tests.unit.runtime.world import A, World


def words(noted: Noted, *kinds: EntryKind) -> list[tuple[str, str, str, str]]:
    """Return subject, before, after and reason of the entries of these kinds."""
    return [(one.subject, one.before, one.after, one.reason) for one in noted.entries if one.kind in kinds]


def test_what_is_believed_of_tunnels_backends_and_regions_is_noted_when_it_changes() -> None:
    world, noted = World(), Noted()
    scribe = Scribe(noted)
    scribe.look()
    scribe.health = lambda: world.control.beliefs.view
    scribe.look()
    assert noted.entries == [], "what is so at the first look is no change"
    world.answer("")
    scribe.look()
    assert ("eu/a", "INITIAL", "HEALTHY", "checks_pass") in words(noted, EntryKind.TUNNEL)
    assert ("eu", "INITIAL", "HEALTHY", "enough_backends") in words(noted, EntryKind.REGION)
    noted.entries.clear()
    scribe.look()
    assert noted.entries == []
    world.answer("tunnel/eu/a", Why.TIMEOUT)
    scribe.look()
    assert words(noted, EntryKind.TUNNEL) == [("eu/a", "HEALTHY", "UNHEALTHY", "check_failed")]
    assert words(noted, EntryKind.REGION, EntryKind.BACKEND) == []
    (only,) = noted.entries
    assert only.detail == "tunnel/eu/a/path"


def test_the_recorder_tells_the_journal_of_verdicts_decisions_reroutes_and_moves() -> None:
    world, noted = World(), Noted()
    recorder = Recorder(Metrics(), Followed(lambda timer: None), Scribe(noted))
    world.answer("")
    world.answer("tunnel/eu/a", Why.TIMEOUT)
    world.answer("backend/eu", Why.REFUSED)
    for verdict in world.notes.verdicts:
        recorder.verdict(verdict)
    for order in world.notes.reroutes:
        recorder.rerouted(*order)
    for moved in world.notes.moves:
        recorder.moved(moved)
    before = None
    for snapshot in (one for one in world.notes.snapshots if one.decision.prefix == A):
        recorder.decided(before, snapshot, 0.0)
        before = snapshot.decision
    assert ("tunnel/eu/a/path", "HEALTHY", "UNHEALTHY", "timeout") in words(noted, EntryKind.CHECK)
    assert ("eu ipv4", "eu/a", "eu/b", "") in words(noted, EntryKind.REROUTE)
    assert words(noted, EntryKind.DECISION)[-1] == (str(A), "WITHDRAWN", "NORMAL", "serving")
    assert noted.snapshots == [one for one in world.notes.snapshots if one.decision.prefix == A]
    moves = words(noted, EntryKind.EIP)
    assert any(before == "eu/web-1 100 %" and after == "us/web-1 100 %" for _, before, after, _ in moves), moves


def test_a_decision_keeps_all_that_made_it() -> None:
    noted, snapshot = Noted(), made()
    Scribe(noted).decided(None, snapshot)
    (one,) = noted.entries
    assert (one.before, one.after, one.reason, one.hold) == ("", "DEPREF", "unable_to_serve", "settling")
    assert noted.snapshots == [snapshot]


def test_alarms_reloads_start_and_stop_are_noted() -> None:
    noted = Noted()
    scribe = Scribe(noted)
    scribe.start("fra", "1.0", "9f3c")
    scribe.alarm("session_down", "transit-a", "hold timer")
    scribe.alarm_cleared("session_down", "transit-a")
    scribe.reload("9f3c", applied=False, detail="x.yaml:3:1: no")
    scribe.stop("fra", "hand over")
    assert [(one.kind.value, one.subject, one.after, one.reason) for one in noted.entries] == [
        ("start", "fra", "1.0", ""),
        ("alarm", "transit-a", "raised", "session_down"),
        ("alarm_cleared", "transit-a", "cleared", "session_down"),
        ("reload", "9f3c", "refused", ""),
        ("stop", "fra", "hand over", ""),
    ]


def test_of_many_eips_that_move_together_the_first_are_named_and_the_rest_counted() -> None:
    world, noted = World(), Noted()
    world.answer("")
    moved = replace(world.notes.moves[-1], addresses=tuple(IPv4Address(0xCB007100 + n) for n in range(30, 0, -1)))
    Scribe(noted).moved(moved)
    (one,) = noted.entries
    assert one.subject == "203.0.113.1"
    assert "(EIPs: 203.0.113.1, 203.0.113.2, " in one.detail
    assert one.detail.endswith(f"203.0.113.10 and {30 - ADDRESSES_NAMED} more)")


def test_who_is_heard_of_the_fleet_is_noted_when_it_changes() -> None:
    noted = Noted()
    scribe = Scribe(noted)
    view = FleetView(Guard.ECHO, pops=(PopSeen("sin", 2, None, by=(NeighborName("store"),)),))
    scribe.fleet = lambda: view
    scribe.look()
    scribe.look()
    assert words(noted, EntryKind.FLEET) == []
    view = FleetView(Guard.BLIND, pops=(PopSeen("sin", 2, NotCounted.BLIND),))
    scribe.look()
    assert words(noted, EntryKind.FLEET) == [("sin", "heard", "blind", ""), ("guard", "echo", "blind", "")]
