"""What the desks that take orders have in common: a change is done whole, told once, and on disk before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from anycastd.api.ports import FilterRequest, OrderDone, OrderRequest
from anycastd.resources.refusal import Code, Refused, refused
from anycastd.runtime.kept.orders_file import KEPT_S, Kept

MAX_ANSWERS = 1000
"""So many are known: all of them are written with each order."""
Request = OrderRequest | FilterRequest


def answered(answers: Mapping[str, Kept], request: Request) -> OrderDone | Refused | None:
    """Return what a request with its key got before, None if it is new."""
    kept = None if request.key is None or request.dry_run else answers.get(request.key)
    if kept is None:
        return None
    if kept.digest != request.digest:
        return refused(Code.KEY_REUSED, 422, f"the Idempotency-Key {request.key!r} was used for another request")
    return OrderDone(str(kept.body["id"]), tuple(kept.body["changes"]), replayed=True)


def with_answer(answers: Mapping[str, Kept], request: Request, done: OrderDone, now_s: float) -> Mapping[str, Kept]:
    """Return the answers with that to this request, without those that are too old (KEPT_S) or too many."""
    if request.key is None:
        return answers
    fresh = {key: kept for key, kept in answers.items() if now_s - kept.at_s < KEPT_S}
    for key in sorted(fresh, key=lambda one: fresh[one].at_s)[: max(len(fresh) + 1 - MAX_ANSWERS, 0)]:
        del fresh[key]
    return {**fresh, request.key: Kept(request.digest, now_s, {"id": done.id, "changes": list(done.changes)})}


class UnderWay:
    """Changes that go on when whoever asked goes away: an order on disk that nobody follows would be half an order."""

    def __init__(self) -> None:
        self._changes: set[asyncio.Task[OrderDone | Refused]] = set()

    async def whole(
        self, change: Coroutine[Any, Any, OrderDone | Refused], on_refused: Callable[[Code], None]
    ) -> OrderDone | Refused:
        """Return what comes of it, whoever still waits."""
        task = asyncio.get_running_loop().create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        done = await asyncio.shield(task)
        if isinstance(done, Refused):
            on_refused(done.first.code)
        return done

    async def close(self) -> None:
        """Wait for all of them."""
        await asyncio.gather(*self._changes, return_exceptions=True)
