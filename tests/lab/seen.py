"""The lab of POPs that see each other, as its oracles see it: what each transit has from its POP, and when."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from anycastd.lab.running import Lab
from tests.lab.asking import asked
from tests.lab.topology_facts import (
    CONTAINERLAB,
    PREFIX_A4,
    PREFIX_A6,
    SITES,
    UNDERLAY_DEVICE,
    Site,
    cut_tunnel,
    direct,
    heal_tunnels,
    route_log,
    ways,
    ways_to,
)
from tests.wait import wait_until

FLEET = CONTAINERLAB / "fleet.clab.yml"
BOTH = (PREFIX_A4, PREFIX_A6)
REFLECTORS = ("rr-frr", "rr-bird")
OBSERVERS = {"rr-frr": ("eth2", "10.100.0.21"), "rr-bird": ("eth1", "fd00:70:2::2")}
"""The device and address by which a POP reaches a reflector."""
STAYS = ("not_enough_announcers", "observers_blind")
SHUT = ("conf t", "router bgp 64500", "neighbor POP shutdown")
OPEN = ("conf t", "router bgp 64500", "no neighbor POP shutdown")


@dataclass
class SeenLab:
    """A running lab; what is done to it is undone after the test."""

    lab: Lab
    undo: list[Callable[[], object]] = field(default_factory=list)

    def status(self, pop: str) -> dict[str, Any]:
        """Ask a POP's daemon for its status; empty while it does not answer."""
        status, text = asked(self.lab, pop, "/v1/status")
        return dict(json.loads(text)) if status == 200 else {}

    def levels(self) -> dict[tuple[str, str], int]:
        """Return, for each POP and prefix, the length of the path that its transit has from it; 0 = none."""
        found = {}
        for site in SITES.values():
            for prefix, held in ways_to(self.lab, site, BOTH).items():
                way = direct(held, site, prefix)
                found[site.pop, prefix] = 0 if way is None else len(way.as_path)
        return found

    def wait_levels(self, wanted: Mapping[str, int], deadline_s: float = 30.0) -> None:
        """Wait until each transit has this of its POP, for both prefixes."""

        def as_wanted() -> bool:
            have = self.levels()
            wrong = {key: length for key, length in have.items() if length != wanted[key[0]]}
            assert not wrong, wrong
            return True

        wait_until(f"{wanted}", deadline_s, as_wanted)

    def wait_seen(self, by: frozenset[str] = frozenset(REFLECTORS), deadline_s: float = 60.0) -> None:
        """Wait until every POP announces normally and hears every other one by exactly these reflectors."""
        self.wait_levels(dict.fromkeys(SITES, 1), deadline_s)

        def all_heard() -> bool:
            for pop in SITES:
                found = self.status(pop).get("fleet", {}).get("pops", [])
                heard = {one["pop"]: frozenset(one["by"]) for one in found if one["heard"]}
                assert heard == {other: by for other in SITES if other != pop}, (pop, heard)
            return True

        wait_until(f"each POP is seen by {sorted(by)}", deadline_s, all_heard)

    def hurt(self, do: Callable[[], object], undo: Callable[[], object]) -> float:
        """Do something, to be undone; return the wall time at which it was done."""
        self.undo.append(undo)
        at_s = time.time()
        do()
        return at_s

    def heal(self) -> None:
        """Undo all, newest first."""
        while self.undo:
            self.undo.pop()()

    def cut_tunnels(self, pop: str) -> float:
        """Cut silently all tunnels of a POP."""

        def do() -> None:
            for underlay in UNDERLAY_DEVICE:
                cut_tunnel(self.lab, pop, "eu", underlay)

        def undo() -> None:
            for underlay in UNDERLAY_DEVICE:
                heal_tunnels(self.lab, pop, underlay)

        return self.hurt(do, undo)

    def cut_session(self, pop: str, reflector: str) -> float:
        """Cut silently one session of a POP with a reflector."""
        device, address = OBSERVERS[reflector]
        return self.hurt(partial(self.lab.cut, pop, device, address), partial(self.lab.heal, pop, device))

    def alarms(self, pop: str) -> set[tuple[str, str]]:
        """Return the alarms of a POP and their subjects."""
        return {(one["alarm"], one["subject"]) for one in self.status(pop).get("alarms", [])}

    def has_decided(self) -> bool:
        """Return whether every POP is down, and stays for want of others or has left."""
        for pop in SITES:
            for one in self.status(pop).get("prefixes", [{}]):
                assert one.get("wanted") == "WITHDRAWN", (pop, one)
                assert one["level"] == "WITHDRAWN" or one["hold"] in STAYS, (pop, one["why"])
        return True

    def shut(self, reflector: str) -> None:
        """End all sessions of a reflector."""
        self.hurt(partial(self._reflect, reflector, False), partial(self._reflect, reflector, True))

    def _reflect(self, reflector: str, on: bool) -> None:
        if reflector == "rr-bird":
            for pop in SITES:
                self.lab.exec(reflector, "birdc", "enable" if on else "disable", pop, check=True)
        else:
            self.vtysh(*(OPEN if on else SHUT))

    def vtysh(self, *lines: str) -> None:
        """Configure the FRR reflector."""
        words = [word for line in lines for word in ("-c", line)]
        self.lab.exec("rr-frr", "vtysh", *words, check=True)

    def told(self, site: Site, prefix: str, since_s: float) -> list[tuple[float, bool]]:
        """Return when a transit heard of a prefix from its POP (wall seconds), and whether it was withdrawn."""
        found = []
        for line in route_log(self.lab, site, prefix):
            stamp = datetime.strptime(line[:23].replace("/", "-"), "%Y-%m-%d %H:%M:%S.%f").astimezone().timestamp()
            gone = "withdrawn" in line or re.search(r"> removed|\[sole\] removed", line) is not None
            if stamp >= since_s:
                found.append((stamp, gone))
        return sorted(found)

    def is_dark(self, prefix: str) -> bool:
        """Return whether any transit has no path to a prefix at all."""
        return any(not ways(self.lab, site, prefix) for site in SITES.values())

    def dark_s(self, prefix: str, since_s: float) -> float:
        """Return how long, since then, no transit had the prefix from its POP: exact, from the routers' own logs.

        All announce at the beginning.
        """
        events = sorted((at_s, site.pop, gone) for site in SITES.values()
                        for at_s, gone in self.told(site, prefix, since_s))  # fmt: skip
        announcing, dark_since_s, longest_s = set(SITES), None, 0.0
        for at_s, pop, gone in events:
            (announcing.discard if gone else announcing.add)(pop)
            if not announcing and dark_since_s is None:
                dark_since_s = at_s
            elif announcing and dark_since_s is not None:
                longest_s, dark_since_s = max(longest_s, at_s - dark_since_s), None
        return longest_s if dark_since_s is None else time.time() - dark_since_s


@contextmanager
def whole(lab: Lab) -> Iterator[SeenLab]:
    """Give the lab in its normal state, and make it whole afterwards."""
    seen = SeenLab(lab)
    seen.wait_seen()
    try:
        yield seen
    finally:
        seen.heal()
