"""Makes this POP's part in the fleet, where its configuration names a fleet's store; imports it only there."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

from anycastd.api.ports import Clocks
from anycastd.model.store import StoreKind
from anycastd.runtime.alarms import Reported
from anycastd.runtime.control import Control
from anycastd.runtime.eips.part import Eips
from anycastd.runtime.fleet.link import FleetLink
from anycastd.runtime.state import Circumstances

if TYPE_CHECKING:
    from anycastd.runtime.fleet.desk import FleetDesk
    from anycastd.store.etcd.store import EtcdStore


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
