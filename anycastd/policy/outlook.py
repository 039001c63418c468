"""What placement must know of health, region by region, so that a region that did not change costs nothing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anycastd.model.address import BackendId, Family, RegionName, TunnelId
from anycastd.model.health import Health, HealthView, TunnelView
from anycastd.model.operator import Drained
from anycastd.model.topology import Config
from anycastd.policy.condition import carries

_NOTHING = Drained()
UNREACHED_MS = 1 << 30
"""In the place of a latency that is not known: behind every one that is."""


@dataclass(frozen=True, slots=True)
class RegionOutlook:
    """One region for one family; equal ones lead to equal placements.

    `backends` are those of the family, as seen through the tunnel that carries the region's packets: one that answers
    through another tunnel only is no use, for packets do not go there. UNHEALTHY also when every tunnel of the family
    is. `latency_ms` is that of the best tunnel (a usable one if there is any) in
    whole milliseconds, so that its small changes change nothing. `reached`: a tunnel of the family is usable.
    `degraded`: packets go there by a DEGRADED tunnel, for want of a HEALTHY one. A DEGRADED backend is HEALTHY here:
    the weights say what it gets.
    """

    backends: Mapping[BackendId, Health]
    reached: bool = False
    latency_ms: int = UNREACHED_MS
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """Everything a placement of one family depends on besides the binding. `dials` are in percent, by region."""

    config: Config
    regions: Mapping[RegionName, RegionOutlook]
    dials: Mapping[RegionName, int]
    suspect: bool = False
    """Many failures at once are believed to be our own: no failure moves anything meanwhile."""
    drained: Drained = _NOTHING
    """What an operator drained: a last resort, as a dial or weight of 0 is."""

    def dial(self, region: RegionName) -> int:
        """Return the traffic dial of a region: what an operator set at run time, else the configured one."""
        if region in self.drained.regions:
            return 0
        return self.dials.get(region, self.config.regions[region].traffic_dial_percentage)

    def rank(self, region: RegionName) -> tuple[int, bool, int, str]:
        """Return how near a region is, as a key to sort by: its priority, then well before degraded, then latency."""
        view = self.regions[region]
        return self.config.regions[region].priority, view.degraded, view.latency_ms, region

    def state(self, backend: BackendId) -> Health:
        """Return what a configured backend of the family is believed to be here."""
        return self.regions[self.config.backends[backend].region].backends[backend]


def best_of(tunnels: Sequence[TunnelView]) -> list[TunnelView]:
    """Return the HEALTHY ones; the DEGRADED ones if there is none."""
    healthy = [view for view in tunnels if view.health is Health.HEALTHY]
    return healthy or [view for view in tunnels if view.health is Health.DEGRADED]


def region_outlook(
    config: Config, name: RegionName, version: int, health: HealthView, best: TunnelId | None = None
) -> RegionOutlook:
    """Return what is believed of one configured region for a family; `best` is the tunnel that carries its packets.

    While that is not known, or not usable, a backend that is seen through any tunnel counts.
    """
    family = Family.IPV4_UNICAST if version == 4 else Family.IPV6_UNICAST
    region = config.regions[name]
    tunnels = [health.tunnels[id_] for id_ in region.tunnels if carries(config.tunnels[id_], family)]
    usable = [view for view in tunnels if view.health.is_usable]
    down = all(view.health is Health.UNHEALTHY for view in tunnels)
    known = [view.latency_ms for view in best_of(tunnels) or tunnels if view.latency_ms is not None]
    ways = [view for view in usable if view.id == best] or best_of(tunnels)
    backends = {}
    for id_ in region.backends:
        if config.backends[id_].address.version == version:
            view = health.backends[id_]
            through = [view.paths.get(tunnel.id, Health.UNKNOWN) for tunnel in ways]
            seen = any(state.is_usable for state in through)
            believed = view.health
            if len(through) == 1 and through[0].is_verdict:
                # another way of which nothing is known yet is no hope for packets that do not go there
                believed = through[0]
            elif view.health.is_usable:
                # it is, but not by the way that packets take: what is known of that way counts
                believed = through[0] if len(through) == 1 else Health.UNKNOWN
            backends[id_] = Health.HEALTHY if seen else Health.UNHEALTHY if down else believed
    degraded = bool(ways) and all(view.health is Health.DEGRADED for view in ways)
    return RegionOutlook(backends, bool(usable), round(min(known)) if known else UNREACHED_MS, degraded)


def outlook_of(
    config: Config,
    version: int,
    health: HealthView,
    dials: Mapping[RegionName, int],
    best: Mapping[tuple[RegionName, int], TunnelId | None] | None = None,
    drained: Drained = _NOTHING,
) -> Outlook:
    """Return what is believed of every region for a family; `best` are the tunnels that carry their packets."""
    ways = best or {}
    regions = {
        name: region_outlook(config, name, version, health, ways.get((name, version))) for name in config.regions
    }
    return Outlook(config, regions, dials, health.self_test.suspect_until_s is not None, drained)
