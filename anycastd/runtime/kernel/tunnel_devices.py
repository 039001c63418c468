"""Keeps the tunnels' devices as configured: created ones whole, adopted ones tuned; tells what is not as wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anycastd.actuators.dataplane.devices import Devices
from anycastd.errors import ActuatorTransient
from anycastd.model.status import Alarm
from anycastd.model.topology import Config
from anycastd.runtime.alarms import Reported

LOOK_AGAIN_S = 10.0
GAP_S = 0.05
"""Link events come in bunches."""


class TunnelDevices:
    """`changed` is told when the devices' MTUs may have changed, which the packet filter's clamps depend on."""

    def __init__(self, config: Config, reported: Reported, changed: Callable[[], None]) -> None:
        self._config, self._reported, self._changed = config, reported, changed
        self._devices = Devices()
        self._asked = asyncio.Event()
        self._lock = asyncio.Lock()

    @property
    def mtus(self) -> dict[str, int]:
        """Return the MTU of each device by name, as last read."""
        return dict(self._devices.mtus)

    async def start(self) -> None:
        """Make every device as wanted before anything is routed over it; ActuatorTransient if nothing can be read."""
        await self._devices.start()
        await self._reconcile()

    def configure(self, config: Config) -> None:
        """Take a configuration; it is followed soon."""
        self._config = config
        self._asked.set()

    def look(self) -> None:
        """Look at the devices soon: something was heard of them."""
        self._asked.set()

    async def run(self) -> None:
        """Follow what is heard, and look now and then, for ever."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), LOOK_AGAIN_S)
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(GAP_S)
            self._asked.clear()
            await self._reconcile()

    async def _reconcile(self) -> None:
        wanted = [tunnel.wanted_device for tunnel in self._config.tunnels.values()]
        before = self.mtus
        async with self._lock:
            try:
                problems = await self._devices.reconcile(wanted)
            except ActuatorTransient as error:
                self._reported.raise_(Alarm.TUNNEL_DEVICE, "devices", f"not read: {error}")
                return
        standing = {problem.tunnel: f"{problem.device}: {problem.detail}" for problem in problems}
        for alarm, subject in [key for key in self._reported.details if key[0] is Alarm.TUNNEL_DEVICE]:
            if subject not in standing:
                self._reported.clear(alarm, subject)
        for subject, detail in standing.items():
            self._reported.raise_(Alarm.TUNNEL_DEVICE, subject, detail)
        if self.mtus != before:
            self._changed()

    async def close(self) -> None:
        """Let go of the kernel; every device stays."""
        await self._devices.close()
