"""POPs that see each other by real reflectors (FRR and BIRD), judged by the transits' tables and logs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from threading import Event, Thread

import pytest

from anycastd.lab import runner
from anycastd.lab.running import Lab
from tests.lab.clients import running
from tests.lab.seen import BOTH, FLEET, REFLECTORS, SeenLab, whole
from tests.lab.topology_facts import SERVICE, SITES, Answer, longest_gap_s
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

SETTLE_S = 0.5
CONFIRMED_S = 0.5
"""How much longer than `settle` it may take until a POP has left, on the word of others by a real reflector."""
HANDS = 12
"""Who hands it on, one after another: daemon, bridge, ExaBGP, reflector, ExaBGP, bridge, the other daemon, and back;
then ExaBGP and the transit. Each may be late by as much as our own timer was."""
TRIES = 3
QUIET_S = 1.5


@pytest.fixture(scope="session")
def seen_lab() -> Iterator[Lab]:
    """fleet.clab.yml: three POPs, two reflectors."""
    runner.down(FLEET)
    with runner.up(FLEET) as lab:
        yield lab


@pytest.fixture
def seen(seen_lab: Lab) -> Iterator[SeenLab]:
    """Every POP announces and hears every other one, by both reflectors."""
    with whole(seen_lab) as found:
        yield found


@pytest.mark.parametrize("by", REFLECTORS)
def test_a_single_sick_pop_is_out_by_the_word_of_the_others(seen: SeenLab, by: str) -> None:
    for other in REFLECTORS:
        if other != by:
            seen.shut(other)
    keep = len(seen.undo)
    for number in range(TRIES):
        seen.wait_seen(frozenset({by}))
        left = leave_alone(seen, by)
        if left.settled_s <= left.allowed_s:
            break
        print(f"try {number}: {left}")
        while len(seen.undo) > keep:
            seen.undo.pop()()
    assert left.settled_s <= left.allowed_s, left


@dataclass(frozen=True)
class Left:
    """How long a sick POP took from DEPREF to its withdrawal, by the transit's own log, the slowest of its prefixes;
    and how late the test's own timer came meanwhile, at the worst."""

    settled_s: float
    late_s: float

    @property
    def allowed_s(self) -> float:
        """Return how long it may take: what the issue says, and what the machine took from each that hands it on."""
        return SETTLE_S + CONFIRMED_S + HANDS * self.late_s


def leave_alone(seen: SeenLab, by: str) -> Left:
    """Make fra alone sick, and see that it leaves, and that nothing else moves."""
    options = ("--every-ms", "50", "--timeout-ms", "400")
    services = [SERVICE[prefix] for prefix in BOTH]
    wait_until("the transits are quiet", 30, partial(are_quiet, seen))
    with running(seen.lab, [("c-fra", options, services)]) as (client,), watching_time() as late:
        at_s = seen.cut_tunnels("fra")
        seen.wait_levels({"fra": 0, "sin": 1, "iad": 1})
        late_s = max(late)
        client.more(10)
    gaps_s = [longest_gap_s(of, of[0].sent_s, of[-1].sent_s) for of in per_service(client.rows, services)]
    print(f"by {by}: client of fra without an answer for {max(gaps_s):.3f} s, then served by another POP")
    settled = []
    for prefix in BOTH:
        told = seen.told(SITES["fra"], prefix, at_s)
        assert [gone for _, gone in told] == [False, True], "depreferenced, then withdrawn, nothing else"
        seen_s, settled_s = told[0][0] - at_s, told[1][0] - told[0][0]
        print(f"{prefix} by {by}: depreferenced {seen_s:.3f} s after the cut, withdrawn {settled_s:.3f} s later, "
              f"our timer late by {late_s:.3f} s")  # fmt: skip
        assert settled_s >= SETTLE_S
        settled.append(settled_s)
        for pop in ("sin", "iad"):
            assert seen.told(SITES[pop], prefix, at_s) == [], "nothing moved elsewhere"
    assert all(one.ok for one in client.rows[-4:]), "its clients are served by another POP"
    return Left(max(settled), late_s)


def are_quiet(seen: SeenLab) -> bool:
    """Return whether no transit has heard of a prefix for a while: a session that came up is sent everything twice."""
    since_s = time.time() - QUIET_S
    return not any(seen.told(site, prefix, since_s) for site in SITES.values() for prefix in BOTH)


@contextmanager
def watching_time(each_s: float = 0.005) -> Iterator[list[float]]:
    """Note how late a timer of ours comes, while the block runs: the control of how busy the machine is."""
    late, ended = [0.0], Event()

    def watch() -> None:
        while not ended.is_set():
            begun_s = time.monotonic()
            ended.wait(each_s)
            late.append(time.monotonic() - begun_s - each_s)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield late
    finally:
        ended.set()
        thread.join()


