"""Makes this POP's part in the fleet: its link, and the desk where its configuration names a fleet's store, which is
imported only there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from anycastd.api.ports import Clocks
from anycastd.model.status import Alarm
from anycastd.model.store import StoreKind
from anycastd.model.topology import Config
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.eips.part import Eips
from anycastd.runtime.fleet.link import FleetLink
from anycastd.runtime.kept.boot_number import keep_boot, next_boot
from anycastd.runtime.loop.schedule import Wake
from anycastd.runtime.state import Circumstances

if TYPE_CHECKING:
    from anycastd.runtime.fleet.desk import FleetDesk
    from anycastd.store.etcd.store import EtcdStore


BOOT = "boot.json"


def linked(config: Config, reported: Reported, loop: asyncio.AbstractEventLoop, stir: Callable[[], None]) -> FleetLink:
    """Return the link of a daemon that starts, on the clock of its loop."""
    path = Path(config.state_dir) / BOOT

    def boot() -> int:
        number, complaint = next_boot(path, time.time())
        # a reload asks for it in a thread
        loop.call_soon_threadsafe(tell, complaint)
        return number

    def tell(complaint: str) -> None:
        if complaint:
            reported.raise_(Alarm.STATE_NOT_SAVED, str(path), complaint)

    link = FleetLink(config, boot, clock=loop.time, stir=stir, wake=lambda at_s: wake.at(at_s))

    def keep(number: int) -> None:
        # it is called in the middle of a decision, which waits for no disk
        kept = loop.run_in_executor(None, keep_boot, path, number)
        kept.add_done_callback(lambda done: None if done.cancelled() else tell(done.result()))

    link.on_boot = keep
    wake = Wake(loop, link.act)
    return link


def fleet_of(
    control: Control,
    eips: Eips,
    link: FleetLink,
    circumstances: Circumstances,
    reported: Reported,
    alarms: Callable[[], int],
    clocks: Callable[[], Clocks],
) -> FleetDesk | None:
    """Return the desk, None for a POP alone; `alarms` says how many stand. Beacons go through its store by `link`."""
    if control.config.store.kind is StoreKind.EMBEDDED:
        return None
    presence_of = import_module("anycastd.runtime.fleet.presence").presence_of
    store = cast("EtcdStore", eips.store)
    begun = clocks()
    started_unix_s = begun.wall_s - (begun.now_s - circumstances.started_s)

    def presence() -> object:
        return presence_of(
            control,
            eips,
            store.known,
            version=circumstances.version,
            alarms=alarms(),
            wall_s=clocks().wall_s,
            started_unix_s=started_unix_s,
        )

    made: FleetDesk = import_module("anycastd.runtime.fleet.desk").FleetDesk(store, control, reported, presence, clocks)
    made.applied = eips.desk.text_of
    config = control.config
    keys = import_module("anycastd.store.etcd.beacons").StoredBeacons(
        store, config.store.prefix, config.pop.name, config.store.attempt_s
    )
    channel = import_module("anycastd.runtime.fleet.stored").StoreChannel(link, keys, reported)
    tokens = import_module("anycastd.runtime.fleet.tokens").Tokens(
        store, link, config.store, config.pop.name, lambda: clocks().now_s
    )
    made.stages |= {"beacons out": channel.write, "beacons in": channel.listen, "fleet tokens": tokens.run}
    return made
