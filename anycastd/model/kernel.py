"""Kernel state that is ours: routes and rules, wanted or observed, and the actions between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anycastd.model.address import Address, Prefix

MAIN_TABLE = 254


class RouteKind(StrEnum):
    """`blackhole` drops silently, so that clients retry instead of failing at once."""

    UNICAST = "unicast"
    BLACKHOLE = "blackhole"


@dataclass(frozen=True, slots=True)
class KernelRoute:
    """One route of our protocol number; `via` is reached on-link over `device`. The key is (prefix, metric, table)."""

    prefix: Prefix
    kind: RouteKind
    metric: int
    table: int = MAIN_TABLE
    via: Address | None = None
    device: str | None = None

    @property
    def key(self) -> tuple[Prefix, int, int]:
        """Return what the kernel treats as the same route: prefix, metric, table."""
        return (self.prefix, self.metric, self.table)


@dataclass(frozen=True, slots=True)
class SourceRule:
    """`ip rule`: packets from `source` look up `table`; ours by protocol number."""

    source: Address
    table: int
    preference: int

    @property
    def version(self) -> int:
        """Return 4 or 6."""
        return self.source.version

    def __str__(self) -> str:
        return f"rule {self.preference}: from {self.source} lookup {self.table}"


@dataclass(frozen=True, slots=True)
class MarkRule:
    """`ip rule`: packets of one IP version whose mark, under `mask`, is `mark` look up `table`."""

    mark: int
    mask: int
    version: int
    table: int
    preference: int

    def __str__(self) -> str:
        return f"rule {self.preference}: IPv{self.version} fwmark {self.mark:#x}/{self.mask:#x} lookup {self.table}"


KernelRule = SourceRule | MarkRule


@dataclass(frozen=True, slots=True)
class LinkView:
    """A network device as netlink tells it: existence, admin and oper state, carrier, addresses (no prefix length)."""

    name: str
    index: int
    admin_up: bool
    carrier: bool
    operstate: str
    addresses: frozenset[Address] = frozenset()

    @property
    def usable(self) -> bool:
        """Return whether packets can leave: admin up, carrier, and operstate not down (tunnels report unknown)."""
        return self.admin_up and self.carrier and self.operstate not in ("down", "lowerlayerdown", "notpresent")


@dataclass(frozen=True, slots=True)
class KernelObserved:
    """What the kernel holds of ours. `None` routes = never read. `links` are all devices of this namespace by name."""

    routes: frozenset[KernelRoute] | None = None
    rules: frozenset[KernelRule] = frozenset()
    links: Mapping[str, LinkView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Create or replace in one step; no packet meets a gap."""

    route: KernelRoute


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Remove a route of ours."""

    route: KernelRoute


@dataclass(frozen=True, slots=True)
class PutRule:
    """Add a rule; present already counts as done."""

    rule: KernelRule


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Remove a rule of ours."""

    rule: KernelRule


KernelAction = PutRoute | DeleteRoute | PutRule | DeleteRule
