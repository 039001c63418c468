"""S4: many different targets turning bad at once is first suspected to be our own machine. Pure; time is a parameter.

It counts only with `min_targets` different targets in `min_regions` regions within `window_s`, and while a self-test
target (gateway, uplink) fails too. Without self-test targets nothing is ever suspected: a backbone that dies at once
looks the same from inside, and suspicion without evidence would only delay the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from anycastd.model.address import Address, RegionName
from anycastd.model.health import CheckState, Health, SelfTestView
from anycastd.model.topology import SelfTest


@dataclass(frozen=True, slots=True)
class CommonCause:
    """The targets that turned bad of late, and how long we are suspect."""

    spec: SelfTest
    turned_bad: tuple[tuple[float, Address, RegionName], ...] = ()
    suspect_until_s: float | None = None
    detail: str = ""

    def saw_bad(self, now_s: float, target: Address, region: RegionName) -> CommonCause:
        """Return the machine after one target turned bad."""
        # regions may use the same private addresses: a target is an address in a region
        new = (now_s, target, region)
        recent = (old for old in self.turned_bad if now_s - old[0] <= self.spec.window_s and old[1:] != new[1:])
        return replace(self, turned_bad=(*recent, new))

    def wake(self, now_s: float, self_checks: Iterable[CheckState]) -> CommonCause:
        """Return the machine after looking at the self-test targets."""
        failing = [state.id for state in self_checks if state.health is Health.UNHEALTHY]
        recent = tuple(entry for entry in self.turned_bad if now_s - entry[0] <= self.spec.window_s)
        targets, regions = {entry[1:] for entry in recent}, {entry[2] for entry in recent}
        if failing and len(targets) >= self.spec.min_targets and len(regions) >= self.spec.min_regions:
            detail = (
                f"{len(targets)} targets in {len(regions)} regions failed together and so does {', '.join(failing)}"
            )
            return replace(self, turned_bad=recent, suspect_until_s=now_s + self.spec.hold_s, detail=detail)
        over = self.suspect_until_s is not None and now_s >= self.suspect_until_s and not failing
        if over:
            return replace(self, turned_bad=recent, suspect_until_s=None, detail="")
        return replace(self, turned_bad=recent)

    def view(self, self_checks: Iterable[CheckState]) -> SelfTestView:
        """Return what status shows of the self-test."""
        states = [state.health for state in self_checks]
        order = (Health.UNHEALTHY, Health.UNKNOWN, Health.INITIAL, Health.DEGRADED, Health.HEALTHY)
        health = next((one for one in order if one in states), Health.INITIAL)
        return SelfTestView(health, self.suspect_until_s, self.detail)
