"""One member of an etcd, on loopback or in a namespace; ended with the test, whatever happens to it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.wait import wait_until

PR_SET_PDEATHSIG = 1
QUICK = ("--heartbeat-interval", "50", "--election-timeout", "500", "--snapshot-count", "5000", "--unsafe-no-fsync")
"""Elections of half a second, as between POPs of one continent; no test is about etcd's own disk."""


def needed() -> None:
    """Fail, saying so, where etcd is not installed."""
    if shutil.which("etcd") is None:
        pytest.fail("missing Debian package: etcd-server", pytrace=False)


@dataclass
class Member:
    """One member: where clients and peers reach it, its data, and its process."""

    name: str
    directory: Path
    client: str
    peer: str
    inside: Sequence[str] = ()
    """What runs it in a namespace: `ip netns exec NAME`."""
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    token: str = "of-a-test"

    @property
    def data(self) -> Path:
        """Return its data directory."""
        return self.directory / self.name

    def start(self, cluster: Mapping[str, str]) -> None:
        """Start it; `cluster` are the peers' URLs by name. It does not wait until it answers."""
        libc = ctypes.CDLL(None)
        argv = [
            *self.inside, "etcd", "--name", self.name, "--data-dir", str(self.data),
            "--listen-client-urls", self.client, "--advertise-client-urls", self.client,
            "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
            "--initial-cluster", ",".join(f"{name}={url}" for name, url in cluster.items()),
            "--initial-cluster-token", self.token, "--logger", "zap", *QUICK, *self.options,
        ]  # fmt: skip
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                # a session of its own: where the kernel groups by session, it does not share what the tests are given
                argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )  # fmt: skip

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a loss of power would."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def forget(self) -> None:
        """Remove its data."""
        shutil.rmtree(self.data, ignore_errors=True)

    def ctl(self, *words: str) -> str:
        """Run etcdctl against it."""
        argv = [*self.inside, "etcdctl", "--command-timeout", "15s", "--endpoints", self.client, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, env={**os.environ, "ETCDCTL_API": "3"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log(self) -> str:
        """Return what it said."""
        return (self.directory / f"{self.name}.log").read_text(errors="replace")

    def healthy(self) -> bool:
        """Return whether a majority answers by it; on loopback only."""
        try:
            with urllib.request.urlopen(f"{self.client}/health", timeout=2) as answer:
                return bool(json.load(answer).get("health") == "true")
        except (OSError, urllib.error.URLError, ValueError):
            return False


@contextmanager
def one_member(directory: Path, port: int, *options: str) -> Iterator[Member]:
    """Run one member on loopback: clients at `port`, peers at the next."""
    needed()
    client, peer = (f"http://127.0.0.1:{number}" for number in (port, port + 1))
    member = Member("alone", directory, client, peer, options=options)
    member.start({"alone": peer})
    try:
        wait_until("etcd answers", 20, member.healthy)
        yield member
    finally:
        member.kill()
