"""How load is spread (docs/playbooks.md): standbys, playbooks, what of their steps is in force. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from anycastd.model.address import NeighborName, Prefix
from anycastd.model.attack import AttackState


class Announce(StrEnum):
    """Whether a POP announces a prefix, or a session carries prefixes, at all times or only when called on."""

    ALWAYS = "always"
    STANDBY = "standby"


class StepKind(StrEnum):
    """What a step of a playbook does, mildest first. The key in the file, the word in the journal."""

    MORE_ANNOUNCERS = "more_announcers"
    SELECTIVE_NEIGHBORS = "selective_neighbors"
    COMMUNITIES = "communities"
    PREPEND = "prepend"

    @property
    def sheds(self) -> bool:
        """Return whether traffic leaves this POP by it without anybody having joined: then others need room."""
        return self is not StepKind.MORE_ANNOUNCERS


class PlayMode(IntEnum):
    """Who decides that a step is taken, least first, so that `min` is the more careful: nobody, an operator, we."""

    OFF = 0
    ASK = 1
    AUTO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """All of what is written must hold for `for_s`: the prefix's state at least, this POP's load above a percentage."""

    state: AttackState | None = None
    load_percent: int | None = None
    for_s: float = 10.0

    def __str__(self) -> str:
        state = "" if self.state is None else f"state {self.state.name.lower()}"
        load = "" if self.load_percent is None else f"load above {self.load_percent} %"
        return f"{' and '.join(filter(None, (state, load)))} for {self.for_s:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayStep:
    """One step. No `neighbors`: every one that carries the prefix. `out`: withdrawn there, else depreferenced.

    After each of `verify_after_s` it is looked whether the prefix's load fell by `falls_percent`.
    """

    kind: StepKind
    neighbors: tuple[NeighborName, ...] = ()
    out: bool = False
    communities: tuple[str, ...] = ()
    prepend: int = 0
    mode: PlayMode = PlayMode.ASK
    falls_percent: int = 10
    verify_after_s: tuple[float, ...] = (10.0, 60.0, 300.0)

    def __str__(self) -> str:
        where = f" at {', '.join(self.neighbors)}" if self.neighbors else ""
        match self.kind:
            case StepKind.MORE_ANNOUNCERS:
                return "call on standbys"
            case StepKind.SELECTIVE_NEIGHBORS:
                return f"{'withdraw' if self.out else 'depreference'}{where}"
            case StepKind.COMMUNITIES:
                return f"communities {' '.join(self.communities)}{where}"
            case StepKind.PREPEND:
                return f"prepend {self.prepend}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """Steps in order, and when they are taken: any of `when`. Each is undone after `calm_s` of calm, the last first.

    No `prefixes`: every one that this POP announces.
    """

    name: str
    when: tuple[When, ...]
    steps: tuple[PlayStep, ...]
    about: str = ""
    prefixes: tuple[Prefix, ...] = ()
    calm_s: float = 300.0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadConfig:
    """`capacity_bps`: what this POP can carry; None: not known, and load is then no condition.

    Room elsewhere is looked for up to `full_percent` of a POP; one POP is taken to get `share_percent` of what moves. A
    load is calm below `calm_percent` of the level that a condition names. A standby stays for `standby_calm_s` after
    the last call, and then at DEPREF for `standby_leave_s`.
    """

    mode: PlayMode = PlayMode.AUTO
    capacity_bps: int | None = None
    calm_percent: int = 70
    standby_calm_s: float = 300.0
    standby_leave_s: float = 60.0
    playbooks: Mapping[str, Playbook] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extra:
    """What a neighbor's route of a prefix has besides what its level says."""

    neighbor: NeighborName
    prepend: int = 0
    communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shed:
    """What the steps in force do to one prefix here.

    `calls`: standbys are called on. `down`: neighbors that are told less (True: nothing). `words` name the steps.
    """

    calls: bool = False
    down: Mapping[NeighborName, bool] = field(default_factory=dict)
    extras: tuple[Extra, ...] = ()
    words: str = ""

    @property
    def sheds(self) -> bool:
        """Return whether traffic is sent away from here."""
        return bool(self.down or self.extras)


NOT_SHED = Shed()


@dataclass(frozen=True, slots=True)
class SpreadFacts:
    """What is in force: `steps` of each playbook, for how many prefixes each does what, and standbys by their stage."""

    steps: Mapping[str, int] = field(default_factory=dict)
    doing: Mapping[tuple[str, str], int] = field(default_factory=dict)
    standbys: Mapping[str, int] = field(default_factory=dict)
