"""What of standbys and playbooks is in force, as the control loop is told it and as the fleet is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anycastd.attack.standby import Stage, Standby
from anycastd.model.address import Prefix
from anycastd.model.decision import Level
from anycastd.model.spread import Announce, Shed
from anycastd.model.topology import PrefixSpec
from anycastd.policy.draft import Order

_LEVELS = {Stage.SILENT: Level.WITHDRAWN, Stage.LEAVING: Level.DEPREF, Stage.JOINED: Level.NORMAL}


@dataclass(frozen=True, slots=True)
class Spreading:
    """`sheds`: what steps do to each prefix; `standbys`: how far each is; `pressed`: prefixes under pressure.

    `steps`: how many are in force, of all playbooks for all prefixes.
    """

    sheds: Mapping[Prefix, Shed] = field(default_factory=dict)
    standbys: Mapping[Prefix, Standby] = field(default_factory=dict)
    pressed: frozenset[Prefix] = frozenset()
    steps: int = 0

    def standby(self, spec: PrefixSpec, level: Level) -> Order | None:
        """Return up to which level this POP is called on as a standby; None: it is none.

        Before it is known what it was, it stays at the level that it has.
        """
        if spec.announce is not Announce.STANDBY:
            return None
        if (one := self.standbys.get(spec.prefix)) is None:
            return Order(level, False, "a standby; it is not known yet whether it was called on")
        by = ", ".join(one.by)
        match one.stage:
            case Stage.JOINED:
                detail = f"called on by {by}" if by else "joined, as found"
            case Stage.LEAVING:
                detail = f"nobody calls on it any more ({by} did)"
            case Stage.SILENT:
                detail = "a standby, and not called on"
        return Order(_LEVELS[one.stage], False, detail)
