"""The collector in a namespace where much is broken on purpose, and the same one mended by the doctor's own words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anycastd.config.load import load
from tests.wait import wait_until

pytestmark = pytest.mark.lab

BEGINS = "kddoctor"
NAME = f"{BEGINS}{os.getpid()}"
IN = ("ip", "netns", "exec", NAME)
CONFIG = """
pop: {{name: fra, asn: 64500, router_id: 192.0.2.2}}
neighbors:
  transit:
    {{address: 192.0.2.1, asn: 64496, local_address: 192.0.2.2, families: [ipv4-unicast, ipv6-unicast],
      export: {{next_hop6: "2001:db8:fe::2"}}}}
checks: {{ping: {{icmp: {{}}}}}}
regions:
  eu:
    tunnels:
      a:
        {{device: vx0, local: 10.255.1.1, far_end: 10.255.1.2, local6: "fd00:1::1", far_end6: "fd00:1::2",
          checks: [ping]}}
      b: {{device: vx1, local: 10.255.2.1, far_end: 10.255.2.2, checks: [ping]}}
    backends: {{web: {{address: 10.10.0.11, checks: [ping]}}, web6: {{address: "fd00:10::11", checks: [ping]}}}}
prefixes: {{203.0.113.0/24: {{}}, "2001:db8:113::/48": {{}}}}
bgp: {{user: nobody, exabgp: {exabgp}, launch: {launch}}}
state_dir: {state}
"""
BREAK = """
ip link set lo up
ip link add up0 type veth peer name up1
ip link set up0 up
ip link set up1 up
ip address add 192.0.2.2/24 dev up0
ip link add vx0 type vxlan id 5 remote 192.0.2.9 dstport 4789
ip link set vx0 mtu 1500
ip link set vx0 up
ip address add 10.255.1.9/24 dev vx0
ip address add 203.0.113.7/32 dev lo
ip route add 198.51.100.0/24 dev up0 proto 201
ip route add 10.10.0.0/16 dev up0 table {table} proto static
ip rule add pref {table} from 10.0.0.0/8 lookup 77
ip -6 rule add pref 900 from fd00:1::1 lookup 77
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
sysctl -qw net.ipv4.conf.vx0.rp_filter=1 net.ipv6.conf.vx0.keep_addr_on_down=0
nft add table ip filter
nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }
nft add table inet office
nft add chain inet office filter_FORWARD { type filter hook forward priority 10 ; policy accept ; }
nft add rule inet office filter_FORWARD ct state established accept
nft add rule inet office filter_FORWARD counter reject with icmpx admin-prohibited
"""
BY_HAND = """
ip link add vx1 type vxlan id 6 remote 192.0.2.9 dstport 4790
ip link set vx1 mtu 1450
ip link set vx1 up
ip address add 10.255.2.1/30 dev vx1
ip route del 198.51.100.0/24 proto 201
sysctl -qw net.ipv4.conf.vx1.rp_filter=0 net.ipv4.conf.all.rp_filter=0
"""
"""What the doctor's commands do not do: it cannot know how a tunnel is made, nor whose a route is."""
RUNNABLE = (
    "ipv4-forwarding",
    "ipv6-forwarding",
    "rp-filter",
    "addresses-kept",
    "tunnel-addresses",
    "tunnel-mtu",
    "forward-firewall",
    "rules-taken",
    "tables-taken",
    "own-addresses",
)
SPEAKER = "import socket, sys; s = socket.create_server(('0.0.0.0', 179)); print('up', flush=True); sys.stdin.read()"


def run(lines: str, table: int) -> None:
    for line in lines.strip().splitlines():
        words = line.replace("{table}", str(table)).split()
        subprocess.run([*IN, *words], check=True, capture_output=True, timeout=10)


@pytest.fixture
def namespace() -> Iterator[None]:
    """An empty namespace, gone afterwards; one that a killed run left behind goes first."""
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True, timeout=10).stdout
    for left in {line.split()[0] for line in listed.splitlines() if line.startswith(BEGINS)}:
        if not Path(f"/proc/{left.removeprefix(BEGINS)}").exists():
            subprocess.run(["ip", "netns", "del", left], check=False, timeout=10)
    subprocess.run(["ip", "netns", "add", NAME], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["ip", "netns", "del", NAME], check=True, timeout=10)


