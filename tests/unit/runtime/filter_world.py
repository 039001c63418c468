"""A real desk of blackholes and flow rules, on a real file, in front of what stands for ExaBGP."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from anycastd.api.ports import Clocks, FilterRequest, OrderDone
from anycastd.model.attack_config import AttackConfig
from anycastd.model.bgp import (
    Announce,
    AnnounceFlow,
    BgpAction,
    BgpObserved,
    FilterKey,
    FlowRoute,
    Route,
    Withdraw,
    WithdrawFlow,
)
from anycastd.model.filter_config import FilterConfig
from anycastd.model.filters import Filter
from anycastd.model.flow import FlowMatch
from anycastd.model.topology import Config
from anycastd.resources.filters import FilterCommand, Release
from anycastd.resources.refusal import Code, Refused
from anycastd.runtime.alarms import Reported
from anycastd.runtime.kept import memory_file
from anycastd.runtime.orders.filter_desk import FilterDesk
from tests.unit.runtime.world import UP, config

EIP = ip_address("203.0.113.10")
UDP = FlowMatch(destination=ip_network("203.0.113.10"), protocols=(17,), destination_ports=((53, 53),))


@dataclass
class Bgp:
    """What ExaBGP would hold, told at once."""

    filters: dict[FilterKey, Route | FlowRoute] = field(default_factory=dict)
    said: list[BgpAction] = field(default_factory=list)
    owed: frozenset[Any] = frozenset()

    @property
    def observed(self) -> BgpObserved:
        return BgpObserved(routes={UP: {}}, filters={UP: dict(self.filters)}, eor_owed=self.owed)

    def apply(self, actions: Any) -> None:
        for action in actions:
            self.said.append(action)
            match action:
                case Announce():
                    self.filters[action.route.prefix] = action.route
                case AnnounceFlow():
                    self.filters[action.flow.key] = action.flow
                case Withdraw():
                    del self.filters[action.prefix]
                case WithdrawFlow():
                    del self.filters[action.flow.key]


class Scene:
    """A desk, its clock and what it leads."""

    def __init__(self, directory: Path, *, its_config: Config | None = None, bgp: Bgp | None = None) -> None:
        base = its_config or with_filter()
        self.reported, self.bgp = Reported(), bgp or Bgp()
        self.now_s = memory_file.clocks().monotonic_s
        self.stepped_s = 0.0
        """By how much the wall clock was set."""
        self.local = self.ends = 0
        self.notes: list[tuple[str, str]] = []
        self.desk = FilterDesk(replace(base, state_dir=str(directory)), self.reported, self._clocks)
        self.held = ""
        self.desk.on_note = self._note
        self.desk.begin(self.bgp, hold=lambda: self.held, on_local=self._local, on_ends=self._ends)
        self.desk.follow(self.now_s)

    def _clocks(self) -> Clocks:
        return Clocks(self.now_s, 1_790_000_000.0 + self.now_s + self.stepped_s)

    def _note(self, one: Filter, what: str, detail: str) -> None:
        self.notes.append((one.id.partition("-")[0], what))

    def _local(self) -> None:
        self.local += 1

    def _ends(self) -> None:
        self.ends += 1

    async def order(self, command: FilterCommand | Release, **more: Any) -> OrderDone:
        done = await self.desk.change(FilterRequest(command=command, owner="ann", **more))
        assert isinstance(done, OrderDone), done
        return done

    async def refusal(self, command: FilterCommand | Release, **more: Any) -> Code:
        done = await self.desk.change(FilterRequest(command=command, owner="ann", **more))
        assert isinstance(done, Refused), done
        return done.first.code

    async def wait(self, seconds: float) -> None:
        self.now_s += seconds
        await self.desk.look()


def with_filter(**pace: Any) -> Config:
    base = config()
    neighbor = replace(base.neighbors[UP], blackhole=True, flowspec=True)
    attack = AttackConfig(filter=FilterConfig(**{"release_each_s": 1.0, **pace}))
    return replace(base, neighbors={UP: neighbor}, attack=attack)


def hole(number: int = 0, **more: Any) -> FilterCommand:
    return FilterCommand(**{"owner": "ann", "reason": "flood", "address": EIP + number, **more})


def flow(**more: Any) -> FilterCommand:
    return FilterCommand(**{"owner": "ann", "reason": "flood", "match": UDP, **more})
