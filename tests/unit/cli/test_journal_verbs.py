"""`anycastd decisions` and `anycastd events` as processes: with a daemon's real API, and with nothing but its file."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from anycastd.api.app import serve
from anycastd.cli.main import main
from anycastd.model.decision import Level, Memory, Truth
from anycastd.model.journal import EntryKind
from anycastd.model.topology import ApiConfig
from anycastd.policy.snapshot import decode
from anycastd.runtime.journal.journal import JOURNAL, Journal
from anycastd.store.journal_file import JournalFile
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.cli.test_verbs import INTERRUPTIBLE, anycastd
from tests.unit.daemon import Daemon
from tests.unit.journal_world import PREFIX, QUICK, Told, decision, made, note

OTHER = ip_network("2001:db8::/48")
FIRST = "      1  2001-09-09 01:46:40.000  203.0.113.0/24  NORMAL -> DEPREF  unable_to_serve, held by settling: "


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def run(*arguments: str, out: io.StringIO | None = None) -> subprocess.CompletedProcess[str]:
    """Run a verb in this process: a fiftieth of the time, and the verb knows no difference."""
    out, err = io.StringIO() if out is None else out, io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a journal of two decisions and an alarm, closed as by a daemon that ended."""
    written = JournalFile(tmp_path / JOURNAL)
    written.append(
        [decision(1), decision(2, OTHER), note(3, subject="transit-a", after="raised", reason="session_down")]
    )
    written.close()
    return tmp_path / JOURNAL


