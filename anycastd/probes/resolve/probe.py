"""A probe of a name: it takes an address of the name, then it is the probe of that address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from anycastd.model.address import Address
from anycastd.model.checks import NameTarget, ProbeSpec
from anycastd.model.probe import Why
from anycastd.probes.attempt import Attempt, Owner, Plan
from anycastd.probes.resolve.lookup import Lookup, Lookups

MAX_PLANS = 8


class NamedAttempt(Attempt):
    """Wraps the probe of an address. That there is none in time is never the target's fault."""

    __slots__ = ("address", "inner", "plan", "waited")

    def __init__(self, owner: Owner, order: int, started_s: float, plan: NamedPlan) -> None:
        super().__init__(owner, order, started_s)
        self.plan, self.waited = plan, False
        self.inner: Attempt | None = None
        self.address: Address | None = None

    def start(self, now_s: float) -> None:
        """Begin with an address that is known, or wait for one."""
        lookup = self.plan.lookup
        addresses = lookup.addresses(now_s)
        if addresses:
            self._begin(addresses, now_s)
        elif lookup.is_asking:
            self.waited = True
            lookup.wait(self)
        else:
            self.unresolved(lookup.detail, now_s)

    def resolved(self, addresses: tuple[Address, ...], now_s: float) -> None:
        """Begin; what was waited is no part of the target's time to answer."""
        self.started_s = now_s
        self._begin(addresses, now_s)

    def unresolved(self, detail: str, now_s: float) -> None:
        """End: there is no address."""
        self.end(Why.NOT_RESOLVED, f"{self.plan.name}: {detail}", now_s)

    def _begin(self, addresses: tuple[Address, ...], now_s: float) -> None:
        self.address = self.plan.choose(addresses)
        self.inner = self.plan.of(self.address).attempt(self, self.order, now_s)
        # it judges by the kernel's stamps what came in time
        self.inner.deadline_s = self.deadline_s
        self.inner.start(now_s)

    def ended(self, attempt: Attempt, why: Why, detail: str, now_s: float) -> None:
        """End as the probe of the address did."""
        if why is Why.TIMEOUT and self.waited:
            # the resolver had part of its time
            self.unresolved("no address in time", now_s)
            return
        self.note = attempt.note
        where = f"{self.plan.name} is {self.address}"
        self.end(why, f"{where}: {detail}" if detail else where, now_s)

    def last_look(self) -> bool:
        """Look as the probe of the address does."""
        if self.inner is not None:
            self.inner.last_look()
        return self.over

    def on_timeout(self, now_s: float) -> None:
        """End as the probe does, unless the resolver had part of its time."""
        if self.inner is None or self.waited:
            self.unresolved("no address in time", now_s)
        else:
            self.inner.on_timeout(now_s)

    def close(self) -> None:
        """Release what the probe of the address holds."""
        self.plan.lookup.forget(self)
        if self.inner is not None:
            self.inner.cancel()


class NamedPlan:
    """A check of a name. Of several addresses one is used, the lowest, and kept as long as the name has it."""

    def __init__(
        self, spec: ProbeSpec, target: NameTarget, lookups: Lookups, plan: Callable[[ProbeSpec], Plan]
    ) -> None:
        self.name, self._spec, self._lookups, self._plan = target.name, spec, lookups, plan
        self.lookup: Lookup = lookups.join(target)
        self._chosen: Address | None = None
        self._plans: dict[Address, Plan] = {}

    def choose(self, addresses: tuple[Address, ...]) -> Address:
        """Return the address to use now."""
        if self._chosen is None or self._chosen not in addresses:
            self._chosen = addresses[0]
        return self._chosen

    def of(self, address: Address) -> Plan:
        """Return the plan of an address; those of addresses long left are closed."""
        plan = self._plans.pop(address, None)
        if plan is None:
            plan = self._plan(replace(self._spec, target=address))
            if len(self._plans) >= MAX_PLANS:
                self._plans.pop(next(iter(self._plans))).close()
        # the one used last is the last to go
        self._plans[address] = plan
        return plan

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return NamedAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Leave the name and all its addresses."""
        self._lookups.leave(self.lookup)
        for plan in self._plans.values():
            plan.close()
        self._plans.clear()
