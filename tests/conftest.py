"""Tests of real time: a failure counts only if the machine let the test run.

A test marked `timed` is run again when it failed and this process was held up meanwhile, by more than such tests take.
What fails undisturbed has failed, and so has what fails each time.

Property tests try new examples each time; with ANYCASTD_HYPOTHESIS=steady, as CI has it, always the same.
"""

from __future__ import annotations

import gc
import os
import threading
import time

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

# how long one example took says nothing on a machine that is busy with others
settings.register_profile("patient", deadline=None)
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("ANYCASTD_HYPOTHESIS") or "patient")

TRIES, EVERY_S, HELD_UP_S = 5, 0.002, 0.008


class Disturbance:
    """Measures by how much a thread that only sleeps is woken too late."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Disturbance:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            begun_s = time.monotonic()
            time.sleep(EVERY_S)
            self.worst_s = max(self.worst_s, time.monotonic() - begun_s - EVERY_S)


def pytest_collection_finish() -> None:
    """Leave what was collected out of garbage collection: to look through it each time took a sixth of a run."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a timed test until it passes, fails undisturbed, or has failed often enough."""
    if item.get_closest_marker("timed") is None or not isinstance(item, pytest.Function):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(TRIES):
        with Disturbance() as disturbance:
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports):
            break
        if disturbance.worst_s < HELD_UP_S or attempt == TRIES - 1:
            break
        print(f"{item.nodeid}: held up by {disturbance.worst_s * 1000:.0f} ms, tried again")
        item._initrequest()
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
