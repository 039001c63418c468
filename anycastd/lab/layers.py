"""Merge the layers of a node (defaults < kinds < groups < node); every value remembers where it was written.

containerlab's rules (docs/manual/topo-def-file.md, docs/manual/nodes.md): a later layer replaces a single value,
maps merge by key, binds merge by destination, exec and cap-add add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anycastd.lab.refusals import Refusals, inside

SINGLE = (
    "cmd entrypoint group hostname image image-pull-policy kind network-mode privileged startup-delay".split()  # noqa: SIM905
)
MAPS = ("env", "healthcheck", "labels", "stages", "sysctls")
LISTS = ("binds", "cap-add", "exec")
NODE_KEYS = (*SINGLE, *MAPS, *LISTS)


@dataclass(frozen=True, slots=True)
class Found:
    """A value and the path where it was written."""

    value: object
    where: str


@dataclass(slots=True)
class Merged:
    """All layers of one node in one."""

    where: str
    single: dict[str, Found] = field(default_factory=dict)
    maps: dict[str, dict[str, Found]] = field(default_factory=lambda: {key: {} for key in MAPS})
    lists: dict[str, list[Found]] = field(default_factory=lambda: {key: [] for key in LISTS})

    def get(self, key: str) -> Found | None:
        """Give a single value, None where no layer has it or the last says null."""
        found = self.single.get(key)
        return None if found is None or found.value is None else found


def merge(where: str, layers: Iterable[tuple[str, Mapping[str, object]]], refusals: Refusals) -> Merged:
    """Merge (path, mapping) layers, the weakest first."""
    merged = Merged(where)
    for path, layer in layers:
        for key, value in layer.items():
            spot = inside(path, key)
            if key in MAPS:
                for sub, inner in refusals.mapping(value, spot).items():
                    merged.maps[key][sub] = Found(inner, inside(spot, sub))
            elif key in LISTS:
                items = [Found(item, f"{spot}[{at}]") for at, item in enumerate(refusals.sequence(value, spot))]
                merged.lists[key] = _joined(key, merged.lists[key], items)
            elif key in SINGLE:
                merged.single[key] = Found(value, spot)
    return merged


def _joined(key: str, before: list[Found], added: list[Found]) -> list[Found]:
    if key != "binds":
        known = [found.value for found in before]
        return before + [found for found in added if found.value not in known]
    by_target = {_target(found.value): found for found in before}
    by_target.update({_target(found.value): found for found in added})
    return list(by_target.values())


def _target(bind: object) -> str:
    parts = bind.split(":") if isinstance(bind, str) else []
    return parts[1].rstrip("/") if len(parts) > 1 else repr(bind)
