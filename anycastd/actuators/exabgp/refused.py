"""Actions that were refused, so that the same is not said again at once. Pure."""

from __future__ import annotations

from anycastd.actuators.exabgp.queue import Key, key_of
from anycastd.model.bgp import BgpAction

AGAIN_AFTER_S = 10.0


class Refusals:
    """The last refused action for each neighbor and prefix."""

    def __init__(self) -> None:
        self._until_s: dict[Key, tuple[BgpAction, float]] = {}

    def add(self, action: BgpAction, now_s: float) -> None:
        """Remember a refusal."""
        self._until_s[key_of(action)] = (action, now_s + AGAIN_AFTER_S)

    def may(self, action: BgpAction, now_s: float) -> bool:
        """Return whether the action is another than the one refused, or enough time has passed."""
        held = self._until_s.get(key_of(action))
        return held is None or held[0] != action or now_s >= held[1]

    def clear(self, action: BgpAction) -> None:
        """Forget: something was accepted."""
        self._until_s.pop(key_of(action), None)
