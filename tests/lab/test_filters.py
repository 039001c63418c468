"""Blackholes and flow rules of a real daemon, in a real FRR and a real BIRD, and in the daemon's own packet filter.

What is right is told by the routers' own tables (vtysh, birdc), and by packets that are counted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.bench.configs import AT_ONCE, QUICK, document, region, server, toggled
from tests.bench.world import POP_ADDRESS, ROUTER, ROUTER_ASN, Program, World, world
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

FRR, BIRD = "10.9.0.3", "10.9.0.4"
FRR_ASN, BIRD_ASN = 65001, 65002
PREFIX, PREFIX6 = toggled(0), "2001:db8:44::/48"
EIP, OTHER, EIP6 = "44.0.0.9", "44.0.0.10", "2001:db8:44::9"

FRR_CONF = f"""
hostname frr
no ipv6 forwarding
router bgp {FRR_ASN}
 bgp router-id {FRR}
 no bgp ebgp-requires-policy
 bgp graceful-restart
 neighbor {POP_ADDRESS} remote-as 64500
 neighbor {POP_ADDRESS} timers 20 60
 address-family ipv4 unicast
  neighbor {POP_ADDRESS} activate
 exit-address-family
 address-family ipv6 unicast
  neighbor {POP_ADDRESS} activate
 exit-address-family
 address-family ipv4 flowspec
  neighbor {POP_ADDRESS} activate
 exit-address-family
 address-family ipv6 flowspec
  neighbor {POP_ADDRESS} activate
 exit-address-family
"""
BIRD_CONF = f"""
router id {BIRD};
flow4 table flows4;
flow6 table flows6;
protocol device {{}}
protocol bgp pop {{
  local {BIRD} as {BIRD_ASN};
  neighbor {POP_ADDRESS} as 64500;
  hold time 60;
  strict bind;
  ipv4 {{ import all; export none; }};
  ipv6 {{ import all; export none; }};
  flow4 {{ table flows4; import all; export none; }};
  flow6 {{ table flows6; import all; export none; }};
}}
"""


CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d\.\d+)")
Stamped = dict[str, float]


def seconds_of(stamp: re.Match[str]) -> float:
    """Return the second of the day."""
    return int(stamp[1]) * 3600 + int(stamp[2]) * 60 + float(stamp[3])


def unmoved(before: Stamped, after: Stamped) -> bool:
    """Return whether nothing was said anew: BIRD's times are right to a few milliseconds each time they are asked."""
    return before.keys() == after.keys() and all(abs(after[key] - at) < 0.2 for key, at in before.items())


