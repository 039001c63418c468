"""Failover timers: one change from the result that tipped it to its acknowledgement."""

from __future__ import annotations

from anycastd.model.status import FailoverTimer
from anycastd.runtime.journal.follow import KEPT, Followed
from tests.unit.runtime.world import A, B


def test_a_change_ends_with_the_first_answer_to_what_was_written_after_the_decision() -> None:
    done: list[FailoverTimer] = []
    followed = Followed(done.append)
    followed.decided(A, "NORMAL -> DEPREF", 1.0, 1.5)
    followed.acknowledged(B, 1.6, 1.7)
    followed.acknowledged(A, 1.4, 1.55)
    assert done == [], "written before the decision: it answers something else"
    assert followed.timers == (FailoverTimer(A, "NORMAL -> DEPREF", 1.0, 1.5),)
    followed.acknowledged(A, 1.6, 1.7)
    followed.acknowledged(A, 1.8, 1.9)
    whole = FailoverTimer(A, "NORMAL -> DEPREF", 1.0, 1.5, 1.6, 1.7)
    assert done == [whole]
    assert followed.timers == (whole,)


def test_a_change_overtaken_by_the_next_is_kept_without_an_answer() -> None:
    done: list[FailoverTimer] = []
    followed = Followed(done.append)
    followed.decided(A, "NORMAL -> DEPREF", 1.0, 1.5)
    followed.decided(A, "DEPREF -> WITHDRAWN", 3.0, 3.5)
    followed.acknowledged(A, 3.6, 3.7)
    assert [(timer.change, timer.acknowledged_s) for timer in followed.timers] == [
        ("NORMAL -> DEPREF", None),
        ("DEPREF -> WITHDRAWN", 3.7),
    ]
    assert len(done) == 1


def test_only_the_last_are_kept_oldest_first() -> None:
    followed = Followed(lambda timer: None)
    for number in range(KEPT + 10):
        followed.decided(A, str(number), float(number), float(number))
        followed.acknowledged(A, float(number), float(number))
    assert [timer.change for timer in followed.timers] == [str(number) for number in range(10, KEPT + 10)]
