"""A flapping backend, and a failure and return, at a real FRR with `bgp dampening`: it must never suppress us.

The oracle is what vtysh says of damping and what bgpd logged. In `make test` FRR's half-life is its least, a minute,
and our timers are shorter by the same 15; `make soak` takes the defaults of both.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.topology import PrefixTimers
from tests.bench.configs import document, region, server
from tests.bench.world import POP_ADDRESS, ROUTER, ROUTER_ASN, Program, World, world
from tests.wait import wait_until

pytestmark = pytest.mark.lab

SCALE = 15.0
"""FRR's half-life is 15 minutes unless told otherwise, and 1 at least."""
LEAVES, STAYS = "203.0.113.0/24", "198.51.100.0/24"
"""Prefixes of the backend that fails for a while: one may be withdrawn, one may not."""
CALM, HASTY = "192.0.2.0/24", "44.0.0.0/24"
"""Prefixes of the backend that flaps: one with default timers, one withdrawn at once and at each chance."""
CHECK = {"http": {"interval": "200ms", "timeout": "500ms", "rise": 1, "fall": 1}}
NORMAL, DEPREF = 1, 4
FLAPS_S, PHASE_S = 60.0, 1.0
EVERY_S = 0.25
"""What it suppresses stays so for minutes."""
ALL = (LEAVES, STAYS, CALM, HASTY)
SUPPRESS = 2000
"""The penalty from which FRR suppresses a route: 1000 for a withdrawal, 500 for other attributes, 0 for a return."""

CONF = """
log file {directory}/bgpd.log
log timestamp precision 3
debug bgp updates in
router bgp {asn}
 bgp router-id {router}
 no bgp ebgp-requires-policy
 neighbor {pop} remote-as 64500
 neighbor {pop} timers 3 9
 neighbor {pop} timers connect 1
 address-family ipv4 unicast
  bgp dampening {dampening}
 exit-address-family
"""


@dataclass(frozen=True)
class Seen:
    """What it has at a moment: what it suppresses, each path's length (0: none), each figure of merit."""

    damped: dict[str, Any]
    path: dict[str, int]
    penalty: dict[str, int]


@dataclass
class Router:
    """A real bgpd that damps."""

    made: World
    directory: Path

    def ask(self, *commands: str) -> list[dict[str, Any]]:
        """Ask it something, or several things at once, by vtysh."""
        words = [word for command in commands for word in ("-c", command)]
        said, found = self.made.read("vtysh", "--vty_socket", str(self.directory), *words).lstrip(), []
        while said:
            answer, end = json.JSONDecoder().raw_decode(said)
            found.append(answer)
            said = said[end:].lstrip()
        assert len(found) == len(commands), (commands, found)
        return found

    def look(self, *prefixes: str) -> Seen:
        """Look at what it suppresses and at prefixes with one vtysh: it costs more than what it is asked."""
        shown = [f"show bgp ipv4 unicast {prefix} json" for prefix in prefixes]
        damped, *answers = self.ask("show bgp ipv4 unicast dampening dampened-paths json", *shown)
        every = {prefix: said.get("paths", []) for prefix, said in zip(prefixes, answers, strict=True)}
        best = {
            prefix: [path for path in paths if path.get("bestpath", {}).get("overall")]
            for prefix, paths in every.items()
        }
        return Seen(
            damped.get("routes", {}),
            {prefix: int(paths[0]["aspath"]["length"]) if paths else 0 for prefix, paths in best.items()},
            {
                prefix: max((int(path.get("dampeningPenalty", 0)) for path in paths), default=0)
                for prefix, paths in every.items()
            },
        )

    def flaps(self) -> dict[str, int]:
        """Return how often each prefix flapped in its eyes; a prefix that never did is not there."""
        routes = self.ask("show bgp ipv4 unicast dampening flap-statistics json")[0].get("routes", {})
        return {prefix: int(paths[0]["bdiFlap"]) for prefix, paths in routes.items()}

    def heard(self, prefix: str) -> list[str]:
        """Return what it logged of UPDATEs about a prefix."""
        text = (self.directory / "bgpd.log").read_text(encoding="utf-8")
        return [line for line in text.splitlines() if " rcvd " in line and f" {prefix} " in f"{line} "]


@contextmanager
def damping(made: World, dampening: str) -> Iterator[Router]:
    """Run bgpd on the far side."""
    directory = made.directory / "frr"
    directory.mkdir()
    shutil.chown(directory, "frr", "frr")
    conf = directory / "bgpd.conf"
    conf.write_text(
        CONF.format(directory=directory, asn=ROUTER_ASN, router=ROUTER, pop=POP_ADDRESS, dampening=dampening),
        encoding="ascii",
    )
    argv = ["/usr/lib/frr/bgpd", "-f", str(conf), "-i", str(directory / "pid"), "--vty_socket", str(directory),
            "-n", "-Z", "-l", ROUTER, "-A", "127.0.0.1", "-P", "0"]  # fmt: skip
    made.spawn(made.far, argv, "bgpd.out")
    router = Router(made, directory)
    wait_until("bgpd answers", 10, (directory / "bgpd.vty").exists)
    yield router


