"""Questions about users and groups of this machine, which may be asked of a directory server that does not answer.

They are asked in threads that nobody waits for at the end of the daemon: while the network is away, an operator who
asks what is wrong must hold up neither the checks nor a stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

WITHIN_S = 5.0
AT_ONCE = 8

T = TypeVar("T")


class Names:
    """Asks, each in a thread of its own; TimeoutError if there is no answer, or too many wait for one already."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._waiting = 0

    async def ask(self, question: Callable[[], T]) -> T:
        """Return the answer."""
        if self._waiting >= AT_ONCE:
            raise TimeoutError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def told(found: T | None, error: Exception | None) -> None:
            self._waiting -= 1
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)  # type: ignore[arg-type]

        def work() -> None:
            found, failed = None, None
            try:
                found = question()
            except (KeyError, OSError, ValueError) as error:
                failed = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(told, found, failed)

        self._waiting += 1
        Thread(target=work, name="names", daemon=True).start()
        return await asyncio.wait_for(answer, self._within_s)
