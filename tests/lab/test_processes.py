"""What happens to routes when our own processes die, hang, are told to go, or are started twice."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.asking import asked
from tests.lab.fleet import ABSENT, BACKENDS, DEPREF, NORMAL, Fleet
from tests.lab.hung_disk import hung_disk
from tests.lab.measured import Measured, Row
from tests.lab.topology_facts import (
    PREFIX_A4,
    PREFIX_A6,
    PREFIX_B4,
    PREFIX_B6,
    PREFIXES,
    SERVICE,
    SITES,
    ask,
    established,
    make_backend,
)
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

FRA = SITES["fra"]
CONFIG = "/etc/anycastd/anycastd.yaml"
STATE = "/var/lib/anycastd"
UNDERLAYS = ("eth2", "eth3")


def pids(world: Fleet, pattern: str) -> list[int]:
    """Return the processes of fra whose command line matches."""
    return [int(pid) for pid in world.lab.exec("fra", "pgrep", "-f", pattern).stdout.split()]


def daemon(world: Fleet) -> int:
    """Return the daemon's pid, which its supervisor wrote down."""
    return int(world.lab.exec("fra", "cat", "/run/anycastd.pid", check=True).stdout)


def exabgp(world: Fleet) -> int:
    """Return the pid of the only ExaBGP of fra."""
    (pid,) = wait_until("one ExaBGP", 10, lambda: only_one(pids(world, "exabgp server")))
    return pid


def only_one(found: list[int]) -> list[int] | None:
    return found if len(found) == 1 else None


def bridge(world: Fleet) -> int:
    """Return the pid of the bridge."""
    (pid,) = wait_until("one bridge", 10, lambda: only_one(pids(world, "bridge.py")))
    return pid


def told_nothing(world: Fleet, since_s: float) -> bool:
    """Return whether no router heard anything of any prefix from fra since then."""
    heard = {prefix: world.told(FRA, prefix, since_s) for prefix in PREFIXES}
    assert not any(heard.values()), heard
    return True


def is_ready(world: Fleet) -> bool:
    """Return whether the daemon of fra says that it is ready."""
    return asked(world.lab, "fra", "/readyz")[0] == 200


@pytest.fixture
def fra(world: Fleet) -> Iterator[Fleet]:
    """The world with a daemon on fra that is ready."""
    wait_until("fra is ready", 20, lambda: is_ready(world))
    yield world
    world.lab.exec("fra", "rm", "-f", "/run/no-restart")
    wait_until("fra is ready again", 30, lambda: is_ready(world))


def test_a_killed_daemon_is_taken_over_without_an_update(fra: Fleet, measured: Measured) -> None:
    pid, speaker = daemon(fra), exabgp(fra)
    with fra.clients(PREFIX_A4, PREFIX_B6) as watch:
        at_s = time.time()
        fra.lab.kill("fra", pid, signal.SIGKILL)
        wait_until("a new daemon", 10, lambda: is_ready(fra) and daemon(fra) != pid)
        watch.more()
    assert exabgp(fra) == speaker
    assert told_nothing(fra, at_s)
    assert watch.lost("c-fra", PREFIX_A4) == 0
    measured.add(
        Row(
            "daemon killed",
            "nothing: 0 UPDATEs",
            None,
            watch.gap_ms("c-fra", PREFIX_A4),
            0,
            len(watch.of("c-fra", PREFIX_A4)),
        )
    )


def test_a_daemon_killed_as_everything_fails_leaves_nothing_stale(fra: Fleet) -> None:
    """exacheck's worker, killed as its service went down, came back, thought nothing announced, and left the route."""
    fra.lab.exec("fra", "touch", "/run/no-restart", check=True)
    fra.lab.kill("fra", daemon(fra), signal.SIGKILL)
    for backend in BACKENDS:
        fra.hurt(partial(make_backend, fra.lab, backend, "refuse"), partial(make_backend, fra.lab, backend, "normal"))
    fra.lab.exec("fra", "rm", "/run/no-restart", check=True)
    wanted = {PREFIX_A4: ABSENT, PREFIX_A6: ABSENT, PREFIX_B4: DEPREF, PREFIX_B6: DEPREF}
    fra.expect({(pop, prefix): level for pop in SITES for prefix, level in wanted.items()})
    fra.heal()
    fra.wait_normal()


def test_a_dead_daemon_leaves_everything_standing(fra: Fleet) -> None:
    fra.lab.exec("fra", "touch", "/run/no-restart", check=True)
    at_s = time.time()
    fra.lab.kill("fra", daemon(fra), signal.SIGKILL)
    with fra.clients(*PREFIXES) as watch:
        watch.more(30)
    assert told_nothing(fra, at_s)
    assert all(watch.lost("c-fra", prefix) == 0 for prefix in PREFIXES)


