"""Floods at three POPs at once: nobody moves, others are served, real faults are met; without absorption it falls."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from tests.lab.cascade import own_lab
from tests.lab.fleet import ABSENT, DEPREF, NORMAL, Fleet, Watch
from tests.lab.siege import BYTES, LIMIT_BPS, RATES, Siege, besieged, ended
from tests.lab.topology_facts import (
    PREFIX_A4,
    PREFIX_A6,
    PREFIX_B4,
    PREFIX_B6,
    PREFIXES,
    SITES,
    cut_tunnel,
    heal_tunnels,
    make_backend,
)
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]

EVERY_MS = 40
NOWHERE = "192.0.2.254"
"""An address of nobody: the transits drop what is sent there."""


def run(siege: Siege, kinds: Mapping[str, str], to: str, answers: int) -> tuple[Watch, dict[str, int], dict[str, int]]:
    """Let every client ask for every other EIP while it also floods an address, until it has so many good answers.

    `kinds` says how each floods. Return what it got and sent, and how many entries the POPs had of the victim when they
    knew.
    """
    with siege.world.clients(*PREFIXES, every_ms=EVERY_MS, timeout_ms=8000) as watch, ExitStack() as stack:
        floods = {pop: siege.flood(pop, kind, to) for pop, kind in kinds.items()}
        for one in floods.values():
            stack.callback(one.terminate)
        if to != NOWHERE:
            siege.wait_known()
        known = {pop: siege.tracked(pop) for pop in SITES}
        for client in watch.running.values():
            client.more(answers, 60.0 + answers)
        packets = {pop: ended(one) for pop, one in floods.items()}
    return watch, packets, known


def served(watch: Watch) -> tuple[int, int, float]:
    """Return how many requests were answered, how many were asked, and answers a second."""
    rows = [row for rows in watch.seen.values() for row in rows]
    good = sum(row.ok for row in rows)
    took_s = max(row.sent_s for row in rows) - min(row.sent_s for row in rows)
    return good, len(rows), good / took_s


def all_true(siege: Siege) -> None:
    """Every tunnel and backend is seen well at every POP."""
    for pop in SITES:
        ill = [one["tunnel"] for one in siege.ask(pop, "/v1/tunnels")["tunnels"] if one["health"] != "HEALTHY"]
        ill += [one["backend"] for one in siege.ask(pop, "/v1/backends")["backends"] if one["health"] != "HEALTHY"]
        assert not ill, (pop, ill)


def kinds_of(turn: int) -> dict[str, str]:
    """Return how each client floods: each otherwise, and in the next turn otherwise again."""
    names = list(RATES)
    return {pop: names[(turn + place) % len(names)] for place, pop in enumerate(SITES)}


def flooded(siege: Siege, turns: int, answers: int) -> list[dict[str, int]]:
    """Flood in turns, of which each must move nothing and starve nobody; return each daemon's memory after each."""
    world, began_s = siege.world, time.time()
    control, _, _ = run(siege, kinds_of(0), NOWHERE, answers)
    good, asked, per_s = served(control)
    assert good == asked
    memory = [{pop: siege.resident_kib(pop) for pop in SITES}]
    for turn in range(turns):
        kinds = kinds_of(turn)
        arrived = {pop: siege.arrived(pop) for pop in SITES}
        watch, packets, known = run(siege, kinds, siege.victim, answers)
        good, asked, now_per_s = served(watch)
        seen = {pop: siege.arrived(pop) - arrived[pop] for pop in SITES}
        tracked = {pop: siege.tracked(pop) for pop in SITES}
        memory.append({pop: siege.resident_kib(pop) for pop in SITES})
        print(
            f"\nmeasured: {kinds}: sent {packets}, arrived {seen}; others {good} of {asked}, {now_per_s:.1f}/s"
            f" (control {per_s:.1f}/s); tracked {tracked}; KiB {memory[-1]}"
        )
        # the clients have a pace, so that what they ask for is the same in both runs: what is answered counts
        assert good >= 0.99 * asked
        for pop, kind in kinds.items():
            assert RATES[kind] * BYTES[kind] * 8 >= 10 * LIMIT_BPS * 0.99
            # each POP its own share: what its own client sent, and of nobody else's
            assert packets[pop] * 0.9 <= seen[pop] <= packets[pop] * 1.01, (pop, packets, seen)
            assert packets[pop] > 100, "there was a flood at all"
            # random sources leave the table as it was when the attack was known
            assert tracked[pop] <= known[pop] + 50, (pop, kind, known, tracked)
        all_true(siege)
    for site in SITES.values():
        for prefix in PREFIXES:
            assert world.told(site, prefix, began_s) == (), (site.pop, prefix)
    return memory


