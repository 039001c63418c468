"""Long work stands back while somebody waits, and never for ever."""

from __future__ import annotations

import asyncio

import pytest

from anycastd.actuators.nft import bites
from anycastd.actuators.nft.bites import PATIENCE_S, REST_S, Haste


async def test_with_nobody_waiting_others_have_a_turn_and_no_more() -> None:
    haste, turns = Haste(), list[str]()
    asyncio.get_running_loop().call_soon(turns.append, "other")
    await haste.rest(0.0)
    assert turns == ["other"]


async def test_while_somebody_waits_work_stands_back_and_goes_on_when_the_answer_is_there() -> None:
    haste, done = Haste(), list[str]()

    async def work() -> None:
        await haste.rest(0.0)
        done.append("work")

    with haste.urgent(), haste.urgent():
        working = asyncio.ensure_future(work())
        await asyncio.sleep(REST_S * 2)
        done.append("answer")
    await working
    assert done == ["answer", "work"]


async def test_what_never_ends_to_be_urgent_does_not_stop_it() -> None:
    haste, loop = Haste(), asyncio.get_running_loop()
    with haste.urgent():
        begun_s = loop.time()
        await haste.rest(0.0)
        assert loop.time() - begun_s >= PATIENCE_S * 0.9


async def test_a_request_that_lasts_is_urgent_only_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bites, "LASTS_S", 0.0)
    haste = Haste()
    with haste.urgent():
        await asyncio.wait_for(haste.rest(0.0), PATIENCE_S / 2)
