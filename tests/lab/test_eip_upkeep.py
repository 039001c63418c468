"""What is ours is kept as it should be, whatever is done to it or to the daemon, and clients do not notice."""

from __future__ import annotations

import re
import signal
import time
from functools import partial
from statistics import median

import pytest

from tests.lab.eip_count import drops
from tests.lab.eip_load import BUSY, each_mode, loaded, row
from tests.lab.eip_stage import BOTH, MODES, POP, Stage, cleaned, wait_whole
from tests.lab.measured import Measured, Row
from tests.lab.topology_facts import PREFIX_A4, PREFIX_A6, SERVICE
from tests.wait import wait_until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

PATIENCE_MS = 4000
"""What a client waits that counts as failed only what fails; that no packet was lost is asked of the drop counters."""
OF_THE_FILE = [SERVICE[PREFIX_A4], SERVICE[PREFIX_A6]]


def daemon(stage: Stage) -> int:
    """Return the daemon's pid, which its supervisor wrote down; 0 while there is none."""
    said = stage.lab.exec(POP, "cat", "/run/anycastd.pid").stdout.strip()
    return int(said or 0)


def table(stage: Stage) -> str:
    """Return our table as the kernel has it, without what is counted, and whose the best tunnel's address is."""
    text = stage.lab.exec(POP, "nft", "list", "table", "inet", "anycastd").stdout
    return re.sub(r"packets \d+ bytes \d+|10\.200\.\d+\.1|fd00:200:\w+::1", "", text)


def routes(stage: Stage) -> str:
    """Return all rules and routes, sorted; which tunnel is preferred is for latencies to say."""
    said = [
        stage.lab.exec(POP, "ip", family, *words, check=True).stdout
        for family in ("-4", "-6")
        for words in (("rule",), ("route", "show", "table", "all"))
    ]
    lines = (re.sub(r"(expires|hoplimit|metric) \S+", "", line).strip() for text in said for line in text.splitlines())
    return "\n".join(sorted(line for line in lines if "fe80::" not in line))


def test_fifty_reconciles_lose_nothing(stage: Stage) -> None:
    eips = each_mode(stage, *BOTH)
    before, begun = (table(stage), routes(stage)), drops(stage.lab)
    with loaded(stage, [eips[1], eips[4]], eips, patience_ms=PATIENCE_MS) as load:
        for number in range(50):
            if number % 5:
                status, said = stage.status_of("POST", "/v1/reload")
                assert status == 200, said
            else:
                stage.lab.kill(POP, daemon(stage), signal.SIGHUP)
    load.fresh.all_ok()
    load.kept.all_ok()
    assert (table(stage), routes(stage)) == before
    assert drops(stage.lab) == begun


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGUSR2, signal.SIGTERM], ids=lambda how: how.name)
def test_another_daemon_takes_over_and_nothing_is_lost(stage: Stage, measured: Measured, how: signal.Signals) -> None:
    eips = each_mode(stage, *BOTH)
    # told to go it withdraws its prefixes: clients use other POPs, which know the EIPs of the file only
    fresh, kept = (OF_THE_FILE, []) if how is signal.SIGTERM else ([eips[1], OF_THE_FILE[1]], eips)
    before, pid, begun = table(stage), daemon(stage), drops(stage.lab)
    with loaded(stage, fresh, kept, patience_ms=PATIENCE_MS) as load:
        stage.lab.kill(POP, pid, how)
        wait_until("another daemon", 15, lambda: daemon(stage) not in (0, pid))
        wait_whole(stage.lab)
        if how is signal.SIGTERM:
            stage.world.wait_normal()
        load.more()
    load.fresh.all_ok()
    if kept:
        load.kept.all_ok()
    assert table(stage) == before
    now = drops(stage.lab)
    if how is signal.SIGTERM:
        # the last packets of connections that other POPs have ended
        begun["untracked"] = now["untracked"]
    assert now == begun
    measured.add(row(load, fresh[0], f"EIP: daemon gets {how.name}", "nothing"))


