"""ExaBGP alone: from a command written to its pipe to the UPDATE at a router."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from anycastd.actuators.exabgp.conf import render
from anycastd.actuators.exabgp.process import SYSTEM_PATH, SYSTEM_PYTHON, environment, program, run_as
from anycastd.model.address import NeighborName
from anycastd.model.topology import BgpConfig, Neighbor, Pop
from tests.bench.world import POP_ADDRESS, ROUTER, ROUTER_ASN, Row, Rows, World, world
from tests.wait import NotInTimeError, wait_until

BRIDGE = Path(__file__).with_name("bare_bridge.py")
COUNT = 320


def start(made: World, command: tuple[str, ...], *, acknowledge: bool = True) -> subprocess.Popen[bytes]:
    """Start ExaBGP with the file and settings that the daemon would give it, but for the process that feeds it."""
    who, bgp = run_as("nobody"), BgpConfig()
    local, address = IPv4Address(POP_ADDRESS), IPv4Address(ROUTER)
    neighbor = Neighbor(
        name=NeighborName("transit"),
        address=address,
        asn=ROUTER_ASN,
        local_address=local,
        local_asn=64500,
        hold_time_s=60,
    )
    conf = made.directory / "exabgp.conf"
    conf.write_bytes(render(Pop(name="bench", asn=64500, router_id=local), [neighbor], {}, command))
    settings = environment(bgp, who.name, ()) | ({} if acknowledge else {"exabgp_api_ack": "false"})
    words = [f"{name}={value}" for name, value in settings.items() if value]
    argv = ["env", "-i", f"PATH={SYSTEM_PATH}", *words, *who.words, program(""), "server", str(conf)]
    return made.spawn(made.pop, argv, "exabgp.log")


def _bridge(made: World, count: int, *, loaded: bool) -> tuple[str, ...]:
    """Put the program that writes and stamps commands where ExaBGP can run it."""
    owner = run_as("nobody").owner
    shutil.copy(BRIDGE, made.directory / "bare_bridge.py")
    stamps = made.directory / "stamps"
    stamps.mkdir()
    os.chown(stamps, owner.uid, owner.gid)
    words = (str(made.directory / "bare_bridge.py"), str(stamps / "rows"), str(count), str(int(loaded)), ROUTER)
    return (SYSTEM_PYTHON, "-SE", *words)


def latencies_s(written: list[Row], seen: list[Row]) -> tuple[list[float], int]:
    """Return the time from each stamp to the route with that path at the sink, and how many never came."""
    by_prefix: dict[str, list[tuple[float, int]]] = {}
    for row in seen:
        if row["kind"] == "announce":
            by_prefix.setdefault(row["prefix"], []).append((row["t"], len(row["as_path"])))
    stamps: dict[str, list[Row]] = {}
    for row in written:
        stamps.setdefault(row["prefix"], []).append(row)
    found, lost = [], 0
    for prefix, rows in stamps.items():
        for row, after in zip(rows, [*rows[1:], None], strict=True):
            until_s = after["t"] if after else float("inf")
            came = [t for t, path in by_prefix.get(prefix, ()) if row["t"] <= t < until_s and path == row["path"]]
            if came:
                found.append(came[0] - row["t"])
            else:
                lost += 1
    return found, lost


def run(count: int = COUNT, *, loaded: bool) -> tuple[list[float], int]:
    """Return latencies (s) of single commands to an ExaBGP that has nothing else to do, or is kept busy."""
    with world(0) as made:
        sink = made.sink()
        start(made, _bridge(made, count, loaded=loaded))
        stamps = made.directory / "stamps" / "rows"
        wait_until("the bridge runs", 20, stamps.exists)
        rows, written, seen = Rows(stamps), list[Row](), list[Row]()

        def done() -> bool:
            written.extend(rows.new())
            seen.extend(sink.rows.new())
            return len(written) >= count

        wait_until("every command written", 90, done)
        with suppress(NotInTimeError):
            wait_until("every UPDATE", 3, lambda: done() and latencies_s(written, seen)[1] == 0)
        rows.close()
        return latencies_s(written, seen)