@dataclass
class Scene:
    """A daemon with FRR and BIRD as neighbors."""

    made: World
    daemon: subprocess.Popen[bytes]
    plain: Program

    def far(self, *argv: str) -> str:
        return self.made.read("ip", "netns", "exec", self.made.far, *argv)

    def frr(self, command: str) -> str:
        return self.far("vtysh", "--vty_socket", str(self.made.directory / "frr"), "-c", command)

    def bird(self, *words: str) -> str:
        return self.far("birdc", "-s", str(self.made.directory / "bird.ctl"), *words)

    def verb(self, *words: str, status: int = 0) -> str:
        """Run a verb of the command line at the daemon's socket."""
        argv = [sys.executable, "-m", "anycastd", *words, "--socket", str(self.made.directory / "run" / "api.sock")]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}\n{self.made.log_tail()}"
        return done.stdout + done.stderr

    def frr_paths(self) -> dict[str, dict[str, Any]]:
        """Return the unicast routes that FRR has."""
        found: dict[str, dict[str, Any]] = {}
        for version in (4, 6):
            said = json.loads(self.frr(f"show bgp ipv{version} unicast json"))
            found |= {prefix: paths[0] for prefix, paths in said.get("routes", {}).items()}
        return found

    def frr_flows(self) -> str:
        """Return the flow rules that FRR has, in its words."""
        return self.frr("show bgp ipv4 flowspec detail") + self.frr("show bgp ipv6 flowspec detail")

    def bird_routes(self) -> set[str]:
        """Return every unicast route that BIRD has."""
        tables = self.bird("show", "route", "table", "master4") + self.bird("show", "route", "table", "master6")
        return {line.split()[0] for line in tables.splitlines() if re.match(r"[0-9a-f.:]+/\d+ ", line)}

    def bird_flows(self) -> str:
        """Return the flow rules that BIRD has, with their attributes."""
        tables = ("flows4", "flows6")
        return "".join(self.bird("show", "route", "table", table, "all") for table in tables)

    def bird_says(self, words: str) -> bool:
        return words in self.bird_flows()

    def both_have(self, route: str) -> bool:
        return route in self.frr_paths() and route in self.bird_routes()

    def neither_has(self, route: str) -> bool:
        return route not in self.frr_paths() and route not in self.bird_routes()

    def flows(self) -> int:
        """Return how many flow rules both have; -1: not the same number."""
        frr, bird = self.frr_flows().count("BGP flowspec entry"), self.bird_flows().count("{ dst ")
        return frr if frr == bird else -1

    def has_no_filters(self) -> bool:
        routes = {route for route in (*self.frr_paths(), *self.bird_routes())}
        return self.flows() == 0 and routes <= {PREFIX, PREFIX6}

    def lines_of(self, *addresses: str) -> Stamped:
        """Return what BIRD says of routes and flow rules, and of each the second of the day when it last changed."""
        said = self.bird("show", "route", "table", "master4") + self.bird_flows()
        found = {}
        for line in said.splitlines():
            stamp = CLOCK.search(line)
            if stamp is not None and any(f"{one}/32" in line for one in addresses):
                found[line.replace(stamp[0], "")] = seconds_of(stamp)
        return found

    def all_sent(self) -> bool:
        """Return whether the daemon sees everything sent to both."""
        found = [*self.made.ask("/v1/blackholes")["blackholes"], *self.made.ask("/v1/flowspec")["rules"]]
        return bool(found) and all({"bird", "frr"} <= set(one["sent"]) and not one["unsent"] for one in found)

    def dropped(self) -> dict[str, int]:
        """Return how many packets each dropped, by destination."""
        holes = {one["address"]: one["dropped_packets"] for one in self.made.ask("/v1/blackholes")["blackholes"]}
        rules = self.made.ask("/v1/flowspec")["rules"]
        return holes | {one["match"]["destination"]: one["dropped_packets"] for one in rules}

    def table(self) -> str:
        """Return the packet filter's table."""
        return self.made.read("ip", "netns", "exec", self.made.pop, "nft", "list", "table", "inet", "anycastd")

    def rules(self) -> int:
        """Return how many rules of the packet filter drop."""
        try:
            said = self.table()
        except OSError:
            return 0
        # what leads there is put back after the rules
        return said.count('counter name "filter_') if PREFIX in said else 0

    def send(self, address: str, *ports: int, size: int = 100) -> None:
        """Send 20 datagrams to each port."""
        self.far(sys.executable, "-c", SEND, address, ",".join(map(str, ports)), str(size))

    def sessions(self) -> Stamped:
        """Return what changes when a session was down: FRR's count of sessions made, BIRD's time of its own."""
        said = json.loads(self.frr(f"show bgp neighbors {POP_ADDRESS} json"))[POP_ADDRESS]
        line = next(line for line in self.bird("show", "protocols").splitlines() if line.startswith("pop "))
        since = CLOCK.search(line)
        assert since is not None
        return {"frr": float(said["connectionsEstablished"]), "bird": seconds_of(since)}

    def versions(self) -> dict[str, int]:
        """Return how often FRR's route of each prefix has changed."""
        said = {p: json.loads(self.frr(f"show bgp {self._word(p)} unicast {p} json")) for p in (PREFIX, PREFIX6)}
        return {prefix: int(one["paths"][0]["version"]) for prefix, one in said.items()}

    def _word(self, prefix: str) -> str:
        return "ipv6" if ":" in prefix else "ipv4"

    def kill(self) -> None:
        """Kill the daemon; ExaBGP and its bridge go on."""
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def start(self) -> None:
        """Start the daemon again."""
        self.daemon = self.made.daemon()
        wait_until("the daemon answers", 30, lambda: self.made.ask("/v1/blackholes"))

    def exabgp(self) -> int:
        """Return the pid of ExaBGP."""
        state = json.loads((self.made.directory / "run" / "bgp" / "state.json").read_text())
        return int(state["pid"])


def _routers(made: World) -> None:
    sockets = made.directory / "frr"
    sockets.mkdir(mode=0o755)
    conf = sockets / "bgpd.conf"
    conf.write_text(FRR_CONF, encoding="ascii")
    shutil.chown(sockets, "frr", "frr")
    lines = [f"addr add {address}/24 dev bgp1" for address in (FRR, BIRD)]
    made.run("ip", "-n", made.far, "-batch", "-", text="\n".join(lines) + "\n")
    argv = ["/usr/lib/frr/bgpd", "-f", str(conf), "-i", str(sockets / "pid"), "--vty_socket", str(sockets), "-n", "-Z",
            "-l", FRR, "-A", "127.0.0.1", "-P", "0", "--log", f"file:{sockets}/log"]  # fmt: skip
    made.spawn(made.far, argv, "bgpd.out")
    bird = made.directory / "bird.conf"
    bird.write_text(BIRD_CONF, encoding="ascii")
    control = str(made.directory / "bird.ctl")
    made.spawn(made.far, ["bird", "-f", "-c", str(bird), "-s", control], "bird.out")