def test_the_journal_of_a_dead_daemon_is_read_and_its_decisions_made_again(fra: Fleet) -> None:
    ours = command(fra)
    said = json.loads(fra.lab.exec("fra", *ours, "decisions", "--json", "--prefix", PREFIX_A4, check=True).stdout)
    assert (said["source"], said["decisions"][0]["level"]) == ("daemon", "NORMAL")
    fra.lab.exec("fra", "touch", "/run/no-restart", check=True)
    fra.lab.kill("fra", daemon(fra), signal.SIGKILL)
    left = json.loads(fra.lab.exec("fra", *ours, "decisions", "--json", "--prefix", PREFIX_A4, check=True).stdout)
    assert left["source"] == "file"
    assert left["decisions"] == said["decisions"]
    number = str(left["decisions"][0]["number"])
    assert fra.lab.exec("fra", *ours, "decisions", "replay", number, check=True).stdout.endswith(": the same\n")
    kinds = "start,session,region,speaker"
    told = fra.lab.exec("fra", *ours, "events", "--types", kinds, "--limit", "1000", check=True)
    assert all(f"  {kind} " in told.stdout for kind in kinds.split(",")), told.stdout
    assert told.stderr.startswith("from /var/lib/anycastd/journal.db (the daemon does not answer")


def test_a_killed_bridge_changes_no_route(fra: Fleet) -> None:
    pid, speaker, at_s = bridge(fra), exabgp(fra), time.time()
    fra.lab.kill("fra", pid, signal.SIGKILL)
    wait_until("a new bridge", 10, lambda: pids(fra, "bridge.py") not in ([], [pid]))
    wait_until("ready", 10, lambda: is_ready(fra))
    assert exabgp(fra) == speaker
    assert told_nothing(fra, at_s)


def test_a_killed_exabgp_is_replaced_and_no_client_notices(fra: Fleet, measured: Measured) -> None:
    pid = exabgp(fra)
    with fra.clients(PREFIX_A4, PREFIX_B6) as watch:
        fra.lab.kill("fra", pid, signal.SIGKILL)
        wait_until("another ExaBGP", 10, lambda: exabgp(fra) != pid)
        fra.wait_normal()
        watch.more()
    lost = watch.lost("c-fra", PREFIX_A4)
    measured.add(
        Row(
            "ExaBGP killed",
            "routes kept as stale, then sent again",
            None,
            watch.gap_ms("c-fra", PREFIX_A4),
            lost,
            len(watch.of("c-fra", PREFIX_A4)),
        )
    )
    assert lost == 0


def test_a_stopped_exabgp_is_found_and_replaced_before_the_hold_time(fra: Fleet, measured: Measured) -> None:
    pid, at_s = exabgp(fra), time.time()
    fra.lab.pause("fra", pid)
    wait_until("another ExaBGP", 8, lambda: pids(fra, "exabgp server") not in ([], [pid]) and exabgp(fra) != pid)
    after_ms = (time.time() - at_s) * 1000
    fra.wait_normal()
    measured.add(Row("ExaBGP stopped (SIGSTOP)", "found wedged, killed, replaced", after_ms, None, 0, 0))
    # found in 3 s, and the hold time is 9 s
    assert after_ms < 9000


def test_a_daemon_that_was_stopped_for_a_while_blames_nobody(fra: Fleet) -> None:
    pid, at_s = daemon(fra), time.time()
    fra.lab.pause("fra", pid)
    with fra.clients(PREFIX_A4) as watch:
        watch.more(40)
    fra.lab.resume("fra", pid)
    wait_until("ready", 10, lambda: is_ready(fra))
    assert told_nothing(fra, at_s)
    assert watch.lost("c-fra", PREFIX_A4) == 0


def test_the_whole_group_killed_comes_back_without_losing_a_route(fra: Fleet, measured: Measured) -> None:
    group = [daemon(fra), bridge(fra), exabgp(fra)]
    with fra.clients(PREFIX_A4, PREFIX_B4) as watch:
        fra.lab.exec("fra", "kill", "-9", *map(str, group), check=True)
        wait_until("ready again", 20, lambda: is_ready(fra) and exabgp(fra) not in group)
        fra.wait_normal()
        watch.more()
    lost = watch.lost("c-fra", PREFIX_A4)
    measured.add(
        Row(
            "daemon, bridge, ExaBGP killed",
            "stale routes carry on, then sent again",
            None,
            watch.gap_ms("c-fra", PREFIX_A4),
            lost,
            len(watch.of("c-fra", PREFIX_A4)),
        )
    )
    assert lost == 0


