"""Who may ask the API for what, over real sockets, with real users and real TLS."""

from __future__ import annotations

import asyncio
import grp
import hashlib
import json
import logging
import os
import pwd
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from anycastd.api.app import Server, serve
from anycastd.api.door.names import AT_ONCE, Names
from anycastd.api.door.tokens import Door
from anycastd.cli.client import EX_NOPERM, EX_UNAVAILABLE, AskError, Remote, ask
from anycastd.errors import ConfigError
from anycastd.model.access import Denied, Role, TlsSpec, TokenSpec, Who
from anycastd.model.topology import ApiConfig
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.api.certificates import authority, certificate
from tests.unit.daemon import Daemon

READ, OPERATE, ADMIN = (f"{role}-" + "0123456789abcdef" * 2 for role in ("read", "operate", "admin"))
NOBODY, STRANGERS, GROUP = 65534, 65534, "daemon"
"""A user, its group, and a group of every Debian machine, of which the user is made a member."""
ASKS = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
connection.request(sys.argv[2], sys.argv[3])
print(connection.getresponse().read().decode())
"""


def specs(directory: Path, **secrets: str) -> dict[str, TokenSpec]:
    """Write tokens to files; each is named after its role."""
    made = {}
    for name, secret in secrets.items():
        file = directory / name
        file.write_text(secret + "\n", encoding="ascii")
        file.chmod(0o600)
        made[name] = TokenSpec(name=name, role=Role(name), file=str(file))
    return made


def rewrite(token: TokenSpec, secret: str) -> None:
    Path(token.file).write_text(secret, encoding="ascii")


def reload(door: Door, api: ApiConfig) -> None:
    door.take(door.read(api))


@asynccontextmanager
async def served(api: ApiConfig, door: Door | None = None) -> AsyncIterator[tuple[Server, Daemon]]:
    daemon = Daemon(build.serving())
    server = await serve(daemon, api, Metrics(), door=door)
    try:
        yield server, daemon
    finally:
        await server.close()


@pytest.fixture
def api(tmp_path: Path) -> ApiConfig:
    tokens = specs(tmp_path, read=READ, operate=f"sha256:{hashlib.sha256(OPERATE.encode()).hexdigest()}", admin=ADMIN)
    return ApiConfig(port=0, socket=str(tmp_path / "api.sock"), tokens=tokens)


async def said(server: Server, method: str, target: str, token: str | None) -> tuple[int, str]:
    """Return the status and code of an answer over TCP."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"http://127.0.0.1:{server.port}{target}"
    async with aiohttp.ClientSession() as http, http.request(method, url, headers=headers) as response:
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
        body = await response.json()
        return response.status, body.get("error", {}).get("code", "")


async def test_reads_are_open_on_loopback_and_writes_need_a_token_of_the_role(api: ApiConfig) -> None:
    async with served(api) as (server, daemon):
        assert await said(server, "GET", "/v1/status", None) == (200, "")
        assert await said(server, "GET", "/v1/status", READ) == (200, "")
        assert await said(server, "GET", "/v1/status", "x" * 40) == (401, Denied.TOKEN_UNKNOWN)
        assert await said(server, "POST", "/v1/reload", None) == (401, Denied.TOKEN_MISSING)
        assert await said(server, "POST", "/v1/reload", READ) == (403, Denied.ROLE_TOO_LOW)
        assert await said(server, "POST", "/v1/reload", OPERATE) == (403, Denied.ROLE_TOO_LOW)
        assert await said(server, "POST", "/v1/reload", ADMIN + "x") == (401, Denied.TOKEN_UNKNOWN)
        assert daemon.asked == []
        assert await said(server, "POST", "/v1/reload", ADMIN) == (200, "")
        assert daemon.asked == [(None, False)]


async def test_without_tokens_nothing_is_changed_over_tcp(api: ApiConfig) -> None:
    async with served(replace(api, tokens={})) as (server, daemon):
        assert await said(server, "POST", "/v1/reload", ADMIN) == (403, Denied.READ_ONLY)
        assert await said(server, "POST", "/v1/nothing", None) == (404, "not_found")
        assert daemon.asked == []


