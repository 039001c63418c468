"""A disk that hangs: fsync() stands still in whatever thread calls it, until the disk answers."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from anycastd.actuators.disk import Disk

WITHIN_S = 0.05


class HungDisk:
    """Answers at first. Patience with it is short, so that nobody waits for the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = threading.Event()
        self._answers.set()
        real = os.fsync

        def fsync(descriptor: int) -> None:
            self._answers.wait()
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Disk.run, "__defaults__", (WITHIN_S,))

    def hang(self) -> None:
        """Answer no more."""
        self._answers.clear()

    def answer(self) -> None:
        """Answer, also what has been waiting."""
        self._answers.set()


async def answered(one: Disk) -> None:
    """Wait until what hung is done."""
    async with asyncio.timeout(5.0):
        while one.hangs:  # noqa: ASYNC110 (a thread ends)
            await asyncio.sleep(0.001)
