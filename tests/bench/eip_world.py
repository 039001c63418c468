"""Many EIPs for the bench: their configuration, a store that holds them, the API, and the kernel read independently."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from anycastd.actuators.nft import codec as elements
from anycastd.actuators.nft import wire
from anycastd.actuators.nft.channel import Channel, enter
from anycastd.cli.client import UnixConnection
from anycastd.model.address import BackendId
from anycastd.model.eip import Bandwidth, Binding, Eip, EipId, Spread, Target
from anycastd.model.nft import NftSet
from anycastd.resources import codec
from anycastd.store.port import Write
from anycastd.store.sqlite_file import SqliteFile
from tests.bench.configs import AT_ONCE, Document, document
from tests.bench.world import World
from tests.wait import wait_until

T = TypeVar("T")

PREFIX, FIRST = "198.18.0.0/18", IPv4Address("198.18.0.10")
MANY = 10_000
BACKENDS, BINDINGS, LIMITED_TENTHS = 20, 300, 3
LIMIT_BPS = 100_000_000
TABLE = "anycastd"
STORED_AT_ONCE = 2000
ASK_EACH_S = 0.0001
ICMP = {"icmp": {"interval": "1s", "timeout": "1s", "rise": 1, "fall": 5}}


def eip(number: int) -> IPv4Address:
    """Return the address of an EIP."""
    return FIRST + number


def backend(region: int, number: int) -> str:
    """Return a backend's address."""
    return f"10.30.{region}.{number + 1}"


def tunnel(device: str, network: int, check: Document | None = None) -> Document:
    """Return a tunnel over a device."""
    ends = {"local": f"10.100.{network}.1", "far_end": f"10.100.{network}.2"}
    return {"device": device, **ends, "checks": [check or ICMP]}


def eip_document(tunnels: list[Document] | None = None, **settings: Any) -> Document:
    """Return a configuration with the EIPs' prefix and, in each region, a tunnel and all backends (mode dnat).

    Without `tunnels` there are the two regions of `world(2)`.
    """
    made = {}
    for region, its_tunnel in enumerate(tunnels or [tunnel("tun0", 0), tunnel("tun1", 1)]):
        backends = {f"b{n}": {"address": backend(region, n), "checks": [ICMP]} for n in range(BACKENDS)}
        made[f"r{region}"] = {"mode": "dnat", "number": region + 1, "tunnels": {"t": its_tunnel}, "backends": backends}
    whole = document(made, {PREFIX: {"announce_when": {"tunnels": "any"}, "timers": AT_ONCE}})
    return whole | {"eip": settings}


def give_addresses(made: World, regions: int = 2) -> None:
    """Let the far side have every backend's address."""
    lines = [f"addr add {backend(region, n)}/32 dev lo" for region in range(regions) for n in range(BACKENDS)]
    made.run("ip", "-n", made.far, "-batch", "-", text="\n".join(lines) + "\n")


@lru_cache(BINDINGS)
def binding(number: int) -> Binding:
    """Return one of the distinct bindings: a third to one backend, the others weighted over two."""
    region, at = number % 2, number // 2
    first = Target(backend=BackendId(f"r{region}/b{at % BACKENDS}"), weight=1 + at)
    if number % 3 == 0:
        return Binding(targets=(first,))
    second = Target(backend=BackendId(f"r{region}/b{(at + 1) % BACKENDS}"), weight=100)
    return Binding(targets=(first, second), spread=Spread.WEIGHTED)


def stored(number: int) -> Eip:
    """Return an EIP as the store has it: three in ten with limits."""
    limits = Bandwidth(in_bps=LIMIT_BPS, out_bps=LIMIT_BPS) if number % 10 < LIMITED_TENTHS else Bandwidth()
    made_s = 1_790_000_000.0
    bound = Eip(id=EipId(f"eip-{number:08x}"), address=eip(number), created_unix_s=made_s, changed_unix_s=made_s)
    return replace(bound, binding=binding(number % BINDINGS), bandwidth=limits)


def fill_store(made: World, numbers: Sequence[int]) -> None:
    """Put EIPs into the store of a daemon that does not run."""
    file = SqliteFile(made.directory / "state" / "anycastd.db")
    file.snapshot(codec.ROOT)
    for first in range(0, len(numbers), STORED_AT_ONCE):
        eips = [stored(number) for number in numbers[first : first + STORED_AT_ONCE]]
        file.commit([Write(codec.key_of(one.address), codec.encode_eip(one)) for one in eips], {})
    file.tidy()
    file.close()