def per_service(rows: Sequence[Answer], services: Sequence[str]) -> list[list[Answer]]:
    """Return the answers of each service."""
    return [[one for one in rows if one.to == service] for service in services]


@dataclass(frozen=True)
class Blow:
    """One thing that is cut in a round, and when after its beginning."""

    pop: str
    what: str
    after_s: float


def blows(random: Random) -> list[Blow]:
    """Return the cuts of a round: all tunnels of all POPs within 100 ms, and two observer sessions."""
    sessions = random.sample([(pop, reflector) for pop in SITES for reflector in REFLECTORS], 2)
    wanted = [*((pop, "tunnels") for pop in SITES), *sessions]
    return [Blow(pop, what, random.uniform(0.0, 0.1)) for pop, what in wanted]


def strike(seen: SeenLab, blow: Blow) -> float:
    """Cut it when its time has come."""
    seen.lab.exec(blow.pop, "sleep", f"{blow.after_s:.3f}", check=True)
    return seen.cut_tunnels(blow.pop) if blow.what == "tunnels" else seen.cut_session(blow.pop, blow.what)


def rounds(seen: SeenLab, count: int, random: Random) -> None:
    """Cut all tunnels of all POPs, as often as asked: no transit is ever without the prefix."""
    for number in range(count):
        seen.wait_seen()
        cuts = blows(random)
        with ThreadPoolExecutor(len(cuts)) as pool:
            begun_s = min(pool.map(partial(strike, seen), cuts))
        wait_until("every POP is down and has decided to stay or to leave", 30, seen.has_decided)
        assert not any(seen.is_dark(prefix) for prefix in BOTH), (number, cuts)
        for prefix in BOTH:
            assert seen.dark_s(prefix, begun_s) == 0.0, (number, cuts)
        left = sum(length == 0 for length in seen.levels().values())
        print(f"round {number}: {left} of {len(SITES) * len(BOTH)} routes withdrawn")
        seen.heal()


def test_all_tunnels_of_all_pops_cut_and_no_transit_is_ever_without_the_prefix(seen: SeenLab) -> None:
    rounds(seen, 3, Random(os.environ.get("ANYCASTD_SEED", "5")))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_all_tunnels_of_all_pops_cut_fifty_times(seen: SeenLab) -> None:
    rounds(seen, 50, Random(os.environ.get("ANYCASTD_SEED", "50")))


UNDERLAYS = ("eth1", "eth2")
"""Of the region's gateway: what it answers to any POP leaves by one of them."""
FULL = ("root", "tbf", "rate", "200kbit", "burst", "4kb", "latency", "2s")
LOAD = ("--every-ms", "10", "10.100.0.1=1000000*1000", "10.101.0.1=1000000*1000")
"""Four times what gets through, to both underlays: 200 packets a second."""


