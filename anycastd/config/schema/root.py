"""The whole file."""

from __future__ import annotations

from pydantic import Field

from anycastd.config.schema.api import ApiSection
from anycastd.config.schema.attack import AttackSection
from anycastd.config.schema.base import Section
from anycastd.config.schema.bfd import BfdSection
from anycastd.config.schema.bgp import BgpSection
from anycastd.config.schema.checks import Checks
from anycastd.config.schema.eips import Eips, EipSettings
from anycastd.config.schema.fleet import FleetSection
from anycastd.config.schema.journal import JournalSection
from anycastd.config.schema.kernel import KernelSection
from anycastd.config.schema.logging import LoggingSection
from anycastd.config.schema.neighbors import Neighbors
from anycastd.config.schema.operator import OperatorSection
from anycastd.config.schema.pop import PopSection
from anycastd.config.schema.prefixes import Prefixes
from anycastd.config.schema.probes import ProbesSection
from anycastd.config.schema.regions import Regions
from anycastd.config.schema.resolver import ResolverSection
from anycastd.config.schema.rules import Groups
from anycastd.config.schema.safety import SafetySection
from anycastd.config.schema.self_test import SelfTestSection
from anycastd.config.schema.store import StoreSection
from anycastd.config.schema.timers import TimersSection
from anycastd.config.values.fields import AbsolutePath

REQUIRED = {
    "pop": "who this POP is",
    "neighbors": "nothing can be announced without a neighbor",
    "regions": "nothing can be served without a region",
    "prefixes": "nothing can be announced without a prefix",
}
"""Sections that must be there, and why; optional to pydantic, so that their absence is told with all else."""


class Root(Section):
    """The file."""

    pop: PopSection | None = Field(default=None, description="Who this POP is.")
    neighbors: Neighbors = Field(default={}, description="The BGP sessions, by name.")
    checks: Checks = Field(default={}, description="Named checks.")
    regions: Regions = Field(default={}, description="Where the backends are, by name.")
    groups: Groups = Field(default={}, description="Named tunnels, backends, regions, checks that rules refer to.")
    prefixes: Prefixes = Field(default={}, description="What this POP may announce.")
    eips: Eips = Field(default={}, description="Accelerated addresses; others are made by the API.")
    fleet: FleetSection | None = Field(
        default=None, description="The other POPs; without it none can be asked, and health never withdraws."
    )
    timers: TimersSection = Field(default=TimersSection(), description="Pacing of all prefixes.")
    self_test: SelfTestSection = Field(default=SelfTestSection(), description="Whether it is us.")
    resolver: ResolverSection = Field(default=ResolverSection(), description="How names of targets are resolved.")
    probes: ProbesSection = Field(default=ProbesSection(), description="Where checks are carried out.")
    api: ApiSection = Field(default=ApiSection(), description="Where the daemon listens.")
    logging: LoggingSection = Field(default=LoggingSection(), description="The log.")
    bgp: BgpSection = Field(default=BgpSection(), description="How ExaBGP is run.")
    bfd: BfdSection = Field(default=BfdSection(), description="How the process that speaks BFD is run.")
    eip: EipSettings = Field(default=EipSettings(), description="Settings of all EIPs.")
    journal: JournalSection = Field(default=JournalSection(), description="What is kept of what happened.")
    operator: OperatorSection = Field(default=OperatorSection(), description="The pace of drains.")
    safety: SafetySection = Field(default=SafetySection(), description="The safety rules that have settings.")
    attack: AttackSection = Field(default=AttackSection(), description="How attacks are seen and met.")
    kernel: KernelSection = Field(default=KernelSection(), description="What marks kernel state as ours.")
    store: StoreSection = Field(default=StoreSection(), description="Where EIPs and dials are kept.")
    state_dir: AbsolutePath = Field(
        default="/var/lib/anycastd", description="Where the daemon keeps what must survive it."
    )
