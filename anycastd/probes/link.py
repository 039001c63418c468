"""Link check: what the kernel says of a device; no packet is sent."""

from __future__ import annotations

from anycastd.model.checks import LinkOptions, ProbeSpec
from anycastd.model.probe import Why
from anycastd.probes.attempt import Attempt, Owner, Reactor


class LinkAttempt(Attempt):
    """Looks once, and ends."""

    __slots__ = ("plan",)

    def __init__(self, owner: Owner, order: int, started_s: float, plan: LinkPlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan = plan

    def start(self, now_s: float) -> None:
        """Look, and end."""
        why, detail = self.plan.look()
        self.end(why, detail, now_s)


class LinkPlan:
    """A link check of one device."""

    def __init__(self, spec: ProbeSpec, options: LinkOptions, reactor: Reactor) -> None:
        self._device, self._reactor = spec.device or "", reactor
        self._address = spec.source if options.require_address else None

    def look(self) -> tuple[Why, str]:
        """Return what is wrong with the device, if anything, as netlink last told it."""
        link = self._reactor.links().get(self._device)
        if link is None:
            return Why.NO_DEVICE, f"no device {self._device!r}"
        if not link.usable:
            state = "up" if link.admin_up else "down"
            carrier = "carrier" if link.carrier else "no carrier"
            return Why.LINK_DOWN, f"{link.name}: {state}, {carrier}, operstate {link.operstate}"
        if self._address is not None and self._address not in link.addresses:
            return Why.ADDRESS_GONE, f"{link.name} does not carry {self._address}"
        return Why.ANSWERED, ""

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return LinkAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: nothing is shared."""
