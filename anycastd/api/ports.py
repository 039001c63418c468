"""What the API needs of the daemon; the runtime provides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from anycastd.model.address import Address, Prefix, RegionName
from anycastd.model.bgp import BgpObserved, FilterRoutes
from anycastd.model.eip import EipView, Task, TaskId
from anycastd.model.filters import Filters
from anycastd.model.journal import Entry, Page, Wanted
from anycastd.model.nft import Count
from anycastd.model.status import Status
from anycastd.model.topology import Config, JournalConfig
from anycastd.resources.commands import Dial, EipCommand
from anycastd.resources.filters import FilterCommand, Release
from anycastd.resources.orders import OrderCommand
from anycastd.resources.proposal import Proposal
from anycastd.resources.records import Records
from anycastd.resources.refusal import Refused


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What a reload did: `applied`, the sentences of what changed, or the problems that refused it."""

    applied: bool
    changes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clocks:
    """Monotonic and Unix seconds at one moment."""

    now_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Shown:
    """An EIP as it is, the announced prefix it lies in (None: no longer one), and what an operator should know."""

    view: EipView
    prefix: Prefix | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A change that was asked for. `digest` is of the whole request, so that a key that is used again is told."""

    command: EipCommand
    expected: int | None = None
    key: str | None = None
    digest: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A change that was accepted (`task` None: there was nothing to change), or with `dry_run` what it would change."""

    shown: Shown
    task: Task | None
    changes: tuple[str, ...] = ()
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """A change of a region's dial that was asked for, with what a change of an EIP has too."""

    command: Dial
    expected: int | None = None
    key: str | None = None
    digest: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Dialed:
    """A region's dial: as the operator set it (None: not), as the file has it, what changed, and its generation now.

    `generation` 0: the operator has set none.
    """

    region: RegionName
    percentage: int | None
    configured: int
    changes: tuple[str, ...] = ()
    generation: int = 0
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Quota:
    """How many of something there are (None: counted for each EIP), and may be."""

    quota: str
    current: int | None
    limit: int


class Eips(Protocol):
    """The desk of accelerated EIPs."""

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        ...

    @property
    def records(self) -> Records:
        """Return every EIP there is."""
        ...

    def show(self, name: str, /) -> Shown | None:
        """Return the EIP with an id or address as it is."""
        ...

    def clocks(self) -> Clocks:
        """Return both clocks now."""
        ...

    def tasks(self) -> Sequence[Task]:
        """Return the tasks that are remembered, newest first."""
        ...

    def task(self, task: TaskId, /) -> Task | None:
        """Return one task."""
        ...

    def quotas(self) -> tuple[Quota, ...]:
        """Return what is limited."""
        ...

    async def change(self, request: Request, /) -> Done | Refused:
        """Do what is asked, or say every rule that it breaks; an accepted change is in the store."""
        ...

    async def dial(self, request: DialRequest, /) -> Dialed | Refused:
        """Set a region's dial."""
        ...

    async def finished(self, task: TaskId, within_s: float, /) -> Task | None:
        """Return a task when it has ended, or as it is after `within_s`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order of an operator; `owner` is who asks."""

    command: OrderCommand
    owner: str
    key: str | None = None
    digest: str = ""
    dry_run: bool = False


class Overwritten(NamedTuple):
    """How many keys the fleet's store lacked, had otherwise, and was not given since their texts cannot be read."""

    added: int
    replaced: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class OrderDone:
    """An order that was taken, or with `dry_run` what it would change; `id` is of the drain or override."""

    id: str
    changes: tuple[str, ...] = ()
    replayed: bool = False


