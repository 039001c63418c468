"""The life of an ExaBGP that a service starts, when it is quicker than we are."""

from __future__ import annotations

import asyncio
import sys
from ipaddress import IPv4Address
from pathlib import Path

from anycastd.actuators.exabgp.events import Adopted, Exited, SpeakerEvent
from anycastd.actuators.exabgp.process import is_ours
from anycastd.actuators.exabgp.supervisor import Supervisor
from anycastd.model.topology import BgpConfig, Launch, Pop
from tests.wait import wait_until

SLEEPER = "import time; time.sleep(60)"


class Quick(Supervisor):
    """Meets an ExaBGP while the file is still being checked."""

    child = 0

    async def check(self, rendered: bytes) -> None:
        """Take a turn of the loop, as a real check does, in which the service's ExaBGP says hello."""
        await asyncio.sleep(0)
        if self.child:
            self.meet(self.child, "digest")

    def put_in_place(self, rendered: bytes) -> None:
        """Write nothing."""


async def test_one_that_is_met_while_the_file_is_checked_is_seen_to_end(tmp_path: Path) -> None:
    bgp = BgpConfig(directory=str(tmp_path), socket=str(tmp_path / "sock"), launch=Launch.SERVICE, user="nobody")
    told: list[SpeakerEvent] = []
    changes: asyncio.Queue[None] = asyncio.Queue()
    pop = Pop(name="fra", asn=64500, router_id=IPv4Address("192.0.2.1"))
    quick = Quick(bgp, pop, told.append, lambda: changes.put_nowait(None))
    words = [sys.executable, "-c", SLEEPER, "exabgp", "server", str(quick.files.conf)]
    child = await asyncio.create_subprocess_exec(*words)
    # a process that has just been made has no words for a moment: exec(2) closes files before it shows them
    wait_until("its words are seen", 10.0, lambda: is_ours(child.pid, quick.files.conf))
    quick.child = child.pid
    quick.supervise()
    async with asyncio.timeout(10):
        await changes.get()
        seen = quick.running
        quick.child = 0
        child.kill()
        await child.wait()
        await changes.get()
    await quick.unsupervise()
    assert seen is not None
    assert quick.running is None
    assert [type(one) for one in told if isinstance(one, Adopted | Exited)] == [Adopted, Exited]
