"""The API's unix socket, made again when its file is gone: else nobody could ask until a restart."""

from __future__ import annotations

import asyncio
import logging
import socket

from aiohttp import web

from anycastd.api.door.listen import is_gone, remove_own, unix_socket
from anycastd.api.errors import ApiUnavailable

LOOK_EACH_S = 2.0

log = logging.getLogger("anycastd")


class LocalSocket:
    """Listens from the beginning; ApiUnavailable if the socket cannot be had."""

    def __init__(self, path: str, group: str) -> None:
        self._path, self._group = path, group
        self._listening, self._inode = unix_socket(path, group)
        self._site: web.BaseSite | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def serve(self, runner: web.BaseRunner) -> None:
        """Let a runner answer, and look after the file from now on."""
        self._site = await _answered(runner, self._listening)
        self._keeping = asyncio.create_task(self._keep(runner), name="api:socket")

    async def _keep(self, runner: web.BaseRunner) -> None:
        complained = ""
        while True:
            await asyncio.sleep(LOOK_EACH_S)
            # one that is another's by now is left to whoever made it
            if not is_gone(self._path):
                continue
            try:
                listening, inode = unix_socket(self._path, self._group)
                site = await _answered(runner, listening)
            except (ApiUnavailable, OSError) as error:
                if str(error) != complained:
                    complained = str(error)
                    log.warning("%s", complained, extra={"reason": "api_socket"})
                continue
            before, self._site = self._site, site
            self._listening, self._inode, complained = listening, inode, ""
            if before is not None:
                await before.stop()
            log.warning("%s was gone and is made again", self._path, extra={"reason": "api_socket"})

    def close(self) -> None:
        """Look after it no more, and remove the file if it is still the one we made."""
        if self._keeping is not None:
            self._keeping.cancel()
        remove_own(self._path, self._inode)
        if self._site is None:
            self._listening.close()


async def _answered(runner: web.BaseRunner, listening: socket.socket) -> web.BaseSite:
    site = web.SockSite(runner, listening)
    await site.start()
    return site