def answers(made: World) -> bool:
    """Return whether both routers can be asked."""
    far = partial(made.read, "ip", "netns", "exec", made.far)
    with suppress(OSError):
        far("vtysh", "--vty_socket", str(made.directory / "frr"), "-c", "show bgp summary")
        return "BIRD" in far("birdc", "-s", str(made.directory / "bird.ctl"), "show", "status")
    return False


def _document() -> dict[str, Any]:
    regions = {"r0": region(0, {"web": {"address": server(0), "checks": [QUICK]}})}
    regions["r0"]["tunnels"]["t0"] |= {"local6": "2001:db8:100::1", "far_end6": "2001:db8:100::2"}
    whole = document(regions, {PREFIX: {"timers": AT_ONCE}, PREFIX6: {"timers": AT_ONCE}})
    both = {"local_address": POP_ADDRESS, "hold_time": "60s", "families": ["ipv4-unicast", "ipv6-unicast"],
            "blackhole": True, "flowspec": True}  # fmt: skip
    export = {"next_hop6": "2001:db8:9::1", "communities": ["64500:1"]}
    own = {"blackhole_communities": ["65002:666"]}
    whole["neighbors"] = {
        "frr": {"address": FRR, "asn": FRR_ASN, **both, "export": export},
        "bird": {"address": BIRD, "asn": BIRD_ASN, **both, "export": {**export, **own}},
    }
    # it is said to take flow rules, and does not
    whole["neighbors"]["plain"] = {
        "address": ROUTER, "asn": ROUTER_ASN, "local_address": POP_ADDRESS, "hold_time": "60s", "flowspec": True,
    }  # fmt: skip
    whole["attack"] = {"filter": {"max_blackholes": 3, "release_each": "100ms"}}
    return whole


