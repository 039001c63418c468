"""The store's port on one real member: what any store must do, and what only a shared one meets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from anycastd.store.port import Conflict, Write
from tests.etcd.member import Member, one_member
from tests.etcd.stores import config_of, free_ports, pop_store, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    with one_member(tmp_path_factory.mktemp("etcd"), free_ports(2)) as one:
        yield one


def prefix_of(request: pytest.FixtureRequest) -> str:
    """Return keys that only this test uses."""
    return f"/{request.node.name.replace('_', '-')[:60]}"


async def test_what_one_pop_commits_another_is_told(
    member: Member, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    config = config_of(member.client, prefix=prefix_of(request))
    async with pop_store(config, "fra", tmp_path) as fra, pop_store(config, "sin", tmp_path) as sin:
        assert (await fra.store.snapshot("/")).items == {}
        before = await sin.store.snapshot("/")
        heard = []

        async def listen() -> None:
            async for batch in sin.store.watch("/", before.revision):
                heard.append(batch)

        task = asyncio.create_task(listen())
        revision = await fra.store.commit([Write("/eips/203.0.113.1", "{}")], {"/eips/203.0.113.1": 0})
        await until("the other hears of it", lambda: heard)
        assert heard[0].revision == revision
        assert heard[0].items["/eips/203.0.113.1"].value == "{}"
        with pytest.raises(Conflict):
            await sin.store.commit([Write("/eips/203.0.113.1", "[]")], {"/eips/203.0.113.1": 0})
        await sin.store.commit([Write("/eips/203.0.113.1", None)], {"/eips/203.0.113.1": revision})
        await until("the deletion is told", lambda: len(heard) > 1)
        assert heard[1].items["/eips/203.0.113.1"].value is None
        task.cancel()
        assert fra.complaints == sin.complaints == {}
        assert fra.beats and sin.beats