def association(number: int) -> Document:
    """Return the body that binds an EIP as it was bound."""
    bound = binding(number % BINDINGS)
    return {
        "targets": [{"backend": one.backend, "weight": one.weight} for one in bound.targets],
        "spread": bound.spread.value,
    }


class Api:
    """The daemon's API over one connection that stays."""

    def __init__(self, made: World, timeout_s: float = 20.0) -> None:
        self._connection = UnixConnection(str(made.directory / "run" / "api.sock"), timeout_s)

    def send(self, method: str, target: str, body: Document | None = None) -> None:
        """Send a request."""
        self._connection.request(method, target, body=None if body is None else json.dumps(body))

    def take(self) -> Document:
        """Return the answer; OSError unless it is a good one."""
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            message = f"the API answered {response.status}: {text[:300]!r}"
            raise OSError(message)
        answered: Document = json.loads(text)
        return answered

    def ask(self, method: str, target: str, body: Document | None = None) -> Document:
        """Send a request and return its answer."""
        self.send(method, target, body)
        return self.take()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Filter:
    """The packet filter of a namespace, read by netlink without the daemon."""

    def __init__(self, netns: str) -> None:
        self._pool = ThreadPoolExecutor(1, initializer=enter, initargs=(netns,))
        self._channel = self._pool.submit(Channel).result()

    def inside(self, do: Callable[[], T]) -> T:
        """Run something in the namespace."""
        return self._pool.submit(do).result()

    def has(self, name: NftSet, address: IPv4Address) -> bool:
        """Return whether a set has an element."""
        key = elements.encode_key(name, address)
        return self.inside(lambda: bool(self._channel.get(TABLE, name, [key])))

    def wait_for(self, name: NftSet, address: IPv4Address, within_s: float) -> float:
        """Ask until a set has an element; return when (monotonic)."""
        key, end_s = elements.encode_key(name, address), time.monotonic() + within_s

        def wait() -> float:
            while not self._channel.get(TABLE, name, [key]):
                if time.monotonic() > end_s:
                    message = f"{address} did not come into {name.value}"
                    raise OSError(message)
                # so that asking does not take the processor from who is to do it
                time.sleep(ASK_EACH_S)
            return time.monotonic()

        return self.inside(wait)

    def size(self, name: NftSet) -> int:
        """Return how many elements a set has; none when there is no such set."""

        def read() -> int:
            reader, found = wire.ElementReader(), 0
            for data in self._channel.dump(lambda sequence: wire.dump_set(TABLE, name, sequence)):
                found += sum(len(rows) for rows in reader.values(data))
            return found

        return self.inside(read)

    def close(self) -> None:
        """Close the channel."""
        self.inside(self._channel.close)
        self._pool.shutdown()


@contextmanager
def filter_of(netns: str) -> Iterator[Filter]:
    """Read the packet filter of a namespace."""
    made = Filter(netns)
    try:
        yield made
    finally:
        made.close()


def sizes(count: int) -> Mapping[NftSet, int]:
    """Return how many elements the sets of so many EIPs have."""
    limited = sum(number % 10 < LIMITED_TENTHS for number in range(count))
    return {
        NftSet.IN4: count,
        NftSet.OUT4: count,
        NftSet.LIMIT_IN4: limited,
        NftSet.LIMIT_OUT4: limited,
        NftSet.EIP4: count,
        NftSet.IDLE4: 0,
    }


def wait_loaded(kernel: Filter, count: int, within_s: float = 30.0) -> None:
    """Wait until the kernel has every element of so many EIPs."""
    wait_until(
        f"{count} EIPs in the kernel",
        within_s,
        lambda: all(kernel.size(name) == size for name, size in sizes(count).items()),
    )


@dataclass
class Loaded:
    """A daemon with EIPs in the kernel."""

    made: World
    kernel: Filter
    pid: int


@contextmanager
def loaded(made: World, count: int, whole: Document, calls_timed_by: Path | None = None) -> Iterator[Loaded]:
    """Start the daemon with so many EIPs in its store, and wait until they are in the kernel and backends are well."""
    made.write_config(whole)
    give_addresses(made)
    fill_store(made, range(count))
    made.sink()
    daemon = made.daemon(calls_timed_by)
    with filter_of(made.pop) as kernel:
        wait_loaded(kernel, count)
        wait_until("ready", 30, lambda: made.ask("/readyz") is not None)
        yield Loaded(made, kernel, daemon.pid)
