"""EIPs: addresses written once, each by the rules that the API has too, and what only the file can get wrong."""

from __future__ import annotations

from collections.abc import Mapping

from anycastd.config.binding_rules import BindingFacts, PrefixSet, problems_of
from anycastd.config.build.eips import eips_of
from anycastd.config.document import Path
from anycastd.config.rules.findings import Findings
from anycastd.model.address import Address, BackendId, RegionName
from anycastd.model.eip import Shaping

_UNKNOWN = "?"


def once(found: Findings) -> None:
    """An address has one section, in whatever spelling."""
    seen: dict[Address, str] = {}
    for text, address in found.eip_spellings():
        if address in seen:
            found.error(("eips", text), f"is the same address as {seen[address]}", at_key=True)
        seen.setdefault(address, text)


def not_too_many(found: Findings) -> None:
    """The file alone stays within the quota of all."""
    count, limit = len(found.draft.written("eips")), found.root.eip.max_eips
    if count > limit and found.whole("eip"):
        found.error(("eips",), f"{count} EIPs; eip.max_eips allows {limit}", at_key=True)


def each(found: Findings) -> None:
    """What an EIP alone can break."""
    if not found.root.eips:
        return
    facts, paths = eip_facts(found), found.eip_paths()
    for address, eip in eips_of(found.root).items():
        path = paths[address]
        for broken in problems_of(eip, facts):
            place = (*path, *broken.path)
            # a backend that is only a name has no keys of its own
            if broken.path[2:] == ("backend",) and not found.has(place):
                place = place[:-1]
            found.error(place, broken.message, at_key=not broken.path)


def eip_facts(found: Findings) -> BindingFacts:
    """Return what the rules of an EIP need to know of the file."""
    root, told = found.root, found.whole("eip")
    return BindingFacts(
        prefixes=PrefixSet(root.prefixes) if root.prefixes and found.whole("prefixes") else None,
        backends=_backends(found),
        modes={RegionName(name): region.mode for name, region in root.regions.items()},
        ours=_ours(found),
        uplinks=root.eip.uplinks if told else (_UNKNOWN,),
        max_targets=root.eip.max_targets if told else len(found.draft.document.values),
    )


def _backends(found: Findings) -> Mapping[BackendId, Address | None]:
    """Return every backend that is written, with its address where that is valid."""
    backends: dict[BackendId, Address | None] = {
        BackendId(f"{region}/{name}"): None
        for region in found.draft.written("regions")
        for name in found.draft.written("regions", region, "backends")
    }
    for region, section in found.root.regions.items():
        backends |= {BackendId(f"{region}/{name}"): one.address for name, one in section.backends.items()}
    return backends


def _ours(found: Findings) -> Mapping[Address, str]:
    ours = {neighbor.local_address: f"neighbor '{name}'" for name, neighbor in found.root.neighbors.items()}
    for _, id_, tunnel in found.tunnels():
        ours |= {local: id_ for local in (tunnel.local, tunnel.local6) if local is not None}
    return ours


def without_effect(found: Findings) -> None:
    """What is written and does nothing."""
    paths = found.eip_paths()
    for address, section in found.root.eips.items():
        path = paths[address]
        if section.bind is None:
            for key in ("spread", "affinity", "when_unhealthy"):
                if found.has((*path, key)):
                    found.warn((*path, key), "has no meaning without bind")
        if section.bandwidth.shaping is Shaping.HTB and section.bandwidth.outward is None:
            found.warn(
                (*path, "bandwidth", "shaping"), "htb shapes what leaves to clients, and there is no limit `out`"
            )


def uplinks(found: Findings) -> None:
    """Devices to the clients are not those to the regions."""
    tunnels = {tunnel.device: id_ for _, id_, tunnel in found.tunnels()}
    seen: set[str] = set()
    for number, device in enumerate(found.root.eip.uplinks):
        place: Path = ("eip", "uplinks", number)
        if device in tunnels:
            found.error(place, f"'{device}' is the device of tunnel {tunnels[device]}, which leads away from clients")
        if device in seen:
            found.error(place, f"'{device}' is listed twice")
        seen.add(device)


RULES = (once, not_too_many, each, without_effect, uplinks)
