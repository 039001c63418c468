"""The gate in front of ExaBGP: what the export allow-list refuses never leaves, and says so (S11)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.bgp import Announce, BgpAction, DeadManStage, Withdraw
from anycastd.model.export import ExportRefusal
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.reconcile.export import refusal
from anycastd.runtime.alarms import Reported
from anycastd.telemetry.logs import log_event

log = logging.getLogger("anycastd")


class ExportGate:
    """Asked of every action. A withdrawal and an End-of-RIB always pass."""

    def __init__(self, config: Config, reported: Reported, count: Callable[[ExportRefusal], None]) -> None:
        self._reported, self._count = reported, count
        self._config = config
        self._told: dict[NeighborName, set[Prefix]] = {}
        self._refused: dict[NeighborName, dict[Prefix, ExportRefusal]] = {}

    def configure(self, config: Config) -> None:
        """Take a new configuration; it counts from the next action on."""
        self._config = config
        for name in list(self._refused):
            kept = {p: why for p, why in self._refused[name].items() if p in config.prefixes}
            self._refused[name] = kept if name in config.neighbors else {}
            self._tell(name)

    def permitted(self, stages: Iterable[DeadManStage]) -> tuple[DeadManStage, ...]:
        """Return what the bridge may say when no daemon is there, without what may not leave."""
        return tuple(
            replace(stage, actions=tuple(action for action in stage.actions if self._permits(action)))
            for stage in stages
        )

    def _permits(self, action: BgpAction) -> bool:
        return not isinstance(action, Announce) or refusal(self._config, action, 0) is None

    def may_leave(self, action: BgpAction) -> bool:
        """Return whether ExaBGP may be told."""
        if isinstance(action, Withdraw):
            self._told.get(action.neighbor, set()).discard(action.prefix)
            self._pass(action.neighbor, action.prefix)
        if not isinstance(action, Announce):
            return True
        name, prefix = action.neighbor, action.route.prefix
        told = self._told.setdefault(name, set())
        why = refusal(self._config, action, len(told) - (prefix in told))
        if why is None:
            told.add(prefix)
            self._pass(name, prefix)
            return True
        self._count(why)
        if self._refused.setdefault(name, {}).get(prefix) is not why:
            self._refused[name][prefix] = why
            route = action.route
            path = " ".join(map(str, route.as_path))
            detail = f"{prefix} as-path [{path}] next-hop {route.next_hop}"
            log_event(log, "export_refused", level=logging.ERROR, neighbor=name, why=why.value, detail=detail)
            self._tell(name)
        return False

    def _pass(self, name: NeighborName, prefix: Prefix) -> None:
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
