"""Probe workers: the same results as without, and what becomes of checks whose worker is killed or stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anycastd.model.address import CheckId
from anycastd.model.checks import ProbeSpec, Timing
from anycastd.model.probe import Note, Outcome, ProbeResult, Why
from anycastd.model.probing import EngineStats, ProbingConfig
from anycastd.probes.engine import Engine
from anycastd.probes.workers import wire
from anycastd.probes.workers.channel import Channel, Frames
from anycastd.probes.workers.child import TURN_S, Child, Told
from anycastd.probes.workers.pool import Pool
from tests.unit.probes.world import OK, Probing, answer, hang, http, probing, reset, server, tcp, unused_port

QUICK = Timing(interval_s=0.1, timeout_s=0.3)
CALM = Timing(interval_s=0.1, timeout_s=10.0)
"""No target fails by it, however late the machine lets its thread run."""
PATIENT = ProbingConfig(workers=2, worker_start_s=60.0, worker_silent_s=30.0)
COUNT = 400
STRICT = replace(PATIENT, worker_silent_s=0.4, worker_replace_s=60.0)


class Pooled(Probing):
    """A pool on the test's loop, and what it said."""

    def __init__(self, config: ProbingConfig) -> None:
        super().__init__(dict)
        self.said: dict[str, list[str | None]] = {}
        loop = asyncio.get_running_loop()
        self.pool = Pool(loop, self._take, self.engine, self._name, self._worker, config)

    def _worker(self, worker: str, detail: str | None) -> None:
        self.said.setdefault(worker, []).append(detail)

    def good(self, spec: ProbeSpec, after: int = 0) -> bool:
        """Return whether a check answered after so many results of all."""
        return any(one.check == spec.id and one.why is Why.ANSWERED for one in self.results[after:])


@asynccontextmanager
async def pooled(config: ProbingConfig = PATIENT) -> AsyncIterator[Pooled]:
    """Run a pool."""
    running = Pooled(config)
    try:
        yield running
    finally:
        running.pool.close()


def some(port: int) -> list[ProbeSpec]:
    """Return checks of one server, enough for both workers to have some."""
    return [http(port, name=f"self/{n}/web", timing=CALM) for n in range(8)]


async def transcript(
    runner: Engine | Pool, probe: Probing, specs: list[ProbeSpec]
) -> dict[str, list[tuple[object, ...]]]:
    """Return the first four probes of each check: number, why, detail, whether a newer one came before."""
    runner.set_probes(specs)

    def first(spec: ProbeSpec) -> list[ProbeResult]:
        return sorted((one for one in probe.of(spec.id) if one.number <= 4), key=lambda one: one.number)

    await probe.until("four of each", lambda: all(len(first(spec)) == 4 for spec in specs), 20)
    return {spec.id: [(one.number, one.why, one.detail) for one in first(spec)] for spec in specs}


@pytest.mark.slow
@pytest.mark.timed
async def test_the_same_is_told_with_workers_as_without() -> None:
    bad = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with server(answer(OK)) as well, server(answer(bad)) as sick, server(hang) as silent, server(reset) as rude:
        ports = {"well": well.port, "sick": sick.port, "silent": silent.port, "rude": rude.port, "none": unused_port()}
        specs = [http(port, name=f"self/{name}/web", timing=QUICK) for name, port in ports.items()]
        specs += [tcp(port, name=f"self/{name}/tcp", timing=QUICK) for name, port in ports.items()]
        async with probing() as alone:
            without = await transcript(alone.engine, alone, specs)
        async with pooled() as probe:
            within = await transcript(probe.pool, probe, specs)
            stats = probe.pool.stats
            assert all(child.pid for child in probe.pool.workers)
    assert within == without
    assert {why for rows in within.values() for _, why, _ in rows} == {
        Why.ANSWERED, Why.BAD_STATUS, Why.TIMEOUT, Why.RESET, Why.REFUSED
    }  # fmt: skip
    assert (stats.checks, probe.said) == (len(specs), {})