def test_floods_at_three_pops_move_nothing_and_starve_nobody(world: Fleet) -> None:
    with besieged(world, {}) as siege:
        first, *_, last = flooded(siege, 1, 25)
        assert max(last[pop] - first[pop] for pop in SITES) < 24 * 1024
        siege.wait("NORMAL")


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_minutes_of_floods() -> None:
    with own_lab() as world:
        world.wait_normal(90.0)
        with besieged(world, {}) as siege:
            memory = flooded(siege, 15, 200)
            siege.wait("NORMAL")
        # each kind has been at each POP in the first three turns
        grown = {pop: max(one[pop] for one in memory[4:]) - memory[3][pop] for pop in SITES}
        print(f"measured: grown since the third of {len(memory) - 1} turns: {grown} KiB")
        assert max(grown.values()) < 4 * 1024
        world.heal()


def test_under_attack_health_takes_nothing_away_and_real_faults_are_met(world: Fleet) -> None:
    off: Mapping[str, object] = {"enabled": False}
    with besieged(world, {"sin": off}) as siege, ExitStack() as floods:
        for pop in SITES:
            floods.callback(ended, siege.flood(pop, "syn"))
        siege.wait("ATTACK")
        began_s = time.time()
        # a backend that really dies: its EIPs go to the other one
        with world.clients(PREFIX_A4, PREFIX_B4, timeout_ms=8000, at=["c-fra"]) as watch:
            world.hurt(
                lambda: make_backend(world.lab, "eu-b1", "refuse"), lambda: make_backend(world.lab, "eu-b1", "normal")
            )
            watch.more()
        last = {prefix: watch.of("c-fra", prefix)[-10:] for prefix in (PREFIX_A4, PREFIX_B4)}
        assert all((row.region, row.backend) == ("eu", "b2") for rows in last.values() for row in rows)
        # a tunnel that dies: the other one carries
        device, _ = world.cut_best("fra", PREFIX_A4)
        wait_until("another tunnel", 15, lambda: world.path_device("fra", PREFIX_A4) not in (device, None))
        assert all(world.told(SITES["fra"], prefix, began_s) == () for prefix in PREFIXES)
        # every tunnel of two POPs dies: one absorbs, one was told not to
        for pop in ("fra", "sin"):
            for underlay in "ab":
                for region in ("eu", "us"):
                    cut_tunnel(world.lab, pop, region, underlay)
                world.undo.append(lambda pop=pop, underlay=underlay: heal_tunnels(world.lab, pop, underlay))  # type: ignore[misc]
        away = {PREFIX_A4: ABSENT, PREFIX_A6: ABSENT, PREFIX_B4: DEPREF, PREFIX_B6: DEPREF}
        wanted = {(pop, prefix): state for pop in ("fra", "sin") for prefix, state in away.items()}
        held = wanted | {("fra", PREFIX_A4): NORMAL}
        world.expect(held, 40.0)
        assert siege.decision("fra", PREFIX_A4) == ("NORMAL", "under_attack")
        assert world.told(SITES["fra"], PREFIX_A4, began_s) == ()
        assert "under_attack" in world.lab.exec("fra", *explain(PREFIX_A4)).stdout
        # the attack ends, it stays calm, and health's word counts again: down the ladder
        floods.close()
        world.expect(wanted, 40.0)
    world.heal()
    world.wait_normal(60.0)


def explain(prefix: str) -> tuple[str, ...]:
    return ("/opt/anycastd/.venv/bin/anycastd", "explain", prefix)
