"""An EIP that all three POPs of the lab carry, and a flood on it from the client beside each of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from anycastd.cli.client import ask
from anycastd.lab.inside import NodeProcess
from tests.lab.chaos import COMMAND, CONFIG, uncover
from tests.lab.fleet import Fleet
from tests.lab.topology_facts import SITES
from tests.wait import wait_until

VICTIMS = itertools.count(251)
"""Last bytes of addresses of prefix A that the stage does not give out; a released one is kept for a day."""
PORT = 81
LIMIT_BPS = 64_000
AT_MOST_S = 120.0
RATES: Mapping[str, int] = {"syn": 2000, "udp": 80, "small": 2900}
"""Packets a second: ten times the limit, with packets of 40, 1,028 and 28 bytes."""
BYTES: Mapping[str, int] = {"syn": 40, "udp": 1028, "small": 28}
DETECT = {
    "interval": "500ms", "warm_up": "0s", "confirm": "600ms", "calm": "2s",
    "eip": {"floor_packets": 40, "level_packets": 60, "floor_bits": "64kbit"},
}  # fmt: skip
SILENT = f"""table inet lab_siege {{
chain c {{ type filter hook prerouting priority -400; meta l4proto {{ tcp, udp }} th dport {PORT} drop
}}
}}
"""
"""What gets through ends at the gateway: what is shown are the POPs."""


@dataclass
class Siege:
    """The lab with the victim in place: an EIP that is routed to a backend of the second region."""

    world: Fleet
    victim: str

    def ask(self, pop: str, target: str, method: str = "GET", body: Any = None) -> Any:
        """Ask a POP's daemon."""
        path = f"/proc/{self.world.lab.pid(pop)}/root/run/anycastd/api.sock"
        return ask(path, target, method=method, body=body, timeout_s=20)

    def standing(self, pop: str) -> str:
        """Return what a POP says of the victim: NORMAL, ELEVATED or ATTACK."""
        eips = self.ask(pop, "/v1/attacks")["eips"]
        return next((one["state"] for one in eips if one["subject"] == self.victim), "NORMAL")

    def wait(self, state: str, pops: Collection[str] = tuple(SITES), deadline_s: float = 30.0) -> None:
        """Wait until these POPs see it so."""
        for pop in pops:
            wait_until(f"{pop} says {state}", deadline_s, lambda pop=pop: self.standing(pop) == state)  # type: ignore[misc]

    def configure(
        self, pop: str, absorb: Mapping[str, Any], detect: Mapping[str, Any], timers: Mapping[str, Any] | None = None
    ) -> None:
        """Have a POP see floods of this size, and be set as given."""
        lab = self.world.lab
        changed = lab.exec(pop, "cat", CONFIG, check=True).stdout
        # the lab's POPs look for no attacks by themselves
        sections: dict[str, Any] = {"attack": {"detect": dict(detect), "absorb": dict(absorb)}}
        for name, section in (sections | ({"timers": dict(timers)} if timers else {})).items():
            changed, count = re.subn(rf"^{name}:.*$", f"{name}: {json.dumps(section)}", changed, flags=re.MULTILINE)
            assert count == 1
        script = f"cat > /run/chaos.yaml && mount --bind /run/chaos.yaml {CONFIG}"
        lab.exec(pop, "sh", "-c", script, text=changed, check=True)
        self.world.undo.append(partial(uncover, self.world, pop))
        said = lab.exec(pop, COMMAND, "reload")
        assert said.returncode == 0, said.stdout + said.stderr

    def flood(self, site: str, kind: str, to: str = "", pps: int = 0) -> NodeProcess:
        """Begin a flood from the client beside a POP; it ends when it is told, or by itself."""
        numbers = (str(PORT), str(pps or RATES[kind]), str(AT_MOST_S), str(SITES[site].number))
        return self.world.lab.popen(f"c-{site}", "python3", "-S", "/lab/flood.py", kind, to or self.victim, *numbers)

    def wait_known(self) -> None:
        """Wait until every POP knows of the attack, and what begins at the victim is tracked no more."""
        self.wait("ATTACK")
        for pop in SITES:
            wait_until("not tracked", 20, partial(self._is_loose, pop))

    def _is_loose(self, pop: str) -> bool:
        return self.victim in self.world.lab.exec(pop, "nft", "list", "set", "inet", "anycastd", "loose4").stdout

    def arrived(self, pop: str) -> int:
        """Return how many packets to the victim a POP has counted, let through or above the limit."""
        total = 0
        for name in ("in4", "limin4"):
            listed = self.world.lab.exec(pop, "nft", "list", "set", "inet", "anycastd", name, check=True).stdout
            found = re.search(rf"{re.escape(self.victim)}\b[^,}}]*?counter packets (\d+)", listed)
            assert found, listed
            total += int(found[1])
        return total

    def tracked(self, pop: str) -> int:
        """Return how many entries of the connection table are of the victim."""
        return self.world.lab.exec(pop, "cat", "/proc/net/nf_conntrack", check=True).stdout.count(f"dst={self.victim} ")

    def resident_kib(self, pop: str) -> int:
        """Return the memory of a POP's daemon."""
        text = self.world.lab.exec(pop, "sh", "-c", "cat /proc/$(cat /run/anycastd.pid)/status", check=True).stdout
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found
        return int(found[1])

    def decision(self, pop: str, prefix: str) -> tuple[str, str | None]:
        """Return a POP's level of a prefix, and what holds it."""
        one = next(one for one in self.ask(pop, "/v1/prefixes")["prefixes"] if one["prefix"] == prefix)
        return one["level"], one["hold"]


