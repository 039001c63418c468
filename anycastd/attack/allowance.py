"""How often every EIP may be read beyond the usual interval: as often as it costs no more than a share of one core."""

from __future__ import annotations

SHARE = 0.01
AT_ONCE = 4.0
"""So many in a row: what the first seconds of an attack take."""


class Allowance:
    """Grows with time; a reading takes one."""

    def __init__(self) -> None:
        self._left, self._at_s = AT_ONCE, 0.0

    def take(self, now_s: float, cost_s: float) -> bool:
        """Return whether one may be taken now; `cost_s` is what one took of a processor."""
        grown = (now_s - self._at_s) * SHARE / cost_s if cost_s > 0.0 else AT_ONCE
        self._left, self._at_s = min(self._left + grown, AT_ONCE), now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
