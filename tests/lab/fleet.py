"""The lab as its oracles see it: what each transit router has from its POP, and what clients get."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from anycastd.lab.running import Lab
from tests.lab.clients import Client, running
from tests.lab.topology_facts import (
    PREFIXES,
    REGIONS,
    SERVICE,
    SITES,
    UNDERLAY_DEVICE,
    Answer,
    Site,
    Way,
    ask,
    cut_tunnel,
    direct,
    from_pop,
    heal_tunnels,
    longest_gap_s,
    make_backend,
    route_log,
    version_of,
    ways_to,
)
from tests.wait import wait_until

NORMAL, DEPREF, ABSENT = "normal", "depref", "absent"
BACKENDS = ("eu-b1", "eu-b2", "us-b1", "us-b2")
Table = dict[tuple[str, str], str]
"""(POP, prefix) -> NORMAL, DEPREF or ABSENT, as the transit router beside the POP has it."""


def state_of(way: Way | None) -> str:
    """Word what a router has of a prefix from its POP; a stale path is a lie, and said so."""
    if way is None:
        return ABSENT
    stale = " stale" if way.is_stale else ""
    if "65535:0" in way.communities:
        return f"gshut{stale}"
    return {1: NORMAL, 4: DEPREF}.get(len(way.as_path), f"path {way.as_path}") + stale


@dataclass
class Fleet:
    """A running lab with some sites."""

    lab: Lab
    sites: tuple[Site, ...]
    undo: list[Callable[[], object]] = field(default_factory=list)

    def table(self) -> Table:
        """Ask every router for every prefix."""
        with ThreadPoolExecutor(4) as pool:
            held = pool.map(lambda site: ways_to(self.lab, site), self.sites)
            return {
                (site.pop, prefix): state_of(direct(ways, site, prefix))
                for site, by_prefix in zip(self.sites, held, strict=True)
                for prefix, ways in by_prefix.items()
            }

    def state(self, site: Site, prefix: str) -> str:
        """Ask one router what it has of a prefix from its POP."""
        return state_of(from_pop(self.lab, site, prefix))

    def expect(self, changed: Mapping[tuple[str, str], str], deadline_s: float = 15.0) -> None:
        """Wait until every router has what is named here, and NORMAL of everything else."""
        wanted = {(site.pop, prefix): NORMAL for site in self.sites for prefix in PREFIXES} | dict(changed)

        def as_wanted() -> bool:
            have = self.table()
            wrong = {key: have[key] for key in wanted if have[key] != wanted[key]}
            assert not wrong, wrong
            return True

        wait_until("the routers' tables", deadline_s, as_wanted)

    def wait_normal(self, deadline_s: float = 40.0) -> None:
        """Wait until every POP announces everything at normal preference and serves its client."""
        self.expect({}, deadline_s)

    def wait_quiet(self, quiet_s: float = 1.5, deadline_s: float = 30.0) -> None:
        """Wait until no router has heard of any prefix for a while.

        A session that comes up is sent everything twice (ExaBGP's own, then our repair), up to a second apart: heard
        in the next test it would be taken for an answer to that test's fault.
        """

        def quiet() -> bool:
            since_s = time.time() - quiet_s
            with ThreadPoolExecutor(4) as pool:
                return not any(pool.map(lambda site: self.told(site, PREFIXES, since_s), self.sites))

        wait_until("the routers are quiet", deadline_s, quiet)

    def hurt(self, do: Callable[[], object], undo: Callable[[], object]) -> float:
        """Do something bad, to be undone after the test; return the wall time at which it was done."""
        self.undo.append(undo)
        at_s = time.time()
        do()
        return at_s

    def cut_best(self, pop: str, prefix: str) -> tuple[str, float]:
        """Cut silently the tunnel by which a POP's packets leave for eu; return its device, and when it was cut.

        Of two that are alike the latencies choose, and on a busy machine they may choose anew just before the cut.
        """
        for _ in range(10):
            device = wait_until("a device", 10, lambda: self.path_device(pop, prefix))
            underlay = device[-1]
            at_s = self.hurt(
                partial(cut_tunnel, self.lab, pop, "eu", underlay), partial(heal_tunnels, self.lab, pop, underlay)
            )
            if self.path_device(pop, prefix) == device:
                return device, at_s
            self.undo.pop()()
        message = f"the best tunnel of {pop} changes all the time"
        raise AssertionError(message)

    def heal(self) -> None:
        """Undo what was done, newest first."""
        while self.undo:
            self.undo.pop()()

    def whole(self) -> None:
        """Make every backend well and every link of every POP whole."""
        for backend in BACKENDS:
            make_backend(self.lab, backend, "normal")
        for site in self.sites:
            for underlay in UNDERLAY_DEVICE:
                heal_tunnels(self.lab, site.pop, underlay)

    def path_device(self, pop: str, prefix: str, region: str = "eu") -> str | None:
        """Ask a POP's kernel which device carries packets into a region now."""
        return self.path_devices(pop, (prefix, region))[prefix, region]

    def path_devices(self, pop: str, *wanted: tuple[str, str]) -> dict[tuple[str, str], str | None]:
        """Ask it for several (prefix, region) at once."""
        lines = [
            f"echo == ; ip -{version_of(prefix)} route get {SERVICE[prefix]} mark {REGIONS[region] << 24:#x}"
            for prefix, region in wanted
        ]
        said = self.lab.exec(pop, "sh", "-c", "\n".join(lines)).stdout.split("==\n")[1:]
        found = [re.search(r" dev (\S+)", one) for one in said]
        return {key: one[1] if one else None for key, one in zip(wanted, found, strict=True)}

    def region(self, pop: str, prefix: str) -> str:
        """Return the region that answers the client beside a POP now, `none` if nobody does."""
        (answer,) = ask(self.lab, SITES[pop].client, SERVICE[prefix])
        return (answer.region or "none") if answer.ok else "none"

    def told(self, site: Site, prefix: str | Sequence[str], since_s: float) -> tuple[float, ...]:
        """Return when the router logged something of a prefix (or of several) from its POP.

        In milliseconds after `since_s` (wall).
        """
        stamps = []
        for line in route_log(self.lab, site, *((prefix,) if isinstance(prefix, str) else prefix)):
            stamp = datetime.strptime(line[:23].replace("/", "-"), "%Y-%m-%d %H:%M:%S.%f").astimezone()
            stamps.append((stamp.timestamp() - since_s) * 1000.0)
        return tuple(ms for ms in stamps if ms >= 0)

    @contextmanager
    def clients(
        self, *prefixes: str, every_ms: int = 100, timeout_ms: int = 400, at: Sequence[str] = (), keep: bool = False
    ) -> Iterator[Watch]:
        """Let every client, or those named, ask for the services until the block ends; the answers are there then."""
        options = ("--every-ms", str(every_ms), "--timeout-ms", str(timeout_ms), *(("--keep",) if keep else ()))
        addresses = [SERVICE[prefix] for prefix in prefixes]
        nodes = at or [site.client for site in self.sites]
        with running(self.lab, [(node, options, addresses) for node in nodes]) as clients:
            yield (watch := Watch(dict(zip(nodes, clients, strict=True))))
        watch.seen = {node: client.rows for node, client in watch.running.items()}


@dataclass
class Watch:
    """What the clients saw."""

    running: dict[str, Client]
    seen: dict[str, tuple[Answer, ...]] = field(default_factory=dict)

    def more(self, count: int = 12) -> None:
        """Wait until every client has got so many good answers of each service from now on."""
        for client in self.running.values():
            client.more(count)

    def of(self, client: str, prefix: str) -> tuple[Answer, ...]:
        """Return one client's answers for one prefix."""
        return tuple(one for one in self.seen[client] if one.to == SERVICE[prefix])

    def gap_ms(self, client: str, prefix: str) -> float:
        """Return the longest time between two good answers."""
        rows = self.of(client, prefix)
        return longest_gap_s(rows, rows[0].sent_s, rows[-1].sent_s) * 1000.0

    def lost(self, client: str, prefix: str) -> int:
        """Return how many requests were not answered well."""
        return sum(not one.ok for one in self.of(client, prefix))
