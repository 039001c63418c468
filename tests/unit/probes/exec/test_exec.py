"""The exec check with real programs: what they say, how they are ended, and what they leave."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.address import BackendId, RegionName, TunnelId
from anycastd.model.checks import CheckKind, ExecOptions, ProbeSpec, Timing
from anycastd.model.probe import Outcome, ProbeResult, Why
from anycastd.probes.exec.probe import environment, one_line
from anycastd.probes.exec.programs import MAX_RUNNING, Programs
from anycastd.probes.exec.warden import KEPT_BYTES
from tests.unit.probes.world import Probing, probing, spec
from tests.wait import wait_until

PATIENT = Timing(interval_s=3600.0, timeout_s=5.0)
HASTY = Timing(interval_s=3600.0, timeout_s=0.3)


def check(*argv: str, shell: bool = False, timing: Timing = PATIENT, **more: Any) -> ProbeSpec:
    return spec(CheckKind.EXEC, ExecOptions(argv=argv, shell=shell), timing=timing, **more)


def line(text: str, **more: Any) -> ProbeSpec:
    return check(text, shell=True, **more)


async def run(wanted: ProbeSpec) -> ProbeResult:
    async with probing() as probe:
        return await probe.first(wanted)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def children(pid: int) -> list[int]:
    """Return a process's children, zombies included."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def programs_of(probe: Probing) -> list[int]:
    """Return what the warden runs, and what that runs."""
    if probe.engine._registry.programs.warden_pid is None:
        return []
    direct = children(warden_of(probe))
    return [*direct, *(pid for one in direct for pid in children(one))]


def descriptors(pid: int) -> int:
    """Return how many a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def warden_of(probe: Probing) -> int:
    pid = probe.engine._registry.programs.warden_pid
    assert pid is not None
    return pid


@pytest.mark.parametrize(
    ("wanted", "why", "detail"),
    [
        (check("/bin/true"), Why.ANSWERED, ""),
        (check("/bin/echo", "a $HOME; b", "c"), Why.ANSWERED, "a $HOME; b c"),
        (check("/bin/false"), Why.BAD_EXIT, "wanted exit status 0, came 1"),
        (line("echo out; echo err >&2; exit 3"), Why.BAD_EXIT, "wanted exit status 0, came 3: out / err"),
        (line("printf 'a\\033[31mb'; exit 1"), Why.BAD_EXIT, "wanted exit status 0, came 1: a?[31mb"),
        (check("/nowhere/at-all"), Why.CANNOT_START, "/nowhere/at-all: No such file or directory"),
        (check("/etc/passwd"), Why.CANNOT_START, "/etc/passwd: Permission denied"),
        (line("/nowhere/at-all"), Why.CANNOT_START, None),
        (line("kill -SEGV $$"), Why.PROGRAM_KILLED, "killed by SIGSEGV"),
    ],
)
async def test_how_a_program_ends(wanted: ProbeSpec, why: Why, detail: str | None) -> None:
    result = await run(wanted)
    assert result.why is why, result
    assert detail is None or result.detail == detail


async def test_its_environment_is_minimal_and_stated() -> None:
    base = check("/usr/bin/env", source="127.0.0.1", device="lo", name="backend/eu/web/script@t1")
    wanted = ProbeSpec(
        id=base.id, check=base.check, target=base.target, source=base.source, device="lo",
        region=RegionName("eu"), tunnel=TunnelId("eu/t1"), backend=BackendId("eu/web"),
    )  # fmt: skip
    result = await run(wanted)
    assert dict(pair.split("=", 1) for pair in result.detail.split(" / ")) == environment(wanted)
    assert set(environment(wanted)) == {
        "PATH", "LANG", "ANYCASTD_CHECK", "ANYCASTD_TARGET", "ANYCASTD_FAMILY", "ANYCASTD_SOURCE", "ANYCASTD_DEVICE",
        "ANYCASTD_REGION", "ANYCASTD_TUNNEL", "ANYCASTD_BACKEND", "ANYCASTD_TIMEOUT",
    }  # fmt: skip


async def test_it_inherits_nothing_else() -> None:
    """Only /dev/null and the pipe are open, the directory is /, no signal is ignored or blocked."""
    script = "ls /proc/self/fd | wc -l; readlink /proc/self/fd/0; pwd; grep -E 'Sig(Blk|Ign)' /proc/self/status"
    words = (await run(line(script))).detail.split(" / ")
    # ls itself opens the folder it reads
    assert words[:3] == ["4", "/dev/null", "/"]
    # 32 and 33 are the threads library's own, which lets nobody change them
    own = 0b11 << 31
    assert [int(word.split()[1], 16) & ~own for word in words[3:]] == [0, 0]


async def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM goes with it; what was said last is told."""
    pids = tmp_path / "pids"
    script = f"(trap '' TERM HUP; echo $BASHPID >> {pids}; sleep 1000) & echo $$ >> {pids}; echo waiting; wait"
    async with probing() as probe:
        result = await probe.first(check("/bin/bash", "-c", script, timing=Timing(interval_s=3600.0, timeout_s=0.5)))
        assert (result.why, result.detail) == (Why.TIMEOUT, "still running, killed: waiting")
        found = [int(word) for word in pids.read_text().split()]
        assert len(found) == 2
        wait_until("both are dead", 5, lambda: not any(alive(pid) for pid in found))


