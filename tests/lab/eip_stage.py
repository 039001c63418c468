"""EIPs of the running lab: allocated at the POP fra, used by the client beside it, judged by what kernels say.

What the tests compare with is the packet filter's own maps, hashed here by an implementation of our own, what
backends saw, and counters of tables that the tests put beside ours.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import Any

from anycastd.cli.client import AskError, UnixConnection, ask
from anycastd.lab.running import Lab
from tests.lab.fleet import Fleet
from tests.lab.jhash import jhash, scaled
from tests.lab.topology_facts import CLIENT, REGIONS, SITES, Answer, answers
from tests.wait import wait_until

POP, USER = "fra", "c-fra"
COMMAND = "/opt/anycastd/.venv/bin/anycastd"
USER_AT = {version: SITES[POP].client_address(version) for version in (4, 6)}
BUCKETS = 64
TCP = 6
MODES = ("routed", "dnat", "masquerade")
BOTH = (4, 6)
PORTS = itertools.count(20_000, 500)
"""Each chosen range of ports is used once: a backend that sees the client's address knows a connection by it."""
NUMBERS = {version: itertools.count(20) for version in BOTH}
"""A released EIP is kept for a day, so that each test takes addresses of its own."""


def version_of(address: str) -> int:
    """Return 4 or 6."""
    return 6 if ":" in address else 4


def backend_at(backend: str, version: int) -> str:
    """Return the address of `eu/b1` and the like."""
    region, name = backend.split("/")
    number, last = REGIONS[region], name[1]
    return f"10.5{number}.{last}.10" if version == 4 else f"fd00:5{number}:{last}::10"


BACKEND_OF: Mapping[str, str] = {
    backend_at(f"{region}/{name}", version): f"{region}/{name}"
    for region in REGIONS
    for name in ("b1", "b2")
    for version in BOTH
}


def node_of(backend: str) -> str:
    """Return the node of `eu/b1`."""
    return backend.replace("/", "-")


