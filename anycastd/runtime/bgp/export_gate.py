"""The gate in front of ExaBGP: what the export allow-list refuses never leaves, and says so (S11)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from anycastd.model.address import NeighborName
from anycastd.model.bgp import (
    Announce,
    AnnounceFlow,
    BgpAction,
    DeadManStage,
    EndOfRib,
    FilterKey,
    Withdraw,
    WithdrawFlow,
)
from anycastd.model.export import ExportRefusal
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.reconcile.export import flow_refusal, refusal
from anycastd.runtime.alarms import Reported
from anycastd.telemetry.logs import log_event

log = logging.getLogger("anycastd")
KINDS = ("prefix", "blackhole", "flow")
"""Each is counted against a limit of its own."""


def kind_of(action: Announce | AnnounceFlow) -> str:
    """Return which of them an announcement is."""
    if isinstance(action, AnnounceFlow):
        return "flow"
    return "blackhole" if action.route.is_blackhole else "prefix"


def key_of(action: Announce | Withdraw | AnnounceFlow | WithdrawFlow) -> FilterKey:
    """Return what it is about."""
    if isinstance(action, AnnounceFlow | WithdrawFlow):
        return action.flow.key
    return action.route.prefix if isinstance(action, Announce) else action.prefix


def _words(what: FilterKey, action: Announce | AnnounceFlow) -> str:
    if isinstance(action, AnnounceFlow):
        return f"{what}: {action.flow.destination}"
    route = action.route
    return f"{what} as-path [{' '.join(map(str, route.as_path))}] next-hop {route.next_hop}"


class ExportGate:
    """Asked of every action. A withdrawal and an End-of-RIB always pass."""

    def __init__(self, config: Config, reported: Reported, count: Callable[[ExportRefusal], None]) -> None:
        self._reported, self._count = reported, count
        self._config = config
        self._told: dict[tuple[NeighborName, str], set[FilterKey]] = {}
        self._refused: dict[NeighborName, dict[FilterKey, ExportRefusal]] = {}

    def configure(self, config: Config) -> None:
        """Take a new configuration; it counts from the next action on."""
        self._config = config
        # what a neighbor had went with its session
        self._told = {key: told for key, told in self._told.items() if key[0] in config.neighbors}
        for name in list(self._refused):
            kept = {p: why for p, why in self._refused[name].items() if isinstance(p, str) or p in config.prefixes}
            self._refused[name] = kept if name in config.neighbors else {}
            self._tell(name)

    def begin_anew(self) -> None:
        """Take note that ExaBGP has gone, and with it all that neighbors were told."""
        self._told.clear()

    def permitted(self, stages: Iterable[DeadManStage]) -> tuple[DeadManStage, ...]:
        """Return what the bridge may say when no daemon is there, without what may not leave."""
        return tuple(
            replace(stage, actions=tuple(action for action in stage.actions if self._permits(action)))
            for stage in stages
        )

    def _permits(self, action: BgpAction) -> bool:
        return not isinstance(action, Announce | AnnounceFlow) or self._why(action, 0) is None

    def _why(self, action: Announce | AnnounceFlow, told: int) -> ExportRefusal | None:
        if isinstance(action, AnnounceFlow):
            return flow_refusal(self._config, action, told)
        return refusal(self._config, action, told)

    def may_leave(self, action: BgpAction) -> bool:
        """Return whether ExaBGP may be told."""
        if isinstance(action, EndOfRib):
            return True
        name, what = action.neighbor, key_of(action)
        if isinstance(action, Withdraw | WithdrawFlow):
            for kind in KINDS:
                self._told.get((name, kind), set()).discard(what)
            self._pass(name, what)
            return True
        told = self._told.setdefault((name, kind_of(action)), set())
        why = self._why(action, len(told) - (what in told))
        if why is None:
            told.add(what)
            self._pass(name, what)
            return True
        self._count(why)
        if self._refused.setdefault(name, {}).get(what) is not why:
            self._refused[name][what] = why
            log_event(
                log, "export_refused", level=logging.ERROR, neighbor=name, why=why.value, detail=_words(what, action)
            )
            self._tell(name)
        return False

    def _pass(self, name: NeighborName, prefix: FilterKey) -> None:
        if prefix in self._refused.get(name, {}):
            del self._refused[name][prefix]
            self._tell(name)

    def _tell(self, name: NeighborName) -> None:
        refused = self._refused.get(name, {})
        if not refused:
            self._refused.pop(name, None)
            self._reported.clear(Alarm.EXPORT_REFUSED, name)
            return
        prefix, why = next(iter(refused.items()))
        rest = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        self._reported.raise_(Alarm.EXPORT_REFUSED, name, f"{prefix} is not sent: {why.value}{rest}")
