"""Checks of how this machine reaches the observers by which POPs see each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from anycastd.doctor.facts import Facts, RouteSeen
from anycastd.doctor.finding import Check, Trouble, error, warning
from anycastd.model.address import Address

MAIN = 254


def _way(facts: Facts, to: Address) -> RouteSeen | None:
    """Return the route by which packets to an address leave: the longest, then the one of the least metric."""
    ways = [
        route
        for route in facts.routes
        if route.table == MAIN and route.prefix.version == to.version and to in route.prefix
    ]
    return max(ways, key=lambda route: (route.prefix.prefixlen, -route.metric), default=None)


def _observer_paths(facts: Facts) -> Iterator[Trouble]:
    observers = [neighbor for neighbor in facts.config.neighbors.values() if neighbor.is_observer]
    tunnels = {tunnel.device for tunnel in facts.config.tunnels.values()}
    over = {}
    for neighbor in observers if facts.routes else ():
        way = _way(facts, neighbor.address)
        if way is None or way.kind != "unicast":
            yield error(f"{neighbor.name}: there is no route to {neighbor.address}", "ip route get ADDRESS")
        else:
            over[neighbor.name] = way.device
    if over and set(over.values()) <= tunnels:
        said = ", ".join(f"{name} over {device}" for name, device in over.items())
        yield warning(f"every observer is reached over a tunnel: {said}", "ip route add OBSERVER via TRANSIT-GATEWAY")


def _beacon_addresses(facts: Facts) -> Iterator[Trouble]:
    fleet = facts.config.fleet
    for network in fleet.beacon_networks if fleet is not None else ():
        for route in facts.routes:
            inside = route.prefix.version == network.version and route.prefix.network_address in network
            if inside and route.prefix.prefixlen > 0:
                what = f"{route.prefix} lies in the beacon network {network}, and is routed here: {route}"
                yield warning(what, "choose another network for `fleet`, the same on all POPs")


FLEET = (
    Check("observer-paths", "Ways to the observers",
          "A POP that loses its backbone must still see the others, or it stays although it cannot serve: at least one "
          "observer must be reached by another way than the tunnels.",
          "A route to one observer by a transit (`ip route add OBSERVER via GATEWAY`), or an observer elsewhere.",
          _observer_paths),
    Check("beacon-addresses", "Addresses of beacons",
          "Beacons need addresses that nothing else uses: a route of another program for one of them would carry "
          "packets that were never meant to be.",
          "Take another private network as `fleet.beacon_network4`, `beacon_network6`.", _beacon_addresses),
)  # fmt: skip
