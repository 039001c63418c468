"""A route server (eBGP, an AS of its own, multihop) as observer: BIRD with `rs client`."""

from __future__ import annotations

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
def _running(place: Pop, *argv: str) -> Iterator[None]:
    with Path(place.directory / "out").open("wb") as out:
        process = subprocess.Popen(["ip", "netns", "exec", place.netns, *argv], stdout=out, stderr=out)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)
