"""What becomes of a change: running until the kernel was read back with its generation, or overtaken by a later one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from anycastd.model.eip import Eip, EipStatus, EipView, PlacementReason, Task, TaskId, TaskState

SETTLED = frozenset({EipStatus.BIND, EipStatus.UNBIND, EipStatus.OFFLINING})
"""Statuses in which the kernel holds what is wanted; the others are on the way there."""
MAX_TASKS = 20_000
"""So many ended ones are remembered, one for each EIP that there may be; of more the oldest go before their time."""


def begun(task_id: TaskId, verb: str, eip: Eip) -> Task:
    """Return the task of a change that was just made to an EIP."""
    return Task(
        id=task_id,
        eip=eip.id,
        address=eip.address,
        verb=verb,
        generation=eip.generation,
        created_unix_s=eip.changed_unix_s,
    )


def judged(task: Task, wanted: Eip | None, view: EipView | None, now_unix_s: float) -> Task:
    """Return a running task as it is now: `wanted` is the EIP in force at its address, `view` what stands of it."""
    if wanted is None or wanted.id != task.eip:
        return ended(task, TaskState.FAILED, "the EIP is gone", now_unix_s)
    if wanted.generation != task.generation:
        return ended(task, TaskState.FAILED, f"overtaken by generation {wanted.generation}", now_unix_s)
    if view is not None and view.eip.generation == task.generation and view.status in SETTLED:
        return ended(task, TaskState.SUCCESS, view.detail, now_unix_s)
    return task


def ended(task: Task, state: TaskState, detail: str, now_unix_s: float) -> Task:
    """Return a task that has come to its end."""
    return replace(task, state=state, detail=detail, ended_unix_s=now_unix_s)


def outlived(tasks: Iterable[Task], done: int, keep_s: float, now_unix_s: float) -> Iterator[Task]:
    """Yield ended tasks that are to be forgotten: the old ones, and the oldest beyond MAX_TASKS.

    `tasks` are told oldest first, and `done` of them have ended; no more are looked at than need be.
    """
    many = done - MAX_TASKS
    for task in tasks:
        if task.ended_unix_s is None:
            continue
        if many <= 0 and task.created_unix_s + keep_s > now_unix_s:
            return
        many -= 1
        yield task


def status_when_accepted(eip: Eip, verb: str) -> EipStatus:
    """Return the status that answers a change which the kernel does not have yet."""
    if eip.released_unix_s is not None:
        return EipStatus.UNBINDING
    if verb == "allocate":
        return EipStatus.CREATING
    if verb in ("disassociate", "restore"):
        return EipStatus.UNBINDING if verb == "disassociate" else EipStatus.CREATING
    return EipStatus.BINDING if eip.binding is not None else EipStatus.UNBIND


def accepted(eip: Eip, status: EipStatus) -> EipView:
    """Return an EIP as the answer to its change shows it: stored, and not yet read back from the kernel."""
    if eip.released_unix_s is not None:
        reason = PlacementReason.RELEASED
    elif eip.binding is None:
        reason = PlacementReason.UNBOUND
    else:
        reason = PlacementReason.BLOCKED if eip.blocked else PlacementReason.AWAITS_CHECKS
    return EipView(eip, status, reason, "accepted; the kernel has not been read back yet")
