"""What must be so of a POP whose world has not changed for an hour. Knows the truth, and nothing of the daemon."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network

from anycastd.model.address import Prefix

A, B, C, D = (ip_network(text) for text in ("203.0.113.0/24", "198.51.100.0/24", "198.18.0.0/24", "198.19.0.0/24"))
REGIONS = ("eu", "us")
TUNNELS = ("a", "b")
BACKENDS = ("web-1", "web-2")


@dataclass
class Truth:
    """What is down: tunnels `eu/a`, backends `eu/web-1`, and ways `eu/web-1@a` from a tunnel to a backend."""

    down: set[str] = field(default_factory=set)

    def tunnel_up(self, region: str, tunnel: str) -> bool:
        return f"{region}/{tunnel}" not in self.down

    def answers(self, region: str, backend: str, tunnel: str) -> bool:
        """Return whether a backend answers through a tunnel."""
        parts = {f"{region}/{tunnel}", f"{region}/{backend}", f"{region}/{backend}@{tunnel}"}
        return not parts & self.down

    def usable_backends(self, region: str) -> int:
        return sum(any(self.answers(region, backend, tunnel) for tunnel in TUNNELS) for backend in BACKENDS)

    def usable(self, region: str) -> bool:
        return self.usable_backends(region) > 0


EVERYTHING = (
    *(f"{region}/{tunnel}" for region in REGIONS for tunnel in TUNNELS),
    *(f"{region}/{backend}" for region in REGIONS for backend in BACKENDS),
    *(f"{region}/{backend}@{tunnel}" for region in REGIONS for backend in BACKENDS for tunnel in TUNNELS),
)


def path_length(truth: Truth, prefix: Prefix) -> int | None:
    """Return how long the AS path of a prefix is: 1 normal, 4 depreferenced, None withdrawn."""
    tunnels_up = sum(truth.tunnel_up(region, tunnel) for region in REGIONS for tunnel in TUNNELS)
    serves = {
        A: any(truth.usable(region) for region in REGIONS),
        B: truth.usable_backends("eu") >= 1,
        C: tunnels_up >= 3,
        D: all(truth.usable(region) for region in REGIONS),
    }[prefix]
    if serves:
        return 1
    return None if prefix in (A, D) else 4


def ways(truth: Truth) -> set[tuple[str, str]] | None:
    """Return the device and backend address of every way that packets of an EIP take; None: any, as none works.

    All of a region's packets ride its first tunnel through which a backend answers, to each backend that does.
    """
    for number, region in enumerate(REGIONS, start=1):
        for tunnel in TUNNELS:
            seen = [name for name in BACKENDS if truth.answers(region, name, tunnel)]
            if seen:
                return {(f"{region}-{tunnel}", f"10.{number}.0.{10 + BACKENDS.index(name) + 1}") for name in seen}
    return None
