"""What becomes of a task, for each thing that can be read back, and when it is forgotten."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from anycastd.model.eip import Binding, Eip, EipId, EipStatus, EipView, PlacementReason, TaskId, TaskState
from anycastd.resources.tasks import MAX_TASKS, accepted, begun, ended, judged, outlived, status_when_accepted

EIP = Eip(id=EipId("eip-1"), address=ip_address("203.0.113.1"), generation=4, changed_unix_s=100.0)
TASK = begun(TaskId("task-1"), "modify", EIP)


def view(status: EipStatus, generation: int = 4) -> EipView:
    return EipView(replace(EIP, generation=generation), status, PlacementReason.UNBOUND, "as read back")


@pytest.mark.parametrize(
    ("wanted", "seen", "state", "detail"),
    [
        (EIP, None, TaskState.RUNNING, ""),
        (EIP, view(EipStatus.CREATING), TaskState.RUNNING, ""),
        (EIP, view(EipStatus.BINDING), TaskState.RUNNING, ""),
        (EIP, view(EipStatus.UNBINDING), TaskState.RUNNING, ""),
        (EIP, view(EipStatus.BIND, generation=3), TaskState.RUNNING, ""),
        (EIP, view(EipStatus.BIND), TaskState.SUCCESS, "as read back"),
        (EIP, view(EipStatus.UNBIND), TaskState.SUCCESS, "as read back"),
        (EIP, view(EipStatus.OFFLINING), TaskState.SUCCESS, "as read back"),
        (replace(EIP, generation=5), view(EipStatus.BIND, 5), TaskState.FAILED, "overtaken by generation 5"),
        (replace(EIP, id=EipId("eip-2")), view(EipStatus.BIND), TaskState.FAILED, "the EIP is gone"),
        (None, None, TaskState.FAILED, "the EIP is gone"),
    ],
)
def test_a_task_ends_when_its_generation_was_read_back(
    wanted: Eip | None, seen: EipView | None, state: TaskState, detail: str
) -> None:
    after = judged(TASK, wanted, seen, 105.0)
    assert (after.state, after.detail) == (state, detail)
    assert after.ended_unix_s == (None if state is TaskState.RUNNING else 105.0)


def test_old_and_too_many_tasks_are_forgotten_but_never_one_that_runs() -> None:
    done = [
        ended(replace(TASK, id=TaskId(str(n)), created_unix_s=float(n)), TaskState.SUCCESS, "", 0.0)
        for n in range(MAX_TASKS + 3)
    ]
    running = replace(TASK, created_unix_s=-9e9)
    assert [task.id for task in outlived([running, *done], len(done), 1e9, 0.0)] == ["0", "1", "2"]
    assert [task.id for task in outlived([running, *done[:10]], 10, 3.0, 6.5)] == ["0", "1", "2", "3"]
    assert list(outlived([running, *done], MAX_TASKS, 1e9, 0.0)) == []


@pytest.mark.parametrize(
    ("verb", "more", "status", "reason"),
    [
        ("allocate", {}, EipStatus.CREATING, PlacementReason.UNBOUND),
        ("associate", {"binding": Binding(targets=())}, EipStatus.BINDING, PlacementReason.AWAITS_CHECKS),
        ("disassociate", {}, EipStatus.UNBINDING, PlacementReason.UNBOUND),
        ("modify", {}, EipStatus.UNBIND, PlacementReason.UNBOUND),
        ("modify", {"binding": Binding(targets=()), "blocked": True}, EipStatus.BINDING, PlacementReason.BLOCKED),
        ("release", {"released_unix_s": 1.0}, EipStatus.UNBINDING, PlacementReason.RELEASED),
        ("restore", {}, EipStatus.CREATING, PlacementReason.UNBOUND),
    ],
)
def test_what_an_accepted_change_is_answered(
    verb: str, more: dict[str, object], status: EipStatus, reason: PlacementReason
) -> None:
    eip = replace(EIP, **more)  # type: ignore[arg-type]
    found = accepted(eip, status_when_accepted(eip, verb))
    assert (found.status, found.reason, found.placement) == (status, reason, None)
