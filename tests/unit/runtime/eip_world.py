"""A desk on a real store, with a plane whose kernel the test can hold back, and steps at which the test lets it die."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from anycastd.api.ports import Clocks, Done, Request
from anycastd.model.address import Address, BackendId, RegionName
from anycastd.model.eip import Binding, Eip, EipStatus, EipView, PlacementReason, Target
from anycastd.model.nft import NftObserved
from anycastd.model.topology import Config
from anycastd.resources.commands import EipCommand
from anycastd.resources.refusal import Refused
from anycastd.runtime.eips.desk import EipDesk
from anycastd.store.port import Write
from anycastd.store.sqlite import SqliteStore
from tests.unit import status_builder

WALL_S = 1_790_000_000.0
ONE, TWO, SIX = (ip_address(text) for text in ("203.0.113.10", "203.0.113.11", "2001:db8:113::10"))


def bound_to(*backends: str) -> Binding:
    """Return a binding to backends of the built configuration."""
    return Binding(targets=tuple(Target(backend=BackendId(backend)) for backend in backends))


class Died(Exception):
    """The process is gone: nothing after this line happened."""


@dataclass
class Fuse:
    """Lets the process die at the nth step from when it was lit."""

    left: int | None = None

    def step(self) -> None:
        """Die if it is time."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Died


class MortalStore(SqliteStore):
    """The real store; the process may die just before or just after a commit."""

    def __init__(self, path: Path, fuse: Fuse) -> None:
        super().__init__(path)
        self._fuse = fuse

    async def commit(self, writes: Sequence[Write], expected: Mapping[str, int]) -> int:
        self._fuse.step()
        revision = await super().commit(writes, expected)
        self._fuse.step()
        return revision


@dataclass
class Plane:
    """What is wanted, and (after `act`) what the kernel has; a kernel that is held takes nothing."""

    fuse: Fuse = field(default_factory=Fuse)
    wanted: dict[Address, Eip] = field(default_factory=dict)
    kernel: dict[Address, Eip] = field(default_factory=dict)
    dials: Mapping[RegionName, int] = field(default_factory=dict)
    held: bool = False
    acts: int = 0

    def put(self, eip: Eip, now_s: float) -> None:
        self.fuse.step()
        self.wanted[eip.address] = eip

    def drop(self, address: Address, now_s: float) -> None:
        self.fuse.step()
        self.wanted.pop(address, None)

    def set_dials(self, dials: Mapping[RegionName, int], now_s: float) -> None:
        self.fuse.step()
        self.dials = dict(dials)

    def act(self) -> None:
        self.fuse.step()
        self.acts += 1
        if not self.held:
            self.kernel = dict(self.wanted)

    def hold(self, takes: int | None) -> None:
        """Have the kernel take nothing, or (None) everything, from now on."""
        self.held = takes is not None

    def view(self, address: Address, observed: NftObserved) -> EipView | None:
        eip = self.wanted.get(address)
        if eip is None:
            return None
        there, reason = self.kernel.get(address) == eip, PlacementReason.PREFERRED
        if eip.released_unix_s is not None:
            return EipView(eip, EipStatus.OFFLINING if there else EipStatus.UNBINDING, PlacementReason.RELEASED, "")
        if not eip.carries:
            return EipView(eip, EipStatus.UNBIND if there else EipStatus.UNBINDING, PlacementReason.UNBOUND, "")
        return EipView(eip, EipStatus.BIND if there else EipStatus.BINDING, reason, "to the backend")


@dataclass
class World:
    """One life of the daemon after another on the same file."""

    path: Path
    config: Config = field(default_factory=lambda: status_builder.config())
    fuse: Fuse = field(default_factory=Fuse)
    wall_s: float = WALL_S
    now_s: float = 1000.0
    complaints: dict[str, str] = field(default_factory=dict)
    make_plane: Callable[[Config, Fuse], Any] = lambda config, fuse: Plane(fuse)

    async def begin(self) -> EipDesk:
        """Start a daemon."""
        self.fuse.left = None
        self.plane = self.make_plane(self.config, self.fuse)
        self.store = MortalStore(self.path, self.fuse)
        self.desk = EipDesk(
            self.store,
            self.plane,
            self.config,
            observed=NftObserved,
            act=self.plane.act,
            complain=self.complain,
            clocks=lambda: Clocks(self.now_s, self.wall_s),
        )
        await self.desk.start()
        return self.desk

    def wait(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.now_s += seconds
        self.wall_s += seconds

    async def end(self) -> None:
        """Stop it."""
        await self.desk.close()

    async def restart(self) -> EipDesk:
        """Stop it and start another."""
        await self.end()
        return await self.begin()

    def complain(self, subject: str, detail: str | None) -> None:
        """Keep what is complained of."""
        if detail is None:
            self.complaints.pop(subject, None)
        else:
            self.complaints[subject] = detail

    async def done(self, command: EipCommand, **more: object) -> Done:
        """Return what a command that must be accepted was answered."""
        outcome = await self.desk.change(replace(Request(command=command), **more))  # type: ignore[arg-type]
        assert isinstance(outcome, Done), outcome
        return outcome

    async def refused(self, command: EipCommand, **more: object) -> list[str]:
        """Return why a command that must be refused is: `status code field: message`."""
        outcome = await self.desk.change(replace(Request(command=command), **more))  # type: ignore[arg-type]
        assert isinstance(outcome, Refused), outcome
        return said(outcome)


def said(refusal: Refused) -> list[str]:
    """Return refusals as lines."""
    return [f"{one.status} {one.code} {one}" for one in refusal.refusals]


def with_file(config: Config, eips: Iterable[Eip]) -> Config:
    """Return a configuration whose file has these EIPs."""
    return replace(config, eips={eip.address: eip for eip in eips})