@contextmanager
def running() -> Iterator[Scene]:
    with world(1) as made:
        made.run("ip", "netns", "exec", made.pop, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
        made.run("ip", "-n", made.pop, "addr", "add", "2001:db8:9::1/64", "dev", "bgp0", "nodad")
        made.run("ip", "-n", made.far, "addr", "add", "2001:db8:9::3/64", "dev", "bgp1", "nodad")
        made.run("ip", "-n", made.pop, "addr", "add", "2001:db8:100::1/64", "dev", "tun0", "nodad")
        made.run("ip", "-n", made.far, "addr", "add", "2001:db8:100::2/64", "dev", "far0", "nodad")
        made.run("ip", "-n", made.far, "route", "add", PREFIX, "via", POP_ADDRESS)
        _routers(made)
        made.write_config(_document())
        plain = made.sink()
        made.backend()
        wait_until("both routers answer", 20, lambda: answers(made))
        scene = Scene(made, made.daemon(), plain)
        wait_until("the prefix is announced", 40, lambda: scene.both_have(PREFIX) and scene.both_have(PREFIX6))
        yield scene


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running() as one:
        yield one


LONG = ("--reason", "flood", "--ttl", "30m")
DNS = ("--drop", "--protocol", "udp", "--port", "53", "--port", "1000-2000")
SYN = ("--limit", "10mbit", "--protocol", "tcp", "--flag", "syn", "--flag", "!ack")
SMALL6 = ("--drop", "--protocol", "udp", "--source", "2001:db8:bad::/48", "--length", "0-100")
BIRD_DNS = f"flow4 {{ dst {OTHER}/32; proto 17; dport 53,1000..2000; }}"
BIRD_SYN = f"flow4 {{ dst {EIP}/32; proto 6; tcp flags 0x2/0x2"
BIRD_SMALL6 = f"flow6 {{ dst {EIP6}/128; src 2001:db8:bad::/48; next header 17; length 0..100; }}"


@pytest.fixture(autouse=True)
def none_left(scene: Scene) -> Iterator[None]:
    yield
    if scene.daemon.poll() is None:
        scene.verb("attack", "release", "--all")
        # they end one by one
        wait_until("none stands", 30, lambda: scene.dropped() == {})


def test_routers_take_blackholes_and_flow_rules_as_they_are_meant(scene: Scene) -> None:
    sessions, versions = scene.sessions(), scene.versions()
    for eip in (EIP, EIP6):
        scene.verb("attack", "mitigate", eip, "--blackhole", *LONG)
    scene.verb("attack", "mitigate", OTHER, *DNS, *LONG)
    scene.verb("attack", "mitigate", EIP, *SYN, *LONG)
    scene.verb("attack", "mitigate", EIP6, *SMALL6, *LONG)
    wait_until("both have both", 30, lambda: all(map(scene.both_have, (f"{EIP}/32", f"{EIP6}/128"))))
    for version, eip in ((4, EIP), (6, EIP6)):
        said = scene.frr(f"show bgp ipv{version} unicast {eip}/{32 if version == 4 else 128}")
        assert "blackhole no-export" in said, said
        assert "(65002,666) (65535,666) (65535,65281)" in scene.bird(
            "show", "route", f"{eip}/{32 if version == 4 else 128}", "all"
        )
    for words in (BIRD_DNS, BIRD_SYN, BIRD_SMALL6):
        wait_until(words, 30, partial(scene.bird_says, words))
    wait_until("FRR has the three", 30, lambda: scene.frr_flows().count("BGP flowspec entry") == 3)
    # the first must be on, the other off, in whatever way BIRD joins the two
    assert re.search(rf"dst {EIP}/32; proto 6; tcp flags 0x2/0x2 ?&& ?0x0/0x10", scene.bird_flows()), scene.bird_flows()
    # of a limit 10 Mbit/s are 1,250,000 bytes a second, as a float: 0x49989680
    assert "0x49989680" in scene.bird_flows(), scene.bird_flows()
    assert "rate 1250000" in scene.frr_flows(), scene.frr_flows()
    refused = scene.verb("attack", "mitigate", "203.0.113.1", "--blackhole", *LONG, status=65)
    assert "203.0.113.1 is in none of this POP's prefixes: 44.0.0.0/24, 2001:db8:44::/48" in refused
    # no prefix moved, no session was reset, and the POP's own view of its prefixes has none of it
    assert unmoved(sessions, scene.sessions())
    assert scene.versions() == versions
    assert {one["prefix"] for one in scene.made.ask("/v1/prefixes")["prefixes"]} == {PREFIX, PREFIX6}
    assert scene.made.ask("/v1/neighbors")["unwanted"] == []
    scene.verb("attack", "release", "--all")
    wait_until("all are gone", 30, scene.has_no_filters)


def stand(scene: Scene) -> Stamped:
    """Set two that last and two of IPv6 that are to be short, and wait until both routers have all; return the first.

    A filter that is set again is renewed: so the short ones are made short when they are there, however slow all is.
    """
    for words in ((EIP, "--blackhole"), (OTHER, *DNS), (EIP6, "--blackhole"), (EIP6, *SMALL6)):
        scene.verb("attack", "mitigate", *words, *LONG)
    both = f"{EIP}/32", f"{EIP6}/128"
    wait_until("all are there", 30, lambda: all(map(scene.both_have, both)) and scene.flows() == 2)
    return scene.lines_of(EIP, OTHER)


def shorten(scene: Scene, ttl: str) -> None:
    """Have those of IPv6 end soon."""
    for words in (("--blackhole",), SMALL6):
        scene.verb("attack", "mitigate", EIP6, *words, "--reason", "short", "--ttl", ttl)


def short_are_gone(scene: Scene) -> bool:
    return scene.neither_has(f"{EIP6}/128") and scene.flows() == 1


def test_a_neighbor_without_the_family_is_told_nothing_of_it_and_the_operator_is(scene: Scene) -> None:
    scene.verb("attack", "mitigate", OTHER, *DNS, *LONG)
    wait_until("the others have it", 30, lambda: scene.flows() == 1)

    def alarmed() -> bool:
        alarms = scene.made.ask("/v1/status")["alarms"]
        return any(one["subject"] == "flow rules at plain" and "ipv4-flow" in one["detail"] for one in alarms)

    wait_until("an alarm", 30, alarmed)
    rows = scene.plain.rows.new()
    opens = [row for row in rows if row["kind"] == "open"]
    assert len(opens) == 1, "a session that was begun again"
    told = [row for row in rows if row["kind"] in ("announce", "withdraw")]
    assert {row["prefix"] for row in told} == {PREFIX}
    assert sum(row["kind"] == "eor" for row in rows) <= 1, "of IPv4 unicast alone"


def test_each_ends_when_its_time_is_over_and_the_others_stay(scene: Scene) -> None:
    kept = stand(scene)
    shorten(scene, "1s")
    wait_until("the short ones are gone", 60, lambda: short_are_gone(scene))
    assert unmoved(kept, scene.lines_of(EIP, OTHER))
    assert scene.rules() == 2


def test_a_killed_daemon_leaves_what_stands_and_its_bridge_ends_what_ends(scene: Scene) -> None:
    kept = stand(scene)
    sessions, versions = scene.sessions(), scene.versions()
    shorten(scene, "3s")
    scene.kill()
    wait_until("the short ones are gone", 60, lambda: short_are_gone(scene))
    rule = next(line for line in scene.table().splitlines() if EIP6 in line and "meta l4proto" not in line)
    assert "meta time <" in rule, "the kernel ends its own"
    scene.start()
    assert [one["address"] for one in scene.made.ask("/v1/blackholes")["blackholes"]] == [EIP]
    wait_until("it is seen to be sent", 30, scene.all_sent)
    # not one UPDATE about what stayed
    assert unmoved(sessions, scene.sessions())
    assert unmoved(kept, scene.lines_of(EIP, OTHER))
    assert scene.versions() == versions


def test_a_crash_of_everything_brings_back_what_still_stands_and_nothing_else(scene: Scene) -> None:
    stand(scene)
    shorten(scene, "2s")
    ends_s = time.monotonic() + 2.5
    exabgp = scene.exabgp()
    scene.kill()
    os.kill(exabgp, signal.SIGKILL)
    # the routers keep all of it as stale (RFC 4724): End-of-RIB must take away what is not said again
    wait_until("its time is over", 30, lambda: time.monotonic() > ends_s)
    scene.start()
    wait_until("what stands is there", 60, lambda: scene.both_have(f"{EIP}/32") and scene.all_sent())
    wait_until("what ended is not", 60, lambda: short_are_gone(scene))
    # and once more, of ExaBGP alone
    before = scene.exabgp()
    os.kill(before, signal.SIGKILL)
    wait_until("another ExaBGP has all", 60, lambda: scene.exabgp() != before and scene.all_sent())
    wait_until("the routers too", 60, lambda: scene.both_have(f"{EIP}/32") and scene.flows() == 1)


SEND = """
import socket, sys
for port in map(int, sys.argv[2].split(",")):
    for _ in range(20):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x" * int(sys.argv[3]), (sys.argv[1], port))
"""


def test_the_pop_drops_and_counts_by_the_same_rules_also_after_a_flush(scene: Scene) -> None:
    scene.verb("attack", "mitigate", EIP, "--blackhole", *LONG)
    scene.verb("attack", "mitigate", OTHER, *DNS, *LONG)
    scene.send(EIP, 9, 10)
    scene.send(OTHER, 53, 1500, 54, 2001)
    wait_until("what was sent is counted", 30, lambda: scene.dropped() == {EIP: 40, OTHER: 40})
    scene.made.run("ip", "netns", "exec", scene.made.pop, "nft", "flush", "ruleset")
    wait_until("the rules are there again", 30, lambda: scene.rules() == 2)
    scene.send(EIP, 9)
    scene.send(OTHER, 53)
    wait_until("it goes on counting", 30, lambda: scene.dropped() == {EIP: 60, OTHER: 60})


def test_the_pop_lets_through_what_a_limit_allows_and_no_more(scene: Scene) -> None:
    # 10,000 bytes a second; the kernel's bucket holds that and the burst, 16,384. A datagram here is 1,028 bytes.
    limit = ("--limit", "80kbit", "--protocol", "udp", "--port", "7")
    scene.verb("attack", "mitigate", EIP, *limit, *LONG)
    began_s = time.monotonic()
    scene.send(EIP, *[7] * 20, size=1000)
    at_once, meanwhile = 26_384 / 1028, (time.monotonic() - began_s) * 10_000 / 1028
    most, least = 400 - int(at_once), 400 - int(at_once + meanwhile) - 1
    wait_until("what is above is dropped", 30, lambda: scene.dropped()[EIP] >= least)
    assert scene.dropped()[EIP] <= most


def test_a_stop_takes_all_of_it_along(scene: Scene) -> None:
    scene.verb("attack", "mitigate", EIP, "--blackhole", *LONG)
    scene.verb("attack", "mitigate", OTHER, *DNS, *LONG)
    wait_until("both are there", 30, lambda: scene.both_have(f"{EIP}/32") and scene.flows() == 1)
    scene.made.end_daemon(scene.daemon)
    wait_until("nothing is left", 30, lambda: scene.has_no_filters() and scene.neither_has(PREFIX))
