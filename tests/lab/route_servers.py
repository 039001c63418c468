"""Two route servers (eBGP, another AS each, multihop) as observers: FRR `route-server-client` and BIRD `rs client`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.etcd_stage import Pop
from tests.wait import wait_until

BEACONS = "10.255.255.0/24"
BIRD = """
log "{directory}/log" all;
router id {address};
protocol device {{}}
protocol static {{ ipv4; route 0.0.0.0/0 via {hub}; }}
template bgp pop {{
  local {address} as 64601;
  multihop 16;
  rs client;
  interpret communities off;
  hold time 9;
  ipv4 {{ import where net ~ [ {beacons}{{32,32}} ]; export where net ~ [ {beacons}{{32,32}} ]; }};
}}
{peers}
"""
FRR = """
log file {directory}/log
ip prefix-list BEACON seq 5 permit {beacons} ge 32
router bgp 64602
 bgp router-id {address}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor POP peer-group
 neighbor POP remote-as 64500
 neighbor POP ebgp-multihop 16
 neighbor POP disable-connected-check
 neighbor POP timers 3 9
{peers}
 address-family ipv4 unicast
  neighbor POP activate
  neighbor POP route-server-client
  neighbor POP prefix-list BEACON in
  neighbor POP prefix-list BEACON out
 exit-address-family
"""


def neighbor_of(place: Pop, asn: int, pop: Pop) -> dict[str, object]:
    """Return a route server as a POP's file names it."""
    return {"role": "observer", "address": place.address, "asn": asn, "local_address": pop.address, "multihop": 16,
            "hold_time": "9s"}  # fmt: skip


@contextmanager
def bird_server(place: Pop, pops: Sequence[Pop]) -> Iterator[None]:
    """Run BIRD in a namespace, for these POPs."""
    peers = "".join(f"protocol bgp {pop.name} from pop {{ neighbor {pop.address} as 64500; }}\n" for pop in pops)
    conf = place.directory / "bird.conf"
    text = BIRD.format(directory=place.directory, address=place.address, hub=place.hub, beacons=BEACONS, peers=peers)
    conf.write_text(text, encoding="ascii")
    ctl = place.directory / "ctl"
    with _running(place, "bird", "-f", "-c", str(conf), "-s", str(ctl)):
        wait_until("BIRD answers", 20, ctl.exists)
        yield


@contextmanager
def frr_server(place: Pop, pops: Sequence[Pop]) -> Iterator[None]:
    """Run FRR's bgpd in a namespace, for these POPs; without zebra, as nothing is to be forwarded."""
    shutil.chown(place.directory, "frr", "frr")
    peers = "\n".join(f" neighbor {pop.address} peer-group POP" for pop in pops)
    conf = place.directory / "bgpd.conf"
    text = FRR.format(directory=place.directory, address=place.address, beacons=BEACONS, peers=peers)
    conf.write_text(text, encoding="ascii")
    sockets = place.directory
    argv = ("/usr/lib/frr/bgpd", "-f", str(conf), "-i", str(sockets / "pid"), "--vty_socket", str(sockets), "-n", "-Z",
            "-l", place.address, "-A", "127.0.0.1", "-P", "0")  # fmt: skip
    with _running(place, *argv):
        wait_until("bgpd answers", 20, (sockets / "bgpd.vty").exists)
        yield


@contextmanager
def _running(place: Pop, *argv: str) -> Iterator[None]:
    with Path(place.directory / "out").open("wb") as out:
        process = subprocess.Popen(["ip", "netns", "exec", place.netns, *argv], stdout=out, stderr=out)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)
