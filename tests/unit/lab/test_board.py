"""Nodes wait for each other's stages, up to one deadline, and a failure ends all waiting."""

from __future__ import annotations

import threading

import pytest

from anycastd.lab.board import Board, Stopped
from anycastd.lab.errors import LabError
from anycastd.lab.shape import Stage


def test_wait_ends_when_the_stage_is_left() -> None:
    board = Board(5.0)
    waiter = threading.Thread(target=board.wait_for, args=("b", [("a", Stage.CREATE)]))
    waiter.start()
    board.leave("a", Stage.CREATE)
    waiter.join(5)
    assert not waiter.is_alive()


def test_wait_tells_what_it_waited_for() -> None:
    with pytest.raises(LabError, match=r"^b: still waiting for a:configure, a:healthy after 0 s$"):
        Board(0.05).wait_for("b", [("a", Stage.HEALTHY), ("a", Stage.CONFIGURE)])


def test_stop_ends_all_waiting() -> None:
    board = Board(60.0)
    board.stop()
    with pytest.raises(Stopped):
        board.wait_for("b", [("a", Stage.CREATE)])
    with pytest.raises(Stopped):
        board.pause(50.0)
