"""Counting beside our own: a table of the test in the POP that sees each packet before and behind all of ours."""

from __future__ import annotations

import json
import re
from typing import Any

from anycastd.lab.running import Lab
from anycastd.model.nft import NamedCounter
from tests.lab.eip_stage import POP, Stage, version_of
from tests.wait import wait_until

TABLE = "lab_eips"
WORD = {4: "ip", 6: "ip6"}


def key_of(address: str, way: str) -> str:
    """Return the name of a counter."""
    return f"{way}_{re.sub('[.:]', '_', address)}"


def watch(stage: Stage, *addresses: str) -> None:
    """Begin to count what arrives for addresses from clients and what leaves from them to clients, at zero."""
    rules: dict[str, list[str]] = {"arrive": [], "leave": []}
    for address in addresses:
        word = WORD[version_of(address)]
        rules["arrive"].append(f'iifname "eth1" {word} daddr {address} counter name {key_of(address, "in")}')
        rules["leave"].append(f'oifname "eth1" {word} saddr {address} counter name {key_of(address, "out")}')
    lines = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        *(f"counter {key_of(address, way)} {{ }}" for address in addresses for way in ("in", "out")),
        "chain arrive { type filter hook prerouting priority -400; policy accept;",
        *rules["arrive"],
        "}",
        "chain leave { type filter hook postrouting priority 400; policy accept;",
        *rules["leave"],
        "}",
        "}",
    ]
    stage.lab.exec(POP, "nft", "-f", "-", text="\n".join(lines) + "\n", check=True)
    stage.world.undo.append(lambda: stage.lab.exec(POP, "nft", "delete", "table", "inet", TABLE))


def named(lab: Lab, table: str) -> dict[str, tuple[int, int]]:
    """Return packets and bytes of a table's named counters."""
    said = json.loads(lab.exec(POP, "nft", "-j", "list", "counters", "table", "inet", table, check=True).stdout)
    rows = [one["counter"] for one in said["nftables"] if "counter" in one]
    return {one["name"]: (one["packets"], one["bytes"]) for one in rows}


def drops(lab: Lab) -> dict[str, int]:
    """Return what our table has dropped that belongs to no EIP, in packets, by the name of its counter."""
    counters = named(lab, "anycastd")
    return {one.value: counters[one.value][0] for one in NamedCounter}


def watched(stage: Stage, address: str, way: str) -> tuple[int, int]:
    """Return packets and bytes seen of an address since `watch`."""
    return named(stage.lab, TABLE)[key_of(address, way)]


def element(lab: Lab, name: str, address: str) -> tuple[int, int]:
    """Return packets and bytes of one element of our table."""
    said = lab.exec(POP, "nft", "get", "element", "inet", "anycastd", name, f"{{ {address} }}", check=True).stdout
    found = re.search(r"counter packets (\d+) bytes (\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])


def totals(stage: Stage, address: str) -> dict[str, tuple[int, int]]:
    """Return what the API says of an EIP: in, out, and drops by cause."""
    said: dict[str, Any] = stage.get(f"/v1/eips/{address}/traffic")["totals"]
    found = {}
    for way, part in said.items():
        found[way] = (part["packets"], part["bytes"])
        found |= {f"{way} {cause}": (one["packets"], one["bytes"]) for cause, one in part["dropped"].items()}
    return found


def settled(stage: Stage, address: str, wanted: dict[str, tuple[int, int]], deadline_s: float = 5.0) -> None:
    """Wait until the API says exactly this of an EIP."""

    def so() -> bool:
        have = totals(stage, address)
        assert {key: have[key] for key in wanted} == wanted
        return True

    wait_until(f"counters of {address}", deadline_s, so)


def metric(stage: Stage, name: str, **labels: str) -> int:
    """Return one value of /metrics."""
    text = stage.lab.exec(POP, "python3", "-S", "-c", METRICS, check=True).stdout
    words = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found = re.search(rf"^{re.escape(f'{name}{{{words}}}')} (\S+)$", text, re.M)
    assert found, (name, labels)
    return int(float(found[1]))


METRICS = """
import http.client
connection = http.client.HTTPConnection("127.0.0.1", 8179, timeout=5)
connection.request("GET", "/metrics")
print(connection.getresponse().read().decode())
"""
