"""Names in an entry that was left out for another mistake: those that do not exist are told in the same run.

Only names are looked at, as they are written: what else an entry breaks cannot be told before it is valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anycastd.config.binding_rules import EipRule, problems_of
from anycastd.config.document import Path, Value, dotted
from anycastd.config.near import did_you_mean
from anycastd.config.rules.eips import eip_facts
from anycastd.config.rules.findings import Findings
from anycastd.config.rules.known import known_of
from anycastd.config.values.eip import read_backend
from anycastd.model.address import Address, BackendId
from anycastd.model.eip import Binding, Eip, EipId, Target

_SINGULAR = {"neighbors": "neighbor", "regions": "region", "tunnels": "tunnel", "backends": "backend"}
_KINDS = ("region", "tunnel", "backend", "group")
_OF_NAMES = frozenset({EipRule.UNKNOWN_BACKEND, EipRule.OTHER_FAMILY, EipRule.BACKEND_TWICE, EipRule.OUTSIDE_PREFIXES})


def names(found: Findings) -> None:
    """Every neighbor, region, tunnel, backend and group that such an entry names exists."""
    if not found.draft.dropped:
        return
    written = found.draft.written
    known: Mapping[str, Any] = {
        **known_of(found).names, "neighbor": written("neighbors"), "group": written("groups"),
    }  # fmt: skip
    told = _told(found)
    for path in found.draft.dropped:
        if path[0] not in ("prefixes", "groups", "regions"):
            continue
        for place, kind, name in _named(_at(found.draft.document.value, path), path):
            if name not in known[kind] and dotted(place) not in told:
                found.error(place, f"no {kind} is called '{name}'{did_you_mean(name, known[kind])}")


def _told(found: Findings) -> frozenset[str]:
    return frozenset(problem.path for problem in found.draft.problems)


def _at(value: Value, path: Path) -> Value:
    for part in path:
        value = value.get(str(part)) if isinstance(value, dict) else None
    return value


def _named(value: Value, path: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield the place, kind and text of each name in a part of the file."""
    if isinstance(value, list):
        for number, below in enumerate(value):
            yield from _named(below, (*path, number))
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        place = (*path, key)
        kind = "region" if key == "of" else _SINGULAR.get(key)
        if key in _KINDS and isinstance(below, str):
            yield place, key, below
        elif kind is not None and isinstance(below, list):
            yield from (((*place, number), kind, one) for number, one in enumerate(below) if isinstance(one, str))
        if isinstance(below, (dict, list)):
            yield from _named(below, place)


def bound(found: Findings) -> None:
    """Every backend that such an EIP is bound to exists, once, and is of its family."""
    mine = [(text, address) for text, address in found.eip_spellings() if ("eips", text) in found.draft.dropped]
    if not mine:
        return
    facts, told = eip_facts(found), _told(found)
    for text, address in mine:
        targets = dict(_targets(_at(found.draft.document.value, ("eips", text, "bind"))))
        for broken in problems_of(_eip(address, targets), facts):
            if broken.rule not in _OF_NAMES:
                continue
            place: Path = ("eips", text)
            if broken.path:
                place = (*place, "bind", tuple(targets)[int(broken.path[1])], "backend")
                place = place if found.has(place) else place[:-1]
            if dotted(place) not in told:
                found.error(place, broken.message, at_key=not broken.path)


def _targets(bind: Value) -> Iterator[tuple[int, BackendId]]:
    """Yield the backends of a binding that are written as one is, each with its number in the list."""
    for number, one in enumerate(bind if isinstance(bind, list) else ()):
        try:
            yield number, read_backend(one.get("backend") if isinstance(one, dict) else one)
        except ValueError:
            continue


def _eip(address: Address, targets: Mapping[int, BackendId]) -> Eip:
    binding = Binding(targets=tuple(Target(backend=backend) for backend in targets.values())) if targets else None
    return Eip(id=EipId(""), address=address, binding=binding)


RULES = (names, bound)