async def test_what_a_program_leaves_behind_is_killed_at_its_end(tmp_path: Path) -> None:
    """Its result does not wait for the pipe that the rest holds open; one that left the group goes as well."""
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! >> {pids}; setsid sleep 1000 & echo $! >> {pids}; echo done"
    async with probing() as probe:
        result = await probe.first(line(script))
        assert (result.why, result.detail) == (Why.ANSWERED, "done")
        left = [int(word) for word in pids.read_text().split()]
        wait_until("nothing is left", 5, lambda: not any(alive(pid) for pid in left))


async def test_a_flood_of_output_is_bounded_and_blocks_nothing() -> None:
    """10 MB are taken, the first bytes kept; the program is not held up by what nobody reads."""
    result = await run(line("head -c 10000000 /dev/zero | tr '\\0' x; exit 4"))
    assert result.why is Why.BAD_EXIT
    assert result.detail == f"wanted exit status 0, came 4: {'x' * KEPT_BYTES} ..."


async def test_an_endless_flood_ends_at_the_timeout() -> None:
    async with probing() as probe:
        result = await probe.first(line("yes", timing=HASTY))
        assert result.why is Why.TIMEOUT
        assert probe.engine.stats.stalled_s < 0.2


@pytest.mark.slow
async def test_two_hundred_timeouts_leave_nothing() -> None:
    """No zombie, no process, no descriptor: here or in the warden."""
    timing = Timing(interval_s=0.1, timeout_s=0.1)
    wanted = [line("sleep 1000 & sleep 1000", timing=timing, name=f"self/a/{number}") for number in range(30)]
    async with probing() as probe:
        await probe.first(check("/bin/true"))
        warden = warden_of(probe)
        before = descriptors(warden), descriptors(os.getpid())
        probe.engine.set_probes(wanted)
        await probe.until("200 timeouts", lambda: len(probe.results) > 200, 15.0)
        probe.engine.set_probes([])
        await asyncio.to_thread(wait_until, "all are gone", 5, lambda: not children(warden))
        await asyncio.to_thread(
            wait_until, "all is closed", 5, lambda: (descriptors(warden), descriptors(os.getpid())) == before
        )
        assert probe.whys() <= {Why.ANSWERED, Why.TIMEOUT, Why.CANNOT_START, Why.LOOP_LATE}


@pytest.mark.slow
async def test_no_more_run_at_once_than_is_bounded() -> None:
    wanted = [line("sleep 1000", timing=PATIENT, name=f"self/a/{number}") for number in range(MAX_RUNNING + 3)]
    async with probing() as probe:
        probe.engine.set_probes(wanted)
        for one in wanted:
            probe.engine.nudge(one.id)
        await probe.until("the rest is refused", lambda: len(probe.results) == 3)
        assert {result.why for result in probe.results} == {Why.CANNOT_START}
        assert Why.CANNOT_START.outcome is Outcome.BROKEN


