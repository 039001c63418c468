"""`may_withdraw()`: the static guard, and that nothing else in the program takes a prefix off the air."""

from __future__ import annotations

import ast
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

import anycastd.policy
from anycastd.model.decision import Reason
from anycastd.model.topology import LastResort, PrefixSpec
from anycastd.policy.guard import may_withdraw

SPEC = PrefixSpec(prefix=ip_network("203.0.113.0/24"), min_announcers=2)


@pytest.mark.parametrize(
    ("last_resort", "stopping", "allowed", "reason"),
    [
        (LastResort.STAY, False, False, Reason.STATIC_GUARD),
        (LastResort.WITHDRAW, False, True, Reason.LAST_RESORT_WITHDRAW),
        (LastResort.STAY, True, True, Reason.STOPPING),
        (LastResort.WITHDRAW, True, True, Reason.STOPPING),
    ],
)
def test_who_may_leave(last_resort: LastResort, stopping: bool, allowed: bool, reason: Reason) -> None:
    verdict = may_withdraw(replace(SPEC, last_resort=last_resort), stopping=stopping)
    assert (verdict.allowed, verdict.reason) == (allowed, reason)


def test_the_refusal_says_how_many_it_would_have_asked_for() -> None:
    assert "(2 wanted)" in may_withdraw(SPEC, stopping=False).detail


def test_the_guard_is_asked_in_one_place() -> None:
    callers = []
    for file in sorted(Path(anycastd.policy.__path__[0]).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "may_withdraw":
                callers.append(file.name)
    assert callers == ["leaving.py"]
