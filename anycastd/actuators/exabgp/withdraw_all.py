"""Leave nothing behind: withdraw everything and see it out, before ExaBGP is ended without a NOTIFICATION."""

from __future__ import annotations

import asyncio
from typing import Protocol

from anycastd.actuators.exabgp.link import SessionsSeen
from anycastd.actuators.exabgp.wording import CLEAR

WITHIN_S = 5.0
LET_OUT_S = 0.3
"""Between `done` and the last UPDATE on the wire (measured: enough for what a POP announces)."""
LOOK_EACH_S = 0.1


class Speaking(Protocol):
    """What leaving needs of the speaker."""

    def order(self, words: str) -> bool: ...
    async def command(self, line: str, within_s: float) -> bool: ...
    async def ask_sessions(self, within_s: float) -> SessionsSeen | None: ...


async def withdraw_all(speaker: Speaking) -> None:
    """Withdraw every route from every neighbor, by the bridge if ExaBGP's answers are not understood just now."""
    if not await speaker.command(CLEAR, WITHIN_S):
        speaker.order("!clear")
    await asyncio.sleep(LET_OUT_S)
    end_s, last = asyncio.get_running_loop().time() + WITHIN_S, -1
    while asyncio.get_running_loop().time() < end_s:
        seen = await speaker.ask_sessions(1.0)
        sent = sum(one.updates_sent for one in seen.sessions) if seen else last
        if sent == last:
            return
        last = sent
        await asyncio.sleep(LOOK_EACH_S)