def examined(config: Path, *before: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the exit status and what is wrong, by id."""
    done = subprocess.run(
        [*IN, *before, sys.executable, "-m", "anycastd", "doctor", "-c", str(config), "--json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    wrong: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        if finding["severity"] in ("error", "warning"):
            wrong.setdefault(finding["id"], []).append(finding)
    return done.returncode, wrong


@pytest.mark.usefixtures("namespace")
@pytest.mark.timeout(90)
def test_what_was_broken_is_found_and_gone_when_mended(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    exabgp = closed / "exabgp"
    exabgp.write_text("#!/bin/sh\necho 'ExaBGP : 4.2.25'\n")
    exabgp.chmod(0o755)
    config = tmp_path / "pop.yaml"
    config.write_text(CONFIG.format(exabgp=exabgp, state="/proc/anycastd", launch="service"))
    table = next(iter(load(str(config)).tunnels.values())).table
    run(BREAK, table)
    speaker = subprocess.Popen(
        [*IN, sys.executable, "-c", SPEAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    try:
        assert speaker.stdout is not None
        assert speaker.stdout.readline() == b"up\n"
        status, wrong = examined(config, "prlimit", "--nofile=200", "--")
    finally:
        speaker.kill()
        speaker.communicate()
    assert status == os.EX_UNAVAILABLE
    told = {id_: " | ".join(finding["what"] for finding in found) for id_, found in wrong.items()}
    expected = {
        "ipv4-forwarding": "ip_forward is 0",
        "ipv6-forwarding": "forwarding is 0",
        "rp-filter": "vx0",
        "addresses-kept": "vx0",
        "tunnel-devices": "no device vx1",
        "tunnel-addresses": "10.255.1.1",
        "tunnel-mtu": "at most 1450",
        "protocol-taken": "198.51.100.0/24",
        "rules-taken": f"rule {table} from 10.0.0.0/8 lookup 77 (IPv4) uses",
        "tables-taken": "10.10.0.0/16",
        "own-addresses": "203.0.113.7/32 is an address of this machine",
        "bgp-port": "179",
        "exabgp-version": "4.2.25",
        "exabgp-reachable": "nobody cannot pass",
        "state-dir": "/proc/anycastd has 0 MiB left",
        "service-units": "there is no anycastd-bgp.service",
        "daemon-user": "there is no user for the daemon",
        "open-files": "at most 200 files may be open",
    }
    assert {id_: told.get(id_) for id_, what in expected.items() if what not in (told.get(id_) or "")} == {}
    chains = [finding["what"] for finding in wrong["forward-firewall"]]
    assert [what.split(" has ")[0] for what in sorted(chains)] == [
        "chain inet office filter_FORWARD",
        "chain ip filter FORWARD",
    ]
    assert "from fd00:1::1 lookup 77 (IPv6) takes the checks' packets" in told["rules-taken"]
    assert "unexamined" not in wrong

    exabgp.write_text("#!/bin/sh\necho 'ExaBGP : 5.0.15'\n")
    config.write_text(CONFIG.format(exabgp=Path(sys.executable).with_name("exabgp"), state=tmp_path, launch="daemon"))
    for finding in (finding for id_ in RUNNABLE for finding in wrong[id_]):
        # `iptables` is not everywhere, and its chain here is nft's
        mend = finding["mend"] if "iptables" not in finding["mend"] else "nft delete table ip filter"
        done = subprocess.run([*IN, "sh", "-c", mend], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, (finding, done.stderr)
    run(BY_HAND, table)
    wait_until("the speaker's port is free", 5, lambda: "bgp-port" not in examined(config)[1])
    status, wrong = examined(config)
    (chain,) = wrong.pop("forward-firewall")
    assert (chain["severity"], "rules that name vx0; vx1" in chain["what"]) == ("warning", True), chain
    # what is the machine's own and not the namespace's may be wrong here
    ours = set(wrong) - {
        "conntrack",
        "ping-sockets",
        "networkd",
        "nftables-service",
        "exabgp-reachable",
        "bgp-user",
        "clock",
    }
    assert ours == set(), {id_: wrong[id_] for id_ in ours}
