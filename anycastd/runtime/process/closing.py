"""The last seconds of the daemon: what is closed gets its time, and a thread that hangs on a disk keeps nobody."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from anycastd.telemetry.logs import drain, log_event

log = logging.getLogger("anycastd")

CLOSE_WITHIN_S = 8.0
"""More than what takes longest by itself: a last text of orders, after the one under way, on a disk that hangs."""
THREADS_WITHIN_S = 2.0


async def closed(parts: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Close these side by side; one that takes too long, or fails, is told of, and keeps the others from nothing."""
    tasks = {asyncio.create_task(part, name=f"close {name}"): name for name, part in parts.items()}
    done, late = await asyncio.wait(tasks, timeout=CLOSE_WITHIN_S)
    for task in late:
        task.cancel()
        _tell(tasks[task], f"not within {CLOSE_WITHIN_S:g} s")
    for task in done:
        if (error := task.exception()) is not None:
            _tell(tasks[task], f"{type(error).__name__}: {error}")


def _tell(name: str, detail: str) -> None:
    log_event(log, "not_closed", level=logging.ERROR, part=name, detail=detail)


def own_threads() -> ThreadPoolExecutor:
    """Give the running loop a pool of threads of ours: that of asyncio.run() is waited for without end."""
    pool = ThreadPoolExecutor(thread_name_prefix="anycastd")
    asyncio.get_running_loop().set_default_executor(pool)
    return pool


def end_hung(pool: ThreadPoolExecutor, status: int) -> None:
    """End the process at once if a thread does not end: the interpreter would wait for it as long as the disk hangs.

    All is closed by now, and locks go with the process. Else return, for an end as usual.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    end_s, here = time.monotonic() + THREADS_WITHIN_S, threading.current_thread()
    for thread in threading.enumerate():
        if thread is not here and not thread.daemon:
            thread.join(max(end_s - time.monotonic(), 0.0))
    hung = [one.name for one in threading.enumerate() if one is not here and not one.daemon]
    if hung:
        detail = f"ended without waiting for {', '.join(hung)}"
        log_event(log, "thread_hangs", level=logging.ERROR, detail=detail)
        drain()
        os._exit(status)