def test_a_router_that_restarts_learns_everything_again(fra: Fleet) -> None:
    (bgpd,) = [int(pid) for pid in fra.lab.exec("t-fra", "pgrep", "-x", "bgpd").stdout.split()]
    fra.lab.kill("t-fra", bgpd, signal.SIGKILL)
    argv = ("/usr/lib/frr/bgpd", "-d", "-A", "127.0.0.1", "-f", "/etc/frr/frr.conf")
    wait_until("bgpd runs", 10, lambda: fra.lab.exec("t-fra", *argv).returncode == 0)
    fra.wait_normal()


def test_sigterm_withdraws_and_leaves_nothing_stale(fra: Fleet) -> None:
    fra.lab.exec("fra", "touch", "/run/no-restart", check=True)
    fra.lab.kill("fra", daemon(fra), signal.SIGTERM)
    fra.expect({("fra", prefix): ABSENT for prefix in PREFIXES})
    wait_until("ExaBGP has gone too", 10, lambda: pids(fra, "exabgp server") == [])
    fra.expect({("fra", prefix): ABSENT for prefix in PREFIXES})
    assert fra.region("fra", PREFIX_A4) == "eu", "the kernel goes on forwarding"
    (answer,) = ask(fra.lab, "c-fra", SERVICE[PREFIX_A4])
    assert answer.ok
    fra.lab.exec("fra", "rm", "/run/no-restart", check=True)
    fra.wait_normal()


def test_sigusr2_hands_over_without_an_update(fra: Fleet) -> None:
    pid, speaker, at_s = daemon(fra), exabgp(fra), time.time()
    fra.lab.kill("fra", pid, signal.SIGUSR2)
    wait_until("a new daemon", 10, lambda: is_ready(fra) and daemon(fra) != pid)
    assert exabgp(fra) == speaker
    assert told_nothing(fra, at_s)
    log = fra.lab.exec("fra", "cat", "/run/supervisor.log").stdout
    assert f"pid={pid} exit=0" in log


def test_a_disk_that_hangs_holds_up_neither_health_nor_the_api(fra: Fleet) -> None:
    """Were one file of it named in the event loop, by a scrape or by a decision, nothing would be decided any more."""
    with hung_disk(fra.lab, "fra", STATE):
        for target in ("/metrics", "/v1/status"):
            assert asked(fra.lab, "fra", target)[0] == 200, target
        for device in UNDERLAYS:
            fra.hurt(partial(fra.lab.link_down, "fra", device), partial(fra.lab.link_up, "fra", device))
        fra.expect({("fra", prefix): DEPREF for prefix in PREFIXES})
        fra.heal()
        fra.wait_normal()


def test_a_daemon_that_starts_waits_for_a_disk_that_hangs_says_so_and_undoes_no_drain(fra: Fleet) -> None:
    pid, at_s, ours = daemon(fra), time.time(), command(fra)
    fra.lab.exec("fra", *ours, "drain", "tunnel", "eu/a", "--reason", "line maintenance", check=True)
    wait_until("packets leave the tunnel", 10, lambda: fra.path_device("fra", PREFIX_A4) == "eu-b")
    with hung_disk(fra.lab, "fra", STATE):
        fra.lab.kill("fra", pid, signal.SIGKILL)
        words = f"waits for the state directory {STATE}, which does not answer"
        wait_until("it says what it waits for", 60, lambda: words in fra.lab.logs("fra"))
        assert asked(fra.lab, "fra", "/readyz")[0] != 200
    wait_until("a new daemon", 60, lambda: is_ready(fra) and daemon(fra) != pid)
    assert fra.path_device("fra", PREFIX_A4) == "eu-b"
    assert [one["name"] for one in json.loads(asked(fra.lab, "fra", "/v1/drains")[1])["drains"]] == ["eu/a"]
    fra.lab.exec("fra", *ours, "undrain", "tunnel", "eu/a", check=True)
    assert told_nothing(fra, at_s)


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_disk_that_hangs_does_not_keep_the_daemon_from_its_end(fra: Fleet, number: signal.Signals) -> None:
    pid, speaker = daemon(fra), exabgp(fra)
    fra.lab.exec("fra", "touch", "/run/no-restart", check=True)
    with hung_disk(fra.lab, "fra", STATE):
        fra.lab.kill("fra", pid, number)
        ended = f"anycastd ended pid={pid} exit=0"
        wait_until("the daemon ends", 60, lambda: ended in fra.lab.exec("fra", "cat", "/run/supervisor.log").stdout)
        left = number is signal.SIGTERM
        assert pids(fra, "exabgp server") == ([] if left else [speaker])
        fra.expect({("fra", prefix): ABSENT for prefix in PREFIXES} if left else {})
    fra.lab.exec("fra", "rm", "/run/no-restart", check=True)
    fra.wait_normal()


