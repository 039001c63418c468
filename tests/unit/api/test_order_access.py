"""Who may order what over TCP: forcing needs the role admin, and nobody orders in another's name alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from anycastd.api.app import Server, serve
from anycastd.model.access import Denied
from anycastd.model.operator import DrainScope
from anycastd.model.topology import ApiConfig
from anycastd.runtime.orders.desk import OrderDesk
from anycastd.telemetry.metrics import Metrics
from tests.unit import status_builder as build
from tests.unit.api.test_access import ADMIN, OPERATE, READ, specs
from tests.unit.daemon import Daemon
from tests.unit.runtime.order_world import order_desk

POP = {"scope": "pop", "reason": "work"}


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Server, OrderDesk]]:
    desk, _ = order_desk(tmp_path / "state")
    tokens = specs(tmp_path, read=READ, operate=OPERATE, admin=ADMIN)
    api = ApiConfig(port=0, socket=str(tmp_path / "api.sock"), tokens=tokens)
    server = await serve(Daemon(build.serving()), api, Metrics(), orders=desk)
    yield server, desk
    await server.close()


async def asked(server: Server, token: str, query: str, body: dict[str, Any]) -> tuple[int, str]:
    """Return the status and code of an order over TCP."""
    url = f"http://127.0.0.1:{server.port}/v1/drains{query}"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as response:
        answer = await response.json()
        return response.status, answer.get("error", {}).get("code", "")


async def test_only_an_admin_forces_however_it_is_written(served: tuple[Server, OrderDesk]) -> None:
    server, desk = served
    assert await asked(server, READ, "", POP) == (403, Denied.ROLE_TOO_LOW)
    assert await asked(server, OPERATE, "?force=true", POP) == (403, Denied.ROLE_TOO_LOW)
    assert await asked(server, OPERATE, "?forc%65=tru%65", POP) == (403, Denied.ROLE_TOO_LOW)
    # none of these is a way around it
    for query in ("?force=True", "?force=1", "?force=false&force=true", "?Force=true"):
        assert (await asked(server, OPERATE, query, POP))[0] == 400
    for more in ({"force": True}, {"forced": True}):
        assert (await asked(server, OPERATE, "", POP | more))[0] == 400
    assert desk.orders.drains == ()
    assert await asked(server, ADMIN, "?force=true", POP) == (200, "")
    drains = desk.orders.of(DrainScope.POP)
    assert [drain.forced for drain in drains] == [True]
    assert (await asked(server, OPERATE, "", POP))[0] == 409


async def test_the_owner_is_who_the_token_says_whatever_name_is_given(served: tuple[Server, OrderDesk]) -> None:
    server, desk = served
    assert (await asked(server, OPERATE, "", POP | {"owner": "root"}))[0] == 200
    assert [drain.owner for drain in desk.orders.drains] == ["root as operate"]


async def test_what_would_move_a_terminal_is_no_reason(served: tuple[Server, OrderDesk]) -> None:
    server, desk = served
    for bad in ("\x1b[2J", "two\nlines", "\u202e"):
        assert (await asked(server, OPERATE, "", POP | {"reason": bad}))[0] == 400
        assert (await asked(server, OPERATE, "", POP | {"owner": bad}))[0] == 400
    assert desk.orders.drains == ()