async def test_a_warden_that_is_killed_is_our_own_fault_and_replaced() -> None:
    async with probing() as probe:
        probe.engine.set_probes([line("sleep 1000")])
        probe.engine.nudge(line("").id)
        await asyncio.to_thread(wait_until, "the program's program runs", 5, lambda: len(programs_of(probe)) == 2)
        first, running = warden_of(probe), programs_of(probe)
        os.kill(first, signal.SIGKILL)
        await probe.until("told", lambda: bool(probe.results))
        assert (probe.results[0].why, probe.results[0].outcome) == (Why.CANNOT_START, Outcome.BROKEN)
        wait_until("both went with it", 5, lambda: not any(alive(pid) for pid in running))
        assert (await probe.first(check("/bin/true", name="self/a/c"))).why is Why.ANSWERED
        assert warden_of(probe) != first


async def test_a_warden_that_is_stopped_is_our_own_fault_and_replaced() -> None:
    """A program of which nobody sees the end would run into its timeout, and count against its target."""
    overdue = line("sleep 1000", timing=Timing(interval_s=3600.0, timeout_s=0.6))
    async with probing() as probe:
        probe.engine.set_probes([overdue])
        probe.engine.nudge(overdue.id)
        programs = probe.engine._registry.programs
        async with asyncio.timeout(5.0):
            while not programs._groups:  # noqa: ASYNC110 (there is no event for it)
                await asyncio.sleep(0)
        first, running = warden_of(probe), programs_of(probe)
        os.kill(first, signal.SIGSTOP)
        await probe.until("told", lambda: bool(probe.results))
        told = probe.results[0]
        assert (told.why, told.outcome) == (Why.CANNOT_START, Outcome.BROKEN)
        assert told.detail == "the process that runs programs was stopped"
        wait_until("both went with it", 5, lambda: not any(alive(pid) for pid in (first, *running)))
        assert (await probe.first(check("/bin/true", name="self/a/c"))).why is Why.ANSWERED
        assert warden_of(probe) != first


async def test_a_warden_that_answers_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs otherwise than by a signal: what tells is that an order stays without an answer."""
    monkeypatch.setattr(Programs, "_is_stopped", lambda programs: False)
    monkeypatch.setattr("anycastd.probes.exec.programs.ANSWERS_WITHIN_S", 0.1)
    async with probing() as probe:
        await probe.first(check("/bin/true"))
        first = warden_of(probe)
        os.kill(first, signal.SIGSTOP)
        result = await probe.first(check("/bin/true", timing=HASTY, name="self/a/c"))
        assert (result.why, result.detail) == (Why.CANNOT_START, "the process that runs programs does not answer")
        assert not alive(first)


DAEMON = """
import asyncio
from anycastd.probes.engine import Engine
from tests.unit.probes.exec.test_exec import line
async def main():
    engine = Engine(asyncio.get_running_loop(), print, dict)
    engine.set_probes([line({script!r})])
    engine.nudge(line("").id)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


def test_the_daemons_death_leaves_nothing(tmp_path: Path) -> None:
    """SIGKILL: neither it nor the program can do anything about it, the warden does; grandchildren included."""
    pids = tmp_path / "pids"
    script = f"echo $PPID $$ >> {pids}; (trap '' TERM; setsid sleep 1000) & echo $! >> {pids}; sleep 1000"
    root = Path(__file__).parents[4]
    with subprocess.Popen([sys.executable, "-c", DAEMON.format(script=script)], cwd=root) as daemon:
        try:
            wait_until("it runs", 10, lambda: pids.exists() and len(pids.read_text().split()) == 3)
        finally:
            daemon.kill()
    left = [int(word) for word in pids.read_text().split()]
    wait_until("nothing is left", 5, lambda: not any(alive(pid) for pid in left))


def test_output_is_one_printable_line() -> None:
    assert one_line("\n a \r\n\n\tb\0 \n", cut=True) == "a / b? ..."
