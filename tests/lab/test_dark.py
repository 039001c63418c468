"""POPs that see each other by a real etcd only, and incidents of others on packets: judged by a router's own log."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.lab.dark_stage import DEPREF, GONE, NORMAL, POPS, PREFIX, DarkStage, dark_stage
from tests.lab.route_servers import BEACONS, bird_server, frr_server, neighbor_of
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
SERVERS = {"rsb": 64601, "rsf": 64602}
"""Where the route servers are, and their AS numbers."""
ALL = dict.fromkeys(POPS, NORMAL)


@pytest.fixture(scope="module")
def made() -> Iterator[DarkStage]:
    with dark_stage(*SERVERS) as stage:
        for name in POPS:
            stage.write(name)
        stage.start()
        yield stage


@pytest.fixture
def dark(made: DarkStage) -> Iterator[DarkStage]:
    """Every POP is NORMAL and hears every other one by the store; afterwards all is whole again."""
    made.wait_seen("store")
    for pop in made.pops.values():
        # what left in the tests before does not count
        pop.try_ask("/v1/breaker/reset", method="POST")
    yield made
    made.heal()


def test_sick_pops_leave_one_after_another_by_the_store_and_the_last_one_stays(dark: DarkStage) -> None:
    """Azure Front Door, 29 October 2025 (front-door-2025.yaml), with the store as the only channel."""
    since = dark.mark()
    dark.sicken("fra")
    dark.wait_levels(ALL | {"fra": GONE})
    told = ["removed" in line for line in dark.told(since, "fra")]
    assert told == [False, True], ("depreferenced, then withdrawn, nothing else", dark.told(since, "fra"))
    said = dark.pops["fra"].cli("explain", PREFIX)
    assert "sin: counted" in said and "(by store)" in said, said
    dark.sicken("sin")
    dark.wait_levels({"fra": GONE, "sin": GONE, "iad": NORMAL})
    dark.sicken("iad")
    dark.wait_hold("iad", "not_enough_announcers")
    dark.wait_levels({"fra": GONE, "sin": GONE, "iad": DEPREF})
    assert dark.dark(since) == []


def is_blind(dark: DarkStage, name: str) -> bool:
    return bool(dark.status(name)["fleet"]["guard"] == "blind")


def hears_all(dark: DarkStage, name: str, from_seq: int) -> bool:
    return dark.status(name)["fleet"]["seq"] >= from_seq and len(dark.ways(name)) == len(POPS) - 1


def test_without_a_majority_nobody_leaves(dark: DarkStage) -> None:
    since = dark.mark()
    first, second, _ = dark.stage.members
    first.kill()
    second.kill()
    for name in POPS:
        wait_until(f"{name} sees nobody", 60, partial(is_blind, dark, name))
    dark.sicken("fra")
    dark.wait_hold("fra", "observers_blind")
    assert dark.levels() == ALL | {"fra": DEPREF}
    said = dark.pops["sin"].cli("drain", "pop", "--reason", "test")
    assert "stays at DEPREF until it can" in said, said
    dark.wait_hold("sin", "observers_blind")
    dark.pops["sin"].cli("undrain", "pop")
    assert dark.levels() == ALL | {"fra": DEPREF}
    dark.stage.heal()
    dark.wait_levels(ALL | {"fra": GONE})
    assert dark.dark(since) == []


OTHERS = ("198.51.100.0/24", "192.0.2.0/24", "198.18.0.0/24")


def reload(dark: DarkStage, name: str, removals: int = 0, **more: Any) -> None:
    """Have a POP read a file with these sections, which must be taken."""
    dark.write(name, **more)
    target = f"/v1/reload?expect_removals={removals}" if removals else "/v1/reload"
    assert dark.pops[name].try_ask(target, method="POST") is not None, dark.pops[name].try_cli("reload", "--dry-run")


def reload_by_verb(dark: DarkStage, name: str, *words: str, **more: Any) -> str:
    """Have a POP read a file with these sections, which must be taken; return what is said."""
    dark.write(name, **more)
    return dark.pops[name].cli("reload", *words)


def refused(dark: DarkStage, name: str, what: str, **more: Any) -> None:
    """Have a POP read a file with these sections, which it must refuse for this reason."""
    dark.write(name, **more)
    code, said = dark.pops[name].try_cli("reload")
    assert code == 78 and what in said, (code, said)


def test_a_list_that_became_empty(dark: DarkStage) -> None:
    """Google Compute Engine, 11 April 2016 (gce-2016.yaml)."""
    four: dict[str, Any] = {"prefixes": {PREFIX: {}, **{prefix: {} for prefix in OTHERS}}}
    for name in POPS:
        reload(dark, name, **four)
    for prefix in four["prefixes"]:
        dark.wait_levels(ALL, prefix)
    since = dark.mark()
    for name in POPS:
        refused(dark, name, "prefixes: is empty", prefixes={})
        refused(dark, name, "3 of 4 prefixes are gone")
    kill(dark, "fra")
    dark.start("fra")
    wait_until("it says so", 60, lambda: "config_refused" in alarms(dark, "fra"))
    for prefix in four["prefixes"]:
        assert dark.levels(prefix) == ALL
        assert not [line for name in POPS for line in dark.told(since, name, prefix)], "no router heard of anything"
    for name in POPS:
        reload(dark, name, 3)
    for prefix in OTHERS:
        dark.wait_levels(dict.fromkeys(POPS, GONE), prefix)


def kill(dark: DarkStage, name: str) -> None:
    """Kill a daemon; ExaBGP goes on."""
    pop = dark.pops[name]
    assert pop.daemon is not None
    pop.daemon.kill()
    pop.daemon.wait(20)


def alarms(dark: DarkStage, name: str) -> set[str]:
    """Return the alarms that a POP shows."""
    return {str(one["alarm"]) for one in dark.status(name).get("alarms", [])}


def test_prefixes_moved_to_a_site_that_is_offline(dark: DarkStage) -> None:
    """Cloudflare 1.1.1.1, 14 July 2025 (resolver-2025.yaml)."""
    since = dark.mark()
    for name in POPS:
        neighbors = dark.document(name)["neighbors"]
        neighbors["offline"] = neighbors["hub"] | {"address": "10.77.99.9", "asn": 64499}
        what = "1 of 1 prefixes keep none of their neighbors"
        refused(dark, name, what, neighbors=neighbors, prefixes={PREFIX: {"neighbors": ["offline"]}})
        dark.write(name)
    assert dark.levels() == ALL
    assert not [line for name in POPS for line in dark.told(since, name)]


def test_an_empty_filter_and_a_cause_that_takes_everything(dark: DarkStage) -> None:
    """Cloudflare BYOIP, 20 February 2026 (byoip-2026.yaml)."""
    six = {f"198.18.{number}.0/24": {"last_resort": "withdraw"} for number in range(1, 7)}
    for name in POPS:
        reload(dark, name, prefixes={PREFIX: {}, **six})
        first = next(iter(six))
        refused(
            dark,
            name,
            "announce_when",
            prefixes={PREFIX: {}, **six, first: {"announce_when": {"regions": "any", "of": []}}},
        )
        refused(dark, name, "no neighbor carries it", prefixes={PREFIX: {}, **six, first: {"neighbors": []}})
    for prefix in six:
        dark.wait_levels(ALL, prefix)
    since = dark.mark()
    dark.sicken(*POPS)
    for name in POPS:
        wait_until(f"{name} has let three go", 90, partial(has_let_three_go, dark, name))
    assert dark.dark(since) == [], "what has no last_resort stays"
    for name in POPS:
        assert sum(dark.levels(prefix)[name] != GONE for prefix in six) == 3
    dark.cut.clear()
    dark.heal()
    for prefix in six:
        dark.wait_levels(ALL, prefix)
    for name in POPS:
        reload(dark, name, 6)


def has_let_three_go(dark: DarkStage, name: str) -> bool:
    """Return whether a POP's circuit breaker is tripped, and three prefixes have left."""
    status = dark.status(name)
    gone = sum(one["level"] == "WITHDRAWN" for one in status.get("prefixes", []))
    have = (bool(status.get("breaker", {}).get("tripped")), gone, {one["hold"] for one in status.get("prefixes", [])})
    assert have[:2] == (True, 3), have
    return True


