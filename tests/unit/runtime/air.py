"""Beacons between POPs with desks of playbooks: what each calls for goes through the real codec, ears and view."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network

from anycastd.fleet.codec import parts_of, read, route_of
from anycastd.fleet.own import Own
from anycastd.fleet.seen import Ears, Seen, down, hear, up
from anycastd.fleet.standing import View, beacon_of
from anycastd.model.address import Prefix
from anycastd.model.fleet import Claim, FleetSpec

RR = "rr1 ipv4"
BOOT = 100


@dataclass
class Antenna:
    """What one POP says and hears."""

    spec: FleetSpec
    seen: Seen
    now_s: float
    own: Own = field(default_factory=lambda: Own(BOOT))
    claims: dict[Prefix, Claim] = field(default_factory=dict)
    calls: frozenset[Prefix] = frozenset()
    seq: int = 0

    def call(self, prefixes: frozenset[Prefix]) -> None:
        self.calls = prefixes

    def view(self) -> View:
        return View(self.seen, self.spec, self.own, self.now_s)

    def callers(self, prefix: Prefix) -> tuple[str, ...] | None:
        return self.view().callers(prefix)

    def silent(self, prefix: Prefix) -> tuple[str, ...]:
        return self.view().silent(prefix)


class Air:
    """One reflector between all of them; whoever is `mute` does not get through."""

    def __init__(self, names: tuple[str, ...], now_s: float) -> None:
        self.mute: set[str] = set()
        pops = dict(enumerate(names, start=1))
        spec = FleetSpec(number=1, pops=pops, base=ip_network("10.255.0.0/24"), asn=64500)
        seen = up(Seen.deaf(now_s), RR, now_s)
        self.pops = {name: Antenna(replace(spec, number=number), seen, now_s) for number, name in pops.items()}

    def tick(self, now_s: float) -> None:
        """Have everybody say a beacon, and hear those of the others."""
        for one in self.pops.values():
            one.now_s, one.seq = now_s, one.seq + 1
        for name, one in self.pops.items():
            said = beacon_of(one.spec, one.own, one.seen, one.seq, 1, one.claims, calls=one.calls)
            routes = [route_of(one.spec, part) for part in parts_of(said)]
            for other in self.pops.values():
                if other is one or name in self.mute:
                    continue
                for route in routes:
                    ears = Ears(other.spec, other.own.boot, other.seq)
                    other.seen = hear(other.seen, ears, RR, read(other.spec, *route), now_s)

    def cut(self, name: str) -> None:
        """Have a POP's session with the reflector go down."""
        one = self.pops[name]
        one.seen = down(one.seen, one.spec, RR, one.now_s)

    def mend(self, name: str) -> None:
        """Have it come up."""
        one = self.pops[name]
        one.seen = up(one.seen, RR, one.now_s)
