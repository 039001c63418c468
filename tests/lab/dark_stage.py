"""Three POPs with real daemons and ExaBGP around one router (BIRD, in the hub), and three members of an etcd.

A small fleet with short timers: POPs see each other by the store, or by what a test gives them. The router's log is the
oracle: it names each change of each path, and says when the last one went.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.lab.etcd_stage import BACKEND, Pop, Stage, etcd_stage, run, tunnel
from tests.wait import wait_until

POPS = ("fra", "sin", "iad")
PREFIX = "203.0.113.0/24"
GONE, NORMAL, DEPREF = 0, 1, 4
"""Lengths of the path that the router has from a POP."""
QUICK = {"settle": "500ms", "return_after": "0s", "return_max": "0s", "half_life": "1s"}
FLEET = {"heartbeat": "1s", "blind": "3s", "boot": "5s"}
STORE = {"kind": "etcd", "heartbeat": "1s", "stale_after": "3s", "presence": "3s", "attempt": "500ms",
         "commit_within": "2s", "single_flight": "0s", "withdrawals_apart": "500ms"}  # fmt: skip
BIRD = """
log "{log}" all;
timeformat log iso long ms;
router id 10.77.0.1;
protocol device {{}}
template bgp pop {{ hold time 90; debug {{ routes }}; ipv4 {{ import all; export none; }}; }}
{protocols}
"""


@dataclass
class DarkStage:
    """The stage, its router, and what the POPs' files are made of."""

    stage: Stage
    bird: subprocess.Popen[bytes]
    directory: Path
    cut: set[str] = field(default_factory=set)

    @property
    def pops(self) -> Mapping[str, Pop]:
        """Return the POPs."""
        return {name: self.stage.pops[name] for name in POPS}

    def document(self, name: str, **more: Any) -> dict[str, Any]:
        """Return the configuration of a POP; `more` takes the place of sections (None: leaves one out)."""
        pop = self.stage.pops[name]
        check, directory = {"icmp": {"interval": "200ms", "timeout": "500ms", "rise": 2, "fall": 2}}, pop.directory
        found = {
            "pop": {"name": name, "asn": 64500, "router_id": pop.address},
            "neighbors": {"hub": {"address": pop.hub, "asn": 64496, "local_address": pop.address, "hold_time": "90s"}},
            "checks": {"ping": check},
            "regions": {"eu": {
                "tunnels": {"t1": {"device": "tun0", "local": tunnel(pop.address), "far_end": tunnel(pop.hub),
                                   "checks": ["ping"]}},
                "backends": {"web": {"address": BACKEND, "checks": ["ping"]}},
            }},
            "prefixes": {PREFIX: {}},
            "timers": QUICK,
            "safety": {"breaker": {"quiet": "1s"}},
            "fleet": FLEET | {"pops": {one: {"number": number} for number, one in enumerate(POPS, start=1)}},
            "store": STORE | {"endpoints": list(self.stage.endpoints)},
            "api": {"port": 8179, "socket": f"{directory}/api.sock"},
            "bgp": {
                "user": "nobody",
                "socket": f"{directory}/exabgp.sock",
                "directory": f"{directory}/bgp",
                "reactor_speed": 1,
            },
            "state_dir": f"{directory}/state",
        }  # fmt: skip
        return {key: value for key, value in (found | more).items() if value is not None}

    def write(self, name: str, **more: Any) -> None:
        """Write a POP's file."""
        self.stage.pops[name].config.write_text(json.dumps(self.document(name, **more)), encoding="utf-8")

    def start(self, *names: str) -> None:
        """Start daemons with the files that are there."""
        for name in names or POPS:
            self.stage.pops[name].begin()
        for name in names or POPS:
            self.stage.pops[name].wait()

    # what the router has

    def levels(self, prefix: str = PREFIX) -> dict[str, int]:
        """Return the length of the path that the router has from each POP."""
        argv = ["birdc", "-r", "-s", str(self.directory / "bird.ctl"), "show", "route", "for", prefix, "all"]
        # it fails where there is none
        said = subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout
        assert "unicast" in said or "not found" in said, said
        found = dict.fromkeys(POPS, GONE)
        for way in re.split(r"\n(?=\S*\s+unicast|\t*\s+unicast)", said):
            who, path = re.search(r"unicast \[(\w+) ", way), re.search(r"BGP\.as_path: ([\d ]+)", way)
            if who is not None and path is not None:
                found[who[1]] = len(path[1].split())
        return found

    def wait_levels(self, wanted: Mapping[str, int], prefix: str = PREFIX, deadline_s: float = 60.0) -> None:
        """Wait until the router has this from each POP."""

        def so() -> bool:
            assert (have := self.levels(prefix)) == wanted, have
            return True

        wait_until(f"{prefix}: {wanted}", deadline_s, so)

    def mark(self) -> int:
        """Return where the router's log is now."""
        return (self.directory / "bird.log").stat().st_size

    def told(self, since: int, name: str, prefix: str = PREFIX) -> list[str]:
        """Return what the router heard of a prefix from a POP: `added`, `updated` or `removed` with the rest."""
        text = (self.directory / "bird.log").read_bytes()[since:].decode()
        return [line for line in text.splitlines() if f" {name}.ipv4 > " in line and f" {prefix} " in f"{line} "]

    def dark(self, since: int, prefix: str = PREFIX) -> list[str]:
        """Return when the router lost its last path to a prefix."""
        text = (self.directory / "bird.log").read_bytes()[since:].decode()
        return [line for line in text.splitlines() if "removed [sole]" in line and f" {prefix} " in f"{line} "]

    # what the POPs say

    def status(self, name: str) -> dict[str, Any]:
        """Return a POP's status; empty while it does not answer."""
        return self.stage.pops[name].try_ask("/v1/status") or {}

    def hold(self, name: str, prefix: str = PREFIX) -> str | None:
        """Return why a POP's prefix is not as wanted."""
        for one in self.status(name).get("prefixes", []):
            if one["prefix"] == prefix:
                return str(one["hold"]) if one["hold"] else None
        return "unknown"

    def wait_hold(self, name: str, hold: str, prefix: str = PREFIX) -> None:
        """Wait until a POP's prefix is held for this reason."""

        def so() -> bool:
            assert (have := self.hold(name, prefix)) == hold, have
            return True

        wait_until(f"{name} holds {prefix}: {hold}", 60, so)

    def ways(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return by what a POP hears each other one, for those that it hears."""
        found = self.status(name).get("fleet", {}).get("pops", [])
        return {one["pop"]: tuple(one["by"]) for one in found if one["heard"]}

    def wait_seen(self, *by: str) -> None:
        """Wait until every POP is NORMAL and hears every other one in these ways."""
        self.wait_levels(dict.fromkeys(POPS, NORMAL))

        def so(name: str) -> bool:
            assert (have := self.ways(name)) == {other: by for other in POPS if other != name}, have
            return True

        for name in POPS:
            wait_until(f"{name} hears the others", 60, partial(so, name))

    # what is done to them

    def sicken(self, *names: str) -> None:
        """Have all that comes over these POPs' tunnels vanish, beside those that are cut already."""
        self.cut |= set(names)
        self._cut()

    def heal(self) -> None:
        """Undo all of that, and have every member run."""
        self.cut.clear()
        self._cut()
        self.stage.heal()

    def _cut(self) -> None:
        rules = "".join(f"add rule inet sick in iifname tun-{name} drop\n" for name in sorted(self.cut))
        text = "add table inet sick\nflush table inet sick\n"
        text += "add chain inet sick in { type filter hook prerouting priority 0; }\n"
        run("ip", "netns", "exec", self.stage.hub, "nft", "-f", "-", text=text + rules)


@contextmanager
def dark_stage(*more: str) -> Iterator[DarkStage]:
    """Make the stage, with a running router and members; `more` are namespaces of other things, made as POPs are."""
    with etcd_stage((*POPS, *more)) as stage:
        conf, log = stage.directory / "bird.conf", stage.directory / "bird.log"
        protocols = "".join(
            f"protocol bgp {name} from pop {{ local {stage.pops[name].hub} as 64496; "
            f"neighbor {stage.pops[name].address} as 64500; }}\n"
            for name in POPS
        )
        conf.write_text(BIRD.format(log=log, protocols=protocols), encoding="ascii")
        argv = [
            "ip",
            "netns",
            "exec",
            stage.hub,
            "bird",
            "-f",
            "-c",
            str(conf),
            "-s",
            str(stage.directory / "bird.ctl"),
        ]
        bird = subprocess.Popen(argv)
        try:
            stage.start_members()
            yield DarkStage(stage, bird, stage.directory)
        finally:
            bird.kill()
            bird.wait(10)