@dataclass
class Stage:
    """The lab, and the EIPs that a test has allocated."""

    world: Fleet
    made: list[str] = field(default_factory=list)

    @property
    def lab(self) -> Lab:
        """The running lab."""
        return self.world.lab

    def cli(self, *words: str, code: int = 0) -> str:
        """Run our command at the POP and return all that it said; it must exit with `code`."""
        done = self.lab.exec(POP, COMMAND, *words)
        assert done.returncode == code, (words, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    @property
    def api(self) -> str:
        """The API's socket as this process sees it."""
        return f"/proc/{self.lab.pid(POP)}/root/run/anycastd/api.sock"

    def get(self, target: str) -> Any:
        """Ask the API for something."""
        return ask(self.api, target)

    def text(self, target: str) -> str:
        """Ask the API for something that is no JSON."""
        connection = UnixConnection(self.api, 15)
        connection.request("GET", target)
        try:
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def change(self, method: str, target: str, body: Any = None) -> Any:
        """Make a change by the API and wait until the task has ended well."""
        said = ask(self.api, f"{target}{'&' if '?' in target else '?'}wait=10s", method=method, body=body, timeout_s=15)
        assert said["task"] is None or said["task"]["state"] == "SUCCESS", said
        return said

    def status_of(self, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Make one request of the API; return the status and the answer whatever it is."""
        connection = UnixConnection(self.api, 15)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, None if body is None else json.dumps(body), named)
        answer = connection.getresponse()
        try:
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def fresh(self, version: int) -> str:
        """Return an address of prefix A that no test has used."""
        number = next(NUMBERS[version])
        assert number < 250, "the prefix has no more addresses: make the tests use fewer"
        return f"203.0.113.{number}" if version == 4 else f"2001:db8:113::{number:x}"

    def allocate(self, version: int, **fields: Any) -> str:
        """Allocate an EIP by the API."""
        address = self.fresh(version)
        self.made.append(address)
        self.change("POST", "/v1/eips", {"address": address, **fields})
        return address

    def bind(self, address: str, *targets: str, replace: bool = False, mode: str | None = None, **more: Any) -> None:
        """Bind an EIP by the API to `eu/b1:100@2` and the like, of the EIP's family."""
        body = {"targets": [self.target(address, one, mode) for one in targets], **more}
        self.change("PUT", f"/v1/eips/{address}/association?replace={str(replace).lower()}", body)

    @staticmethod
    def target(address: str, words: str, mode: str | None = None) -> dict[str, Any]:
        """Return a target in the words of the API."""
        found = re.fullmatch(r"(\w+/b\d)(?::(\d+))?(?:@(\d+))?", words)
        assert found, words
        name = found[1] + ("-6" if version_of(address) == 6 else "")
        given = {"weight": found[2] and int(found[2]), "priority": found[3] and int(found[3]), "mode": mode}
        return {"backend": name} | {key: value for key, value in given.items() if value is not None}

    def bound(self, version: int, *targets: str, mode: str | None = None, **fields: Any) -> str:
        """Allocate and bind an EIP; a routed one is given to its backend."""
        address = self.allocate(version, **fields)
        if mode == "routed":
            self.give(address, *targets)
        self.bind(address, *targets, mode=mode)
        return address

    def give(self, address: str, *backends: str) -> None:
        """Let backends own an EIP, and their gateways route it there: what mode routed needs."""
        version = version_of(address)
        size = 32 if version == 4 else 128
        for backend in backends:
            region = backend.split("/")[0]
            to = f"{address}/{size}"
            self.lab.exec(node_of(backend), "ip", "addr", "add", to, "dev", "lo", check=True)
            way = ("ip", f"-{version}", "route", "replace", to, "via", backend_at(backend, version))
            self.lab.exec(f"{region}-gw", *way, check=True)
            self.world.undo.append(partial(self.lab.exec, node_of(backend), "ip", "addr", "del", to, "dev", "lo"))
            undo = ("ip", f"-{version}", "route", "del", to)
            self.world.undo.append(partial(self.lab.exec, f"{region}-gw", *undo))

    def ask(self, *addresses: str, count: int = 10, every_ms: float = 5, options: Sequence[str] = ()) -> Answers:
        """Let the client make requests, each on a new connection."""
        words = ("--count", str(count), "--every-ms", str(every_ms), "--timeout-ms", "3000", *options)
        return Answers(answers(self.lab.exec(USER, *CLIENT, *words, *addresses).stdout))

    def maps(self) -> Maps:
        """Read the packet filter's maps."""
        return Maps(self.lab)

    def clean(self) -> None:
        """Unbind and release what was allocated; no connection to it goes on and is counted in the next test."""
        if self.made:
            which = [word for address in self.made for word in ("or", "dst", address)][1:]
            self.lab.exec(USER, "ss", "-K", *which)
        for address in self.made:
            for method, what in (("DELETE", "/association"), ("DELETE", "")):
                self.status_of(method, f"/v1/eips/{address}{what}")
        self.made.clear()


@dataclass(frozen=True)
class Answers:
    """What a client got."""

    rows: tuple[Answer, ...]

    def all_ok(self) -> Answers:
        """Return itself if every request was answered well."""
        bad = [one for one in self.rows if not one.ok]
        assert self.rows
        assert not bad, (len(bad), len(self.rows), bad[:5])
        return self

    def of(self, address: str) -> Answers:
        """Return those of one address."""
        return Answers(tuple(one for one in self.rows if one.to == address))

    def by(self) -> dict[str, int]:
        """Return how many each backend has answered."""
        found: dict[str, int] = {}
        for one in self.rows:
            if one.ok:
                found[f"{one.region}/{one.backend}"] = found.get(f"{one.region}/{one.backend}", 0) + 1
        return found

    def share(self, backend: str) -> float:
        """Return the percentage that a backend or a region has answered."""
        return 100 * sum(n for name, n in self.by().items() if name.startswith(backend)) / len(self.rows)

    @property
    def seen(self) -> set[str | None]:
        """Return the addresses of the client as backends saw it."""
        return {one.client for one in self.rows if one.ok}


def listed(lab: Lab, node: str, kind: str, name: str, table: str = "anycastd") -> list[Any]:
    """Return the elements of a set or map of a node's kernel, in nft's JSON."""
    said = json.loads(lab.exec(node, "nft", "-j", "list", kind, "inet", table, name, check=True).stdout)
    return next(item[kind].get("elem", []) for item in said["nftables"] if kind in item)


class Maps:
    """The way of each connection by the kernel's maps."""

    def __init__(self, lab: Lab) -> None:
        text = lab.exec(POP, "nft", "list", "chain", "inet", "anycastd", "bucket4", check=True).stdout
        self.seed = int(re.findall(r"seed (0x[0-9a-f]+|\d+)", text)[0], 0)
        self.pool_of = {key: mark for name in ("eip4", "eip6") for key, mark in listed(lab, POP, "map", name)}
        self.single = {key: mark for key, mark in listed(lab, POP, "map", "pool")}
        self.address = {mark: to for name in ("nat4", "nat6") for mark, to in listed(lab, POP, "map", name)}
        self.slot: dict[tuple[int, int], int] = {}
        for key, mark in listed(lab, POP, "map", "slot"):
            pool, bucket = key["concat"]
            self.slot[pool, 0 if bucket == "none" else int(bucket.split(":")[1], 16)] = mark

    def by_ports(self, eip: str, sport: int, dport: int = 80) -> str:
        """Return the backend of a TCP connection of the client."""
        packed = ip_address(USER_AT[version_of(eip)]).packed + ip_address(eip).packed
        return self._backend(eip, packed + struct.pack(">HHHHB3x", sport, 0, dport, 0, TCP))

    def ports(self, wanted: Mapping[str, float], backend: str, count: int = 500) -> int:
        """Return the first of so many ports from which a backend or region gets each EIP's wanted percentage.

        To two points and a half: chance, which is 4.5 of its deviations from 5 in 2,000 connections, has no part then.
        """
        for first in PORTS:
            assert first + count < 32_768, "no more ports that are not the kernel's to choose"
            shares = {
                eip: sum(self.by_ports(eip, first + number).startswith(backend) for number in range(count))
                for eip in wanted
            }
            if all(abs(100 * shares[eip] / count - percent) < 2.5 for eip, percent in wanted.items()):
                for _ in range((count - 1) // 500):
                    next(PORTS)
                return first
        raise AssertionError

    def by_source(self, eip: str, source: str) -> str:
        """Return the backend of all connections of one address."""
        return self._backend(eip, ip_address(source).packed)

    def _backend(self, eip: str, hashed: bytes) -> str:
        pool = self.pool_of[eip]
        bucket = scaled(jhash(hashed, self.seed), BUCKETS)
        mark = self.single.get(pool) or self.slot[pool, bucket]
        return BACKEND_OF[self.address[mark]]


def wait_whole(lab: Lab, deadline_s: float = 20.0, pop: str = POP) -> None:
    """Wait until a POP's daemon says that all of its work is in place, and sees every backend well by every tunnel."""
    path = f"/proc/{lab.pid(pop)}/root/run/anycastd/api.sock"

    def whole() -> bool:
        try:
            ask(path, "/readyz")
            tunnels, backends = ask(path, "/v1/tunnels")["tunnels"], ask(path, "/v1/backends")["backends"]
        except AskError as error:
            raise AssertionError(str(error)) from error
        ill = [one["tunnel"] for one in tunnels if one["health"] != "HEALTHY"]
        ill += [one["backend"] for one in backends if set(one["paths"].values()) != {"HEALTHY"}]
        assert not ill, ill
        return True

    wait_until(f"{pop} is whole", deadline_s, whole)


def on_stage(world: Fleet) -> Iterator[Stage]:
    """Give a test the stage, and take away what it made."""
    stage = Stage(world)
    wait_whole(world.lab)
    try:
        yield stage
    finally:
        world.heal()
        wait_whole(world.lab)
        stage.clean()


def echo_requests(lab: Lab, node: str, version: int) -> int:
    """Return how many echo requests a node's kernel has received."""
    if version == 6:
        text = lab.exec(node, "cat", "/proc/net/snmp6", check=True).stdout
        found = re.search(r"^Icmp6InEchos\s+(\d+)", text, re.M)
        assert found
        return int(found[1])
    text = lab.exec(node, "cat", "/proc/net/snmp", check=True).stdout
    names, numbers = (line.split() for line in text.splitlines() if line.startswith("Icmp: "))
    return int(numbers[names.index("InEchos")])


def cleaned(undo: list[Callable[[], object]], lab: Lab, node: str, *argv: str) -> None:
    """Run a command of a node now, and undo it with the test."""
    lab.exec(node, *argv, check=True)
    back = tuple({"add": "del"}.get(word, word) for word in argv)
    undo.append(lambda: lab.exec(node, *back))
