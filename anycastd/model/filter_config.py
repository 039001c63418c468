"""How blackholes and flow rules are bounded (docs/attack.md). Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass

from anycastd.model.filters import Auto


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig:
    """S25: a blackhole ends after `blackhole_ttl_s` at the latest, and there are `max_blackholes` at once; flow rules
    likewise.

    `warn_before_s`: how long before one ends an alarm says so. `release_each_s`: that many seconds lie between two that
    end at the same moment. `auto`: what becomes of the rule that fits an attack, if it covers `share_percent` of it.
    """

    auto: Auto = Auto.PROPOSE
    blackhole_ttl_s: float = 3600.0
    max_blackholes: int = 10
    flow_ttl_s: float = 3600.0
    max_flow_rules: int = 32
    warn_before_s: float = 300.0
    release_each_s: float = 2.0
    share_percent: int = 70
