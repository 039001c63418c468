"""The verbs as an operator runs them: processes of their own against a real server on a unix socket."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from anycastd.api.ports import ReloadOutcome
from anycastd.cli.client import AskError, ask
from anycastd.model.safety import BreakerView
from anycastd.model.status import Alarm, AlarmView
from tests.unit import status_builder as build
from tests.unit.cli.serving import served
from tests.unit.daemon import Daemon

STATUS = """\
fra · AS64500 · serving · up 3 d 4 h · config 9f3c1a (2 h ago, 0 errors) · freeze off
PREFIX             STATE      PREFERENCE  NEIGHBORS  SINCE    WHY
203.0.113.0/24     ANNOUNCED  NORMAL      2/2        3 d 3 h  regions usable: eu-central, us-east
2001:db8:113::/48  ANNOUNCED  DEPREF 3    2/2        41 s     slow start, next step in 19 s

REGION      USABLE   TUNNEL  STATE    LATENCY  LOSS  JITTER  BACKENDS
eu-central  HEALTHY  euc-1   HEALTHY   8.1 ms   0 %  0.2 ms  2/2 healthy
                     euc-2   HEALTHY  31.0 ms   0 %  0.2 ms  2/2 healthy
us-east     HEALTHY  use-1   HEALTHY  88.4 ms   0 %  0.2 ms  1/1 healthy

