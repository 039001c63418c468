"""A member that asks for certificates, users and passwords, as one beyond loopback must."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from anycastd.model.store import StoreConfig
from anycastd.store.port import Snapshot, StoreUnavailable, Write
from tests.etcd.member import Member, needed
from tests.etcd.stores import config_of, free_ports, pop_store, until
from tests.unit.api.certificates import Pair, authority, certificate
from tests.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
PASSWORD = "correct-horse"


class Guarded:
    """The member with its files."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.ca = directory, authority(directory)
        self.stranger = authority(directory, "stranger")
        own = certificate(directory, self.ca, "server", "IP:127.0.0.1")
        self.client: Pair = certificate(directory, self.ca, "fra", "DNS:fra", subject="O")
        port = free_ports(2)
        self.member = Member(
            "alone", directory, f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}",
            options=("--cert-file", str(own.cert), "--key-file", str(own.key), "--client-cert-auth",
                     "--trusted-ca-file", str(self.ca.cert)),
        )  # fmt: skip
        self.user: tuple[str, ...] = ()

    def start(self) -> None:
        """Start the member and wait for it."""
        self.member.start({"alone": self.member.peer})
        wait_until("it answers", 20, lambda: self.ctl("endpoint", "health").returncode == 0)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run etcdctl with our certificate."""
        argv = ["etcdctl", "--endpoints", self.member.client, "--cacert", str(self.ca.cert), "--cert",
                str(self.client.cert), "--key", str(self.client.key), *self.user, *words]  # fmt: skip
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, env={**os.environ, "ETCDCTL_API": "3"})

    def do(self, *words: str) -> None:
        """Run etcdctl, which must succeed."""
        done = self.ctl(*words)
        assert done.returncode == 0, done.stderr

    def config(self, **more: object) -> StoreConfig:
        """Return a POP's configuration."""
        files = {"ca_file": str(self.ca.cert), "cert_file": str(self.client.cert), "key_file": str(self.client.key)}
        return config_of(self.member.client, **files | more)


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A member of one test: what a test does to its users lasts."""
    needed()
    made = Guarded(tmp_path_factory.mktemp("guarded"))
    made.start()
    try:
        yield made
    finally:
        made.member.kill()


async def refused(config: StoreConfig, directory: Path) -> str:
    """Return why a POP cannot use the store."""
    async with pop_store(config, "fra", directory, beats=False) as pop:
        with pytest.raises(StoreUnavailable) as told:
            await pop.store.snapshot("/")
        return str(told.value)


async def test_certificates_are_shown_and_looked_at(guarded: Guarded, tmp_path: Path) -> None:
    async with pop_store(guarded.config(), "fra", tmp_path) as pop:
        await pop.store.snapshot("/")
        assert await pop.store.commit([Write("/dials/eu", "{}")], {"/dials/eu": 0}) > 0
        await until("heartbeats go", lambda: pop.beats > 1)
    for more in ({"ca_file": str(guarded.stranger.cert)}, {"cert_file": None, "key_file": None}):
        assert guarded.member.client in await refused(guarded.config(commit_within_s=0.5, **more), tmp_path / "other")
    assert "nowhere" in await refused(guarded.config(ca_file="/nowhere"), tmp_path / "none")


async def test_a_user_has_a_password_and_a_token_that_is_renewed(guarded: Guarded, tmp_path: Path) -> None:
    guarded.do("user", "add", "root:root")
    guarded.do("user", "grant-role", "root", "root")
    guarded.do("role", "add", "pop")
    guarded.do("role", "grant-permission", "pop", "readwrite", "--prefix=true", "/anycastd")
    guarded.do("user", "add", f"fra:{PASSWORD}")
    guarded.do("user", "grant-role", "fra", "pop")
    guarded.do("auth", "enable")
    guarded.user = ("--user", "root:root")
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    # a password takes a member a good part of a second where it has little of a processor
    patient: dict[str, Any] = {"user": "fra", "password_file": str(password), "attempt_s": 3.0, "commit_within_s": 15.0}
    config = guarded.config(**patient)
    async with pop_store(config, "fra", tmp_path) as pop:
        first = await pop.store.snapshot("/")
        heard: list[Snapshot] = []

        async def listen() -> None:
            # as a desk does: after every member failed it asks again
            while True:
                with suppress(StoreUnavailable):
                    async for batch in pop.store.watch("/", heard[-1].revision if heard else first.revision):
                        heard.append(batch)
                await asyncio.sleep(0.1)

        listening = asyncio.create_task(listen())
        await pop.store.commit([Write("/dials/us", "{}")], {"/dials/us": 0})
        await until("heartbeats go", lambda: pop.beats > 1)
        # a member that is restarted knows no token any more
        guarded.member.kill()
        guarded.start()
        before = pop.beats
        await until("heartbeats go again", lambda: pop.beats > before + 1, 20)
        await pop.store.commit([Write("/dials/asia", "{}")], {"/dials/asia": 0})
        await until("the watch goes on", lambda: any("/dials/asia" in batch.items for batch in heard), 20)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    password.write_text("wrong")
    assert "authentication failed" in await refused(config, tmp_path / "wrong")
    password.chmod(0o644)
    assert "chmod 600" in await refused(config, tmp_path / "open")
    assert "store.user and store.password_file" in await refused(guarded.config(), tmp_path / "nobody")
    elsewhere = guarded.config(**patient, prefix="/elsewhere")
    password.chmod(0o600)
    password.write_text(PASSWORD)
    assert "permission denied" in await refused(elsewhere, tmp_path / "elsewhere")