def test_store_and_daemons_lost_while_links_fail(dark: DarkStage) -> None:
    """Google Cloud, 2 June 2019 (google-2019.yaml): control is gone, what fails meanwhile is seen when it is back."""
    since = dark.mark()
    for member in dark.stage.members:
        member.kill()
    for name in POPS:
        kill(dark, name)
    dark.sicken("sin")
    assert dark.levels() == ALL
    dark.start()
    dark.wait_hold("sin", "observers_blind")
    # what is decided is on its way to the routers
    dark.wait_levels(ALL | {"sin": DEPREF})
    dark.stage.heal()
    dark.wait_levels(ALL | {"sin": GONE})
    assert dark.dark(since) == []
    assert not [line for name in ("fra", "iad") for line in dark.told(since, name)], "nothing moved elsewhere"


def test_a_file_on_trial_is_taken_back_or_kept(dark: DarkStage) -> None:
    """S10 and S23: a file that does harm is taken back by itself; one POP at a time tries one."""
    since, check = dark.mark(), {"icmp": {"interval": "200ms", "timeout": "500ms", "rise": 2, "fall": 2}}
    region = dark.document("fra")["regions"]["eu"]
    wrong = {"eu": region | {"backends": {"web": {"address": "10.10.0.99", "checks": [check]}}}}
    said = reload_by_verb(dark, "fra", "--bake", "8s", regions=wrong)
    assert "on trial" in said
    wait_until("it does harm", 60, lambda: dark.levels()["fra"] != NORMAL)
    dark.write("sin")
    code, told = dark.pops["sin"].try_cli("reload", "--bake", "8s")
    assert code == 78 and "single_flight: fra tries a new file" in told, (code, told)
    wait_until("it was taken back", 60, lambda: "config_refused" in alarms(dark, "fra"))
    dark.wait_levels(ALL)
    assert dark.dark(since) == []
    reload_by_verb(dark, "fra", "--bake", "60s")
    assert "confirmed" in dark.pops["fra"].cli("reload", "--confirm")
    wait_until("it is kept", 60, lambda: "config_refused" not in alarms(dark, "fra"))
    code, told = dark.pops["fra"].try_cli("reload", "--confirm")
    assert "nothing to confirm" in told