def test_a_flushed_ruleset_is_back_within_a_second(stage: Stage, measured: Measured) -> None:
    eips = each_mode(stage, *BOTH)
    before = table(stage)
    took_ms = []
    with loaded(stage, [eips[1]], eips) as load:
        for _ in range(5):
            stage.lab.exec(POP, "nft", "flush", "ruleset", check=True)
            at_s = time.monotonic()
            wait_until("the table is back", 5, lambda: table(stage) == before)
            took_ms.append((time.monotonic() - at_s) * 1000)
        load.more()
    assert median(took_ms) < 1000, took_ms
    assert max(took_ms) < BUSY * 1000, took_ms
    asked, lost = len(load.fresh.rows), load.lost(eips[1])
    gap_ms = load.gap_ms(eips[1])
    measured.add(
        Row("EIP: nft flush ruleset, 5 times", "rules and elements are back", max(took_ms), gap_ms, lost, asked)
    )
    assert gap_ms < BUSY * 1000
    # while there are no rules an answer to the POP's own address is not translated: its kernel knows no such connection
    hidden = (eips[MODES.index("masquerade")], eips[len(MODES) + MODES.index("masquerade")])
    reset = [one for one in load.kept.rows if not one.ok and one.to in hidden]
    print(f"masquerade: {len(reset)} of {len(hidden)} connections reset in 5 flushes")
    assert {one.error for one in reset} <= {"ConnectionResetError"}
    assert not [one for one in load.kept.rows if not one.ok and one.to not in hidden], "connections go on"


def test_each_thing_that_is_taken_away_comes_back(stage: Stage) -> None:
    eips = each_mode(stage, *BOTH)
    before = table(stage), routes(stage)
    handle = re.findall(
        r"@eip4 # handle (\d+)", stage.lab.exec(POP, "nft", "-a", "list", "table", "inet", "anycastd").stdout
    )
    harm = [
        ("nft", "delete", "rule", "inet", "anycastd", "pick", "handle", handle[0]),
        ("nft", "insert", "rule", "inet", "anycastd", "pre", "ip", "daddr", "192.0.2.77", "drop"),
        ("nft", "delete", "element", "inet", "anycastd", "in4", f"{{ {eips[0]} }}"),
        ("nft", "delete", "element", "inet", "anycastd", "eip6", f"{{ {eips[-1]} }}"),
        ("nft", "add", "element", "inet", "anycastd", "idle4", f"{{ {eips[1]} }}"),
        ("nft", "flush", "chain", "inet", "anycastd", "leave"),
        ("nft", "delete", "table", "inet", "anycastd"),
        ("ip", "rule", "del", "pref", "1001"),
        ("ip", "-6", "rule", "del", "pref", "1001"),
        ("ip", "route", "flush", "table", "1001"),
        ("ip", "-6", "route", "flush", "table", "1001"),
        ("ip", "route", "del", "blackhole", PREFIX_A4),
    ]
    for argv in harm:
        stage.lab.exec(POP, *argv, check=True)
        wait_until(f"{' '.join(argv)}: repaired", 3, lambda: (table(stage), routes(stage)) == before)
    stage.ask(*eips, count=5).all_ok()


def test_nothing_foreign_is_touched(stage: Stage) -> None:
    run, undo = stage.lab.exec, stage.world.undo
    for family, host, via in (("-4", "192.0.2.2", "10.64.1.1"), ("-6", "2001:db8:ffff::", "fd00:64:1::1")):
        cleaned(undo, stage.lab, POP, "ip", family, "rule", "add", "pref", "900", "to", f"{host}00", "lookup", "900")
        cleaned(undo, stage.lab, POP, "ip", family, "route", "add", f"{host}00", "via", via, "table", "900")
        cleaned(undo, stage.lab, POP, "ip", family, "route", "add", f"{host}01", "via", via, "table", "1001")
        cleaned(undo, stage.lab, POP, "ip", family, "route", "add", f"{host}02", "via", via)
    text = (
        "table inet foreign { set s { type ipv4_addr; elements = { 192.0.2.9 } }\n"
        "chain c { type filter hook forward priority 5; ip daddr @s counter\n}\n}\n"
    )
    run(POP, "nft", "-f", "-", text=text, check=True)
    undo.append(partial(run, POP, "nft", "delete", "table", "inet", "foreign"))
    theirs, kept = run(POP, "nft", "list", "table", "inet", "foreign").stdout, routes(stage).splitlines()
    whole, pid = table(stage), daemon(stage)
    run(POP, "nft", "delete", "table", "inet", "anycastd", check=True)
    wait_until("ours is back", 3, lambda: table(stage) == whole)
    stage.lab.kill(POP, pid, signal.SIGKILL)
    wait_until("another daemon", 15, lambda: daemon(stage) not in (0, pid))
    wait_whole(stage.lab)
    assert routes(stage).splitlines() == kept
    assert run(POP, "nft", "list", "table", "inet", "foreign").stdout == theirs
