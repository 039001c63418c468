"""A real daemon and ExaBGP whose observers are in the test's hand, all over IPv6: what they say is made here, in bytes.

Two route servers, a real FRR and a real BIRD, a raw reflector, and an etcd; `sin` and `iad`, the other POPs, are raw
speakers behind the route servers. Heartbeats are a minute apart, so that nothing depends on how quick the machine is.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

from anycastd.fleet.codec import parts_of, place_of, read, route_of
from anycastd.fleet.stored import stored_spec, text_of
from anycastd.model.address import Prefix
from anycastd.model.fleet import Beacon, Claim, FleetSpec, Part
from tests.bench.world import Program, Row, World, world
from tests.etcd.member import Member, needed
from tests.lab.etcd_stage import is_healthy
from tests.wait import wait_until

ASN, TRANSIT_ASN = 64500, 64496
ETCD = "http://[fd09::2]:2379"
PREFIX = ip_network("2001:db8:113::/48")
STANDBY = ip_network("2001:db8:114::/48")
POP, TRANSIT, RSB, RSF, SIN, IAD, RR = (f"fd09::{number}" for number in range(1, 8))
SERVERS = {"rsb": (RSB, 64601), "rsf": (RSF, 64602)}
ROUTER_IDS = {"fra": "192.0.2.1", "sin": "192.0.2.2", "iad": "192.0.2.3"}
NETWORK = "fd00:255::/112"
SPEC = FleetSpec(number=1, pops=dict(enumerate(ROUTER_IDS, start=1)), base=ip_network(NETWORK), asn=ASN)
PING = {"icmp": {"interval": "200ms", "timeout": "1s", "rise": 1, "fall": 2}}
TIMERS = {"settle": "200ms", "return_after": "0s", "return_max": "0s", "half_life": "1s"}
NORMAL, DEPREF, GONE = "NORMAL", "DEPREF", "GONE"
NO_EXPORT = 0xFFFFFF01
BIRD = """
log "{directory}/rsb.log" all;
router id 192.0.2.101;
protocol device {{}}
protocol static {{ ipv6; route ::/0 via {pop}; }}
template bgp pop {{
  local {address} as 64601;
  strict bind;
  multihop 16;
  rs client;
  interpret communities off;
  hold time 60;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ipv6 {{ import where net ~ [ {network}{{128,128}} ]; export where net ~ [ {network}{{128,128}} ]; }};
}}
{peers}
"""
FRR = """
log file {directory}/bgpd.log
ipv6 prefix-list BEACON6 seq 5 permit {network} ge 128
router bgp 64602
 bgp router-id 192.0.2.102
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor POP peer-group
 neighbor POP remote-as 64500
 neighbor POP ebgp-multihop 16
 neighbor POP disable-connected-check
 neighbor POP timers 20 60
 neighbor POP timers connect 1
 neighbor POP update-source {address}
{peers}
 address-family ipv6 unicast
  neighbor POP activate
  neighbor POP route-server-client
  neighbor POP prefix-list BEACON6 in
  neighbor POP prefix-list BEACON6 out
 exit-address-family
