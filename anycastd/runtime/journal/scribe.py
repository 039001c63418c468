"""What happens, put into the words of the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from heapq import nsmallest
from typing import Protocol, TypeVar

from anycastd.model.address import Prefix
from anycastd.model.attack import AttackState, Standing
from anycastd.model.bgp import SessionState
from anycastd.model.decision import Decision, TunnelOrder
from anycastd.model.eip import Eip, Placement
from anycastd.model.filters import Filter
from anycastd.model.fleet_view import FleetView
from anycastd.model.health import BackendView, HealthView, RegionView, TunnelView
from anycastd.model.journal import EntryKind
from anycastd.model.nft import BUCKETS
from anycastd.model.operator import Interventions
from anycastd.policy.snapshot import Snapshot
from anycastd.reconcile.eip_pool import Moved
from anycastd.resources.filters import kind_of
from anycastd.resources.order_changes import order_changes
from anycastd.runtime.loop.beliefs import Verdict

ADDRESSES_NAMED = 10


class Notes(Protocol):
    """Who takes entries: the journal."""

    def note(
        self,
        kind: EntryKind,
        subject: str,
        *,
        before: str = "",
        after: str = "",
        reason: str = "",
        hold: str = "",
        detail: str = "",
        snapshot: Snapshot | None = None,
    ) -> None:
        """Take an entry."""
        ...


class Scribe:
    """Notes decisions and changes of state. `health` and `fleet` tell what is so, once there is something to tell."""

    def __init__(self, journal: Notes) -> None:
        self._journal = journal
        self.health: Callable[[], HealthView] | None = None
        self._known: HealthView | None = None
        self.fleet: Callable[[], FleetView] | None = None
        self._heard: dict[str, str] = {}

    def decided(self, before: Decision | None, snapshot: Snapshot) -> None:
        """Note a decision, with all that made it."""
        after = snapshot.decision
        self._journal.note(
            EntryKind.DECISION,
            str(after.prefix),
            before=before.level.name if before else "",
            after=after.level.name,
            reason=after.reason.value,
            hold=after.hold.value if after.hold else "",
            detail=after.detail,
            snapshot=snapshot,
        )

    def verdict(self, verdict: Verdict) -> None:
        """Note a check that changed its verdict, and what else is believed of its region since."""
        after = verdict.after
        last = after.last
        self._journal.note(
            EntryKind.CHECK,
            after.id,
            before=verdict.before.health.value,
            after=after.health.value,
            reason=last.why.value if last else "",
            detail=last.detail if last else "",
        )
        self.look()

    def look(self) -> None:
        """Note what is believed of tunnels, backends and regions that was not so at the last look."""
        self._look_at_fleet()
        view = self.health() if self.health is not None else None
        known, self._known = self._known, view
        if view is None or known is None or view is known:
            return
        for kind, before, after in _changes(known, view):
            self._journal.note(
                kind,
                _id_of(after),
                before=before.health.value,
                after=after.health.value,
                reason=after.reason.value,
                detail=_detail(after),
            )

    def _look_at_fleet(self) -> None:
        """Note which other POP is heard otherwise than at the last look, and whether the guard is another one."""
        if self.fleet is None:
            return
        view, before = self.fleet(), self._heard
        heard = {pop.name: "heard" if pop.why is None else pop.why.value for pop in view.pops}
        ways = {pop.name: ", ".join(pop.by) for pop in view.pops}
        self._heard = {**heard, "": view.guard.value}
        for name, word in self._heard.items() if before else ():
            if before.get(name, word) != word:
                detail = ways.get(name, "")
                self._journal.note(EntryKind.FLEET, name or "guard", before=before[name], after=word, detail=detail)

    def rerouted(self, before: TunnelOrder, after: TunnelOrder) -> None:
        """Note a region whose packets take another tunnel."""
        self._journal.note(
            EntryKind.REROUTE,
            f"{after.region} ipv{after.version}",
            before=before.tunnels[0] if before.tunnels else "",
            after=after.tunnels[0] if after.tunnels else "",
            detail=after.reason,
        )

    def moved(self, moved: Moved) -> None:
        """Note EIPs whose packets go elsewhere: one entry for all that share a binding."""
        # not all sorted: ten thousand would hold the loop for milliseconds
        named, count = nsmallest(ADDRESSES_NAMED, moved.addresses, key=int), len(moved.addresses)
        rest = f" and {count - ADDRESSES_NAMED} more" if count > ADDRESSES_NAMED else ""
        listed = ", ".join(map(str, named))
        self._journal.note(
            EntryKind.EIP,
            str(named[0]) if named else "",
            before=words(moved.before),
            after=words(moved.after),
            reason=moved.after.reason.value,
            detail=f"{moved.after.detail} (EIPs: {listed}{rest})".lstrip(),
        )

    def eip_changed(self, eip: Eip, changes: tuple[str, ...]) -> None:
        """Note an EIP that was changed by the API or taken over from the store."""
        detail = "; ".join(changes)
        self._journal.note(EntryKind.EIP, str(eip.address), after=f"generation {eip.generation}", detail=detail)

    def playbook(self, prefix: Prefix, name: str, before: str, after: str, reason: str, detail: str) -> None:
        """Note what became of a playbook's run, or of a standby."""
        words = f"{name}: {detail}" if detail else name
        self._journal.note(EntryKind.PLAYBOOK, str(prefix), before=before, after=after, reason=reason, detail=words)

    def session(self, neighbor: str, state: SessionState, reason: str) -> None:
        """Note a BGP session that changed its state."""
        self._journal.note(EntryKind.SESSION, neighbor, after=state.value, detail=reason)

    def speaker(self, what: str, detail: str) -> None:
        """Note what became of ExaBGP."""
        self._journal.note(EntryKind.SPEAKER, "exabgp", after=what, detail=detail)

    def alarm(self, alarm: str, subject: str, detail: str) -> None:
        """Note an alarm that is raised."""
        self._journal.note(EntryKind.ALARM, subject, after="raised", reason=alarm, detail=detail)

    def alarm_cleared(self, alarm: str, subject: str) -> None:
        """Note an alarm that stands no more."""
        self._journal.note(EntryKind.ALARM_CLEARED, subject, after="cleared", reason=alarm)

    def ordered(self, before: Interventions, after: Interventions, ended_by: str) -> None:
        """Note drains, overrides and a freeze that began, changed or ended."""
        for one in order_changes(before, after, ended_by):
            self._journal.note(EntryKind.ORDER, one.subject, before=one.before, after=one.after, detail=one.detail)

    def attack(self, subject: str, before: AttackState, after: Standing) -> None:
        """Note that traffic to the POP or to an EIP is called something else."""
        self._journal.note(
            EntryKind.ATTACK,
            subject,
            before=before.name,
            after=after.state.name,
            reason=",".join(one.value for one in after.reasons),
            detail=after.detail,
        )

    def filtered(self, one: Filter, what: str, detail: str) -> None:
        """Note a blackhole or flow rule that was set or has ended."""
        self._journal.note(EntryKind.ORDER, one.id, after=what, reason=kind_of(one).value, detail=detail)

    def reload(self, digest: str, *, applied: bool, detail: str) -> None:
        """Note a reload and what it changed, or why it was refused."""
        self._journal.note(EntryKind.RELOAD, digest, after="applied" if applied else "refused", detail=detail)

    def start(self, pop: str, version: str, digest: str) -> None:
        """Note that the daemon runs."""
        self._journal.note(EntryKind.START, pop, after=version, detail=f"configuration {digest}")

    def stop(self, pop: str, how: str) -> None:
        """Note that the daemon was told to end."""
        self._journal.note(EntryKind.STOP, pop, after=how)


