"""Drains and the freeze on real routers, with clients asking all the while."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.lab.asking import asked
from tests.lab.fleet import ABSENT, BACKENDS, DEPREF, NORMAL, Fleet, Watch
from tests.lab.test_processes import daemon, is_ready, told_nothing
from tests.lab.topology_facts import PREFIX_A4, PREFIX_A6, PREFIX_B4, PREFIX_B6, PREFIXES, SITES, make_backend
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

FRA = SITES["fra"]
B = (PREFIX_B4, PREFIX_B6)
CLIENTS = tuple(site.client for site in SITES.values())
LOST_AFTER_MS = 900
"""A lost first packet is sent again after 1 s (RFC 6298): a loss is later than this, a busy machine is not."""
STALLED_MS = 200
LOOK_EACH_S = 0.25
VERB = "/opt/anycastd/.venv/bin/anycastd"


def verb(world: Fleet, *words: str, status: int = 0) -> str:
    """Run a verb in fra; its exit status must be as given."""
    ran = world.lab.exec("fra", VERB, *words)
    assert ran.returncode == status, (words, ran.returncode, ran.stdout, ran.stderr)
    return ran.stdout + ran.stderr


@pytest.fixture
def fra(world: Fleet) -> Iterator[Fleet]:
    """The world, in which fra is drained of nothing afterwards."""
    yield world
    world.lab.exec("fra", "rm", "-f", "/var/lib/anycastd/freeze")
    for drain in said(world, "/v1/drains")["drains"]:
        verb(world, "undrain", drain["scope"], *filter(None, [drain["name"]]))


def said(world: Fleet, target: str) -> Any:
    """Return what the daemon of fra answers."""
    status, text = asked(world.lab, "fra", target)
    assert status == 200, (target, status, text)
    return json.loads(text)


def is_frozen(world: Fleet, prefix: str) -> bool:
    """Return whether the daemon of fra has decided otherwise on a prefix, and holds that because it is frozen."""
    (one,) = (one for one in said(world, "/v1/status")["prefixes"] if one["prefix"] == prefix)
    return bool(one["hold"] == "frozen" and one["wanted"] != "NORMAL")


def lost(watch: Watch, prefixes: tuple[str, ...]) -> list[str]:
    """Return the requests that were not answered well, in words.

    One that ended long after its own time limit says only that its client was not run: it is not judged.
    """
    return [
        f"{client} {prefix} after {one.sent_s - watch.of(client, prefix)[0].sent_s:.2f} s: {one.error} {one.took_ms} ms"
        for client in CLIENTS
        for prefix in prefixes
        for one in watch.of(client, prefix)
        if not one.ok and one.took_ms < LOST_AFTER_MS + STALLED_MS
    ]


@contextmanager
def states(world: Fleet, prefix: str) -> Iterator[list[str]]:
    """Look at what the router beside fra has of a prefix, now and then; yield what was seen, each once in a row."""
    seen: list[str] = []
    end = threading.Event()

    def look() -> None:
        while not end.wait(LOOK_EACH_S):
            state = world.state(FRA, prefix)
            if seen[-1:] != [state]:
                seen.append(state)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def test_a_forced_drain_of_a_pop_loses_no_request_and_comes_back(fra: Fleet) -> None:
    with fra.clients(*PREFIXES, timeout_ms=LOST_AFTER_MS) as watch:
        with states(fra, PREFIX_B4) as seen:
            verb(fra, "drain", "pop", "--force", "--reason", "new line card", "--for", "1h", "--wait")
        assert [state for state in seen if state != NORMAL] == [DEPREF, "gshut", ABSENT]
        fra.expect({("fra", prefix): ABSENT for prefix in PREFIXES}, 2)
        assert "draining pop (DRAINED)" in verb(fra, "status")
        verb(fra, "undrain", "pop")
        fra.expect({}, 20)
    assert lost(watch, (PREFIX_A4, PREFIX_A6, PREFIX_B6)) == []
    # B4 is masqueraded: behind another POP a connection has another address, so one on its way is reset at a change
    assert len(lost(watch, (PREFIX_B4,))) <= 2, lost(watch, (PREFIX_B4,))


def test_a_drain_without_force_stays_at_depref_and_says_why(fra: Fleet) -> None:
    said = verb(fra, "drain", "pop", "--reason", "try", "--dry-run")
    assert "198.51.100.0/24: stays at DEPREF, nobody to ask" in said
    fra.expect({}, 2)
    verb(fra, "drain", "pop", "--reason", "try", "--wait", status=75)
    fra.expect({("fra", prefix): DEPREF if prefix in B else ABSENT for prefix in PREFIXES}, 2)
    assert "198.51.100.0/24 stays at DEPREF (static_guard): nobody to ask" in verb(fra, "drains")
    explained = verb(fra, "explain", PREFIX_B4)
    assert "(draining): pop is drained, phase " in explained, explained
    assert "HOLD at DEPREF 3 (static_guard): nobody to ask" in explained, explained
    # sticky: a killed daemon goes on with it, and says nothing
    pid, at_s = daemon(fra), time.time()
    fra.lab.kill("fra", pid, signal.SIGKILL)
    wait_until("a new daemon", 10, lambda: is_ready(fra) and daemon(fra) != pid)
    assert told_nothing(fra, at_s)
    verb(fra, "undrain", "pop")
    fra.expect({}, 20)


def test_drains_of_a_tunnel_and_a_backend_lose_no_request(fra: Fleet) -> None:
    at_s = time.time()
    with fra.clients(*PREFIXES, timeout_ms=LOST_AFTER_MS) as watch:
        verb(fra, "drain", "tunnel", "eu/a", "--reason", "line maintenance", "--for", "10m")
        wait_until("packets leave the tunnel", 3, lambda: fra.path_device("fra", PREFIX_A4) == "eu-b")
        verb(fra, "drain", "backend", "eu/b1", "--reason", "upgrade", "--wait")
        assert verb(fra, "status").count("drain: ") == 2
        verb(fra, "undrain", "backend", "eu/b1")
        verb(fra, "undrain", "tunnel", "eu/a")
        assert "there are none" in verb(fra, "drains")
    assert lost(watch, PREFIXES) == []
    assert told_nothing(fra, at_s)


def test_the_drain_of_the_only_neighbor_holds_and_forced_loses_no_request(fra: Fleet) -> None:
    with fra.clients(PREFIX_A4, timeout_ms=LOST_AFTER_MS) as watch:
        verb(fra, "drain", "neighbor", "transit4", "--reason", "their maintenance")
        mine = {("fra", PREFIX_A4): DEPREF, ("fra", PREFIX_B4): DEPREF}
        fra.expect(mine, 5)
        assert "at transit4 stays at DEPREF (only_neighbor)" in verb(fra, "drains")
        verb(fra, "drain", "neighbor", "transit4", "--force", "--reason", "their maintenance", "--wait")
        fra.expect({("fra", PREFIX_A4): ABSENT, ("fra", PREFIX_B4): ABSENT}, 2)
        verb(fra, "undrain", "neighbor", "transit4")
        fra.expect({}, 10)
    assert lost(watch, (PREFIX_A4,)) == []


def test_a_region_that_is_the_last_is_not_drained_without_force(fra: Fleet) -> None:
    verb(fra, "drain", "region", "eu", "--reason", "move")
    said = verb(fra, "drain", "region", "us", "--reason", "move", status=65)
    assert "could be served no more" in said
    assert "(drained: eu, us)" in said
    wait_until("packets go to the other region", 3, lambda: fra.region("fra", PREFIX_A4) == "us")
    verb(fra, "undrain", "region", "eu")
    wait_until("packets are back", 3, lambda: fra.region("fra", PREFIX_A4) == "eu")


def test_while_frozen_dead_backends_and_restarts_send_no_update(fra: Fleet) -> None:
    said = verb(fra, "freeze", "--reason", "incident 42", "--for", "10m", "-c", "/etc/anycastd/anycastd.yaml")
    assert "the daemon says: frozen: incident 42" in said
    at_s = time.time()
    for backend in BACKENDS:
        fra.hurt(partial(make_backend, fra.lab, backend, "refuse"), partial(make_backend, fra.lab, backend, "normal"))
    wait_until("it is held", 10, lambda: is_frozen(fra, PREFIX_A4))
    assert "HOLD at NORMAL (frozen): it would be" in verb(fra, "explain", PREFIX_A4)
    pid = daemon(fra)
    fra.lab.kill("fra", pid, signal.SIGKILL)
    wait_until("a new daemon", 10, lambda: is_ready(fra) and daemon(fra) != pid)
    assert "FROZEN" in verb(fra, "status")
    wait_until("the new daemon has judged all, and holds", 20, lambda: all(is_frozen(fra, one) for one in PREFIXES))
    assert told_nothing(fra, at_s)
    fra.heal()
    verb(fra, "unfreeze", "-c", "/etc/anycastd/anycastd.yaml")
    fra.expect({}, 20)
