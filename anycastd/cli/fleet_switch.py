"""From the embedded store to the fleet's and back, with everything that is in it. Asks no daemon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from anycastd.cli.client import EX_CONFIG, EX_DATAERR, EX_UNAVAILABLE, AskError
from anycastd.config.load import load
from anycastd.errors import AnycastdError, ConfigError
from anycastd.model.store import StoreKind
from anycastd.model.topology import Config
from anycastd.resources import codec
from anycastd.runtime.eips.stores import EMBEDDED, KEPT
from anycastd.store.etcd.kept import KeptFile
from anycastd.store.etcd.store import EtcdStore
from anycastd.store.port import ABSENT, Write
from anycastd.store.sqlite_file import SqliteFile

NAMED = 5


def switched(config_file: str, *, theirs: bool, dry_run: bool) -> Iterator[str]:
    """Carry everything into the store that the file names; yield what was done, in words."""
    try:
        config = load(config_file)
    except ConfigError as error:
        message = f"{config_file} has mistakes"
        raise AskError(message, EX_CONFIG, tuple(map(str, error.problems))) from error
    directory = Path(config.state_dir)
    try:
        if config.store.kind is StoreKind.ETCD:
            yield from asyncio.run(_to_fleet(config, directory, theirs=theirs, dry_run=dry_run))
        else:
            yield _to_file(directory, dry_run=dry_run)
    except AnycastdError as error:
        raise AskError(str(error), EX_UNAVAILABLE) from error
    if not dry_run:
        yield f"restart the daemon with {config_file}; routes and what is bound stay meanwhile"


def _to_file(directory: Path, *, dry_run: bool) -> str:
    kept = KeptFile(directory / KEPT)
    if not kept.path.exists():
        message = f"{kept.path} is not there: this POP has applied nothing of a fleet's store"
        raise AskError(message, EX_CONFIG)
    found = kept.read()
    kept.close()
    texts = {key: item.value for key, item in found.items.items() if item.value is not None}
    file = SqliteFile(directory / EMBEDDED)
    if not dry_run:
        file.replace(texts)
        file.close()
        _own(directory, EMBEDDED)
    would = "would be carried" if dry_run else "are"
    return f"{len(texts)} keys of cluster {found.cluster} at revision {found.revision} {would} in {file.path}"


async def _to_fleet(config: Config, directory: Path, *, theirs: bool, dry_run: bool) -> list[str]:
    file = SqliteFile(directory / EMBEDDED)
    if file.handed_over:
        message = f"{file.path} was carried to a fleet's store already; it is not done twice, for what went since"
        raise AskError(message, EX_DATAERR)
    ours = file.snapshot("/") if dry_run else file.hand_over()
    store = EtcdStore(
        config.store, config.pop.name, directory / KEPT, carries=codec.carries, complain=lambda subject, detail: None
    )
    done = False
    try:
        there = (await store.dump(here=False)).items
        missing = {key: item.value for key, item in ours.items.items() if key not in there and item.value is not None}
        # how a task of ours ended is known there, or will be
        kinds = (codec.EIPS, codec.DIALS)
        other = [
            k for k, item in ours.items.items() if k.startswith(kinds) and k in there and there[k].value != item.value
        ]
        if other and not theirs:
            names = ", ".join(other[:NAMED]) + (f" and {len(other) - NAMED} more" if len(other) > NAMED else "")
            message = f"the fleet's store has another {names}; --theirs lets that stand, and drops ours"
            raise AskError(message, EX_DATAERR)
        if not dry_run:
            # what was applied of another fleet, or long ago, does not count: the daemon begins with what is there now
            for ending in ("-wal", "-shm", ""):
                (directory / f"{KEPT}{ending}").unlink(missing_ok=True)
            await _add(store, missing)
            done = True
    finally:
        await store.close()
        if not done and not dry_run:
            file.hand_over(back=True)
        file.close()
    if not dry_run:
        _own(directory, EMBEDDED)
        _own(directory, KEPT)
    would = "would be" if dry_run else "were"
    same = len(ours.items) - len(missing) - len(other)
    words = [f"{len(missing)} keys {would} carried to {store.where}; {same} are there already"]
    return [*words, *([f"{len(other)} of the fleet's stand instead of ours"] if other else [])]


async def _add(store: EtcdStore, missing: dict[str, str]) -> None:
    keys = list(missing)
    await store.snapshot("/")
    for first in range(0, len(keys), store.max_writes):
        part = keys[first : first + store.max_writes]
        await store.commit([Write(key, missing[key]) for key in part], dict.fromkeys(part, ABSENT))


def _own(directory: Path, name: str) -> None:
    """Give a file to whom the directory belongs: the daemon is another user than who runs this."""
    owner = directory.stat()
    if os.geteuid() == 0:
        os.chown(directory / name, owner.st_uid, owner.st_gid)
