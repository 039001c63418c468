"""The names that rules and groups may refer to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from anycastd.config.build.expand import DEVICE_CHECK, named, pairs
from anycastd.config.rules.findings import Findings, versions
from anycastd.config.schema.checks import CheckSection, CheckUse


@dataclass(frozen=True, slots=True)
class Known:
    """Names as written, by kind; `carries`: the IP versions of each valid tunnel."""

    names: Mapping[str, Collection[str]]
    carries: Mapping[str, Collection[int]]

    def says(self, kind: str, name: str, version: int) -> bool:
        """Return whether a thing says anything of an IP version: a tunnel that carries it, or a region with one.

        Of a tunnel that was left out for a mistake it is not known: it may.
        """
        if kind == "tunnel":
            return name not in self.carries or version in self.carries[name]
        ways = (carried for id_, carried in self.carries.items() if id_.partition("/")[0] == name)
        return kind != "region" or any(version in carried for carried in ways)

    def region_of(self, kind: str, name: str) -> str | None:
        """Return the region of a thing; None for a check of the self-test."""
        if kind != "check":
            return name.partition("/")[0]
        target, _, rest = name.partition("/")
        return None if target == "self" else rest.partition("/")[0]


def known_of(found: Findings) -> Known:
    """Return every name that is written, whether what it stands for is valid or not."""
    regions = found.draft.written("regions")
    return Known(
        names={
            "region": regions,
            "tunnel": [f"{name}/{key}" for name in regions for key in found.draft.written("regions", name, "tunnels")],
            "backend": [
                f"{name}/{key}" for name in regions for key in found.draft.written("regions", name, "backends")
            ],
            "check": list(_checks(found)),
        },
        carries={id_: versions(tunnel) for _, id_, tunnel in found.tunnels()},
    )


def _in_regions(found: Findings, key: str) -> list[str]:
    written = found.draft.written
    return [f"{region}/{name}" for region in written("regions") for name in written("regions", region, key)]


def _checks(found: Findings) -> Iterator[str]:
    """Yield the id of each check bound to its target."""
    for name, region in found.root.regions.items():
        for key, tunnel in region.tunnels.items():
            checks = [check for check, _ in _named(found, tunnel.checks)]
            if not any(section.link is not None for _, section in _named(found, tunnel.checks)):
                checks.append(DEVICE_CHECK.name)
            for local, _ in pairs(tunnel):
                yield from (f"tunnel/{name}/{key}/{check}{'#6' if local.version == 6 else ''}" for check in checks)
        for key, backend in region.backends.items():
            ways = [way for way, tunnel in region.tunnels.items() if backend.address.version in versions(tunnel)]
            for check, _ in _named(found, backend.checks):
                yield from (f"backend/{name}/{key}/{check}@{way}" for way in ways)
    for key, target in found.root.self_test.targets.items():
        yield from (f"self/{key}/{check}" for check, _ in _named(found, target.checks))


def _named(found: Findings, uses: tuple[CheckUse, ...]) -> Iterator[tuple[str, CheckSection]]:
    """Yield the valid checks of a target by name."""
    written = [use for use in uses if isinstance(use, str) or len(use.kinds) == 1]
    for name, use in named(written):
        section = found.root.checks.get(use) if isinstance(use, str) else use
        if section is not None:
            yield name, section
