"""Makes the watch for attacks out of what the daemon has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

from anycastd.actuators.dataplane import losses
from anycastd.actuators.dataplane.packet_sample import PacketSample
from anycastd.actuators.nft.table import NftTable
from anycastd.attack.opened import OPENED
from anycastd.attack.suspects import ARRIVING
from anycastd.model.address import Address
from anycastd.model.attack import AttackState, Standing
from anycastd.runtime.alarms import Reported
from anycastd.runtime.attack.alert import Sources
from anycastd.runtime.attack.packet_look import PacketLook
from anycastd.runtime.attack.watch import AttackWatch, Told
from anycastd.runtime.control import Control
from anycastd.runtime.eips.part import Eips
from anycastd.runtime.journal.scribe import Scribe

SETS = [name for names in (*ARRIVING, OPENED) for name in names]


def watch_of(
    control: Control, nft: NftTable, eips: Eips, reported: Reported, scribe: Scribe, clock: Callable[[], float]
) -> AttackWatch:
    """Return the watch, fed by the meter of EIPs; `clock` is monotonic."""
    config, meter = control.config, eips.meter

    def changed(subject: Address | None, before: AttackState, after: Standing) -> None:
        scribe.attack("pop" if subject is None else str(subject), before, after)

    sources = Sources(
        totals=nft.totals,
        conntrack=nft.conntrack_stats,
        losses=lambda: losses.read(control.config.eip.uplinks),
        latency_ms=partial(_latency_ms, control),
        read_eips=meter.read_soon,
        read_opened=nft.opened,
        read_some=lambda addresses: nft.counters_of(SETS, addresses),
        reading_cost_s=lambda: meter.cost_s,
    )
    told = Told(reported, changed, config.pop.name)
    look = PacketLook(PacketSample(), lambda: list(control.config.prefixes))
    watch = AttackWatch(config.attack, sources, told, look, config.state_dir, clock)
    meter.on_sample = watch.take
    watch.listeners.append(control.take_attack)
    control.attacks.newest = lambda: watch.view
    return watch


def _latency_ms(control: Control) -> float | None:
    """Return the median of what usable tunnels take to answer."""
    views = control.beliefs.view.tunnels.values()
    found = [view.latency_ms for view in views if view.latency_ms is not None and view.health.is_usable]
    return median(found) if found else None