class Orders(Protocol):
    """The desk of drains and overrides."""

    async def change(self, request: OrderRequest, /) -> OrderDone | Refused:
        """Do what is asked, or say which rule refuses it; an accepted order is on disk."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRequest:
    """A blackhole or flow rule that is asked for, or the end of one; `owner` is who asks."""

    command: FilterCommand | Release
    owner: str
    key: str | None = None
    digest: str = ""
    dry_run: bool = False


class FilterPort(Protocol):
    """The desk of blackholes and flow rules."""

    @property
    def filters(self) -> Filters:
        """Return those in force."""
        ...

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        ...

    @property
    def wanted(self) -> FilterRoutes:
        """Return what every neighbor should be sent."""
        ...

    @property
    def observed(self) -> BgpObserved:
        """Return what ExaBGP says it sends."""
        ...

    @property
    def dropped(self) -> Mapping[str, Count]:
        """Return what each dropped here, by id."""
        ...

    def clocks(self) -> Clocks:
        """Return both clocks now."""
        ...

    def proposals(self, eip: Address, /) -> Sequence[Proposal]:
        """Return the flow rules that fit the attack on an EIP."""
        ...

    async def change(self, request: FilterRequest, /) -> OrderDone | Refused:
        """Do what is asked, or say which rule refuses it; what is accepted is on disk."""
        ...


class Traffic(Protocol):
    """The meter of traffic."""

    async def asked(self, shown: Shown, query: Mapping[str, str], /) -> dict[str, Any]:
        """Return the traffic of an EIP for a request's query parameters; ValueError says which of them is wrong."""
        ...

    def overview(self) -> dict[str, Any]:
        """Return the POP's traffic and its busiest EIPs."""
        ...


class EventReader(Protocol):
    """One reader of live entries; what it is too slow for is counted instead of kept."""

    @property
    def lost(self) -> int:
        """Return how many entries were lost after those that can be taken."""
        ...

    @property
    def ended(self) -> bool:
        """Return whether no more will come."""
        ...

    async def wait(self, within_s: float, /) -> bool:
        """Wait for news; False if none came in that time."""
        ...

    def take(self) -> Entry | None:
        """Return the next entry, None if there is none."""
        ...

    def take_lost(self) -> tuple[int, int, int]:
        """Return how many were lost, and their first and last number; begin to count anew."""
        ...


class EventReaders(Protocol):
    """The places for readers of live entries."""

    def reserve(self) -> bool:
        """Take a place, to be given back by `release`; False when all are taken."""
        ...

    def release(self, reader: Any, /) -> None:
        """Give a place back; the reader (None: it had not joined yet) gets no more."""
        ...

    def join(self) -> EventReader:
        """Return a reader that gets every entry from now on."""
        ...

    def end(self) -> None:
        """Tell all readers that no more will come."""
        ...


class Journal(Protocol):
    """Decisions and changes of state. What reads the file raises JournalUnavailable when it cannot be read."""

    @property
    def config(self) -> JournalConfig:
        """Return the configuration in force."""
        ...

    @property
    def readers(self) -> EventReaders:
        """Return the places for readers of live entries."""
        ...

    @property
    def last_written(self) -> int:
        """Return the number of the newest entry that is known to be in the file."""
        ...

    @property
    def unwritten(self) -> Sequence[Entry]:
        """Return the entries that may not be in the file yet, oldest first."""
        ...

    async def page(self, wanted: Wanted, /) -> Page:
        """Return entries of the file."""
        ...

    async def one(self, number: int, /) -> tuple[Entry, str] | None:
        """Return an entry of the file and the text of its snapshot (empty: it has none)."""
        ...


class Daemon(Protocol):
    """What the outside may ask: how it is, to read its configuration again, to reset the circuit breaker."""

    def status(self) -> Status:
        """Return the whole state at this moment."""
        ...

    async def status_by_and_by(self) -> Status:
        """Return the whole state, made with pauses where there are many prefixes."""
        ...

    async def reload(
        self, *, expected_removals: int | None = None, dry_run: bool = False, bake_s: float = 0.0
    ) -> ReloadOutcome:
        """Read the configuration file again and apply the difference, or refuse it whole.

        With `bake_s` the file is on trial for so long, and taken back if less is announced with it.
        """
        ...

    def confirm(self) -> bool:
        """Keep the file that is on trial; return whether one was."""
        ...

    def reset_breaker(self, owner: str) -> bool:
        """Let as many prefixes be withdrawn again as may; return whether it was tripped."""
        ...