def ended(process: NodeProcess) -> int:
    """End a flood before its time; return how many packets it has sent."""
    process.terminate()
    return int(json.loads(process.communicate(timeout=60)[0])["sent"])


@contextmanager
def besieged(
    world: Fleet,
    absorb: Mapping[str, Mapping[str, Any]],
    detect: Mapping[str, Any] = DETECT,
    limit_bps: int | None = LIMIT_BPS,
    timers: Mapping[str, Any] | None = None,
) -> Iterator[Siege]:
    """Put the victim in place at every POP, each set as `absorb` has it; all is taken away with the world's faults."""
    victim, lab = f"203.0.113.{next(VICTIMS)}", world.lab
    siege = Siege(world, victim)
    with ThreadPoolExecutor(len(SITES)) as pool:
        list(pool.map(lambda pop: siege.configure(pop, absorb.get(pop, {"calm": "1s"}), detect, timers), SITES))
    lab.exec("us-b1", "ip", "addr", "add", f"{victim}/32", "dev", "lo", check=True)
    world.undo.append(partial(lab.exec, "us-b1", "ip", "addr", "del", f"{victim}/32", "dev", "lo"))
    lab.exec("us-gw", "ip", "route", "replace", victim, "via", "10.52.1.10", check=True)
    world.undo.append(partial(lab.exec, "us-gw", "ip", "route", "del", victim))
    lab.exec("us-gw", "nft", "-f", "-", text=SILENT, check=True)
    world.undo.append(partial(lab.exec, "us-gw", "nft", "delete", "table", "inet", "lab_siege"))
    made: list[str] = []
    try:
        for pop in SITES:
            body = {"address": victim} | ({"bandwidth": {"in_bps": limit_bps}} if limit_bps else {})
            siege.ask(pop, "/v1/eips?wait=10s", "POST", body)
            made.append(pop)
            target = {"targets": [{"backend": "us/b1", "mode": "routed"}]}
            siege.ask(pop, f"/v1/eips/{victim}/association?wait=10s", "PUT", target)
        yield siege
    finally:
        for pop in made:
            for what in ("/association", ""):
                siege.ask(pop, f"/v1/eips/{victim}{what}?wait=10s", "DELETE")
