"""Rules that are really replaced, and real damages, under clients that ask all the time and datagrams by number."""

from __future__ import annotations

import re
import signal
import time

import pytest

from tests.lab.eip_count import drops
from tests.lab.eip_load import BUSY, each_mode, loaded
from tests.lab.eip_stage import BOTH, MODES, POP, Stage, listed, wait_whole
from tests.lab.measured import Measured, Row
from tests.lab.numbered import numbered
from tests.lab.test_eip_upkeep import PATIENCE_MS, daemon, routes, table
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]

HARMLESS = ("nft", "insert", "rule", "inet", "anycastd", "pre", "ip", "daddr", "192.0.2.77", "counter")
REPLACED, OF_ANOTHER_MAKE = 10, 4
IN_FLIGHT_S = 0.25
"""How long before it is lost a datagram may have been sent, on a busy machine."""


def make_other(stage: Stage) -> None:
    """Put our table in the kernel's as another version would have made it, in one transaction.

    Its rules name the prefixes: a new set of prefixes is empty to packets until the end of the kernel's transaction,
    and what is lost is to be lost by the daemon.
    """
    text = stage.lab.exec(POP, "nft", "list", "table", "inet", "anycastd", check=True).stdout
    text = text.replace('comment "anycastd ', 'comment "anycastd old', 1)
    # a set that this version has not
    text = text.replace("chain routed {", "set more { type mark; }\n chain routed {", 1)
    for name in ("own4", "own6"):
        own = [f"{one['prefix']['addr']}/{one['prefix']['len']}" for one in listed(stage.lab, POP, "set", name)]
        assert own, name
        text = re.sub(
            rf"^(.*)@{name}\b(.*)$",
            lambda found, own=own: "\n".join(f"{found[1]}{prefix}{found[2]}" for prefix in own),  # type: ignore[misc]
            text,
            flags=re.M,
        )
    stage.lab.exec(POP, "nft", "-f", "-", text=f"delete table inet anycastd\n{text}", check=True)


def test_rules_that_are_replaced_under_load_lose_no_packet(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    before, begun = table(stage), drops(stage.lab)
    with (
        loaded(stage, [eips[1], eips[4]], eips, patience_ms=PATIENCE_MS) as load,
        numbered(stage, *eips, every_ms=2) as numbers,
    ):
        for _ in range(REPLACED):
            stage.lab.exec(POP, *HARMLESS, check=True)
            wait_until("all rules are put anew", 5, lambda: "192.0.2.77" not in table(stage))
        for _ in range(OF_ANOTHER_MAKE):
            make_other(stage)
            wait_until("the table is replaced", 5, lambda: table(stage) == before)
        # an upgrade: the table is of the version before
        stage.lab.exec(POP, "touch", "/run/no-restart", check=True)
        stage.world.undo.append(lambda: stage.lab.exec(POP, "rm", "-f", "/run/no-restart"))
        pid = daemon(stage)
        stage.lab.kill(POP, pid, signal.SIGKILL)
        wait_until("no daemon", 5, lambda: daemon(stage) == 0)
        make_other(stage)
        assert "set more" in table(stage)
        stage.lab.exec(POP, "rm", "/run/no-restart", check=True)
        wait_until("the next daemon replaces it", 20, lambda: table(stage) == before)
        wait_whole(stage.lab)
        numbers.more()
        load.more()
    sent = numbers.whole()
    print(f"\n{sent} datagrams, each came back once")
    load.fresh.all_ok()
    load.kept.all_ok()
    assert drops(stage.lab) == begun
    measured.add(
        Row(
            f"EIP: rules put anew {REPLACED} times, table of another version replaced {OF_ANOTHER_MAKE + 1} times",
            "nothing",
            None,
            max(flow.longest_gap_ms for flow in numbers.flows.values()),
            0,
            sent,
        )
    )


def damages(stage: Stage) -> dict[str, tuple[str, ...]]:
    """Return what is done to us, by the words of the report."""
    text = stage.lab.exec(POP, "nft", "-a", "list", "table", "inet", "anycastd", check=True).stdout
    (handle,) = re.findall(r"@eip4 # handle (\d+)", text)
    ours = ("inet", "anycastd")
    return {
        "rule deleted": ("nft", "delete", "rule", *ours, "pick", "handle", handle),
        "chain emptied": ("nft", "flush", "chain", *ours, "pre"),
        "set emptied": ("nft", "flush", "set", *ours, "in4"),
        "map emptied": ("nft", "flush", "map", *ours, "eip6"),
        "table deleted": ("nft", "delete", "table", *ours),
        "rule of routing deleted, IPv4": ("ip", "rule", "del", "pref", "1001"),
        "rule of routing deleted, IPv6": ("ip", "-6", "rule", "del", "pref", "1001"),
        "routes deleted, IPv4": ("ip", "route", "flush", "table", "1001"),
        "routes deleted, IPv6": ("ip", "-6", "route", "flush", "table", "1001"),
    }


def test_damages_under_load_cost_no_longer_than_their_repair(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    before = table(stage), routes(stage)
    took: dict[str, tuple[float, float]] = {}
    hidden = [eips[MODES.index("masquerade")], eips[len(MODES) + MODES.index("masquerade")]]
    kept = [one for one in eips if one not in hidden]
    with loaded(stage, [eips[1], eips[4]], kept) as load, numbered(stage, *eips) as numbers:
        for what, argv in damages(stage).items():
            at_s = time.monotonic()
            stage.lab.exec(POP, *argv, check=True)
            wait_until(f"{what}: repaired", 5, lambda: (table(stage), routes(stage)) == before)
            # what is sent while it is looked for is whole again
            numbers.more(60)
            took[what] = at_s - IN_FLIGHT_S, time.monotonic()
        load.more()
    load.kept.all_ok()
    worst_ms = 0.0
    for what, (begin_s, end_s) in took.items():
        lost = {to: flow.between(begin_s, end_s) for to, flow in numbers.flows.items()}
        longest_ms = max(ms for _, ms in lost.values())
        worst_ms = max(worst_ms, longest_ms)
        each = " ".join(str(count) for count, _ in lost.values())
        print(f"measured: {what}: lost for {longest_ms:.0f} ms; datagrams of each EIP {each}")
        assert longest_ms < BUSY * 1500, what
    assert not [flow for flow in numbers.flows.values() if flow.twice]
    every = sum(len(flow.lost) for flow in numbers.flows.values())
    broken = sum(flow.between(*span)[0] for span in took.values() for flow in numbers.flows.values())
    assert every - broken <= numbers.unable, "nothing is lost but while something is broken"
    sent = sum(flow.sent for flow in numbers.flows.values())
    fault = f"EIP: {len(took)} damages of rules, sets, routes under load"
    measured.add(Row(fault, "each is put back, connections go on", None, worst_ms, every, sent))
