"""Some POPs' real stores in a process of their own, which hear of binds: python -m tests.etcd.storm_pops CLIENT POP...

Told by lines on its standard input, answered by lines of JSON. `CLOCK_MONOTONIC` is the machine's, so times of several
processes can be compared.

    start    -> each has a snapshot of all EIPs, and watches from there: how long that took
    mark     -> the processor time that was taken so far
    BINDS    -> waits until every POP has heard of so many: when the last of its POPs heard of each
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anycastd.model.store import StoreConfig
from anycastd.resources import codec
from anycastd.store.port import Snapshot, StoreUnavailable
from tests.etcd.stores import PopStore, config_of, pop_store, until

HEARD_WITHIN_S = 240.0
AGAIN_S = 1.0


def config_at(client: str) -> StoreConfig:
    """Return the timers of a real fleet, patient with a busy machine."""
    return config_of(client, heartbeat_s=3.0, stale_after_s=30.0, presence_s=10.0, commit_within_s=20.0, attempt_s=5.0)


class Watcher:
    """One POP that hears of binds."""

    def __init__(self, pop: PopStore) -> None:
        self.pop, self.at_s = pop, dict[str, float]()

    async def listen(self, revision: int) -> None:
        async for batch in self.pop.store.watch("/", revision):
            now_s = time.monotonic()
            for key, item in batch.items.items():
                # what a desk does with it
                if codec.decode_eip(item.value or "").binding is not None:
                    self.at_s[key] = now_s


async def serve(client: str, names: list[str], directory: Path) -> None:
    """Do what is told, to the end of the input."""
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with AsyncExitStack() as stack:
        pops = [await stack.enter_async_context(pop_store(config_at(client), name, directory)) for name in names]
        watchers = [Watcher(pop) for pop in pops]
        while order := (await orders.readline()).decode().strip():
            if order == "start":
                answer = await _started(watchers, stack)
            elif order == "mark":
                answer = {"cpu_s": time.process_time()}
            else:
                answer = await _heard(watchers, int(order))
            print(json.dumps(answer), flush=True)


async def _started(watchers: list[Watcher], stack: AsyncExitStack) -> dict[str, Any]:
    starts_s, counts = [], []
    for watcher in watchers:
        begun_s = time.monotonic()
        snapshot = await _snapshot(watcher.pop)
        starts_s.append(time.monotonic() - begun_s)
        counts.append(len(snapshot.items))
        task = asyncio.create_task(watcher.listen(snapshot.revision))
        stack.callback(task.cancel)
    return {"starts_s": starts_s, "eips": counts}


async def _snapshot(pop: PopStore) -> Snapshot:
    """Return all EIPs; asked for again as a daemon does, while nothing kept is there to start from."""
    while True:
        try:
            return await pop.store.snapshot("/")
        except StoreUnavailable:
            await asyncio.sleep(AGAIN_S)


async def _heard(watchers: list[Watcher], binds: int) -> dict[str, Any]:
    await until("every POP has every bind", lambda: all(len(one.at_s) == binds for one in watchers), HEARD_WITHIN_S)
    last_s = {key: max(one.at_s[key] for one in watchers) for key in watchers[0].at_s}
    complaints = [one.pop.complaints for one in watchers if one.pop.complaints]
    return {"last_s": last_s, "cpu_s": time.process_time(), "complaints": complaints}


if __name__ == "__main__":
    with TemporaryDirectory(prefix="anycastd-storm-") as where:
        asyncio.run(serve(sys.argv[1], sys.argv[2:], Path(where)))