def config(timers: dict[str, str]) -> dict[str, Any]:
    """Return a configuration: region r0 fails for a while, region r1 flaps."""
    regions = {f"r{n}": region(n, {"web": {"address": server(n), "checks": [CHECK]}}) for n in (0, 1)}
    fails, flaps = ({"regions": "any", "of": [f"r{n}"]} for n in (0, 1))
    return document(
        regions,
        {
            LEAVES: {"announce_when": fails, "last_resort": "withdraw", "timers": timers},
            STAYS: {"announce_when": fails, "timers": timers},
            CALM: {"announce_when": flaps, "last_resort": "withdraw"},
            HASTY: {"announce_when": flaps, "last_resort": "withdraw", "timers": {"settle": "0s"}},
        },
    )


def scaled(by: float) -> dict[str, str]:
    """Return the default timers, shortened."""
    plain = PrefixTimers()
    names = ("settle", "return_after", "return_max", "backoff_reset", "half_life")
    return {name: f"{round(getattr(plain, f'{name}_s') / by * 1000)}ms" for name in names}


@contextmanager
def standing(dampening: str, timers: dict[str, str]) -> Iterator[tuple[Router, Program]]:
    """Bring everything up, and wait until every prefix is announced normally."""
    with world(2) as made:
        backend = made.backend()
        made.write_config(config(timers))
        with damping(made, dampening) as router:
            daemon = made.daemon()
            wait_until("everything announced", 90, lambda: set(router.look(*ALL).path.values()) == {NORMAL})
            yield router, backend
            made.end_daemon(daemon)


@dataclass
class Watch:
    """Asks the router again and again whether it suppresses anything, and keeps its highest figures."""

    router: Router
    highest: dict[str, int] = field(default_factory=dict)

    def until(self, what: str, deadline_s: float, over: Callable[[Seen], bool]) -> Seen:
        """Wait until it is over; fail at once if something is suppressed. Return what was seen last."""

        def undamped_and_over() -> Seen | None:
            seen = self.router.look(*ALL)
            for prefix, penalty in seen.penalty.items():
                self.highest[prefix] = max(self.highest.get(prefix, 0), penalty)
            return seen if seen.damped or over(seen) else None

        seen = wait_until(what, deadline_s, undamped_and_over, EVERY_S)
        assert not seen.damped, f"suppressed: {seen.damped}"
        return seen


def play(dampening: str, scale: float, fails_s: float, back_within_s: float) -> None:
    """One backend fails and returns, the other one flaps for a minute; the router's word is what counts."""
    with standing(dampening, scaled(scale)) as (router, backend):
        told = {prefix: len(router.heard(prefix)) for prefix in ALL}
        watch, begun_s = Watch(router), time.monotonic()
        backend.tell(toggle=[server(1)], phase_s=PHASE_S)
        backend.tell(set=[server(0)], good=False)
        seen = watch.until("withdrawn", 10, lambda seen: seen.path[LEAVES] == 0)
        assert seen.path[STAYS] == DEPREF
        watch.until("the failure lasts", fails_s + 5, lambda _: time.monotonic() - begun_s >= fails_s)
        backend.tell(set=[server(0)], good=True)
        watch.until("back", 10, lambda seen: seen.path[LEAVES] == DEPREF)
        seen = watch.until("a minute of flaps", FLAPS_S + 10, lambda _: time.monotonic() - begun_s >= FLAPS_S)
        changes = {prefix: len(router.heard(prefix)) - before for prefix, before in told.items()}
        assert (changes[CALM], seen.path[CALM]) == (1, DEPREF), "30 times up and down cost one UPDATE"
        assert changes[HASTY] <= 3, "depreferenced, withdrawn, back: then the budget holds it"
        backend.tell(toggle=[], phase_s=PHASE_S)
        watch.until("normal", back_within_s, lambda seen: seen.path[LEAVES] == seen.path[STAYS] == NORMAL)
        back_s, flapped = time.monotonic() - begun_s, router.flaps()
        changes |= {prefix: len(router.heard(prefix)) - told[prefix] for prefix in (LEAVES, STAYS)}
    print(f"UPDATEs {changes}, flaps {flapped}, highest penalty {watch.highest}, normal after {back_s:.0f} s")
    assert changes[LEAVES] == 4, "depreferenced, withdrawn, back, normal"
    assert changes[STAYS] == 2
    assert max(watch.highest.values()) < SUPPRESS
    assert watch.highest[LEAVES] > 1000, "it did count"


@pytest.mark.timeout(150)
def test_a_flapping_backend_and_a_failure_are_never_suppressed() -> None:
    play("1 750 2000 4", SCALE, fails_s=4.0, back_within_s=60.0)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_with_the_defaults_of_both_too() -> None:
    play("", 1.0, fails_s=60.0, back_within_s=1800.0)
