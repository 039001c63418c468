"""The one place that catches everything: a stage that fails is reported and started again, and no route moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 10.0
CALM_AFTER_S = 60.0
CANCEL_EACH_S, CANCEL_TIMES = 5.0, 2
"""Longer than what a stage does last: the API gives a request under way a moment."""

log = logging.getLogger(__name__)


class Supervisor:
    """Runs named stages for ever. Fail static (I3): what the stage left in the world stays as it is meanwhile."""

    def __init__(self, failed: Callable[[str, str], None], recovered: Callable[[str], None]) -> None:
        self._failed, self._recovered = failed, recovered
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._once: set[asyncio.Task[object]] = set()
        self._calm: asyncio.TimerHandle | None = None

    def start(self, name: str, stage: Callable[[], Awaitable[None]]) -> None:
        """Start a stage; it is started again when it ends or fails, unless it was cancelled."""
        self._tasks[name] = asyncio.get_running_loop().create_task(self._keep(name, stage), name=name)

    def once(self, name: str, work: Coroutine[object, object, object]) -> None:
        """Run something once that nobody waits for; a failure is reported as one of the loop."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._once.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._once.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.loop_failed(task.get_loop(), {"message": f"{task.get_name()} failed", "exception": error})

    async def _keep(self, name: str, stage: Callable[[], Awaitable[None]]) -> None:
        loop, delay_s = asyncio.get_running_loop(), FIRST_DELAY_S
        while True:
            begun_s = loop.time()
            calm = loop.call_later(CALM_AFTER_S, self._recovered, name)
            try:
                await stage()
                log.error("stage ended", extra={"reason": "stage_failed", "stage": name})
                self._failed(name, "it ended by itself")
            except asyncio.CancelledError:
                # a stage that awaits what somebody else cancelled was not cancelled itself
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                log.exception("stage failed", extra={"reason": "stage_failed", "stage": name})
                self._failed(name, "what it waited for was cancelled")
            except Exception as error:
                log.exception("stage failed", extra={"reason": "stage_failed", "stage": name})
                self._failed(name, f"{type(error).__name__}: {error}")
            finally:
                calm.cancel()
            if loop.time() - begun_s > CALM_AFTER_S:
                delay_s = FIRST_DELAY_S
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_DELAY_S)

    def loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Report an error that a callback raised, until a minute after the last; for `loop.set_exception_handler`."""
        error = context.get("exception")
        what = str(context.get("message", ""))
        log.error("callback failed: %s", what, exc_info=error if isinstance(error, BaseException) else None)
        # not repr(): that of an encoding error holds the whole text, with whatever secret is in it
        self._failed("loop", f"{what}: {type(error).__name__}: {error}" if error is not None else what)
        if self._calm is not None:
            self._calm.cancel()
        self._calm = loop.call_later(CALM_AFTER_S, self._recovered, "loop")

    async def stop(self) -> None:
        """Cancel every stage and all that runs once, and wait until all have ended, though not for ever."""
        tasks: set[asyncio.Task[Any]] = {*self._tasks.values(), *self._once}
        if self._calm is not None:
            self._calm.cancel()
        for _ in range(CANCEL_TIMES):
            # again: a cancellation that meets the end of what wait_for() waits for is lost in CPython 3.11
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=CANCEL_EACH_S)
        for task in tasks:
            log.error("stage does not end", extra={"reason": "stage_failed", "stage": task.get_name()})