View = TunnelView | BackendView | RegionView
K = TypeVar("K")
V = TypeVar("V", TunnelView, BackendView, RegionView)


def _id_of(view: View) -> str:
    return view.name if isinstance(view, RegionView) else view.id


def _detail(view: View) -> str:
    if isinstance(view, RegionView):
        tunnels, backends = (
            f"{view.healthy_tunnels} of {view.total_tunnels}",
            f"{view.healthy_backends} of {view.total_backends}",
        )
        return f"{tunnels} tunnels, {backends} backends healthy"
    return ", ".join(view.evidence)


def _changes(old: HealthView, new: HealthView) -> Iterator[tuple[EntryKind, View, View]]:
    """Yield what is believed otherwise; what came with a new configuration is no change."""
    yield from _others(EntryKind.TUNNEL, old.tunnels, new.tunnels)
    yield from _others(EntryKind.BACKEND, old.backends, new.backends)
    yield from _others(EntryKind.REGION, old.regions, new.regions)


def _others(kind: EntryKind, before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[tuple[EntryKind, View, View]]:
    for name, view in after.items():
        was = before.get(name)
        # regions that were not assessed anew have the very same views
        if was is not None and was is not view and (was.health, was.reason) != (view.health, view.reason):
            yield kind, was, view


def words(placement: Placement | None) -> str:
    """Return where packets go: `eu/web-1 67 %, eu/web-2 33 %`."""
    if placement is None or not placement.shares:
        return "nowhere"
    return ", ".join(f"{share.path.backend} {round(share.buckets * 100 / BUCKETS)} %" for share in placement.shares)