@contextmanager
def living(directory: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve a journal from a thread; yield the socket, and what makes it note one more decision."""
    socket, loop, up = directory / "api.sock", asyncio.new_event_loop(), threading.Event()
    end = asyncio.Event()
    journal = Journal(directory / JOURNAL, QUICK, Told())

    async def run() -> None:
        task = asyncio.create_task(journal.run())
        api = ApiConfig(port=0, socket=str(socket))
        server = await serve(Daemon(build.serving()), api, Metrics(), history=journal)
        up.set()
        await end.wait()
        await server.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await journal.close()

    def decide() -> None:
        journal.note(
            EntryKind.DECISION, str(PREFIX), before="DEPREF", after="NORMAL", reason="serving", snapshot=made()
        )

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert up.wait(10)
        yield str(socket), lambda: (loop.call_soon_threadsafe(decide), None)[1]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()


def test_decisions_are_told_by_the_daemon_and_without_it_by_its_file(file: Path, tmp_path: Path) -> None:
    config = tmp_path / "anycastd.yaml"
    config.write_text(f"api: {{socket: {tmp_path}/api.sock}}\nstate_dir: {tmp_path}\n")
    with living(tmp_path):
        up = anycastd("decisions", "-c", str(config))
    down = anycastd("decisions", "-c", str(config))
    assert (up.returncode, down.returncode) == (0, 0), down.stderr
    assert up.stdout == down.stdout
    assert up.stdout.splitlines()[0].startswith(FIRST)
    assert len(up.stdout.splitlines()) == 2
    assert up.stderr == ""
    assert down.stderr.startswith(f"from {file} (the daemon does not answer on {tmp_path}/api.sock: ")


def test_the_same_json_comes_from_both_and_says_from_which(file: Path, tmp_path: Path) -> None:
    for verb in ("decisions", "events"):
        with living(tmp_path) as (socket, _):
            up = json.loads(run(verb, "--json", "--socket", socket).stdout)
        down = json.loads(run(verb, "--json", "--file", str(file)).stdout)
        assert (up.pop("source"), down.pop("source")) == ("daemon", "file")
        assert up == down


def test_filters_choose_the_same_in_the_daemon_and_in_the_file(file: Path, tmp_path: Path) -> None:
    cases = [
        (("decisions", "--prefix", str(OTHER)), ["2"]),
        (("decisions", "--reason", "settling", "--limit", "1"), ["2"]),
        (("decisions", "--before", "2"), ["1"]),
        (("decisions", "--since", "1h"), []),
        (("events", "--since", "2001-01-01"), ["1", "2", "3"]),
        (("events", "--types", "alarm,gap"), ["3"]),
        (("events", "--subject", "transit-a"), ["3"]),
    ]
    with living(tmp_path) as (socket, _):
        for arguments, numbers in cases:
            for source in (("--socket", socket), ("--file", str(file))):
                done = run(*arguments, *source)
                assert [line.split()[0] for line in done.stdout.splitlines()] == numbers, (arguments, done.stderr)


def test_a_decision_is_shown_with_what_made_it(file: Path) -> None:
    done = run("decisions", "show", "1", "--file", str(file))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(FIRST)
    assert "  rule    settle  WITHDRAWN -> DEPREF (settling): a passing fault needs no withdrawal" in lines
    assert "  fact    condition = false" in lines
    assert "  memory  level = NORMAL" in lines


def test_a_decision_is_exported_and_replayed(file: Path, tmp_path: Path) -> None:
    case = tmp_path / "case.json"
    done = run("decisions", "export", "1", "-o", str(case), "--file", str(file))
    assert (done.returncode, done.stdout) == (0, f"written to {case}\n")
    assert decode(json.loads(case.read_text())) == made()
    for what in (("1", "--file", str(file)), (str(case),)):
        again = run("decisions", "replay", *what)
        assert (again.returncode, again.stdout) == (
            0, "203.0.113.0/24: DEPREF (unable_to_serve, held by settling): the same\n"
        )  # fmt: skip
    assert run("decisions", "export", "1", "-o", str(case), "--file", str(file)).returncode == 73, "never replaced"


def test_a_decision_that_the_rules_make_otherwise_now_is_told(tmp_path: Path) -> None:
    """As of a release whose rules were others: the file says NORMAL where ours say DEPREF."""
    one = made()
    file = JournalFile(tmp_path / JOURNAL)
    otherwise = replace(one, decision=replace(one.decision, level=Level.NORMAL, trail=one.decision.trail[:1]))
    file.append([replace(decision(1), snapshot=otherwise)])
    file.close()
    done = run("decisions", "replay", "1", "--file", str(file.path))
    assert done.returncode == 65
    assert done.stdout.splitlines() == [
        "203.0.113.0/24: DEPREF (unable_to_serve, held by settling): different",
        "  level: NORMAL -> DEPREF",
        "  rule settle: silent -> DEPREF (settling) a passing fault needs no withdrawal",
    ]
    assert (one.facts.condition, one.memory) == (Truth.FALSE, Memory(Level.NORMAL, 500.0, was_announced=True))


@pytest.mark.parametrize("verb", ["decisions", "events"])
def test_new_ones_are_followed_as_they_come(file: Path, tmp_path: Path, verb: str) -> None:
    with living(tmp_path) as (socket, decide):
        command = [*INTERRUPTIBLE, sys.executable, "-m", "anycastd", verb, "--follow", "--socket", socket]
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as reader:
            assert reader.stdout is not None
            giving_up = threading.Timer(10.0, reader.kill)
            giving_up.start()
            known = [reader.stdout.readline() for _ in range(2 if verb == "decisions" else 3)]
            for number in (4, 5):
                decide()
                line = reader.stdout.readline()
                assert line.split()[:1] == [str(number)]
                assert "DEPREF -> NORMAL" in line
            reader.send_signal(signal.SIGINT)
            giving_up.cancel()
        assert known[0].split()[0] == "1"
        assert reader.returncode == 130


def test_a_file_that_may_not_be_read_is_told_clearly(file: Path) -> None:
    file.chmod(0o640)
    file.parent.chmod(0o755)
    program = (
        "import os, sys; from anycastd.cli.main import main;"
        "import anycastd.cli.events, anycastd.store.journal_reading, anycastd.api.views.journal;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    # the directories above it are root's alone here, so the name is opened from inside
    done = subprocess.run(
        [sys.executable, "-c", program, "events", "--file", file.name],
        capture_output=True, text=True, cwd=file.parent, timeout=15, check=False,
    )  # fmt: skip
    assert done.returncode == 77, done.stderr
    assert "permission denied; become root or a member of the file's group: ls -l" in done.stderr


def test_lines_fit_the_terminal_and_a_pipe_gets_them_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run("events", "--file", str(file)).stdout
    assert max(map(len, whole.splitlines())) > 80
    assert len(whole.splitlines()) == 3
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    for verb in ("events", "decisions"):
        told = run(verb, "--file", str(file), out=Screen()).stdout
        assert max(map(len, told.splitlines())) <= 80
        assert told.split() == run(verb, "--file", str(file)).stdout.split(), "no word is lost"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("decisions", "--prefix", "203.0.113.1/24"), 64, "has host bits set"),
        (("decisions", "--follow", "--file", "x"), 64, "goes with neither --file"),
        (("decisions", "--limit", "3", "show", "1"), 64, "do not belong to 'show'"),
        (("decisions", "show", "9", "--file", "FILE"), 64, "the journal has no entry 9"),
        (("decisions", "replay", "3", "--file", "FILE"), 64, "entry 3 is no decision"),
        (("decisions", "replay", "nothing.json"), 65, "neither a number nor a file of a decision"),
        (("decisions", "--file", "nothing.db"), 69, "there is no such file; did the daemon ever run"),
        (("decisions", "--since", "soon", "--file", "FILE"), 64, "'soon' is no time"),
        (("events", "--types", "decision,storm"), 64, "'storm' is not one of"),
        (("events", "--reason", "sesion_down"), 64, "--reason: 'sesion_down' is no reason of an entry; did you mean"),
        (("events", "--reason", "nonsense", "--types", "gap"), 64, "of kind gap; there are: file_refuses, not_kept"),
        (("events", "--reason", "silent", "--types", "start,stop"), 64, "entries of kind start, stop have no reason"),
        (("decisions", "--reason", "session_down", "--file", "FILE"), 64, "no reason of an entry of kind decision"),
    ],
)
def test_what_cannot_be_is_told(file: Path, arguments: tuple[str, ...], status: int, told: str) -> None:
    done = run(*(str(file) if one == "FILE" else one for one in arguments))
    assert (done.returncode, told in done.stderr) == (status, True), done.stderr