async def test_who_changed_something_is_in_the_log_and_no_token_is(
    api: ApiConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with served(api) as (server, _):
        await said(server, "POST", "/v1/reload", ADMIN)
        await said(server, "POST", "/v1/reload", READ)
    told = {record.reason: record.fields for record in caplog.records if hasattr(record, "fields")}  # type: ignore[attr-defined]
    assert told["api_write"] == {"who": "admin", "request": "POST /v1/reload", "status": 200}
    assert told[Denied.ROLE_TOO_LOW]["request"] == "POST /v1/reload"
    assert not any(secret in str(told) + caplog.text for secret in (READ, ADMIN))


async def test_a_reload_rotates_tokens_and_a_bad_file_keeps_the_old_ones(api: ApiConfig, tmp_path: Path) -> None:
    door = Door(api)
    async with served(api, door) as (server, _):
        rotated = ADMIN.replace("0", "z")
        rewrite(api.tokens["admin"], rotated)
        assert (await said(server, "POST", "/v1/reload", ADMIN))[0] == 200
        reload(door, api)
        assert (await said(server, "POST", "/v1/reload", ADMIN))[0] == 401
        assert (await said(server, "POST", "/v1/reload", rotated))[0] == 200
        rewrite(api.tokens["read"], "short")
        with pytest.raises(ConfigError, match=r"api\.tokens\.read\.file: .*24 to 512 printable"):
            reload(door, api)
        assert (await said(server, "POST", "/v1/reload", rotated))[0] == 200


def test_files_that_hold_no_token_are_all_named_and_none_is_quoted(tmp_path: Path) -> None:
    tokens = specs(tmp_path, read="sha256:abc" + "0" * 30, operate="two words " * 5, admin=ADMIN)
    twin = replace(tokens["admin"], name="twin")
    gone = replace(tokens["admin"], name="gone", file=str(tmp_path / "gone"))
    with pytest.raises(ConfigError) as refused:
        Door(ApiConfig(tokens={**tokens, "twin": twin, "gone": gone}), "a.yaml")
    places = [problem.path.split(".")[2] for problem in refused.value.problems]
    assert sorted(places) == ["admin", "gone", "operate", "read", "twin"]
    assert "two words" not in str(refused.value)
    assert ADMIN not in str(refused.value)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Yield a directory that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="anycastd-api-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(path: Path, *groups: int) -> Callable[[str, str], Any]:
    """Return how another user asks on a unix socket."""

    def asked(method: str, target: str) -> Any:
        done = subprocess.run(
            ["/usr/bin/python3", "-c", ASKS, str(path), method, target],
            user=NOBODY, group=STRANGERS, extra_groups=groups, capture_output=True, text=True, timeout=20, cwd="/",
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.splitlines()[-1]

    return asked


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it asks as another user")
async def test_the_kernel_says_who_asks_on_the_unix_socket(open_directory: Path) -> None:
    path, members = open_directory / "api.sock", grp.getgrnam(GROUP).gr_gid
    async with served(ApiConfig(port=0, socket=str(path), group=GROUP)) as (_, daemon):
        stranger, member = as_nobody(path), as_nobody(path, members)
        assert "PermissionError" in await asyncio.to_thread(stranger, "POST", "/v1/reload")
        assert (await asyncio.to_thread(member, "POST", "/v1/reload"))["applied"] is True
        assert (await asyncio.to_thread(ask, str(path), "/v1/reload", method="POST"))["applied"] is True
        path.chmod(0o666)
        refused = await asyncio.to_thread(stranger, "POST", "/v1/reload")
        assert refused["error"]["code"] == Denied.PEER_REFUSED
        assert "group daemon" in refused["error"]["message"]
        assert len(daemon.asked) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it asks as another user")
async def test_a_directory_of_users_that_does_not_answer_holds_up_nobody_else(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, members = open_directory / "api.sock", grp.getgrnam(GROUP).gr_gid
    asked, answers, known, held = threading.Event(), threading.Event(), pwd.getpwuid, list[int]()

    def slow(uid: int) -> pwd.struct_passwd:
        held.append(uid)
        asked.set()
        answers.wait(15.0)
        held.pop()
        return known(uid)

    async with served(ApiConfig(port=0, socket=str(path), group=GROUP)) as (server, _):
        monkeypatch.setattr(pwd, "getpwuid", slow)
        member = asyncio.create_task(asyncio.to_thread(as_nobody(path, members), "GET", "/healthz"))
        assert await asyncio.to_thread(asked.wait, 15.0)
        # who is local, and root on the socket, are answered while the directory is asked
        assert (await said(server, "GET", "/healthz", None))[0] == 200
        assert (await asyncio.to_thread(ask, str(path), "/healthz"))["alive"] is True
        assert held == [NOBODY]
        answers.set()
        assert (await member)["alive"] is True


async def test_what_is_not_answered_in_time_is_said() -> None:
    names, answers = Names(within_s=0.01), threading.Event()
    for _ in range(AT_ONCE + 1):
        with pytest.raises(TimeoutError):
            await names.ask(lambda: answers.wait(60.0))
    answers.set()


def run_verb(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "anycastd", *words]
    return subprocess.run(argv, env={**os.environ, **environ}, capture_output=True, text=True, timeout=20)


async def test_beyond_loopback_all_is_tls_and_every_request_shows_a_token(api: ApiConfig, tmp_path: Path) -> None:
    ca = authority(tmp_path)
    pair = certificate(tmp_path, ca, "pop", "IP:127.0.0.1")
    tls = TlsSpec(cert_file=str(pair.cert), key_file=str(pair.key))
    # an address of this machine that is none of loopback's own is not to be had everywhere: all of them is
    async with served(replace(api, host="0.0.0.0", tls=tls)) as (server, daemon):
        where = f"https://127.0.0.1:{server.port}"

        def asked(token: str, **more: str) -> Any:
            remote = Remote(where, token_file=api.tokens[token].file if token else None, ca_file=str(ca.cert))
            return ask(remote, more.pop("target", "/v1/status"), **more)  # type: ignore[arg-type]

        assert (await asyncio.to_thread(asked, "read"))["pop"]["name"] == "fra"
        with pytest.raises(AskError, match="a token is needed") as refused:
            await asyncio.to_thread(asked, "")
        assert refused.value.exit_code == EX_NOPERM
        with pytest.raises(AskError, match="needs admin"):
            await asyncio.to_thread(lambda: asked("read", target="/v1/reload", method="POST"))
        assert (await asyncio.to_thread(lambda: asked("admin", target="/v1/reload", method="POST")))["applied"]
        with pytest.raises(AskError, match="certificate verify failed") as strange:
            await asyncio.to_thread(ask, Remote(where), "/v1/status")
        assert strange.value.exit_code == EX_UNAVAILABLE
        environ = {"ANYCASTD_TOKEN_FILE": api.tokens["read"].file, "ANYCASTD_CA_FILE": str(ca.cert)}
        verb = await asyncio.to_thread(run_verb, environ, "status", "--url", where)
        assert (verb.returncode, verb.stdout[:3]) == (0, "fra"), verb.stderr
        verb = await asyncio.to_thread(run_verb, environ, "reload", "--url", where)
        assert verb.returncode == EX_NOPERM
        assert "needs admin" in verb.stderr
        assert len(daemon.asked) == 1


async def test_a_client_without_a_certificate_of_the_authority_is_not_talked_to(api: ApiConfig, tmp_path: Path) -> None:
    ca, other = authority(tmp_path), authority(tmp_path, "other")
    pair = certificate(tmp_path, ca, "pop", "IP:127.0.0.1")
    tls = TlsSpec(cert_file=str(pair.cert), key_file=str(pair.key), client_ca_file=str(ca.cert))
    async with served(replace(api, tls=tls)) as (server, _):
        for client, welcome in ((certificate(tmp_path, ca, "ops", "DNS:ops"), True),
                                (certificate(tmp_path, other, "eve", "DNS:eve"), False), (None, False)):  # fmt: skip
            context = ssl.create_default_context(cafile=str(ca.cert))
            if client is not None:
                context.load_cert_chain(client.cert, client.key)
            url = f"https://127.0.0.1:{server.port}/healthz"
            async with aiohttp.ClientSession() as http:
                try:
                    async with http.get(url, ssl=context, headers={"Host": "pop.example"}) as response:
                        got = response.status == 200
                except aiohttp.ClientError:
                    got = False
            assert got is welcome, client


async def test_a_reload_takes_a_new_certificate_and_refuses_half_of_a_pair(api: ApiConfig, tmp_path: Path) -> None:
    ca = authority(tmp_path)
    first, second = (certificate(tmp_path, ca, name, "IP:127.0.0.1") for name in ("first", "second"))
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_bytes(first.cert.read_bytes())
    key.write_bytes(first.key.read_bytes())
    api = replace(api, tls=TlsSpec(cert_file=str(cert), key_file=str(key)))
    door = Door(api)

    async def shown(server: Server) -> str:
        context = ssl.create_default_context(cafile=str(ca.cert))
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        subject = writer.get_extra_info("peercert")["subject"]
        writer.close()
        return str(subject[0][0][1])

    async with served(api, door) as (server, _):
        assert await shown(server) == "first"
        cert.write_bytes(second.cert.read_bytes())
        with pytest.raises(ConfigError, match=r"api\.tls: .*KEY_VALUES_MISMATCH|api\.tls: .*mismatch"):
            reload(door, api)
        assert await shown(server) == "first"
        key.write_bytes(second.key.read_bytes())
        reload(door, api)
        assert await shown(server) == "second"


def test_roles_are_in_order_and_no_token_is_worth_nothing(api: ApiConfig) -> None:
    assert [Role.OPERATE.covers(role) for role in Role] == [True, True, False]
    door = Door(api)
    for header in ("", "Bearer", "Bearer ", "Basic abc", f"bearer{READ}"):
        assert door.owner(header) is Denied.TOKEN_MISSING
    assert door.owner(None) is Denied.TOKEN_MISSING
    assert door.owner(f"BEARER  {OPERATE}") == Who("operate", Role.OPERATE)
    assert door.owner(f"Bearer {READ}\udcff") is Denied.TOKEN_UNKNOWN
