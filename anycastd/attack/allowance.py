"""How often every EIP may be read beyond the usual interval: as often as it costs no more than a share of one core."""

from __future__ import annotations

SHARE = 0.01
AT_ONCE = 4.0
"""So many in a row, if not said otherwise."""


class Allowance:
    """Grows with time; a reading takes one."""

    def __init__(self, at_once: float = AT_ONCE) -> None:
        self._most, self._left, self._at_s = at_once, at_once, 0.0

    def take(self, now_s: float, cost_s: float) -> bool:
        """Return whether one may be taken now; `cost_s` is what one took of a processor."""
        grown = (now_s - self._at_s) * SHARE / cost_s if cost_s > 0.0 else self._most
        self._left, self._at_s = min(self._left + grown, self._most), now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
