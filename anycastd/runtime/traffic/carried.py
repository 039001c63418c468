"""What a drained thing still carries, from what is measured anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from anycastd.model.conntrack import PathConnections
from anycastd.model.operator import Carried, Drain, DrainScope
from anycastd.model.topology import Config, OperatorConfig
from anycastd.model.traffic import Sample
from anycastd.policy.draining import is_quiet

DEVICES = Path("/proc/self/net/dev")
"""Of the network namespace of the process, other than /sys."""


class DeviceRates:
    """How much the devices of tunnels receive and send, between two readings."""

    def __init__(self, path: Path = DEVICES) -> None:
        self._path = path
        self._before: tuple[float, dict[str, int]] | None = None
        self.bps: Mapping[str, float] = {}

    def read(self, now_s: float) -> None:
        """Read the counters; the rates are of the time since the last reading."""
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()[2:]
        except OSError:
            self._before, self.bps = None, {}
            return
        octets = {}
        for line in lines:
            name, _, numbers = line.partition(":")
            columns = numbers.split()
            octets[name.strip()] = int(columns[0]) + int(columns[8])
        if self._before is not None and (passed_s := now_s - self._before[0]) > 0:
            before = self._before[1]
            self.bps = {n: max(count - before[n], 0) * 8 / passed_s for n, count in octets.items() if n in before}
        self._before = (now_s, octets)


def carried_by(
    drain: Drain,
    config: Config,
    sample: Sample | None,
    connections: Iterable[PathConnections] | None,
    devices: Mapping[str, float],
) -> Carried:
    """Return what a drained thing carries; what comes by one neighbor alone cannot be told."""
    if drain.scope is DrainScope.POP:
        if sample is None or not sample.interval_s:
            return Carried()
        rates = sample.pop_rates
        return Carried(rate_bps=rates.in_bps, busier_bps=max(rates.in_bps, rates.out_bps))
    if drain.scope is DrainScope.TUNNEL:
        tunnels = {str(id_): tunnel for id_, tunnel in config.tunnels.items()}
        tunnel = tunnels.get(drain.name)
        return Carried(rate_bps=None if tunnel is None else devices.get(tunnel.device))
    if drain.scope is DrainScope.NEIGHBOR or connections is None:
        return Carried()
    region, _, backend = drain.name.partition("/")
    mine = (one for one in connections if one.region == region and backend in ("", one.backend))
    return Carried(connections=sum(one.count for one in mine))


def quiet(drain: Drain, carried: Carried, pace: OperatorConfig) -> bool:
    """Return whether it carries next to nothing; what is not measured is not known to be quiet."""
    if carried.connections is not None:
        return carried.connections == 0
    return is_quiet(carried.rate_bps, drain.baseline_bps, pace) is True