NEIGHBOR   AS     STATE        SINCE    ROUTES
transit-a  64496  established  3 d 3 h  2/2 as wanted
transit-b  64497  established  3 d 3 h  2/2 as wanted
"""

INTERRUPTIBLE = ("env", "--default-signal=INT")
"""Tests may have been started in the background, where a shell has SIGINT ignored."""


def anycastd(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ}
    command = [sys.executable, "-m", "anycastd", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=15, check=False)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon(build.serving())


@pytest.fixture
def path(daemon: Daemon, tmp_path: Path) -> Iterator[str]:
    with served(daemon, tmp_path / "api.sock") as path:
        yield path


def test_status_in_a_pipe_is_plain_text(path: str) -> None:
    done = anycastd("status", "--socket", path)
    assert (done.stdout, done.stderr, done.returncode) == (STATUS, "", 0)


def test_status_shows_alarms_first_and_still_exits_0(daemon: Daemon, path: str) -> None:
    alarm = AlarmView(Alarm.SESSION_DOWN, "transit-a", build.NOW_S - 75, "hold timer expired")
    daemon.state = replace(build.isolated(), alarms=(alarm,), config_error="line 3")
    done = anycastd("status", "--socket", path)
    lines = done.stdout.splitlines()
    assert "refused: see alarms" in lines[0]
    assert lines[1] == "ALARM session_down  transit-a: hold timer expired  (for 1 min 15 s)"
    assert "(path: timeout (no answer within 0.3 s), 38 s)" in done.stdout
    assert done.returncode == 0


def test_status_of_a_daemon_that_begins(daemon: Daemon, path: str) -> None:
    daemon.state = build.starting()
    done = anycastd("status", "--socket", path)
    assert done.stdout.startswith(
        "fra · AS64500 · silent · up 0 s · config 9f3c1a (2 h ago, 0 errors) · freeze off · ExaBGP absent\n"
    )
    assert "203.0.113.0/24  PENDING  -           0/2" in done.stdout
    assert "transit-a  64496  unknown  0 s    not known" in done.stdout


def test_status_as_json_is_the_apis_answer(path: str) -> None:
    done = anycastd("status", "--json", "--socket", path)
    assert json.loads(done.stdout)["pop"]["name"] == "fra"


def test_status_asks_the_socket_that_the_configuration_names(path: str, tmp_path: Path) -> None:
    file = tmp_path / "anycastd.yaml"
    # what else is wrong does not matter: the daemon runs on an older file, and secrets need not be readable
    secret = "neighbors: {a: {password_file: /nowhere}}\nbogus: 1\n"
    file.write_text(f"api: {{socket: {path}}}\n{secret}")
    assert anycastd("status", "-c", str(file)).stdout == STATUS
    assert anycastd("status", "-c", str(file), "--socket", path).returncode == 64


def test_a_configuration_that_does_not_name_a_socket_is_told(tmp_path: Path) -> None:
    file = tmp_path / "anycastd.yaml"
    for text, told in (("pop: {name: [", "does not tell where the daemon listens"), (None, "No such file")):
        if text is not None:
            file.write_text(text)
        done = anycastd("status", "-c", str(file if text else tmp_path / "gone.yaml"))
        assert done.returncode == 78
        assert told in done.stderr


def test_permission_and_silence_are_told_apart(tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(1)
        with pytest.raises(AskError, match="no answer in time") as hanging:
            ask(path, "/v1/status", timeout_s=0.05)
        assert hanging.value.exit_code == 69
        denied = pytest.raises(AskError, match="permission denied; become root or a member of the socket's group")
        with as_somebody_else(path), denied:
            ask(path, "/v1/status")


@contextmanager
def as_somebody_else(path: str) -> Iterator[None]:
    """Be somebody who may not write to the socket: root may write to all, so it is laid down meanwhile."""
    Path(path).chmod(0)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


def test_watch_shows_the_page_again_until_interrupted(daemon: Daemon, path: str) -> None:
    command = [*INTERRUPTIBLE, sys.executable, "-m", "anycastd", "status", "--watch", "--socket", path]
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(3)]
        daemon.state = build.starting()
        second = next(line for line in process.stdout if line.startswith("fra"))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert first[1].startswith("fra · AS64500 · serving")
    assert "silent" in second
    assert (process.returncode, errors.strip()) == (130, "")


def on_a_terminal(*arguments: str, **environ: str) -> str:
    """Return what a verb writes to a pseudo-terminal."""
    near, far = pty.openpty()
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm", **environ}
    command = [sys.executable, "-m", "anycastd", *arguments]
    with subprocess.Popen(command, stdout=far, stdin=far, stderr=far, env=env) as process:
        os.close(far)
        text = b""
        while True:
            try:
                piece = os.read(near, 65536)
            except OSError:
                # Linux: EIO once the far end is closed by all
                break
            if not piece:
                break
            text += piece
    os.close(near)
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_no_color_is_honoured(path: str) -> None:
    coloured = on_a_terminal("status", "--socket", path)
    assert "\x1b[32mANNOUNCED" in coloured
    assert "\x1b[33mDEPREF 3" in coloured
    assert on_a_terminal("status", "--socket", path, NO_COLOR="1") == STATUS


def test_explain_prints_the_apis_lines(path: str) -> None:
    done = anycastd("explain", "203.0.113.9", "--socket", path)
    assert done.stdout.startswith("203.0.113.0/24 is announced at preference NORMAL to transit-a and transit-b since")
    assert "  rules      health -> NORMAL (serving): regions usable: eu-central, us-east\n" in done.stdout
    body = json.loads(anycastd("explain", "203.0.113.0/24", "--json", "--socket", path).stdout)
    assert "\n".join(body["text"]) + "\n" == done.stdout


def test_explain_of_an_unknown_prefix_is_a_usage_error_that_names_the_known(path: str) -> None:
    done = anycastd("explain", "10.0.0.0/8", "--socket", path)
    assert done.returncode == 64
    assert "10.0.0.0/8 is not a configured prefix; known: 203.0.113.0/24, 2001:db8:113::/48" in done.stderr
    assert anycastd("explain", "no prefix & more", "--socket", path).returncode == 64


def test_the_breaker_is_shown_and_reset(daemon: Daemon, path: str) -> None:
    daemon.state = replace(daemon.state, breaker=BreakerView(None, 1, 3, 60.0, 0))
    said = anycastd("breaker", "status", "--socket", path).stdout
    assert (
        said == anycastd("breaker", "show", "--socket", path).stdout == "not tripped: 1 of 3 withdrawals within 60 s\n"
    )
    assert "show" not in anycastd("breaker", "--help").stdout.split("Verbs")[1]
    daemon.state = replace(daemon.state, breaker=BreakerView(build.NOW_S - 5, 3, 3, 60.0, 5))
    said = anycastd("breaker", "status", "--socket", path).stdout
    assert said.startswith("tripped since ")
    assert said.endswith("Z: 3 of 3 withdrawals within 60 s, 5 prefixes are kept on the air\n")
    assert anycastd("breaker", "reset", "--socket", path).stdout == "reset\n"
    assert anycastd("breaker", "reset", "--socket", path).stdout == "nothing changed: it was not tripped\n"


def test_reload_tells_what_changed(daemon: Daemon, path: str) -> None:
    done = anycastd("reload", "--socket", path, "--expect-removals", "1")
    assert (done.stdout, done.returncode) == ("changed:\n  prefix 203.0.113.0/24 added\n", 0)
    assert anycastd("reload", "--dry-run", "--socket", path).stdout.startswith("would change:\n")
    daemon.outcome = ReloadOutcome(True)
    assert anycastd("reload", "--socket", path).stdout == "nothing changed\n"
    assert daemon.asked == [(1, False), (None, True), (None, False)]


def test_a_refused_reload_lists_the_problems_and_exits_78(daemon: Daemon, path: str) -> None:
    daemon.outcome = ReloadOutcome(False, problems=("anycastd.yaml:3:1: pop: asn is missing",))
    done = anycastd("reload", "--socket", path)
    assert done.returncode == 78
    assert "  anycastd.yaml:3:1: pop: asn is missing\n" in done.stderr


def test_a_daemon_that_is_not_there_is_told_with_the_socket_and_what_to_try(tmp_path: Path) -> None:
    missing, dead = tmp_path / "no.sock", tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    for path in (missing, dead):
        for verb in (["status"], ["explain", "203.0.113.0/24"], ["reload"]):
            done = anycastd(*verb, "--socket", str(path))
            assert done.returncode == 69
            assert str(path) in done.stderr
            assert "systemctl status anycastd" in done.stderr


def test_what_answers_and_is_not_the_daemon_is_told(tmp_path: Path) -> None:
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        command = [sys.executable, "-m", "anycastd", "status", "--socket", str(path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = other.accept()
            connection.recv(4096)
            connection.sendall(b"SSH-2.0-no\r\n\r\n")
            connection.close()
            _, told = process.communicate(timeout=10)
    assert process.returncode == 76
    assert "does not speak HTTP" in told


def test_usage_errors_exit_64() -> None:
    for arguments in (["statsu"], ["status", "--frob"], ["explain"], ["status", "--json", "--watch"]):
        done = anycastd(*arguments)
        assert done.returncode == 64, arguments
        assert done.stderr
    assert "Did you mean 'status'?" in anycastd("statsu").stderr


def test_version_names_the_distribution_and_refuses_the_other_project(tmp_path: Path) -> None:
    done = anycastd("version")
    assert done.stdout.startswith("anycastd 0.")
    other = tmp_path / "anycastd-1.2.3.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: anycastd\nVersion: 1.2.3\n")
    for verb in (["version"], ["run", "-c", "/nowhere"]):
        done = anycastd(*verb, PYTHONPATH=str(tmp_path))
        assert done.returncode == 78
        assert "'anycastd' 1.2.3" in done.stderr
        assert "anycastd-edge" in done.stderr


def test_help_lists_every_verb_and_imports_none() -> None:
    script = (
        "import sys; from anycastd.cli.main import VERBS, main; main(['--help']);"
        "print(sorted(m for m in sys.modules if m.startswith(('anycastd.', 'aiohttp', 'rich', 'pydantic'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=True)
    for verb in ("run", "status", "explain", "reload", "check", "doctor", "lab", "version"):
        assert f"  {verb} " in done.stdout
    assert done.stdout.splitlines()[-1] == "['anycastd.cli', 'anycastd.cli.main']"


def test_a_verb_that_asks_imports_nothing_heavy(path: str) -> None:
    script = (
        f"import sys; from anycastd.cli.main import main; main(['status', '--socket', {path!r}]);"
        "print([m for m in ('aiohttp', 'rich', 'pydantic', 'asyncio', 'yaml', 'anycastd.model') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_full_disk_below_standard_output_is_told_in_a_line(path: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "anycastd", "status", "--json", "--socket", path]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=15, check=False)
    assert (done.returncode, done.stderr) == (74, "anycastd: standard output: No space left on device\n")


def test_a_reader_that_goes_away_is_no_error_message(path: str) -> None:
    command = f"{sys.executable} -m anycastd status --json --socket {path} | head -c 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=15, check=True)
    assert (done.stdout, done.stderr) == ("{", "")
