"""What this machine lost before any rule saw it: by its devices, and by the softirqs that take packets from them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

DEVICES, SOFTIRQS = Path("/proc/net/dev"), Path("/proc/net/softnet_stat")
_DROPPED = 3
"""Of the numbers of a device: received bytes, packets, errors, dropped (no buffer, or no time)."""


class Losses(NamedTuple):
    """Packets lost since the machine's start; the counters only grow."""

    device: int = 0
    softirq: int = 0


def read(devices: Collection[str]) -> Losses:
    """Return what these devices lost (without any: all but lo), and the softirqs; OSError if it cannot be read."""
    return Losses(
        device_drops(DEVICES.read_text(encoding="ascii", errors="replace"), devices),
        softirq_drops(SOFTIRQS.read_text(encoding="ascii")),
    )


def device_drops(text: str, devices: Collection[str]) -> int:
    """Return the packets that devices dropped on receiving, from the text of /proc/net/dev."""
    total = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        name = name.strip()
        if name in devices if devices else name != "lo":
            total += int(numbers.split()[_DROPPED])
    return total


def softirq_drops(text: str) -> int:
    """Return the packets that found a processor's queue full, from the text of /proc/net/softnet_stat."""
    return sum(int(line.split()[1], 16) for line in text.splitlines())