def test_of_two_daemons_one_refuses_and_no_route_moves(fra: Fleet) -> None:
    at_s = time.time()
    second = fra.lab.exec("fra", *command(fra), "run", "-c", CONFIG, timeout_s=20)
    assert second.returncode == 75, second.stderr
    assert "another anycastd" in second.stderr + second.stdout
    assert told_nothing(fra, at_s)


def command(world: Fleet) -> tuple[str, ...]:
    """Return how the lab starts our command."""
    return ("/opt/anycastd/.venv/bin/anycastd",)


def rewrite(world: Fleet, old: str, new: str) -> str:
    """Replace text in fra's configuration, in place; return what it was."""
    before = world.lab.exec("fra", "cat", CONFIG, check=True).stdout
    assert old in before
    put(world, before.replace(old, new))
    return before


def put(world: Fleet, text: str) -> None:
    # the file is bound read-only: cover it inside the node
    world.lab.exec(
        "fra", "sh", "-c", f"cat > /run/new.yaml && mount --bind /run/new.yaml {CONFIG}", text=text, check=True
    )


def reload(world: Fleet, *options: str) -> tuple[int, str]:
    done = world.lab.exec("fra", *command(world), "reload", *options)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def original(fra: Fleet) -> Iterator[str]:
    """The configuration, put back and loaded after the test."""
    text = fra.lab.exec("fra", "cat", CONFIG, check=True).stdout
    yield text
    put(fra, text)
    code, said = reload(fra)
    assert code == 0, said


def test_a_good_reload_changes_only_what_it_says(fra: Fleet, original: str) -> None:
    at_s = time.time()
    rewrite(fra, "settle: 500ms", "settle: 600ms")
    code, said = reload(fra)
    assert code == 0, said
    assert told_nothing(fra, at_s)
    rewrite(fra, "203.0.113.0/24: {", "203.0.112.0/24: {}\n  203.0.113.0/24: {")
    code, said = reload(fra)
    assert code == 0, said
    wait_until("the new prefix at the router", 10, lambda: fra.state(FRA, "203.0.112.0/24") in (NORMAL, DEPREF, ABSENT))
    assert told_nothing(fra, at_s)


def test_a_bad_reload_is_refused_whole(fra: Fleet, original: str) -> None:
    at_s = time.time()
    rewrite(fra, "announce_when:", "anounce_when:")
    code, said = reload(fra)
    assert code == 78, said
    assert "announce_when" in said
    assert told_nothing(fra, at_s)


def test_a_shrunken_reload_is_refused_until_it_is_confirmed(fra: Fleet, original: str) -> None:
    at_s = time.time()
    lost = ("198.51.100.", "2001:db8:100::")
    lines = [line for line in original.splitlines() if not any(word in line for word in lost)]
    put(fra, "\n".join(lines) + "\n")
    code, said = reload(fra)
    assert code == 78, said
    assert "--expect-removals 4" in said, "two prefixes, and the EIP in each"
    assert told_nothing(fra, at_s)
    code, said = reload(fra, "--expect-removals", "4")
    assert code == 0, said
    fra.expect({("fra", PREFIX_B4): ABSENT, ("fra", PREFIX_B6): ABSENT})
    assert fra.told(FRA, PREFIX_A4, at_s) == ()
    put(fra, original)
    code, said = reload(fra)
    assert code == 0, said
    fra.wait_normal()


def test_nothing_is_announced_before_the_checks_have_risen(fra: Fleet) -> None:
    for backend in ("eu-b1", "eu-b2", "us-b1", "us-b2"):
        fra.hurt(partial(make_backend, fra.lab, backend, "refuse"), partial(make_backend, fra.lab, backend, "normal"))
    fra.lab.exec("fra", "touch", "/run/no-restart", check=True)
    fra.lab.kill("fra", daemon(fra), signal.SIGTERM)
    wait_until("ExaBGP has gone", 15, lambda: pids(fra, "exabgp server") == [])
    fra.lab.exec("fra", "rm", "-f", "/var/lib/anycastd/memory.json", "/run/no-restart")
    at_s = time.time()
    addresses = {FRA.pop_address(4), FRA.pop_address(6)}
    wait_until("sessions with fra", 20, lambda: addresses <= established(fra.lab, FRA))
    up_s = time.monotonic()
    wait_until("twice the time in which checks rise", 20, lambda: time.monotonic() > up_s + 2)
    assert told_nothing(fra, at_s)
    fra.heal()
    fra.wait_normal()