def congest(seen: SeenLab) -> float:
    """Fill both links of the region: a queue of two seconds, of which half is thrown away. Return since when."""
    loads = []

    def do() -> None:
        for device in UNDERLAYS:
            seen.lab.exec("eu-gw", "tc", "qdisc", "replace", "dev", device, *FULL, check=True)
        load = ("python3", "-S", "/lab/datagrams.py", *LOAD)
        loads.append(seen.lab.popen("eu-gw", *load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def undo() -> None:
        for load in loads:
            load.terminate()
            load.wait(20)
        for device in UNDERLAYS:
            seen.lab.exec("eu-gw", "tc", "qdisc", "del", "dev", device, "root")

    return seen.hurt(do, undo)


def test_a_backbone_that_is_full_makes_every_pop_sick_at_once_and_nothing_dark(seen: SeenLab) -> None:
    """The links of August 2025 (congestion-2025.yaml), the other half of it: nobody's checks are answered in time."""
    begun_s = congest(seen)
    wait_until("every POP is down and has decided to stay or to leave", 60, seen.has_decided)
    for prefix in BOTH:
        assert seen.dark_s(prefix, begun_s) == 0.0
        assert not seen.is_dark(prefix)
    stayed = {pop for (pop, _), length in seen.levels().items() if length == DEPREFERENCED}
    assert stayed, "who is left is depreferenced"
    print(f"full: {sorted(stayed)} stay; all is sick {time.time() - begun_s:.1f} s after it began")
    seen.heal()
    seen.wait_seen()
    for prefix in BOTH:
        assert seen.dark_s(prefix, begun_s) == 0.0


DEPREFERENCED = 4
BEACON_OF_SIN, BEACON_OF_IAD = "10.255.255.2/32", "10.255.255.3/32"
FORGE = (
    "conf t",
    "route-map FOREIGN permit 10",
    "set as-path prepend 64666",
    "router bgp 64500",
    "address-family ipv4 unicast",
    f"network {BEACON_OF_SIN}",
    f"network {BEACON_OF_IAD} route-map FOREIGN",
)
TRUE_AGAIN = (*FORGE[:1], *FORGE[3:5], f"no network {BEACON_OF_SIN}", f"no network {BEACON_OF_IAD}")
STRIP = (
    "conf t",
    "route-map STRIP permit 10",
    "set large-community none",
    "router bgp 64500",
    "address-family ipv4 unicast",
    "neighbor POP route-map STRIP in",
    "address-family ipv6 unicast",
    "neighbor POP route-map STRIP in",
)
WHOLE_AGAIN = tuple("no " + line if line.startswith("neighbor") else line for line in (*STRIP[:1], *STRIP[3:]))


def has_alarms(seen: SeenLab, *wanted: tuple[str, str]) -> bool:
    """Return whether fra shows these alarms."""
    found = seen.alarms("fra")
    assert set(wanted) <= found, found
    return True


def test_forged_and_foreign_beacons_are_refused_and_change_nothing(seen: SeenLab) -> None:
    at_s = seen.hurt(partial(seen.vtysh, *FORGE), partial(seen.vtysh, *TRUE_AGAIN))
    refused = (("beacon_refused", "sin"), ("beacon_refused", "iad"))
    wait_until("fra refuses both", 20, partial(has_alarms, seen, *refused))
    for pop in SITES:
        for prefix in BOTH:
            assert seen.told(SITES[pop], prefix, at_s) == [], "no router heard of anything"
    heard = seen.status("fra")["fleet"]["pops"]
    assert all(one["heard"] for one in heard), "their true beacons come by the other reflector and family"


def test_nobody_leaves_by_beacons_that_were_stripped(seen: SeenLab) -> None:
    seen.shut("rr-bird")
    seen.wait_seen(frozenset({"rr-frr"}))
    seen.hurt(partial(seen.vtysh, *STRIP), partial(seen.vtysh, *WHOLE_AGAIN))
    unreadable = (("beacon_unreadable", "sin"), ("beacon_unreadable", "iad"))
    wait_until("fra cannot read them", 20, partial(has_alarms, seen, *unreadable))
    at_s = seen.cut_tunnels("fra")
    wait_until("fra has decided", 20, partial(has_hold, seen, "fra", "not_enough_announcers"))
    for prefix in BOTH:
        assert [gone for _, gone in seen.told(SITES["fra"], prefix, at_s)] == [False], "depreferenced, and it stays"


def has_hold(seen: SeenLab, pop: str, hold: str) -> bool:
    """Return whether all prefixes of a POP stay for this reason."""
    holds = [one["hold"] for one in seen.status(pop).get("prefixes", [])]
    assert holds
    assert set(holds) == {hold}, holds
    return True


def leave(seen: SeenLab, *pops: str) -> float:
    """Tell daemons to leave (SIGTERM), not to be started again before the test is over."""
    for pop in pops:
        seen.lab.exec(pop, "touch", "/run/no-restart", check=True)
    return seen.hurt(
        lambda: [seen.lab.exec(pop, "sh", "-c", "kill -TERM $(cat /run/anycastd.pid)", check=True) for pop in pops],
        lambda: [seen.lab.exec(pop, "rm", "-f", "/run/no-restart") for pop in pops],
    )


def has_ended(seen: SeenLab, pop: str) -> bool:
    """Return whether the daemon of a POP has ended."""
    return seen.lab.exec(pop, "test", "-e", "/run/anycastd.pid").returncode != 0


def test_a_pop_that_is_told_to_leave_leaves_when_others_have_seen_it(seen: SeenLab) -> None:
    at_s = leave(seen, "fra")
    seen.wait_levels({"fra": 0, "sin": 1, "iad": 1})
    wait_until("its daemon has ended", 20, partial(has_ended, seen, "fra"))
    for prefix in BOTH:
        told = seen.told(SITES["fra"], prefix, at_s)
        assert [gone for _, gone in told] == [False, True], "depreferenced, seen by the others, withdrawn"


def test_pops_that_are_all_told_to_leave_do_not_leave_the_prefix_dark(seen: SeenLab) -> None:
    at_s = leave(seen, *SITES)
    for pop in SITES:
        wait_until(f"the daemon of {pop} has ended", 40, partial(has_ended, seen, pop))
    for prefix in BOTH:
        assert seen.dark_s(prefix, at_s) == 0.0
        assert not seen.is_dark(prefix)
    assert set(seen.levels().values()) - {0}, "some stay, depreferenced, with an ExaBGP that runs on"