"""


def update(prefix: Prefix, large: Sequence[str] | None, next_hop: str, *, path: Sequence[int] = (),
           originator: str = "") -> bytes:  # fmt: skip
    """Return an UPDATE (RFC 4271, 4760, 8092) that announces one IPv6 prefix, or (`large` None) withdraws it."""
    nlri = bytes([prefix.prefixlen]) + prefix.network_address.packed
    if large is None:
        return _attributed([(0x80, 15, b"\0\2\1" + nlri)])
    sequence = struct.pack(f"!BB{len(path)}I", 2, len(path), *path) if path else b""
    said = [
        (0x40, 1, b"\0"),
        (0x40, 2, sequence),
        (0xC0, 8, struct.pack("!I", NO_EXPORT)),
        (0xC0, 32, b"".join(struct.pack("!3I", *map(int, one.split(":"))) for one in large)),
        (0x80, 14, b"\0\2\1\x10" + IPv6Address(next_hop).packed + b"\0" + nlri),
    ]
    if originator:
        said += [(0x40, 5, struct.pack("!I", 100)), (0x80, 9, IPv4Address(originator).packed)]
        said += [(0x80, 10, IPv4Address("192.0.2.121").packed)]
    return _attributed([one for one in said if one[2] or one[1] == 2])


def _attributed(said: list[tuple[int, int, bytes]]) -> bytes:
    body = b"".join(struct.pack("!BBH", flags | 0x10, code, len(value)) + value for flags, code, value in said)
    return struct.pack("!HH", 0, len(body)) + body


@dataclass
class Observed:
    """The running daemon `fra`, and what everybody says and hears."""

    made: World
    transit: Program
    speakers: dict[str, Program]
    member: Member
    daemon: subprocess.Popen[bytes]
    told: dict[str, list[str]] = field(default_factory=dict)
    heard: list[tuple[str, Row]] = field(default_factory=list)

    # what is heard of fra

    def look(self, prefix: Prefix = PREFIX) -> list[str]:
        """Return all that the transit was told of a prefix: NORMAL, DEPREF, GONE."""
        for row in self.transit.rows.new():
            if row.get("prefix") is not None:
                long = len(row.get("as_path", ())) > 1
                level = GONE if row["kind"] == "withdraw" else DEPREF if long else NORMAL
                self.told.setdefault(str(row["prefix"]), []).append(level)
        return self.told.setdefault(str(prefix), [])

    def wait_level(self, level: str, prefix: Prefix = PREFIX) -> None:
        """Wait until this was the last word to the transit."""

        def so() -> bool:
            assert (told := self.look(prefix))[-1:] == [level], told[-3:]
            return True

        wait_until(f"the transit is told {level}", 60, so)

    def beacon(self, speaker: str, by: str) -> Part | None:
        """Return the newest beacon of fra that a speaker has by a peer."""
        for name, program in self.speakers.items():
            self.heard += [(name, row) for row in program.rows.new()]
        place = str(place_of(SPEC, 1, 0))
        rows = [row for name, row in self.heard
                if name == speaker and row.get("prefix") == place and row["peer"] == by]  # fmt: skip
        if not rows or rows[-1]["kind"] != "announce":
            return None
        return read(SPEC, place_of(SPEC, 1, 0), rows[-1]["large_communities"])

    def wait_beacon(self, speaker: str, by: str, claim: Claim) -> Part:
        """Wait until a speaker has a beacon of fra with this claim by a peer, and return it."""

        def so() -> Part | None:
            part = self.beacon(speaker, by)
            claims = set() if part is None else {one.claim for one in part.said.values()}
            assert claims == {claim}, claims
            return part

        return wait_until(f"{speaker} hears fra say {claim.name}", 60, so)

    # what is said to it

    def say(self, speaker: str, by: str, beacon: Beacon, key: bytes = b"") -> None:
        """Have a speaker announce a beacon, as the POP's own ExaBGP would."""
        for part in parts_of(beacon):
            prefix, large = route_of(SPEC, part, key)
            next_hop = {"sin": SIN, "iad": IAD}[speaker]
            self.send(speaker, by, update(prefix, large, next_hop, path=[ASN]))

    def reflect(self, beacon: Beacon, key: bytes = b"", *, large: Sequence[str] | None = None,
                path: Sequence[int] = (), originator: str | None = None) -> None:  # fmt: skip
        """Have the reflector pass on a beacon; the rest is what its author would have said, unless given."""
        prefix, whole = route_of(SPEC, parts_of(beacon)[0], key)
        author = ROUTER_IDS.get(SPEC.pops.get(beacon.pop, ""), "192.0.2.66") if originator is None else originator
        said = update(prefix, whole if large is None else large, SIN, path=path, originator=author)
        self.send("rr", POP, said)

    def store(self, beacon: Beacon, key: bytes = b"") -> None:
        """Write a beacon into the fleet's store."""
        (part,) = parts_of(beacon)
        self.member.ctl("put", f"/anycastd/beacons/{SPEC.pops[beacon.pop]}/0", text_of(stored_spec(SPEC), part, key))

    def forget(self, number: int, speaker: str = "rr", by: str = POP) -> None:
        """Have a speaker withdraw a POP's beacon."""
        self.send(speaker, by, update(place_of(SPEC, number, 0), None, SIN))

    def send(self, speaker: str, by: str, said: bytes) -> None:
        """Have a speaker say an UPDATE to a peer, and wait until it did."""
        program = self.speakers[speaker]
        before = len([row for name, row in self.heard if name == speaker and row["kind"] == "said"])
        program.tell(to=by, update=said.hex())

        def so() -> bool:
            self.heard += [(speaker, row) for row in program.rows.new()]
            found = [row for name, row in self.heard if name == speaker and row["kind"] == "said"]
            return len(found) > before

        wait_until(f"{speaker} has said it to {by}", 20, so)

    # what fra says of itself

    def status(self) -> dict[str, Any]:
        """Return the daemon's status."""
        return dict(self.made.ask("/v1/status") or {})

    def wait(self, what: str, so: Any) -> None:
        """Wait until the daemon's status is so."""
        wait_until(what, 60, lambda: (found := self.status()) and so(found))

    def alarms(self) -> set[tuple[str, str]]:
        """Return the alarms of beacons that stand, with their subjects."""
        found = self.status().get("alarms", [])
        return {(one["alarm"], one["subject"]) for one in found if one["alarm"] in OF_BEACONS}

    def wait_alarms(self, *wanted: tuple[str, str]) -> None:
        """Wait until these of the beacons' alarms stand, by subject, and no others."""

        def so() -> bool:
            assert (have := self.alarms()) == set(wanted), have
            return True

        wait_until(f"alarms: {wanted}", 60, so)

    def wait_hold(self, hold: str | None) -> None:
        """Wait until the prefix is held for this reason."""

        def so(status: dict[str, Any]) -> bool:
            (found,) = status["prefixes"]
            assert found["hold"] == hold, found
            return True

        self.wait(f"held: {hold}", so)

    def wait_heard(self, **by: str) -> None:
        """Wait until exactly these POPs are heard, each by this observer."""

        def so(status: dict[str, Any]) -> bool:
            have = {one["pop"]: ",".join(one["by"]) for one in status["fleet"]["pops"] if one["heard"]}
            assert have == by, (have, status["fleet"])
            return True

        self.wait(f"heard: {by}", so)

    def sicken(self, on: bool = True) -> None:
        """Have every check fail silently, or pass again."""
        for name in ("net.ipv4.icmp_echo_ignore_all", "net.ipv6.icmp.echo_ignore_all"):
            self.made.run("ip", "netns", "exec", self.made.far, "sysctl", "-qw", f"{name}={int(on)}")

    def restart(self) -> None:
        """Kill the daemon, and start another; ExaBGP goes on."""
        self.daemon.kill()
        self.daemon.wait(20)
        self.daemon = self.made.daemon()
        wait_until("the daemon answers", 60, self.status)

    def reload(self, key_file: Path | None, *words: str, sections: dict[str, Any] | None = None, **more: Any) -> None:
        """Have it read its file anew, with other sections than it had, or more of `fleet`."""
        self.made.write_config(document(key_file, **more) | (sections or {}))
        self.verb("reload", *words)

    def verb(self, *words: str) -> None:
        """Run a verb of the daemon, which must succeed."""
        argv = [sys.executable, "-m", "anycastd", *words, "--socket", str(self.made.directory / "run" / "api.sock")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


OF_BEACONS = ("beacon_unreadable", "beacon_refused", "beacon_replayed", "pop_twice", "own_number_taken", "unknown_pop")


def document(key_file: Path | None = None, **fleet: Any) -> dict[str, Any]:
    """Return the configuration of fra."""
    near = {"local_address": POP, "hold_time": "60s"}
    servers = {name: {"role": "observer", "address": address, "asn": asn, "multihop": 16} | near
               for name, (address, asn) in SERVERS.items()}  # fmt: skip
    key = {} if key_file is None else {"key_file": str(key_file)}
    return {
        "pop": {"name": "fra", "asn": ASN, "router_id": ROUTER_IDS["fra"]},
        "neighbors": {
            "transit": {"address": TRANSIT, "asn": TRANSIT_ASN} | near,
            "rr": {"role": "observer", "address": RR, "asn": ASN} | near,
            **servers,
        },
        "fleet": {
            "pops": {name: {"number": number, "router_id": ROUTER_IDS[name]} for number, name in SPEC.pops.items()},
            "beacon_network6": NETWORK, "heartbeat": "60s", "boot": "1s", **key, **fleet,
        },
        "checks": {"ping": PING},
        "regions": {"eu": {
            "tunnels": {"t1": {"device": "tun0", "local": "10.100.0.1", "far_end": "10.100.0.2", "local6": "fd0a::1",
                               "far_end6": "fd0a::2", "checks": ["ping"]}},
            "backends": {"web": {"address": "fd20::1", "checks": ["ping"]}},
        }},
        "prefixes": {str(PREFIX): {}},
        "timers": TIMERS,
        "store": {"kind": "etcd", "endpoints": [ETCD], "withdrawals_apart": "0s"},
        "safety": {"breaker": {"withdrawals": 1000}},
    }  # fmt: skip


@contextmanager
def observed_stage() -> Iterator[Observed]:
    """Make both namespaces and start everything; the prefix is NORMAL, and every session is up."""
    needed()
    with world(1) as made:
        near = [f"addr add {POP}/64 dev bgp0 nodad", "addr add fd0a::1/64 dev tun0 nodad"]
        far = [f"addr add {address}/64 dev bgp1 nodad" for address in (TRANSIT, RSB, RSF, SIN, IAD, RR)]
        far += ["addr add fd0a::2/64 dev far0 nodad", "addr add fd20::1/128 dev lo nodad"]
        made.run("ip", "-n", made.pop, "-batch", "-", text="\n".join(near) + "\n")
        made.run("ip", "-n", made.far, "-batch", "-", text="\n".join(far) + "\n")
        made.run("ip", "netns", "exec", made.far, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        transit = made.sink(TRANSIT, TRANSIT_ASN)
        speakers = {name: made.sink(address, ASN, "--orders", "--router-id", ROUTER_IDS.get(name, "192.0.2.121"))
                    for name, address in (("sin", SIN), ("iad", IAD), ("rr", RR))}  # fmt: skip
        member = Member("m1", made.directory, ETCD, ETCD.replace("2379", "2380"), ("ip", "netns", "exec", made.far))
        member.start({"m1": member.peer})
        wait_until("etcd is well", 40, lambda: is_healthy(member))
        made.write_config(document())
        daemon = made.daemon()
        servers = _servers(made)
        try:
            stage = Observed(made, transit, speakers, member, daemon)
            stage.wait_level(NORMAL)
            for speaker in ("sin", "iad"):
                for by in (RSB, RSF):
                    stage.wait_beacon(speaker, by, Claim.NORMAL)
            stage.wait_beacon("rr", POP, Claim.NORMAL)
            yield stage
        except BaseException:
            for name in ("daemon.log", "bgpd.log", "rsb.log"):
                file = made.directory / name
                print(f"--- {name}\n{file.read_text(errors='replace')[-4000:] if file.exists() else 'none'}")
            raise
        finally:
            for server in servers:
                server.kill()
                server.wait(10)
            member.kill()


def _servers(made: World) -> list[subprocess.Popen[bytes]]:
    """Start both route servers."""
    peers = {"fra": POP, "sin": SIN, "iad": IAD}
    frr = made.directory / "frr"
    frr.mkdir()
    shutil.chown(frr, "frr", "frr")
    values = {"pop": POP, "network": NETWORK}
    protocols = (f"protocol bgp {name} from pop {{ neighbor {one} as {ASN}; }}" for name, one in peers.items())
    bird = BIRD.format(**values, directory=made.directory, address=RSB, peers="\n".join(protocols))
    (made.directory / "bird.conf").write_text(bird, encoding="ascii")
    neighbors = (f" neighbor {one} peer-group POP" for one in peers.values())
    text = FRR.format(**values, directory=frr, address=RSF, peers="\n".join(neighbors))
    (frr / "bgpd.conf").write_text(text, encoding="ascii")
    argvs: list[list[str]] = [
        ["bird", "-f", "-c", str(made.directory / "bird.conf"), "-s", str(made.directory / "bird.ctl")],
        ["/usr/lib/frr/bgpd", "-f", str(frr / "bgpd.conf"), "-i", str(frr / "pid"), "--vty_socket", str(frr), "-n",
         "-Z", "-l", RSF, "-A", "127.0.0.1", "-P", "0"],
    ]  # fmt: skip
    return [made.spawn(made.far, argv, f"server-{number}.out") for number, argv in enumerate(argvs)]
