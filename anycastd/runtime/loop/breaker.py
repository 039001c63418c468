"""The circuit breaker's count (S28): how many prefixes health took off the air of late. The rule is in policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from anycastd.model.address import Prefix
from anycastd.model.decision import Decision, Level, Memory, Reason
from anycastd.model.safety import BreakerConfig, BreakerView
from anycastd.model.topology import Config


class Breaker:
    """Trips when one more wants to go than may; lets through again when none has wanted to for a while, or when reset.

    A restart begins with what the memories say, else a daemon that dies again and again would let as many go each time.
    """

    def __init__(self, memories: Mapping[Prefix, Memory], now_s: float) -> None:
        went = (m.level_since_s for m in memories.values() if m.was_announced and m.level is Level.WITHDRAWN)
        self._went_s = deque(sorted(went))
        self._held = {prefix: None for prefix, memory in memories.items() if memory.held_by_breaker}
        self._tripped_s = now_s if self._held else None
        self._quiet_since_s: float | None = None
        self._spec: BreakerConfig | None = None

    def allowance(self, config: Config, now_s: float) -> int:
        """Return how many more may go now."""
        spec = config.safety.breaker
        if self._spec is not None and spec != self._spec:
            # who raises the limit wants what is held to go
            self.reset()
        self._spec = spec
        while self._held and (first := next(iter(self._held))) not in config.prefixes:
            self._let_go(first, now_s)
        if self._quiet_since_s is not None and now_s >= self._quiet_since_s + spec.quiet_s:
            self.reset()
        while self._went_s and self._went_s[0] <= now_s - spec.window_s:
            self._went_s.popleft()
        return 0 if self._tripped_s is not None else max(spec.limit(len(config.prefixes)) - len(self._went_s), 0)

    @property
    def is_tripped(self) -> bool:
        """Return whether it keeps prefixes on the air."""
        return self._tripped_s is not None

    def words(self) -> str:
        """Return why nothing may go now."""
        spec = self._spec or BreakerConfig()
        return f"{len(self._went_s)} prefixes left within {spec.window_s:g} s; no more may go at once"

    def note(self, before: Level, decision: Decision, now_s: float) -> None:
        """Take the newest decision on a prefix that was at the level `before`."""
        if decision.hold is Reason.CIRCUIT_BREAKER:
            self._held[decision.prefix] = None
            self._quiet_since_s = None
            if self._tripped_s is None:
                self._tripped_s = now_s
        elif decision.prefix in self._held:
            self._let_go(decision.prefix, now_s)
        if before >= Level.DEPREF and decision.level < Level.DEPREF and not decision.reason.is_ordered:
            self._went_s.append(now_s)

    def _let_go(self, prefix: Prefix, now_s: float) -> None:
        del self._held[prefix]
        if not self._held and self._tripped_s is not None:
            self._quiet_since_s = now_s

    def reset(self) -> None:
        """Let as many go again as may."""
        self._tripped_s = self._quiet_since_s = None
        self._went_s.clear()

    def view(self, config: Config, now_s: float) -> BreakerView:
        """Return what status shows of it."""
        allowance, spec = self.allowance(config, now_s), config.safety.breaker
        limit = spec.limit(len(config.prefixes))
        went = len(self._went_s) if self._tripped_s is not None else limit - allowance
        return BreakerView(self._tripped_s, went, limit, spec.window_s, len(self._held))
