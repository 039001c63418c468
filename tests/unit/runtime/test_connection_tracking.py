"""What is wanted of connection tracking, and what is told where it cannot be had."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from anycastd.model.conntrack import ConntrackWanted
from anycastd.model.status import Alarm
from anycastd.model.topology import EipConfig
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kernel.connection_tracking import ConnectionTracking


@dataclass
class Kernel:
    wanted: asyncio.Queue[ConntrackWanted] = field(default_factory=asyncio.Queue)
    problems: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def settle(self, wanted: ConntrackWanted) -> Mapping[str, str]:
        self.loop.call_soon_threadsafe(self.wanted.put_nowait, wanted)
        return self.problems


async def test_a_reload_is_followed_at_once() -> None:
    kernel = Kernel()
    tracking = ConnectionTracking(EipConfig(), Reported(), kernel.settle)
    running = asyncio.create_task(tracking.run())
    wanted = [await asyncio.wait_for(kernel.wanted.get(), 5.0)]
    tracking.configure(EipConfig(conntrack_max=20_000, conntrack_liberal=False))
    wanted.append(await asyncio.wait_for(kernel.wanted.get(), 5.0))
    running.cancel()
    assert wanted == [ConntrackWanted(None, True), ConntrackWanted(20_000, False)]


async def test_what_cannot_be_is_an_alarm_until_it_is() -> None:
    kernel, reported = Kernel(problems={"a": "no", "b": "neither"}), Reported()
    reported.raise_(Alarm.CONNTRACK_FULL, "b", "another matter")
    tracking = ConnectionTracking(EipConfig(), reported, kernel.settle)
    await tracking.look()
    assert {key for key in reported.details if key[0] is Alarm.CONNTRACK_SIZE} == {
        (Alarm.CONNTRACK_SIZE, "a"),
        (Alarm.CONNTRACK_SIZE, "b"),
    }
    kernel.problems = {"b": "still not"}
    await tracking.look()
    assert reported.details == {
        (Alarm.CONNTRACK_FULL, "b"): "another matter",
        (Alarm.CONNTRACK_SIZE, "b"): "still not",
    }
