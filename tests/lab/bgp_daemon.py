"""A small daemon around the speaker, to be killed: says what is wanted whenever it is not what is observed.

Run as a program: `python -m tests.lab.bgp_daemon DIRECTORY PREFIX...`, neighbor n2 only; prints each event.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from ipaddress import ip_network
from pathlib import Path

from anycastd.actuators.exabgp.queue import key_of
from anycastd.actuators.exabgp.speaker import Speaker
from anycastd.model.address import NeighborName
from anycastd.model.topology import BgpConfig
from anycastd.reconcile.bgp import diff, ends_of_rib
from tests.lab.bgp_stage import POP, neighbor, route

N2 = NeighborName("n2")


async def main(directory: Path, prefixes: list[str]) -> None:
    """Run until SIGUSR2."""
    config = BgpConfig(user="nobody", socket=str(directory / "exabgp.sock"), directory=str(directory / "bgp"))
    wanted = {N2: {ip_network(prefix): route(prefix) for prefix in prefixes}}
    changed = asyncio.Event()
    speaker = Speaker(
        config,
        POP,
        {N2: neighbor(2, hold_time_s=3)},
        on_change=lambda prefixes: changed.set(),
        on_event=lambda event: print(event, flush=True),
    )
    await speaker.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, ended.set)
    while not ended.is_set():
        await changed.wait()
        changed.clear()
        observed = speaker.observed
        said = diff(wanted, observed, submitted={}, held=frozenset())
        speaker.apply([action for action in said if key_of(action) not in observed.in_flight])
        if not said and not observed.in_flight:
            speaker.apply(ends_of_rib(wanted, observed, {}, overdue=False))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
