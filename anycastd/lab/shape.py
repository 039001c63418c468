"""What a checked topology is: frozen values, every default applied, every layer merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What a node is made of."""

    LINUX = "linux"
    BRIDGE = "bridge"


class Stage(StrEnum):
    """The steps of a node's start, in their order (containerlab's words)."""

    CREATE = "create"
    CREATE_LINKS = "create-links"
    CONFIGURE = "configure"
    HEALTHY = "healthy"


class Phase(StrEnum):
    """When a stage's commands run."""

    ENTER = "on-enter"
    EXIT = "on-exit"


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host shown inside a node."""

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """A node enters `at` only when `node` has left `stage`."""

    at: Stage
    node: str
    stage: Stage


@dataclass(frozen=True, slots=True)
class StageCommand:
    """A command that runs inside the node when it enters or leaves a stage."""

    stage: Stage
    phase: Phase
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The command whose first success makes a node healthy."""

    argv: tuple[str, ...]
    interval_s: int
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Node:
    """One node with all layers merged."""

    name: str
    kind: Kind
    hostname: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    sysctls: Mapping[str, str]
    binds: tuple[Bind, ...]
    commands: tuple[tuple[str, ...], ...]
    waits: tuple[Wait, ...]
    stage_commands: tuple[StageCommand, ...]
    healthcheck: HealthCheck | None
    startup_delay_s: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a link."""

    node: str
    interface: str
    mac: str | None
    ipv4: str | None
    ipv6: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair between two nodes."""

    a: Endpoint
    b: Endpoint
    mtu_bytes: int | None

    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Give both ends."""
        return self.a, self.b


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab."""

    name: str
    nodes: Mapping[str, Node]
    links: tuple[Link, ...]

    def ends_of(self, node: str) -> tuple[Endpoint, ...]:
        """Give the link ends of one node."""
        return tuple(end for link in self.links for end in link.ends() if end.node == node)

    def peer_of(self, node: str, interface: str) -> Endpoint | None:
        """Give the far end of a link, None if the topology made no such interface."""
        for link in self.links:
            for near, far in ((link.a, link.b), (link.b, link.a)):
                if (near.node, near.interface) == (node, interface):
                    return far
        return None
