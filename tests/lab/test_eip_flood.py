"""A flood of connection attempts fills the table of tracked connections: what goes on, and what does not."""

from __future__ import annotations

import json
from functools import partial

import pytest

from tests.lab.eip_load import loaded
from tests.lab.eip_stage import BOTH, POP, USER, Stage, wait_whole
from tests.lab.measured import Measured, Row
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

PACKETS = 280_000
FLOODED_PORT = 81
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


def test_a_flood_of_connections_breaks_no_stateless_eip_and_no_connection(stage: Stage, measured: Measured) -> None:
    free = [stage.bound(version, "eu/b1", mode="routed", tracking="stateless") for version in BOTH]
    bound, flooded = stage.bound(4, "eu/b1"), stage.bound(4, "us/b1")
    # the attempts end at the gateway: what is shown is the POP
    stage.lab.exec("us-gw", "nft", "-f", "-", text=DROP, check=True)
    stage.world.undo.append(partial(stage.lab.exec, "us-gw", "nft", "delete", "table", "inet", "lab_flood"))
    stage.world.undo.append(partial(stage.lab.exec, POP, "/opt/anycastd/.venv/bin/python", "-c", FORGET))
    most = limit(stage)
    if most > PACKETS:
        pytest.skip(f"this kernel tracks {most} connections, which {PACKETS} packets do not fill")
    with loaded(stage, [*free, bound], [*free, bound], patience_ms=4000) as load:
        said = stage.lab.exec(
            USER,
            "python3",
            "-S",
            "/lab/synflood.py",
            flooded,
            str(FLOODED_PORT),
            str(PACKETS),
            timeout_s=120,
            check=True,
        )
        full = entries(stage)
        # a SYN that a busy machine dropped is sent again after a second
        while_full = stage.ask(*free, count=50, every_ms=10, options=("--timeout-ms", "3000"))
        refused = stage.ask(bound, count=20, every_ms=10, options=("--timeout-ms", "900"))
        wait_until(
            "the alarm", 8, lambda: "conntrack_full" in {one["alarm"] for one in stage.get("/v1/status")["alarms"]}
        )
    flood = json.loads(said.stdout)
    lost = {one: sum(not row.ok for row in load.fresh.of(one).rows) for one in (*free, bound)}
    bad = {one: sum(not row.ok for row in while_full.of(one).rows) for one in free}
    new = sum(not row.ok for row in refused.of(bound).rows)
    print(
        f"\nmeasured: flood {flood}, {full} of {most} entries; lost {lost}; while full, lost of 50: {bad}; {new} of 20"
    )
    assert flood["sent"] > 0.95 * PACKETS
    assert full > 0.9 * most, "the table was full, or nothing was shown"
    for one in free:
        load.fresh.of(one).all_ok()
        while_full.of(one).all_ok()
    load.kept.all_ok()
    asked = len(load.fresh.of(bound).rows)
    measured.add(
        Row(
            "EIP: connection table full",
            "nothing: attempts without an answer give way",
            None,
            load.gap_ms(bound),
            lost[bound],
            asked,
        )
    )
    wait_whole(stage.lab)
    wait_until("an EIP is bound while it is full", 5, lambda: stage.bound(4, "eu/b2"))
