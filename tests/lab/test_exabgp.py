"""The speaker with the real ExaBGP, judged by raw BGP listeners and by FRR."""

from __future__ import annotations

import asyncio
import base64
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest

from anycastd.actuators.exabgp.events import (
    Adopted,
    DeadManFired,
    Degraded,
    DumpDone,
    Exited,
    Ready,
    Refused,
    Repaired,
    Wedged,
)
from anycastd.actuators.exabgp.hearing import Hearing
from anycastd.actuators.exabgp.process import program, start_of
from anycastd.errors import ActuatorRejected
from anycastd.model.address import Family, NeighborName
from anycastd.model.bgp import DeadManStage, EndOfRib, Heard, Priority, SpeakerState
from anycastd.model.topology import Role
from tests.lab.bgp_stage import Daemon, Sink, Stage, announce, children, eventually, kill, neighbor, stage, withdraw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]


@pytest.fixture
async def ex() -> AsyncIterator[Stage]:
    """A namespace of our own."""
    with stage() as made:
        try:
            yield made
        finally:
            await made.close()


FLOOD = 6000


def end_of_rib(number: int, family: Family = Family.IPV4_UNICAST) -> EndOfRib:
    """Return the End-of-RIB of neighbor `nNUMBER`."""
    return EndOfRib(NeighborName(f"n{number}"), family)


def has(sink: Sink, count: int) -> bool:
    """Return whether a listener has so many routes."""
    return len(sink.table()) == count


def has_adopted(daemon: Daemon) -> bool:
    """Return whether a daemon adopted an ExaBGP and has read its routes."""
    return bool(daemon.said("Adopted") and daemon.said("DumpDone"))


