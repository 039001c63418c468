"""A flood of connection attempts fills the table of tracked connections: what goes on, and what does not."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.lab.eip_load import loaded, row
from tests.lab.eip_stage import BOTH, POP, USER, Stage, wait_whole
from tests.lab.measured import Measured
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

PACKETS = 280_000
FLOODED_PORT = 81
PYTHON = ("/opt/anycastd/.venv/bin/python", "-c")
FORGET = """
from anycastd.actuators.nft import conntrack
from anycastd.actuators.nft.channel import Channel
from anycastd.model.eip import FlushConnections
conntrack.flush(Channel(), FlushConnections(0, 0))
"""
DROP = f"""table inet lab_flood {{
chain c {{ type filter hook prerouting priority -400; tcp dport {FLOODED_PORT} drop
}}
}}
"""


def entries(stage: Stage) -> int:
    """Return how many connections the POP tracks."""
    return int(stage.lab.exec(POP, "cat", "/proc/sys/net/netfilter/nf_conntrack_count", check=True).stdout)


def limit(stage: Stage) -> int:
    return int(stage.lab.exec(POP, "cat", "/proc/sys/net/netfilter/nf_conntrack_max", check=True).stdout)


def conntrack_alarm(stage: Stage) -> bool:
    return "conntrack_full" in {one["alarm"] for one in stage.get("/v1/status")["alarms"]}


def test_a_flood_of_connections_breaks_no_eip_and_no_connection(stage: Stage, measured: Measured) -> None:
    free = [stage.bound(version, "eu/b1", mode="routed", tracking="stateless") for version in BOTH]
    # the flood is to the first of them
    tracked = [stage.bound(version, "eu/b1") for version in BOTH]
    eips, flooded = [*free, *tracked], tracked[0]
    # the attempts end at the gateway: what is shown is the POP
    stage.lab.exec("eu-gw", "nft", "-f", "-", text=DROP, check=True)
    stage.world.undo.append(partial(stage.lab.exec, "eu-gw", "nft", "delete", "table", "inet", "lab_flood"))
    stage.world.undo.append(partial(stage.lab.exec, POP, *PYTHON, FORGET))
    most = limit(stage)
    if most > PACKETS:
        pytest.skip(f"this kernel tracks {most} connections, which {PACKETS} packets do not fill")
    with loaded(stage, eips, eips, patience_ms=4000) as load:
        words = ("python3", "-S", "/lab/synflood.py", flooded, str(FLOODED_PORT), str(PACKETS))
        said = stage.lab.exec(USER, *words, timeout_s=120, check=True)
        full = entries(stage)
        # a SYN that a busy machine dropped is sent again after a second
        while_full = stage.ask(*eips, count=50, every_ms=10, options=("--timeout-ms", "4000"))
        wait_until("the alarm", 8, lambda: conntrack_alarm(stage))
    flood = json.loads(said.stdout)
    print(f"\nmeasured: flood {flood}, {full} of {most} entries")
    assert flood["sent"] > 0.95 * PACKETS
    assert full > 0.9 * most, "the table was full, or nothing was shown"
    while_full.all_ok()
    load.fresh.all_ok()
    load.kept.all_ok()
    what = "nothing: attempts without an answer give way"
    for version, address in zip(BOTH, tracked, strict=True):
        measured.add(row(load, address, f"EIP: connection table full by a flood, IPv{version}", what))
    wait_whole(stage.lab)
    wait_until("an EIP is bound while it is full", 5, lambda: stage.bound(4, "eu/b2"))
