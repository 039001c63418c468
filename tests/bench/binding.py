"""An EIP bound and unbound through the API, with 10,000 loaded, until the kernel has it.

The daemon answers a request with `wait` when it has read the kernel back; after every second request we ask the kernel
ourselves, while the daemon is still at it. The baseline is what cannot be left out: one SQLite commit of the same
records (synchronous=FULL) and one transaction of the same elements by libnftables, in a table with as many.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from anycastd.actuators.nft import rules
from anycastd.actuators.nft.library import opened
from anycastd.model.eip import TaskState
from anycastd.model.nft import NftSet, NftSettings
from anycastd.resources import codec
from anycastd.resources.tasks import begun
from tests.bench.eip_world import (
    MANY,
    Api,
    Filter,
    Loaded,
    association,
    eip,
    eip_document,
    filter_of,
    loaded,
    stored,
)
from tests.bench.figures import Figure, percentile, spread_ms
from tests.bench.world import world

PAIRS, WARM = 640, 20
SEEN_EACH = 2
"""Of so many changes one is looked for in the kernel while the daemon is still at it."""
BUDGET_MS = 5.0
APART_S = 0.012
"""Between two changes: operators, not a flood."""


@dataclass
class Took:
    """Seconds of each change."""

    bind: list[float] = field(default_factory=list)
    unbind: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)


def _change(api: Api, kernel: Filter, number: int, *, bind: bool, seen: list[float] | None) -> float:
    """Bind or unbind; return how long it took until the daemon said that the kernel has it."""
    target, address = f"/v1/eips/{eip(number)}/association?wait=5s", eip(number)
    there, gone = (NftSet.EIP4, NftSet.IDLE4) if bind else (NftSet.IDLE4, NftSet.EIP4)
    begun_s = time.monotonic()
    api.send("PUT" if bind else "DELETE", target, association(number) if bind else None)
    if seen is not None:
        seen.append(kernel.wait_for(there, address, 5.0) - begun_s)
    answered = api.take()
    took_s = time.monotonic() - begun_s
    if answered["task"]["state"] != TaskState.SUCCESS.value:
        message = f"not in the kernel within 5 s: {answered['task']}"
        raise OSError(message)
    if not kernel.has(there, address) or kernel.has(gone, address):
        message = f"the kernel does not have {address} as the task says"
        raise OSError(message)
    return took_s


def _measure(now: Loaded, pairs: int) -> Took:
    took, api, chosen = Took(), Api(now.made), random.Random(7)
    for number in range(-WARM, pairs):
        which = chosen.randrange(MANY)
        for bind in (False, True):
            seen = took.seen if number >= 0 and number % SEEN_EACH == 0 else None
            took_s = _change(api, now.kernel, which, bind=bind, seen=seen)
            if number >= 0 and seen is None:
                (took.bind if bind else took.unbind).append(took_s)
            time.sleep(APART_S)
    api.close()
    return took


@contextmanager
def _bare_table(kernel: Filter) -> Iterator[str]:
    """Make a table like ours with as many elements, in the other namespace; yield its name."""
    settings = NftSettings(table="bare")
    every = ", ".join(str(eip(number)) for number in range(MANY))
    lines = [f"table inet {settings.table} {{", *rules.definitions(settings), "}"]
    lines += [f"add element inet bare {name.value} {{ {every} }}" for name in (NftSet.IN4, NftSet.OUT4)]
    lines.append(f"add element inet bare eip4 {{ {', '.join(f'{eip(n)} : {1 + n % 300}' for n in range(MANY))} }}")
    nft = kernel.inside(opened)
    kernel.inside(lambda: nft.run("\n".join(lines)))
    try:
        yield settings.table
    finally:
        kernel.inside(lambda: nft.run("delete table inet bare"))
        kernel.inside(nft.close)


def _bare_store(directory: Path) -> sqlite3.Connection:
    db = sqlite3.connect(directory / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE items (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
    with_all = [(codec.key_of(eip(number)), codec.encode_eip(stored(number))) for number in range(MANY)]
    db.execute("BEGIN")
    db.executemany("INSERT INTO items VALUES (?, ?)", with_all)
    db.execute("COMMIT")
    return db


def _bare(kernel: Filter, pairs: int) -> list[float]:
    """Return how long a commit and a transaction take, one after the other."""
    took_s, chosen = [], random.Random(7)
    with TemporaryDirectory(prefix="anycastd-bench-") as directory, _bare_table(kernel) as table:
        db, nft = _bare_store(Path(directory)), kernel.inside(opened)
        for number in range(-WARM, 2 * pairs):
            which = chosen.randrange(MANY)
            one, address = stored(which), eip(which)
            task = begun(f"task-{number:012x}", "associate", one)  # type: ignore[arg-type]
            rows = [(codec.key_of(address), codec.encode_eip(one)), (task.id, codec.encode_task(task))]
            here = f"element inet {table}"
            words = f"add {here} idle4 {{ {address} }}; delete {here} eip4 {{ {address} }}"
            back = f"add {here} eip4 {{ {address} : 7 }}; delete {here} idle4 {{ {address} }}"

            def transact(text: str = words) -> float:
                begun_s = time.monotonic()
                nft.run(text)
                return time.monotonic() - begun_s

            begun_s = time.monotonic()
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR REPLACE INTO items VALUES (?, ?)", rows)
            db.execute("COMMIT")
            committed_s = time.monotonic() - begun_s + kernel.inside(transact)
            kernel.inside(lambda text=back: transact(text))  # type: ignore[misc]
            if number >= 0:
                took_s.append(committed_s)
            time.sleep(APART_S / 4)
        kernel.inside(nft.close)
        db.close()
    return took_s


def _figure(name: str, took_s: list[float], bare_s: list[float], budget_ms: float | None = None) -> Figure:
    """Return a figure; the budget is of the kernel's state, that the API says so later is told beside it."""
    p99_ms, bare_ms = percentile(took_s, 0.99) * 1000, percentile(bare_s, 0.99) * 1000
    missed = f"p99 is {p99_ms:.1f} ms." if budget_ms is not None and p99_ms > budget_ms else ""
    return Figure(
        name, spread_ms(took_s), f"{spread_ms(bare_s)}, commit and libnftables alone", f"{p99_ms / bare_ms:.2f}",
        "" if budget_ms is None else f"p99 <= {budget_ms:.0f} ms", missed,
    )  # fmt: skip


def run(pairs: int = PAIRS) -> list[Figure]:
    """Measure beside the baseline, half of which runs before and half after."""
    with world(2) as made, loaded(made, MANY, eip_document()) as now, filter_of(made.far) as far:
        bare_s = _bare(far, pairs // 8)
        took = _measure(now, pairs)
        bare_s += _bare(far, pairs // 8)
    load = f"load {os.getloadavg()[0]:.1f}"
    name = f"an EIP bound or unbound through the API, {MANY} loaded"
    return [
        _figure(f"{name}, until the kernel has it ({load})", took.seen, bare_s, BUDGET_MS),
        _figure("the same, bound, until the API says that the kernel was read back", took.bind, bare_s),
        _figure("the same, unbound, until the API says so", took.unbind, bare_s),
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.baseline, "|", figure.ratio, "|", figure.missed)
