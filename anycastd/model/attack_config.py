"""How an attack is seen and met (docs/attack.md). Times are seconds, rates are per second."""

from __future__ import annotations

from dataclasses import dataclass, field

from anycastd.model.absorb import AbsorbConfig
from anycastd.model.filter_config import FilterConfig
from anycastd.model.spread import SpreadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What comes in per second, of the POP or of one EIP: below the floors nothing is called unusual.

    Above a level it is an attack whatever is usual; None: there is no such level. Bits are of L3.
    """

    floor_packets: int
    floor_bits: int
    floor_connections: int
    level_packets: int | None = None
    level_bits: int | None = None
    level_connections: int | None = None

    def say_nothing_of(self, packets: float, bits: float, connections: float) -> bool:
        """Return whether rates are so low that they are neither unusual nor above a level."""
        return (
            packets <= self.floor_packets
            and bits <= self.floor_bits
            and connections <= self.floor_connections
            and (self.level_packets is None or packets <= self.level_packets)
            and (self.level_bits is None or bits <= self.level_bits)
            and (self.level_connections is None or connections <= self.level_connections)
        )


POP_BOUNDS = Bounds(floor_packets=50_000, floor_bits=1_000_000_000, floor_connections=10_000)
EIP_BOUNDS = Bounds(floor_packets=20_000, floor_bits=400_000_000, floor_connections=5_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectConfig:
    """When traffic is ELEVATED or an ATTACK.

    The POP's totals are read every `interval_s`. What is usual is learnt for `warm_up_s`, then rises by a factor of two
    in `doubles_s` at most, and falls by half in `halves_s`. Traffic is ELEVATED above `elevated_times` the usual and an
    ATTACK above `attack_times`, once it was for `confirm_s`; a state goes down one step when it was calm for `calm_s`.
    `samples_per_s` packets of what is not NORMAL are looked at.
    """

    enabled: bool = True
    interval_s: float = 1.0
    warm_up_s: float = 600.0
    doubles_s: float = 3600.0
    halves_s: float = 86400.0
    elevated_times: float = 4.0
    attack_times: float = 8.0
    confirm_s: float = 1.25
    calm_s: float = 60.0
    samples_per_s: int = 200
    pop: Bounds = POP_BOUNDS
    eip: Bounds = EIP_BOUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackConfig:
    """What is done about attacks."""

    detect: DetectConfig = field(default_factory=DetectConfig)
    absorb: AbsorbConfig = field(default_factory=AbsorbConfig)
    spread: SpreadConfig = field(default_factory=SpreadConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