def command_lines() -> list[bytes]:
    """Return the command line of every process."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(entry.read_bytes())
    return lines


async def test_announce_replace_withdraw_and_end_of_rib(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), announce(2, "2001:db8:1::/48")])
    await eventually("both routes", 5, lambda: len(sink.table()) == 2)
    one.speaker.apply([announce(2, "198.51.100.0/24", as_path=(65000,) * 4)])
    await eventually("prepended", 5, lambda: len(sink.table()["198.51.100.0/24"]["as_path"]) == 4)
    assert one.speaker.observed.eor_owed == {("n2", family) for family in Family}
    one.speaker.apply([EndOfRib(NeighborName("n2"), family) for family in Family])
    await eventually("End-of-RIB of both families", 5, lambda: len(sink.rows("eor")) == 2)
    await eventually("nothing owed", 5, lambda: not one.speaker.observed.eor_owed)
    one.speaker.apply([withdraw(2, "198.51.100.0/24"), withdraw(2, "2001:db8:1::/48")])
    await eventually("an empty table", 5, lambda: not sink.table())
    # the answers may come behind the UPDATEs
    await eventually("nothing is held", 5, lambda: one.have("n2") == {})
    await one.speaker.stop(withdraw=True)


async def test_every_attribute_comes_back_as_it_was_said(ex: Stage) -> None:
    ebgp, ibgp, six = ex.sink(2), ex.sink(3, 65000), ex.sink(4, 4200000001, version=6)
    one = await ex.driven(neighbor(2), neighbor(3, 65000), neighbor(4, 4200000001, version=6)).start()
    await one.up("n2", "n3", "n4")
    rich: dict[str, Any] = {
        "med": 0,
        "communities": ("65000:1", "65000:12", "65535:0", "65535:666", "65535:65281", "65535:65282"),
        "large_communities": ("65000:1:2", "4200000000:0:4294967295"),
    }
    said = [
        announce(2, "198.51.100.0/24", as_path=(65000, 65000, 4200000000), **rich),
        announce(2, "203.0.113.7/32"),
        announce(2, "2001:db8:1::/48", med=4294967295, communities=("65000:1",)),
        announce(3, "198.51.100.0/24", as_path=(), local_preference=77, **rich),
        announce(3, "2001:db8:2::/64", as_path=(), local_preference=0),
        announce(4, "2001:db8:1::/48", **rich),
        announce(4, "198.51.100.0/24", next_hop="10.9.0.1"),
    ]
    one.speaker.apply(said)
    await one.settled()
    wanted = {name: {str(a.route.prefix): a.route for a in said if a.neighbor == name} for name in ("n2", "n3", "n4")}
    assert {name: one.have(name) for name in wanted} == wanted
    dumps = len(one.of(DumpDone))
    one.speaker.ask_routes()
    await eventually("another dump", 5, lambda: len(one.of(DumpDone)) > dumps)
    assert {name: one.have(name) for name in wanted} == wanted
    for sink, name in ((ebgp, "n2"), (ibgp, "n3"), (six, "n4")):
        await eventually("the routes", 5, partial(has, sink, len(wanted[name])))
        for prefix, route in wanted[name].items():
            row = sink.table()[prefix]
            assert row["as_path"] == list(route.as_path)
            assert row["next_hop"] == route.next_hop
            assert row.get("med") == route.med
            assert row.get("local_preference") == route.local_preference
            assert tuple(row.get("communities", ())) == route.communities
            assert tuple(row.get("large_communities", ())) == route.large_communities
    await one.speaker.stop(withdraw=True)


async def test_the_wire_ends_as_wanted_after_quick_changes_to_and_fro(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    prefixes = [f"198.51.{n}.0/24" for n in range(20)]
    random = Random(5)
    for _ in range(60):
        some = random.sample(prefixes, 4)
        one.speaker.apply(
            [withdraw(2, p) if random.random() < 0.2 else announce(2, p, med=random.randrange(3)) for p in some]
        )
        await asyncio.sleep(random.random() * 0.02)
    await one.settled()
    meds = {prefix: route.med for prefix, route in one.have("n2").items()}
    await eventually("the wire as ExaBGP says", 5, lambda: {p: row["med"] for p, row in sink.table().items()} == meds)
    await one.speaker.stop(withdraw=True)


async def test_urgent_overtakes_two_thousand_queued(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24")])
    await one.settled()
    bulk = [announce(2, f"10.{n // 256}.{n % 256}.0/24", Priority.BULK, med=n % 3) for n in range(2000)]
    one.speaker.apply(bulk)
    one.speaker.apply([withdraw(2, "198.51.100.0/24")])
    await eventually("all there", 30, lambda: len(sink.table()) == 2000)
    rows = sink.updates()
    (at,) = [number for number, row in enumerate(rows) if row["kind"] == "withdraw"]
    assert at < 150
    await one.speaker.stop(withdraw=True)
    assert sink.table() == {}


async def test_a_killed_bridge_is_replaced_and_the_peer_sees_nothing(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), end_of_rib(2)])
    await one.settled()
    await eventually("End-of-RIB", 5, lambda: sink.rows("eor"))
    pid, seen = one.pid, len(sink.rows())
    (bridge,) = children(pid)
    kill(bridge)
    one.speaker.apply([announce(2, "198.51.101.0/24")])
    await eventually("ready again", 10, lambda: len(one.of(Ready)) == 2 and one.is_ready())
    await one.settled()
    await eventually("the route said meanwhile", 5, lambda: "198.51.101.0/24" in sink.table())
    assert one.pid == pid
    assert len(sink.rows()) == seen + 1
    assert not [owed for owed in one.speaker.observed.eor_owed if owed[1] is Family.IPV4_UNICAST]
    await one.speaker.stop(withdraw=True)


async def test_a_killed_exabgp_is_replaced_and_frr_keeps_the_routes(ex: Stage) -> None:
    frr = ex.frr(10)
    one = await ex.driven(neighbor(10)).start()
    await one.up("n10")
    wanted = [announce(10, f"198.51.{n}.0/24") for n in range(10)]
    one.speaker.apply([*wanted, *(end_of_rib(10, f) for f in Family)])
    await eventually("routes at FRR", 10, lambda: len(frr.routes()) == 10)
    old, missing = one.pid, 0
    kill(old)
    began_s = time.monotonic()
    while len(one.of(Ready)) < 2 or not one.is_ready() or one.state("n10") != "established":
        missing += len(frr.routes()) != 10
        assert time.monotonic() < began_s + 30
        await asyncio.sleep(0.01)
    assert one.pid != old
    assert one.have("n10") == {}
    one.speaker.apply([*wanted, *(end_of_rib(10, f) for f in Family)])
    await eventually("no route stale", 10, lambda: not any(r.get("stale") for r in frr.routes().values()))
    assert len(frr.routes()) == 10
    assert missing == 0
    assert one.of(Exited)[0].status == -9
    await one.speaker.stop(withdraw=True)
    await eventually("nothing left at FRR", 5, lambda: not frr.routes())


@pytest.mark.timed
async def test_a_stopped_exabgp_is_replaced_before_the_hold_time(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    stopped, began_s = one.pid, time.monotonic()
    kill(stopped, signal.SIGSTOP)
    await eventually("found wedged", 6, lambda: one.of(Wedged))
    await eventually("another one", 6, lambda: one.is_ready() and one.pid != stopped)
    await one.up("n2")
    took_s = time.monotonic() - began_s
    print(f"stopped, found, replaced, session up: {took_s:.1f} s")
    assert took_s < neighbor(2).hold_time_s
    assert [row["kind"] for row in sink.rows("notification", "closed")] == ["closed"]
    await one.speaker.stop(withdraw=True)


async def test_a_stopped_bridge_is_replaced_and_the_session_stays(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    pid = one.pid
    (bridge,) = children(pid)
    kill(bridge, signal.SIGSTOP)
    await eventually("found wedged", 6, lambda: one.of(Wedged))
    await eventually("ready again", 6, lambda: len(one.of(Ready)) == 2 and one.is_ready())
    assert one.pid == pid
    assert not sink.rows("closed")
    await one.speaker.stop(withdraw=True)


async def test_a_refused_command_is_told_and_not_repeated(ex: Stage) -> None:
    ex.sink(2)
    one = await ex.driven(neighbor(2), neighbor(3)).start()
    await one.up("n2")
    wrong = [announce(2, "2001:db8:1::/48", next_hop="10.9.0.1"), announce(2, "198.51.101.0/24", as_path=(1 << 33,))]
    # ExaBGP itself refuses End-of-RIB to a session that is down
    one.speaker.apply([*wrong, end_of_rib(3), announce(2, "198.51.100.0/24")])
    await eventually("all refused", 5, lambda: len(one.of(Refused)) == 3)
    assert "ExaBGP answered error" in one.of(Refused)[2].detail
    await one.settled()
    one.speaker.apply([*wrong, end_of_rib(3)])
    assert not one.speaker.observed.in_flight
    assert len(one.of(Refused)) == 3
    assert set(one.have("n2")) == {"198.51.100.0/24"}
    one.speaker.apply([announce(2, "2001:db8:1::/48")])
    await eventually("the right one", 5, lambda: "2001:db8:1::/48" in one.have("n2"))
    await one.speaker.stop(withdraw=True)


async def test_a_reload_adds_and_changes_neighbors_without_a_word_to_the_others(ex: Stage) -> None:
    first, second = ex.sink(2), ex.sink(3)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), end_of_rib(2), end_of_rib(2, Family.IPV6_UNICAST)])
    await eventually("nothing owed", 5, lambda: not one.speaker.observed.eor_owed)
    pid, seen = one.pid, len(first.rows())
    await one.speaker.reconfigure({n.name: n for n in (neighbor(2), neighbor(3))})
    await one.up("n3")
    assert one.have("n3") == {}
    assert one.speaker.observed.eor_owed == {("n3", family) for family in Family}
    one.speaker.apply([announce(3, "198.51.100.0/24")])
    await eventually("the route at the new neighbor", 5, lambda: "198.51.100.0/24" in second.table())
    assert len(first.rows()) == seen
    await one.speaker.reconfigure({n.name: n for n in (neighbor(2), neighbor(3, hold_time_s=6))})
    await eventually("a new session with hold time 6", 10, lambda: second.rows("open")[-1]["hold"] == 6)
    await eventually("the route again", 5, lambda: "198.51.100.0/24" in second.table())
    await one.speaker.reconfigure({n.name: n for n in (neighbor(2),)})
    await eventually("the third session closed", 5, lambda: second.rows()[-1]["kind"] == "closed")
    assert len(first.rows()) == seen
    assert one.pid == pid
    await one.speaker.stop(withdraw=True)


async def test_a_reload_that_cannot_take_becomes_a_restart(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2), neighbor(3)).start()
    await one.up("n2")
    pid = one.pid
    ex.sink(4)
    await one.speaker.reconfigure({n.name: n for n in (neighbor(2), neighbor(4))})
    await eventually("another ExaBGP", 10, lambda: len(one.of(Ready)) == 2 and one.is_ready())
    assert one.pid != pid
    await one.up("n2", "n4")
    assert not sink.rows("notification")
    await one.speaker.stop(withdraw=True)


async def test_a_file_that_exabgp_refuses_changes_nothing(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    pid = one.pid
    with pytest.raises(ActuatorRejected, match="exabgp validate"):
        await one.speaker.reconfigure({n.name: n for n in (neighbor(2, hold_time_s=1),)})
    one.speaker.apply([announce(2, "198.51.100.0/24")])
    await eventually("the route", 5, lambda: sink.table())
    assert one.pid == pid
    await one.speaker.stop(withdraw=True)


@pytest.mark.parametrize("withdraws", [True, False])
async def test_a_stop_leaves_nothing_stale_and_an_upgrade_does(ex: Stage, withdraws: bool) -> None:
    frr = ex.frr(10)
    one = await ex.driven(neighbor(10)).start()
    await one.up("n10")
    one.speaker.apply([announce(10, f"10.{n // 256}.{n % 256}.0/24", Priority.BULK) for n in range(500)])
    await one.settled()
    await eventually("routes at FRR", 10, lambda: len(frr.routes()) == 500)
    await one.speaker.stop(withdraw=withdraws)
    assert one.of(Exited)
    await eventually("FRR has seen it go", 15, lambda: all(route.get("stale") for route in frr.routes().values()))
    assert len(frr.routes()) == (0 if withdraws else 500)


@pytest.mark.timed
async def test_the_bridge_obeys_the_dead_man_in_two_stages(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), announce(2, "203.0.113.0/24")])
    depref = announce(2, "198.51.100.0/24", as_path=(65000,) * 4)
    one.speaker.set_dead_man(
        [DeadManStage("depref", 0.5, (depref,)), DeadManStage("withdraw", 1.5, (withdraw(2, "198.51.100.0/24"),))]
    )
    await one.settled()
    await one.speaker.hand_over()
    gone_s = time.monotonic()
    await eventually("withdrawn", 3, lambda: "198.51.100.0/24" not in sink.table())
    # by the listener's clock: we may be late to look
    first, second = sink.updates()[-2:]
    assert (first["kind"], first["as_path"], second["kind"]) == ("announce", [65000] * 4, "withdraw")
    assert 0.3 < first["t"] - gone_s < 1.4
    assert 0.5 < second["t"] - first["t"] < 3
    two = await ex.driven(neighbor(2)).start()
    assert two.of(DeadManFired) == [DeadManFired("withdraw")]
    assert two.of(Adopted)
    assert set(two.have("n2")) == {"203.0.113.0/24"}
    await two.speaker.stop(withdraw=True)


def can_be_run_by_nobody(exabgp: str) -> bool:
    """Return whether another user may run our ExaBGP: not from a checkout below a closed home."""
    argv = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", exabgp, "version")
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


async def test_md5_right_and_wrong_and_the_password_nowhere_to_be_read(ex: Stage) -> None:
    secret, other = ex.directory / "secret", ex.directory / "other"
    for path, text in ((secret, "hunter2 \"it's;{}#\n"), (other, "wrong\n")):
        path.touch(0o600)
        path.write_text(text, encoding="ascii")
    options = ("--md5", str(secret), "--from", "10.9.0.1")
    ex.sink(2, 65001, *options)
    wrong = ex.sink(3, 65001, *options)
    one = await ex.driven(neighbor(2, password_file=str(secret)), neighbor(3, password_file=str(other))).start()
    await one.up("n2")
    assert one.state("n3") != "established"
    assert not wrong.rows("open")
    # below a closed home another user cannot run our ExaBGP: then it runs as we do, and says so
    reachable = await asyncio.to_thread(can_be_run_by_nobody, program(""))
    owner, uid = ("nobody", "65534") if reachable else ("root", "0")
    assert any(event.subject == "user" and event.detail for event in one.of(Degraded)) is not reachable
    hidden = (b"hunter2", base64.b64encode(secret.read_bytes().strip()), b"hunter2".hex().encode())
    assert not [line for line in command_lines() if any(word in line for word in hidden)]
    for path in (ex.directory / "run").rglob("*"):
        if path.is_file() and any(word in path.read_bytes() for word in hidden):
            assert path.name in ("exabgp.conf", "exabgp.conf.new")
            assert path.stat().st_mode & 0o077 == 0
            assert path.owner() == owner
    assert not any("hunter2" in repr(event) for event in one.events)
    assert (await asyncio.to_thread(Path(f"/proc/{one.pid}/status").read_text)).split("Uid:\t")[1].split("\t")[0] == uid
    await one.speaker.stop(withdraw=True)


async def test_ttl_security(ex: Stage) -> None:
    ex.sink(2, 65001, "--ttl-security")
    one = await ex.driven(neighbor(2, ttl_security=1)).start()
    await one.up("n2")
    await one.speaker.stop(withdraw=True)


async def test_of_two_daemons_one_is_refused(ex: Stage) -> None:
    sink = ex.sink(2)
    drivens = [ex.driven(neighbor(2)), ex.driven(neighbor(2))]
    started = await asyncio.gather(*(one.speaker.start() for one in drivens), return_exceptions=True)
    refused = [error for error in started if error is not None]
    assert len(refused) == 1
    assert "another anycastd (pid" in str(refused[0])
    assert isinstance(refused[0], ActuatorRejected)
    (one,) = [driven for driven in drivens if driven.speaker.is_open]
    await one.ready()
    await one.up("n2")
    with pytest.raises(ActuatorRejected):
        await ex.driven(neighbor(2)).speaker.start()
    assert not sink.updates()
    assert len(sink.rows("open")) == 1
    await one.speaker.stop(withdraw=True)


async def test_an_unknown_user_is_told_and_exabgp_runs(ex: Stage) -> None:
    ex.sink(2)
    one = await ex.driven(neighbor(2), user="no-such-user").start()
    await one.up("n2")
    assert "there is no user" in next(event.detail for event in one.of(Degraded) if event.subject == "user")
    await one.speaker.stop(withdraw=True)


async def test_a_port_taken_by_another_means_that_we_only_dial(ex: Stage) -> None:
    ex.sink(2)
    ex.sink(1, 65009)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    assert "10.9.0.1 port 179" in next(event.detail for event in one.of(Degraded) if event.subject == "listen")
    await one.speaker.stop(withdraw=True)


async def test_a_killed_daemon_is_followed_by_one_that_adopts_and_says_nothing(ex: Stage) -> None:
    sink = ex.sink(2, 65001, "--hold", "3")
    prefixes = [f"198.51.{n}.0/24" for n in range(10)] + ["2001:db8:1::/48"]
    first = ex.daemon(*prefixes)
    await eventually("End-of-RIB of both families", 20, lambda: len(first.said("Acked(action=EndOfRib")) == 2)
    await eventually("and on the wire", 5, lambda: len(sink.rows("eor")) == 2)
    assert len(sink.table()) == 11
    for _ in range(3):
        seen = len(sink.rows())
        first.end()
        first = ex.daemon(*prefixes)
        await eventually("adopted", 10, partial(has_adopted, first))
        assert not first.said("Launched")
        await asyncio.sleep(0.5)
        assert len(sink.rows()) == seen, sink.rows()[seen:]
    first.end()
    last = ex.daemon(*prefixes[:-1])
    await eventually("the prefix no longer wanted goes", 10, lambda: len(sink.table()) == 10)
    assert sink.updates()[-1]["kind"] == "withdraw"
    last.end()


async def test_a_daemon_that_does_not_read_costs_no_session(ex: Stage) -> None:
    sink = ex.sink(2, 65001, "--hold", "3")
    daemon = ex.daemon(*[f"10.{n // 256}.{n % 256}.0/24" for n in range(3000)])
    await eventually("all there", 30, lambda: len(sink.table()) == 3000)
    kill(daemon.process.pid, signal.SIGSTOP)
    try:
        # longer than the hold time
        await asyncio.sleep(4.0)
    finally:
        kill(daemon.process.pid, signal.SIGCONT)
    dumps = len(daemon.said("DumpDone"))
    await eventually("it works again", 10, lambda: daemon.said("Ready") and len(daemon.said("DumpDone")) >= dumps)
    assert not sink.rows("closed")
    assert len(sink.table()) == 3000
    daemon.end()


async def test_a_session_that_comes_up_late_gets_the_last_word_only(ex: Stage) -> None:
    one = await ex.driven(neighbor(2)).start()
    for med in (1, 2, 1):
        one.speaker.apply([announce(2, "198.51.100.0/24", med=med), announce(2, "203.0.113.0/24", med=med)])
        await one.settled()
    one.speaker.apply([withdraw(2, "203.0.113.0/24")])
    await one.settled()
    sink = ex.sink(2)
    await one.up("n2")
    await eventually("sent again", 5, lambda: one.of(Repaired))
    await eventually(
        "the last word", 5, lambda: {p: r["med"] for p, r in sink.table().items()} == {"198.51.100.0/24": 1}
    )
    await one.speaker.stop(withdraw=True)


async def test_stop_and_start_again_and_hand_over(ex: Stage) -> None:
    sink = ex.sink(2)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), end_of_rib(2), end_of_rib(2, Family.IPV6_UNICAST)])
    await eventually("nothing owed", 5, lambda: not one.speaker.observed.eor_owed)
    await eventually("both on the wire", 5, lambda: len(sink.rows("eor")) == 2)
    pid, seen = one.pid, len(sink.rows())
    await one.speaker.hand_over()
    two = await ex.driven(neighbor(2)).start()
    assert two.pid == pid
    assert set(two.have("n2")) == {"198.51.100.0/24"}
    await two.up("n2")
    assert not two.speaker.observed.eor_owed
    assert len(sink.rows()) == seen
    await two.speaker.stop(withdraw=True)
    assert sink.rows()[-2]["kind"] == "withdraw"
    assert start_of(pid) is None
    three = await ex.driven(neighbor(2)).start()
    await three.up("n2")
    assert three.have("n2") == {}
    await three.speaker.stop(withdraw=True)


async def test_an_exabgp_that_cannot_start_is_told_and_tried_again(ex: Stage) -> None:
    ex.sink(2)
    secret = ex.directory / "secret"
    one = ex.driven(neighbor(2), neighbor(3, password_file=str(secret)))
    await one.speaker.start()
    await eventually("told", 5, lambda: [e for e in one.of(Degraded) if e.subject == "launch" and "secret" in e.detail])
    assert one.speaker.observed.speaker is SpeakerState.ABSENT
    assert one.speaker.observed.routes is None
    secret.write_text("x", encoding="ascii")
    await one.ready()
    assert [e.detail for e in one.of(Degraded) if e.subject == "launch"][-1] == ""
    await one.speaker.stop(withdraw=True)


async def test_an_adopted_exabgp_gets_the_configuration_of_today(ex: Stage) -> None:
    first, second = ex.sink(2), ex.sink(3)
    one = await ex.driven(neighbor(2)).start()
    await one.up("n2")
    one.speaker.apply([announce(2, "198.51.100.0/24"), end_of_rib(2), end_of_rib(2, Family.IPV6_UNICAST)])
    await eventually("both on the wire", 5, lambda: len(first.rows("eor")) == 2)
    await eventually("nothing owed", 5, lambda: not one.speaker.observed.eor_owed)
    pid, seen = one.pid, len(first.rows())
    await one.speaker.hand_over()
    two = await ex.driven(neighbor(2), neighbor(3)).start()
    await two.up("n2", "n3")
    assert second.rows("up")
    assert two.pid == pid
    assert len(first.rows()) == seen
    await two.speaker.stop(withdraw=True)


async def test_a_flood_and_garbage_of_an_observer_hold_up_no_command(ex: Stage) -> None:
    sink, _ = ex.sink(2), ex.sink(3, 64666, "--flood", str(FLOOD), "--garbage")
    rr = neighbor(3, 64666, role=Role.OBSERVER, graceful_restart_s=0)
    one = ex.driven(neighbor(2), rr)
    hearing = Hearing({rr.address: rr.name}, [ip_network("10.255.255.0/24")])
    heard: list[Heard] = []
    one.speaker.on_update = lambda line: heard.extend(hearing.take(line, time.monotonic()))
    await one.start()
    await one.up("n2")
    took_s = []
    for number in range(40):
        asked_s = time.monotonic()
        one.speaker.apply([announce(2, f"198.51.100.{number}/32", Priority.FAILOVER)])
        await eventually("it is acknowledged", 10, lambda: not one.speaker.observed.in_flight)
        took_s.append(time.monotonic() - asked_s)
    ear = hearing.ears[rr.name]
    await eventually("the flood is over", 60, lambda: ear.foreign + ear.flooded + ear.unreadable >= FLOOD)
    took_ms = sorted(1000 * seconds for seconds in took_s)
    print(f"answers beside {FLOOD} UPDATEs: median {took_ms[20]:.0f} ms, longest {took_ms[-1]:.0f} ms")
    assert heard == []
    for kind in (Wedged, Refused, Exited):
        assert one.of(kind) == []
    assert one.state("n2") == "established"
    await eventually("the upstream has all", 10, lambda: has(sink, 40))
    await one.speaker.stop(withdraw=True)
