"""What the control loop needs of the world; the real ones live in probes and actuators, virtual ones in tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from anycastd.model.address import CheckId, Prefix
from anycastd.model.bgp import BgpAction, BgpObserved
from anycastd.model.checks import ProbeSpec
from anycastd.model.decision import Decision, TunnelOrder
from anycastd.model.eip import FlushConnections
from anycastd.model.fleet import Others
from anycastd.model.fleet_view import FleetView
from anycastd.model.kernel import KernelAction, KernelObserved
from anycastd.model.nft import NftChange, NftObserved
from anycastd.model.probe import ProbeResult
from anycastd.model.status import Alarm
from anycastd.policy.snapshot import Snapshot
from anycastd.reconcile.eip_pool import Moved
from anycastd.runtime.loop.beliefs import Verdict


class Probes(Protocol):
    """Runs checks and gives each result to the control loop."""

    def set_probes(self, specs: Iterable[ProbeSpec]) -> None:
        """Run exactly these; what did not change is not disturbed."""
        ...

    def pending(self, check: CheckId, pending: bool, /) -> None:
        """Say whether a change of the check's verdict is pending, so that it runs at its fast interval."""
        ...


class Bgp(Protocol):
    """ExaBGP, or what stands for it."""

    @property
    def observed(self) -> BgpObserved:
        """Return what it says it holds, as of now."""
        ...

    def apply(self, actions: Sequence[BgpAction], /) -> None:
        """Take the actions in; what becomes of them shows in `observed`."""
        ...


class KernelPort(Protocol):
    """The kernel's routes and rules of ours."""

    @property
    def observed(self) -> KernelObserved:
        """Return what was read, as of now."""
        ...

    def apply(self, actions: Sequence[KernelAction], /) -> None:
        """Take the actions in; what becomes of them shows in `observed`."""
        ...


class NftPort(Protocol):
    """The packet filter's sets of ours, and the connections that the kernel tracks."""

    @property
    def observed(self) -> NftObserved:
        """Return what was read back, as of now; the same object until something changes."""
        ...

    @property
    def busy(self) -> bool:
        """Return whether something that was taken in is still to be done; when it is done, the loop looks again."""
        ...

    def apply(self, changes: Sequence[NftChange], /) -> None:
        """Take the changes in, in this order; what becomes of them shows in `observed`."""
        ...

    def flush(self, flushes: Sequence[FlushConnections], /) -> None:
        """Forget connections, after all changes taken in before; tried again until the kernel has answered."""
        ...


class Fleet(Protocol):
    """What other POPs announce, and what we tell them of us."""

    def decided(self, decisions: Mapping[Prefix, Decision], changed: Collection[Prefix], /) -> None:
        """Take decisions before they are said."""
        ...

    def observed(self, prefixes: Collection[Prefix] | None, /) -> None:
        """Take note that something else is held of these prefixes, or of any."""
        ...

    def stirred(self) -> Collection[Prefix]:
        """Return, once, the prefixes to decide anew because of others."""
        ...

    def others(self, prefix: Prefix, /) -> Others | None:
        """Return what policy is to know of the others, None if nobody can be asked."""
        ...

    def token_missing(self, prefix: Prefix, entry: int, /) -> str:
        """Return why the fleet's store gives no leave to withdraw a prefix; "" = it does, or is not asked."""
        ...

    def report(self) -> FleetView:
        """Return the fleet for people."""
        ...

    def alarms(self) -> Iterable[tuple[Alarm, str, str]]:
        """Return what an operator must look at: alarm, subject, detail."""
        ...


class NoFleet:
    """Nobody can be asked, and nobody is told: the static guard."""

    def decided(self, decisions: Mapping[Prefix, Decision], changed: Collection[Prefix], /) -> None:
        """Tell nobody."""

    def observed(self, prefixes: Collection[Prefix] | None, /) -> None:
        """Tell nobody."""

    def stirred(self) -> Collection[Prefix]:
        """Return nothing: nobody else is heard."""
        return ()

    def others(self, prefix: Prefix, /) -> Others | None:
        """Return that nobody can be asked."""
        return None

    def token_missing(self, prefix: Prefix, entry: int, /) -> str:
        """Return that no leave is needed."""
        return ""

    def report(self) -> FleetView:
        """Return the static guard."""
        return FleetView()

    def alarms(self) -> Iterable[tuple[Alarm, str, str]]:
        """Return nothing."""
        return ()


class Record(Protocol):
    """Who is told of what happens: log, metrics, failover timers, journal."""

    def result(self, result: ProbeResult) -> None: ...
    def verdict(self, verdict: Verdict) -> None: ...
    def decided(self, before: Decision | None, snapshot: Snapshot, seen_s: float) -> None: ...
    def rerouted(self, before: TunnelOrder, after: TunnelOrder) -> None: ...
    def moved(self, moved: Moved) -> None: ...
    def acted(self, actions: Iterable[BgpAction]) -> None: ...
