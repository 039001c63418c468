"""Settings about attacks that do not fit together."""

from __future__ import annotations

from anycastd.config.rules.findings import Findings
from anycastd.config.values.eip import rate_text


def times_rise(found: Findings) -> None:
    """ELEVATED comes before ATTACK."""
    detect = found.root.attack.detect
    if detect.attack_times < detect.elevated_times:
        message = f"{detect.attack_times:g} is less than elevated_times ({detect.elevated_times:g})"
        found.error(("attack", "detect", "attack_times"), message)


def levels_lie_above_floors(found: Findings) -> None:
    """What is nothing unusual cannot always be an attack."""
    for name, bounds in (("pop", found.root.attack.detect.pop), ("eip", found.root.attack.detect.eip)):
        for what in ("packets", "bits", "connections"):
            level, floor = getattr(bounds, f"level_{what}", None), getattr(bounds, f"floor_{what}", None)
            if level is not None and floor is not None and level < floor:
                shown = (rate_text(level), rate_text(floor)) if what == "bits" else (str(level), str(floor))
                path = ("attack", "detect", name, f"level_{what}")
                found.error(path, f"{shown[0]} is less than floor_{what} ({shown[1]})")


RULES = (times_rise, levels_lie_above_floors)
