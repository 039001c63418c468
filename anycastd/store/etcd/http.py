"""Requests to etcd's JSON gateway: member after member until one answers, with TLS, a token, and the cluster's id.

Imported when an etcd is configured and first used: aiohttp costs time and memory.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from anycastd.model.store import StoreConfig
from anycastd.store.etcd import wire
from anycastd.store.etcd.members import Members
from anycastd.store.port import Compacted, StoreUnavailable

AGAIN_AFTER_S = 0.05
MAX_SECRET_BYTES = 1024


class Unreachable(StoreUnavailable):
    """No member answered in time. `unknown`: one may have been given the request, and may have done it."""

    def __init__(self, message: str, *, unknown: bool) -> None:
        super().__init__(message)
        self.unknown = unknown


class LeaseGone(StoreUnavailable):
    """The lease is not known any more."""


class Gateway:
    """One fleet store as this POP asks it. `cluster` is the id that must answer; "" = whichever does first."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self.members = Members(config.endpoints)
        self.cluster = ""
        self.foreign = ""
        """The id of another cluster that answered last, in our cluster's place."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context_of(config), limit=16), trust_env=False
        )
        self._token = ""
        self._reading: asyncio.Future[str] | None = None
        self._known_password: str | None = None

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def call(self, path: str, body: wire.Json, within_s: float | None = None) -> wire.Json:
        """Return the answer of the first member that gives one; Unreachable if none does in time.

        A request may so be done twice: it must be one whose second time does nothing (a read, a comparing commit).
        """
        loop = asyncio.get_running_loop()
        end_s = loop.time() + (self._config.commit_within_s if within_s is None else within_s)
        why, unknown, tries = "no time left", False, 0
        while (left_s := end_s - loop.time()) > 0:
            member = self.members.choose(loop.time())
            try:
                return await self.call_at(member, path, body, min(self._config.attempt_s, left_s))
            except Unreachable as error:
                why, unknown = str(error), unknown or error.unknown
                self.members.failed(member, loop.time())
            tries += 1
            if tries % len(self.members) == 0:
                await asyncio.sleep(min(AGAIN_AFTER_S, max(end_s - loop.time(), 0)))
        raise Unreachable(why, unknown=unknown)

    async def call_at(self, member: str, path: str, body: wire.Json, within_s: float) -> wire.Json:
        """Return the answer of one member; Unreachable if it gives none."""
        try:
            status, answer = await self._post(member, path, body, within_s)
            found = wire.fault_of(status, answer)
            if found is not None and found[0] is wire.Fault.TOKEN and self._config.user:
                await self._authenticate(member, within_s)
                status, answer = await self._post(member, path, body, within_s)
                found = wire.fault_of(status, answer)
        except aiohttp.ClientConnectorError as error:
            msg = f"{member}: {_words(error)}"
            raise Unreachable(msg, unknown=False) from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            msg = f"{member}: {_words(error)}"
            raise Unreachable(msg, unknown=True) from error
        if found is not None:
            raise _error(member, *found)
        assert isinstance(answer, dict)
        result = answer.get("result", answer)
        self._look_at(member, result)
        return dict(result)

    def _look_at(self, member: str, body: wire.Json) -> None:
        """Refuse what another cluster says."""
        try:
            cluster = wire.header_of(body).cluster
        except ValueError as error:
            msg = f"{member}: {error}"
            raise Unreachable(msg, unknown=True) from error
        self.check_cluster(member, cluster)

    def check_cluster(self, member: str, cluster: str) -> None:
        """Raise Unreachable if this is not our cluster."""
        if self.cluster and cluster != self.cluster:
            self.foreign = cluster
            message = f"{member} is of cluster {cluster}, this fleet's is {self.cluster}"
            raise Unreachable(message, unknown=False)
        self.foreign = ""

    async def _post(self, member: str, path: str, body: wire.Json, within_s: float) -> tuple[int, object]:
        headers = {"Authorization": self._token} if self._token else {}
        timeout = aiohttp.ClientTimeout(total=within_s)
        async with self._session.post(f"{member}/v3{path}", json=body, headers=headers, timeout=timeout) as response:
            text = await response.read()
        try:
            return response.status, json.loads(text)
        except ValueError:
            # of a proxy between, or of a gateway that refuses before it looks at the request
            return response.status, text.decode("utf-8", "replace").strip()

    async def _password(self, within_s: float) -> str:
        """Return our user's password, read anew; while its disk does not answer, what was read before."""
        path = self._config.password_file or ""
        if self._reading is None:
            # one look at a time: a disk that hangs keeps one thread, however often it is tried
            self._reading = asyncio.ensure_future(asyncio.to_thread(read_secret, path))
        reading = self._reading
        if not (await asyncio.wait({reading}, timeout=within_s))[0]:
            if self._known_password is None:
                message = f"{path} cannot be read: the disk does not answer"
                raise Unreachable(message, unknown=False)
            return self._known_password
        if self._reading is reading:
            self._reading = None
        self._known_password = reading.result()
        return self._known_password

    async def _authenticate(self, member: str, within_s: float) -> None:
        """Get a token for our user; those of etcd end after some minutes, or with the member."""
        self._token = ""
        password = await self._password(within_s)
        body = {"name": self._config.user, "password": password}
        status, answer = await self._post(member, "/auth/authenticate", body, within_s)
        found = wire.fault_of(status, answer)
        if found is not None:
            raise _error(member, *found)
        assert isinstance(answer, dict)
        self._token = str(answer.get("token", ""))

    @asynccontextmanager
    async def stream(self, member: str, body: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the lines of a watch stream at one member as they come; Unreachable when it ends or breaks."""
        headers = {"Authorization": self._token} if self._token else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._config.attempt_s)
        try:
            async with self._session.post(f"{member}/v3/watch", data=body, headers=headers, timeout=timeout) as answer:
                yield _lines(member, answer.content)
        except (aiohttp.ClientError, OSError) as error:
            msg = f"{member}: {_words(error)}"
            raise Unreachable(msg, unknown=False) from error


async def _lines(member: str, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    # by chunks: a line may be longer than aiohttp's own limit for one
    rest: list[bytes] = []
    async for chunk in content.iter_any():
        *whole, last = chunk.split(b"\n")
        for part in whole:
            rest.append(part)
            line = b"".join(rest)
            rest.clear()
            if line:
                yield line
        rest.append(last)
    msg = f"{member}: the stream ended"
    raise Unreachable(msg, unknown=False)


def _error(member: str, fault: wire.Fault, message: str) -> StoreUnavailable | Compacted:
    match fault:
        case wire.Fault.NEXT:
            return Unreachable(f"{member}: {message}", unknown=True)
        case wire.Fault.COMPACTED:
            return Compacted(f"{member}: {message}")
        case wire.Fault.LEASE_GONE:
            return LeaseGone(f"{member}: {message}")
        case wire.Fault.TOKEN:
            return StoreUnavailable(f"{member}: {message}: store.user and store.password_file are wanted")
        case wire.Fault.REFUSED:
            return StoreUnavailable(f"{member} refuses: {message}")


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    inner = getattr(error, "os_error", None)
    return str(getattr(inner, "strerror", None) or error) or type(error).__name__


def read_secret(path: str) -> str:
    """Return the password in a file; StoreUnavailable if it cannot be read, or others could read it as well."""
    try:
        file = Path(path)
        if file.stat().st_mode & 0o137:
            message = f"{path} can be used by others; chmod 600 it, or 640 with the daemon's group"
            raise StoreUnavailable(message)
        return file.read_text(encoding="utf-8")[:MAX_SECRET_BYTES].strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise StoreUnavailable(message) from error


def context_of(config: StoreConfig) -> ssl.SSLContext | bool:
    """Return the TLS of the members; StoreUnavailable if its files cannot be used."""
    if not any(url.startswith("https:") for url in config.endpoints):
        return True
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if config.cert_file is not None:
            context.load_cert_chain(config.cert_file, config.key_file)
    except (OSError, ssl.SSLError) as error:
        names = " ".join(filter(None, (config.ca_file, config.cert_file, config.key_file)))
        message = f"{names}: {error.strerror or error}"
        raise StoreUnavailable(message) from error
    return context
