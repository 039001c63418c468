"""Which store a configuration asks for; the fleet's is imported only where there is one."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from anycastd.model.store import StoreKind
from anycastd.model.topology import Config
from anycastd.resources import codec
from anycastd.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from anycastd.store.etcd.store import EtcdStore

EMBEDDED, KEPT = "anycastd.db", "fleet.db"
"""In `state_dir`: the store of this POP alone, and what was applied of the fleet's."""


def store_of(config: Config, complain: Callable[[str, str | None], None]) -> SqliteStore | EtcdStore:
    """Return the store; `complain` is told of a subject's trouble, and of its end (None)."""
    directory = Path(config.state_dir)
    if config.store.kind is StoreKind.EMBEDDED:
        return SqliteStore(directory / EMBEDDED)
    made: EtcdStore = import_module("anycastd.store.etcd.store").EtcdStore(
        config.store, config.pop.name, directory / KEPT, carries=codec.carries, complain=complain
    )
    return made