@pytest.mark.slow
async def test_a_killed_worker_says_nothing_of_its_targets_and_is_replaced() -> None:
    with server(answer(OK)) as running:
        specs = some(running.port)
        async with pooled() as probe:
            probe.pool.set_probes(specs)
            await probe.until("all answer", lambda: all(probe.good(spec) for spec in specs), 20)
            child = probe.pool.workers[0]
            mine = {spec.id for spec in child.specs}
            assert mine
            assert mine != {spec.id for spec in specs}
            before = {id_: max(one.number for one in probe.of(id_)) for id_ in mine}
            seen, old = len(probe.results), child.pid
            assert old
            os.kill(old, signal.SIGKILL)
            await probe.until("word of it", lambda: bool(probe.said))
            await probe.until("all answer again", lambda: all(probe.good(spec, seen) for spec in specs), 20)
            after = probe.results[seen:]
            assert child.pid != old
            assert probe.pool.lost == 1
            assert probe.pool.stats.checks == len(specs)
    assert {one.outcome for one in probe.results} == {Outcome.OK, Outcome.BROKEN}
    assert {one.check for one in after if one.why is Why.WORKER_LOST} == mine
    assert next(one.detail for one in after if one.why is Why.WORKER_LOST).startswith("probe worker 1 is away: it ")
    said = str(probe.said["worker 1"][0])
    # the latter where the machine leaves a dying process no time
    assert "killed by signal 9" in said or "closed its end" in said
    # counted on, so that nobody takes the new worker's first probe for one long past
    assert all(one.number > before[one.check] for one in after if one.check in mine and one.why is Why.ANSWERED)


@pytest.mark.slow
async def test_a_stopped_worker_is_away_until_it_goes_on() -> None:
    with server(answer(OK)) as running:
        specs = some(running.port)
        async with pooled(STRICT) as probe:
            probe.pool.set_probes(specs)
            await probe.until("all answer", lambda: all(probe.good(spec) for spec in specs), 20)
            child = probe.pool.workers[1]
            pid = child.pid
            assert pid
            os.kill(pid, signal.SIGSTOP)
            mine = {spec.id for spec in child.specs}

            def lost() -> set[CheckId]:
                return {one.check for one in probe.results if one.why is Why.WORKER_LOST}

            await probe.until("away", lambda: lost() == mine, 20)
            assert probe.pool.running == (("1", True), ("2", False))
            os.kill(pid, signal.SIGCONT)
            await probe.until("back", lambda: probe.pool.running[1][1], 20)
            seen = len(probe.results)
            await probe.until("all answer again", lambda: all(probe.good(spec, seen) for spec in specs), 20)
            assert child.pid == pid
    assert {one.outcome for one in probe.results} == {Outcome.OK, Outcome.BROKEN}
    assert "it has said nothing for" in str(probe.said["worker 2"][0])
    assert probe.said["worker 2"][-1] == "it was away, and runs all its checks again"


@pytest.mark.slow
async def test_a_worker_that_stays_silent_is_replaced() -> None:
    with server(answer(OK)) as running:
        specs = some(running.port)
        async with pooled(replace(STRICT, worker_replace_s=0.2)) as probe:
            probe.pool.set_probes(specs)
            await probe.until("all answer", lambda: all(probe.good(spec) for spec in specs), 20)
            old = probe.pool.workers[0].pid
            assert old
            os.kill(old, signal.SIGSTOP)
            await probe.until("away", lambda: not probe.pool.running[0][1], 20)
            await probe.until("another", lambda: probe.pool.workers[0].pid not in (None, old), 20)
            await probe.until("back", lambda: probe.pool.running[0][1], 20)
            with pytest.raises(ProcessLookupError):
                os.kill(old, 0)
    assert {one.outcome for one in probe.results} == {Outcome.OK, Outcome.BROKEN}


@pytest.mark.slow
def test_a_worker_ends_when_nobody_listens_any_more() -> None:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "anycastd.probes.workers.worker", str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as child:
        theirs.close()
        assert ours.recv(1)
        ours.close()
        assert child.wait(20) == 0


