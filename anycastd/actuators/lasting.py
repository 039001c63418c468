"""Tasks of an actuator that must last as long as it does: one that fails is told of, and begun again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

AGAIN_AFTER_S = 1.0
CANCEL_EACH_S = 5.0


async def cancelled(*tasks: asyncio.Task[None], each_s: float = CANCEL_EACH_S) -> None:
    """Cancel tasks and wait until they have ended, whatever they end with.

    Again and again: CPython 3.11 loses a cancellation that meets the end of what wait_for() waits for, and who then
    waits for such a task waits for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=each_s)


class Lasting:
    """Named tasks. What they tell may raise in whoever listens: that must not end what hears the kernel.

    `again` is called before one is begun again: what it had in hand may be lost.
    """

    def __init__(self, again: Callable[[], None], after_s: float = AGAIN_AFTER_S) -> None:
        self._again, self._after_s = again, after_s
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def __bool__(self) -> bool:
        """Return whether any was begun and not stopped."""
        return bool(self._tasks)

    def begin(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin a task, which has no end of its own."""
        self._waiting.pop(name, None)
        task = self._tasks[name] = asyncio.get_running_loop().create_task(run(), name=name)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                loop = task.get_loop()
                loop.call_exception_handler({"message": f"{name} ended", "exception": error})
                if self._tasks.get(name) is task:
                    self._waiting[name] = loop.call_later(self._after_s, self._once_more, name, run)

        task.add_done_callback(ended)

    def _once_more(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.begin(name, run)
        self._again()

    async def stop(self) -> None:
        """Cancel all of them, and wait until they have ended."""
        for timer in self._waiting.values():
            timer.cancel()
        tasks, self._tasks, self._waiting = tuple(self._tasks.values()), {}, {}
        await cancelled(*tasks)
