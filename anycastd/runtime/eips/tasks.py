"""The tasks of changes that were made: who waits for them, and what of them is not in the store yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from anycastd.model.address import Address
from anycastd.model.eip import Eip, EipId, EipView, Task, TaskId, TaskState
from anycastd.resources.tasks import ended, judged, outlived

KEEP_S = 24 * 3600.0


class TaskBook:
    """Every task that is remembered. Ends are kept in `unsaved` until a commit takes them along."""

    def __init__(self) -> None:
        self._tasks: dict[TaskId, Task] = {}
        self._running: dict[TaskId, Task] = {}
        self._waited: dict[TaskId, asyncio.Future[Task]] = {}
        self.unsaved: dict[TaskId, Task] = {}

    @property
    def running(self) -> int:
        """Return how many tasks have not ended."""
        return len(self._running)

    def load(self, tasks: Iterable[Task]) -> None:
        """Take over what the store has; those that still run are judged as if they had begun now."""
        for task in sorted(tasks, key=lambda task: (task.created_unix_s, task.generation)):
            self.put(task)

    def put(self, task: Task) -> None:
        """Remember a task as the store has it."""
        self._tasks[task.id] = task
        if task.state is TaskState.RUNNING:
            self._running[task.id] = task
        else:
            self._running.pop(task.id, None)
            if (waited := self._waited.pop(task.id, None)) is not None and not waited.done():
                waited.set_result(task)

    def get(self, task: TaskId) -> Task | None:
        """Return one task."""
        return self._tasks.get(task)

    def newest_first(self) -> Sequence[Task]:
        """Return all of them."""
        return list(reversed(self._tasks.values()))

    def overtaken(self, eip: EipId, generation: int, now_unix_s: float) -> list[Task]:
        """Return how the running tasks of an EIP end when it gets a new generation; nothing is remembered yet."""
        detail = f"overtaken by generation {generation}"
        return [ended(task, TaskState.FAILED, detail, now_unix_s) for task in self._running.values() if task.eip == eip]

    def judge(
        self, wanted: Callable[[Address], Eip | None], view: Callable[[Address], EipView | None], now_unix_s: float
    ) -> None:
        """End the tasks whose EIP stands as wanted, or not at all any more."""
        for task in list(self._running.values()):
            self._end(task, judged(task, wanted(task.address), view(task.address), now_unix_s))

    def refused(self, address: Address, detail: str, now_unix_s: float) -> None:
        """End the running tasks of an EIP that the kernel refuses."""
        for task in [task for task in self._running.values() if task.address == address]:
            self._end(task, ended(task, TaskState.FAILED, detail, now_unix_s))

    def _end(self, before: Task, after: Task) -> None:
        if after is not before:
            self.unsaved[after.id] = after
            self.put(after)

    def outlived(self, now_unix_s: float) -> Iterator[Task]:
        """Yield the tasks to be forgotten, oldest first; take them before anything is changed."""
        return outlived(self._tasks.values(), len(self._tasks) - len(self._running), KEEP_S, now_unix_s)

    def forget(self, tasks: Iterable[Task]) -> None:
        """Forget tasks that the store has not any more."""
        for task in tasks:
            self._tasks.pop(task.id, None)
            self.unsaved.pop(task.id, None)

    async def finished(self, task: TaskId, within_s: float) -> Task | None:
        """Return a task when it has ended, or as it is after `within_s`."""
        if task in self._running:
            waited = self._waited.setdefault(task, asyncio.get_running_loop().create_future())
            await asyncio.wait({waited}, timeout=within_s)
        return self._tasks.get(task)
