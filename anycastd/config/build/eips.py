"""From `eips` and `eip` of a file to EIPs and their settings; the numbers of regions and ids of EIPs. Pure."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

from anycastd.config.schema.eips import EipSection, EipSettings, TargetSection, TargetUse
from anycastd.config.schema.root import Root
from anycastd.model.address import Address
from anycastd.model.eip import Bandwidth, Binding, Eip, EipId, Source, Target
from anycastd.model.topology import EipConfig

MAX_REGIONS = 255
BLOCKED_REASON = "blocked in the configuration file"


def region_number(name: str, written: int | None) -> int:
    """Return the number of a region, 1..255: the one written, else from the name alone, the same at every POP."""
    return written if written is not None else zlib.crc32(name.encode()) % MAX_REGIONS + 1


def eip_ids(addresses: Iterable[Address]) -> dict[Address, EipId]:
    """Return the id of each EIP of a file, from its address alone unless two addresses fall on the same one.

    Those are told apart in sorted order, so that an id moves only if such a pair comes or goes.
    """
    ids: dict[Address, EipId] = {}
    taken: set[str] = set()
    for address in sorted(addresses, key=lambda one: (one.version, int(one))):
        digits, tries = _digits(str(address)), 0
        while digits in taken:
            tries += 1
            digits = _digits(f"{address}#{tries}")
        taken.add(digits)
        ids[address] = EipId(f"eip-{digits}")
    return ids


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def eips_of(root: Root) -> dict[Address, Eip]:
    """Return the EIPs of a file in its order, whether or not they fit the rest of it."""
    ids = eip_ids(root.eips)
    return {address: _eip(ids[address], address, section) for address, section in root.eips.items()}


def _eip(id_: EipId, address: Address, section: EipSection) -> Eip:
    limits = section.bandwidth
    return Eip(
        id=id_,
        address=address,
        binding=None if section.bind is None else _binding(section, section.bind),
        bandwidth=Bandwidth(in_bps=limits.inward, out_bps=limits.outward, shaping=limits.shaping),
        ping=section.ping,
        tracking=section.tracking,
        blocked=section.blocked,
        blocked_reason=BLOCKED_REASON if section.blocked else "",
        description=section.description or "",
        source=Source.FILE,
    )


def _binding(section: EipSection, uses: tuple[TargetUse, ...]) -> Binding:
    return Binding(
        targets=tuple(_target(use) for use in uses),
        spread=section.spread,
        affinity=section.affinity,
        when_unhealthy=section.when_unhealthy,
    )


def _target(use: TargetUse) -> Target:
    if not isinstance(use, TargetSection):
        return Target(backend=use)
    return Target(backend=use.backend, weight=use.weight, priority=use.priority, mode=use.mode, ports=use.ports)


def eip_config(section: EipSettings) -> EipConfig:
    """Return the settings of all EIPs."""
    return EipConfig(
        region_hysteresis_ms=section.region_hysteresis_ms,
        seed=section.seed,
        uplinks=section.uplinks,
        keep_released_s=section.keep_released,
        traffic_interval_s=section.traffic_interval,
        history_s=section.history,
        max_eips=section.max_eips,
        max_targets=section.max_targets,
        conntrack_alarm_percent=section.conntrack_alarm,
        conntrack_max=section.conntrack_max,
        conntrack_liberal=section.conntrack_liberal,
    )