@pytest.mark.slow
async def test_no_more_sockets_are_opened_than_may_be_and_that_says_nothing_of_the_target() -> None:
    loop, results = asyncio.get_running_loop(), list[ProbeResult]()
    more = asyncio.Event()

    def take(result: ProbeResult) -> None:
        results.append(result)
        more.set()

    with server(hang) as running:
        engine = Engine(loop, take, dict, most_open=3)
        slow = Timing(interval_s=0.2, timeout_s=30.0)
        engine.set_probes([http(running.port, name=f"self/{n}/web", timing=slow) for n in range(6)])
        async with asyncio.timeout(20):
            while engine.stats.unopened < 6:
                more.clear()
                await more.wait()
        open_, unopened = engine.stats.sockets_open, engine.stats.unopened
        engine.close()
    assert open_ == 3
    assert unopened >= 6
    assert {one.why for one in results} == {Why.NO_DESCRIPTORS}
    assert {one.outcome for one in results} == {Outcome.BROKEN}


RESULTS = st.builds(
    ProbeResult,
    check=st.text(max_size=20).map(CheckId),
    why=st.sampled_from(Why),
    started_s=st.floats(0, 1e9),
    ended_s=st.floats(0, 1e9),
    detail=st.text(max_size=40),
    number=st.integers(0, 1 << 40),
    overtaken=st.booleans(),
    note=st.none() | st.builds(Note, certificate_ends_s=st.none() | st.floats(0, 1e10), warning=st.text(max_size=20)),
    late_s=st.floats(0, 1e3),
)


@given(some_results=st.lists(RESULTS, max_size=5), cut=st.integers(0, 200))
@settings(max_examples=40)
def test_what_is_told_comes_over_whole(some_results: list[ProbeResult], cut: int) -> None:
    body = wire.results(some_results)
    frames, data = Frames(), len(body).to_bytes(4, sys.byteorder) + body
    found = [*frames.feed(data[:cut]), *frames.feed(data[cut:])]
    assert [wire.read_news(one) for one in found] == [wire.Results(tuple(some_results))]
    stats = EngineStats(checks=3, late_max_s=0.5)
    assert wire.read_news(wire.beat(7, stats)) == wire.Beat(7, stats)
    assert wire.read_news(wire.name("a.example", None)) == wire.Name("a.example", None)


@given(st.binary(max_size=60) | st.sampled_from([b'["r",[1]]', b'["b",1,{}]', b'["n"]', b"[]", b"7", b'["x"]']))
@settings(max_examples=60)
def test_nonsense_of_a_worker_is_refused_in_one_way(body: bytes) -> None:
    with pytest.raises(wire.WorkerError):
        wire.read_news(body)


async def test_many_results_at_once_do_not_hold_the_loop() -> None:
    """Of results that take a millisecond each no more than a turn's are taken in a row, and none is lost or moved."""
    loop = asyncio.get_running_loop()
    taken, in_a_row, longest = list[int](), 0, 0

    def result(one: ProbeResult) -> None:
        nonlocal in_a_row, longest
        end_s = loop.time() + 0.001
        while loop.time() < end_s:
            pass
        taken.append(one.number)
        in_a_row += 1
        longest = max(longest, in_a_row)

    def other_work() -> None:
        nonlocal in_a_row
        in_a_row = 0
        if len(taken) < COUNT:
            loop.call_soon(other_work)

    child = Child(loop, PATIENT, Told(result, lambda *_: None, lambda _: None, lambda: None))
    child._specs = {CheckId("one"): http(1, name="one")}
    ours, theirs = socket.socketpair()
    child._channel = Channel(loop, ours, child._heard, lambda: None)
    sender = Channel(loop, theirs, lambda _: None, lambda: None)
    rows = [ProbeResult(CheckId("one"), Why.ANSWERED, 0.0, 1.0, "", number) for number in range(COUNT)]
    sender.send(wire.results(rows[: COUNT // 2]))
    sender.send(wire.results(rows[COUNT // 2 :]))
    other_work()
    async with asyncio.timeout(30):
        while len(taken) < COUNT:  # noqa: ASYNC110 (results come by the loop)
            await asyncio.sleep(0)
    assert taken == list(range(COUNT))
    assert longest <= 1000 * TURN_S + 2
    sender.close()
    child.close()
