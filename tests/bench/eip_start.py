"""A daemon started with 10,000 EIPs: until all of them are in the kernel, beside a start without any.

The packet filter is empty before each start. A start ends when every element is there; our prefixes are put behind
all else, so they are waited for, and then every element is counted.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from anycastd.model.nft import NftSet
from tests.bench.configs import Document
from tests.bench.eip_world import (
    BINDINGS,
    LIMIT_BPS,
    LIMITED_TENTHS,
    MANY,
    TABLE,
    Filter,
    association,
    binding,
    eip,
    eip_document,
    fill_store,
    filter_of,
    give_addresses,
    wait_loaded,
)
from tests.bench.figures import Figure, percentile
from tests.bench.footprint import pids_of
from tests.bench.world import World, world
from tests.wait import wait_until

STARTS, FILE_STARTS = 3, 1
WITHIN_S = 60.0
BUDGET_S = 2.0


def _in_file(number: int) -> Document:
    bind: list[Any] = association(number)["targets"]
    limits = {"in": LIMIT_BPS, "out": LIMIT_BPS} if number % 10 < LIMITED_TENTHS else {}
    return {"bind": bind, "spread": binding(number % BINDINGS).spread.value, "bandwidth": limits}


def _end(made: World) -> None:
    """Kill everything of the POP and empty its packet filter."""
    for pid in pids_of(made):
        os.kill(pid, signal.SIGKILL)
    wait_until("the daemon and ExaBGP are gone", 10, lambda: not pids_of(made))
    made.run("ip", "netns", "exec", made.pop, "nft", "delete", "table", "inet", TABLE)


def _start(made: World, kernel: Filter, count: int) -> float:
    """Start the daemon; return how long it took until the kernel had everything."""
    begun_s = time.monotonic()
    made.daemon()
    wait_until("our prefix is in the kernel", WITHIN_S, lambda: kernel.size(NftSet.OWN4))
    wait_loaded(kernel, count, WITHIN_S)
    took_s = time.monotonic() - begun_s
    _end(made)
    return took_s


def run(starts: int = STARTS, file_starts: int = FILE_STARTS) -> list[Figure]:
    """Measure starts with and without EIPs by turns, then those with EIPs in the file."""
    without_s, stored_s, filed_s = [], [], []
    with world(2) as made, filter_of(made.pop) as kernel:
        give_addresses(made)
        made.sink()
        database, kept = made.directory / "state" / "anycastd.db", made.directory / "filled.db"
        made.write_config(eip_document())
        fill_store(made, range(MANY))
        database.rename(kept)
        for _ in range(starts):
            database.unlink(missing_ok=True)
            without_s.append(_start(made, kernel, 0))
            database.write_bytes(kept.read_bytes())
            stored_s.append(_start(made, kernel, MANY))
        database.unlink()
        made.write_config(eip_document() | {"eips": {str(eip(n)): _in_file(n) for n in range(MANY)}})
        for _ in range(file_starts):
            filed_s.append(_start(made, kernel, MANY))
    return _figures(without_s, stored_s, filed_s)


def _figures(without_s: list[float], stored_s: list[float], filed_s: list[float]) -> list[Figure]:
    alone_s, took_s = percentile(without_s, 0.5), percentile(stored_s, 0.5)
    beyond_s = took_s - alone_s
    each = ", ".join(f"{one:.2f}" for one in stored_s)
    beside = f"{alone_s:.2f} s without EIPs (each: {', '.join(f'{one:.2f}' for one in without_s)})"
    return [
        Figure(
            f"started with {MANY} EIPs in the store, until all are in the kernel, beyond a start without",
            f"{beyond_s:.2f} s (from the start: {each})",
            beside,
            budget=f"median of {len(stored_s)} <= {BUDGET_S:.0f} s",
            missed=f"It takes {beyond_s:.2f} s longer." if beyond_s > BUDGET_S else "",
        ),
        Figure(
            "the same with the EIPs in the configuration file",
            f"{percentile(filed_s, 0.5) - alone_s:.2f} s (from the start: {', '.join(f'{s:.2f}' for s in filed_s)})",
            beside,
        ),
    ]


if __name__ == "__main__":
    for figure in run():
        print(figure.name, "|", figure.measured, "|", figure.baseline, "|", figure.missed)
