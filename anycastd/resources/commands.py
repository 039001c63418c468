"""What an operator can ask of EIPs and regions; each command is one value, and its `verb` is its name everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Final

from anycastd.model.address import Address, Prefix, RegionName
from anycastd.model.eip import Bandwidth, Binding, Ping, Shaping, Tracking


class Keep(Enum):
    """The value of what a command leaves as it is, where None means something."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocate:
    """Make an EIP: the address given, or the next free one of `prefix` (a configured prefix, or a part of one)."""

    verb: ClassVar[str] = "allocate"
    address: Address | None = None
    prefix: Prefix | None = None
    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    ping: Ping = Ping.BACKEND
    tracking: Tracking = Tracking.CONNTRACK
    description: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Give an unbound EIP back; for `eip.keep_released` it can be restored."""

    verb: ClassVar[str] = "release"
    eip: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Take a released EIP back as it was."""

    verb: ClassVar[str] = "restore"
    eip: str


@dataclass(frozen=True, slots=True)
class Associate:
    """Bind an EIP. With `replace` a bound one too: its packets go to the old binding until the new one stands."""

    verb: ClassVar[str] = "associate"
    eip: str
    binding: Binding
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Disassociate:
    """Unbind an EIP."""

    verb: ClassVar[str] = "disassociate"
    eip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Modify:
    """Change what is given; `in_bps` and `out_bps` None take a limit away, KEEP leaves it; None leaves all others."""

    verb: ClassVar[str] = "modify"
    eip: str
    in_bps: int | Keep | None = KEEP
    out_bps: int | Keep | None = KEEP
    shaping: Shaping | None = None
    ping: Ping | None = None
    tracking: Tracking | None = None
    description: str | None = None
    blocked: bool | None = None
    blocked_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Dial:
    """Let only `percentage` of the traffic that would go to a region go there; None = what the file says."""

    verb: ClassVar[str] = "dial"
    region: RegionName
    percentage: int | None


EipCommand = Allocate | Release | Restore | Associate | Disassociate | Modify
Command = EipCommand | Dial
"""`eip` in a command is an id or an address, as text."""