def test_a_trial_ends_with_its_daemon_and_moves_nothing(dark: DarkStage) -> None:
    """Handed over in the middle of one: no route moves, it is told, and another POP may try its file."""
    since, fra = dark.mark(), dark.pops["fra"]
    reload_by_verb(dark, "fra", "--bake", "60s")
    fra.stop(signal.SIGUSR2)
    dark.start("fra")
    assert "reload_unjudged" in (fra.directory / "log").read_text(encoding="utf-8")
    reload_by_verb(dark, "sin", "--bake", "60s")
    assert "confirmed" in dark.pops["sin"].cli("reload", "--confirm")
    assert [line for name in POPS for line in dark.told(since, name)] == []


@pytest.mark.parametrize("alone", SERVERS)
def test_route_servers_are_observers_each_of_them_alone(dark: DarkStage, alone: str) -> None:
    """Without the store: beacons pass FRR's `route-server-client` and BIRD's `rs client`, with NO_EXPORT on them."""
    places = {name: dark.stage.pops[name] for name in SERVERS}
    pops = list(dark.pops.values())
    run = {"rsb": bird_server, "rsf": frr_server}[alone]
    with run(places[alone], pops):
        for name in POPS:
            document = dark.document(name)
            neighbors = document["neighbors"] | {alone: neighbor_of(places[alone], SERVERS[alone], dark.pops[name])}
            fleet = document["fleet"] | {"by_store": False, "beacon_network4": BEACONS}
            reload(dark, name, neighbors=neighbors, fleet=fleet)
        dark.wait_seen(alone)
        since = dark.mark()
        dark.sicken("fra")
        dark.wait_levels(ALL | {"fra": GONE})
        assert [line for line in dark.told(since, "fra") if "removed" in line]
        assert not [line for name in ("sin", "iad") for line in dark.told(since, name)]
        assert not {"beacon_unreadable", "beacon_refused"} & alarms(dark, "sin")
        dark.heal()
        dark.wait_levels(ALL)
        for name in POPS:
            reload(dark, name, 1)


def test_an_older_snapshot_counts_for_nothing(dark: DarkStage) -> None:
    since, snapshot = dark.mark(), dark.directory / "snapshot"
    dark.stage.members[0].ctl("snapshot", "save", str(snapshot))
    dark.sicken(*POPS)
    dark.wait_levels(dict.fromkeys(POPS, DEPREF))
    lives = {name: dark.status(name)["fleet"]["seq"] for name in POPS}
    dark.stage.restore(snapshot)
    for name in POPS:
        # so many heartbeats later whoever was heard before only is stale
        wait_until(f"{name} hears the others again", 60, partial(hears_all, dark, name, lives[name] + 5))
        dark.wait_hold(name, "not_enough_announcers")
    assert dark.levels() == dict.fromkeys(POPS, DEPREF)
    for name in POPS:
        assert not [line for line in dark.told(since, name) if "removed" in line]
    # what else the store holds waits for an operator (and tokens with it), so this test comes last
    for name in POPS:
        wait_until(f"{name} takes the store as it is", 60, partial(accepts, dark, name))


def accepts(dark: DarkStage, name: str) -> bool:
    """Have a POP take what the store holds; return whether it can be used then."""
    dark.pops[name].try_ask("/v1/fleet/accept", method="POST")
    seen = dark.pops[name].try_ask("/v1/fleet")
    return seen is not None and not seen["store"]["trouble"]
