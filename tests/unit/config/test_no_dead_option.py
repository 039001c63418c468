"""Every option has an effect: another value of it makes another configuration.

exacheck accepts and documents `metric_down` and never reads it; ExaBGP's healthcheck ignored every option of a state
for a year, as a missed key silently was 0.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from anycastd.config.load import load
from anycastd.errors import ConfigError
from anycastd.model.topology import Config
from tests.unit.config.places import EXAMPLE, GOOD

pytestmark = pytest.mark.slow
FILES = (*sorted(GOOD.glob("*.yaml")), EXAMPLE)
Path_ = tuple[Any, ...]
MAX_TRIES = 3
"""In how many places an option is tried: one that names others (checks, backends) takes no other value anywhere."""
UNUSED = ("groups", "unused")
"""A group that no rule names, which its file is there to show: nothing in it can have an effect."""
ELSE = {
    "true": ["false"],
    "false": ["true"],
    "any": ["all"],
    "all": ["any"],
    "without_room": ["always"],
    "auto": ["never"],
}
WORDS = [
    "stay", "withdraw", "dnat", "routed", "masquerade", "debug", "json", "text", "ordered", "weighted", "nearest",
    "source", "tcp", "udp", "drop", "fail_open", "htb", "police", "pop", "GET", "HEAD", "GSHUT", "NXDOMAIN", "present",
    "missing", "any", "all", "off", "stateless", "connection", "none", "gateway", "lo", "PTR", "AAAA", "A", "AAAB",
    "ask",
]  # fmt: skip


def leaves(tree: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every scalar."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if inner is None:
        yield path
        return
    for key, value in inner:
        yield from leaves(value, (*path, key))


def others(text: str) -> Iterator[str]:
    """Yield other values that may do in place of this one."""
    yield from ELSE.get(text, ())
    if found := re.search(r"\d+", text):
        for number in (int(found[0]) + 1, int(found[0]) * 2, int(found[0]) - 1, 1):
            yield text[: found.start()] + str(number) + text[found.end() :]
    if found := re.search(r"\d+(?=\D*$)", text):
        yield text[: found.start()] + str(int(found[0]) + 1) + text[found.end() :]
    yield f"{text}x"
    if text.replace("_", "").isalpha():
        yield from (word for word in WORDS if word != text)


def schema_key(path: Path_) -> Path_:
    """Return the option that a path writes, whatever the names of the things it is written of."""
    named = {"regions", "neighbors", "prefixes", "eips", "tunnels", "backends", "checks", "targets"}
    return tuple(
        "*" if number and path[number - 1] in named else key for number, key in enumerate(path) if isinstance(key, str)
    )


def loaded(tree: Any, file: Path) -> Config | None:
    file.write_text(json.dumps(tree), encoding="utf-8")
    try:
        return replace(load(str(file)), digest="", warnings=())
    except ConfigError:
        return None


def put(tree: Any, path: Path_, value: str) -> Any:
    """Return a copy with another value at a path."""
    copy = json.loads(json.dumps(tree))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return copy


def value_at(tree: Any, path: Path_) -> str:
    for key in path:
        tree = tree[key]
    return str(tree)


def has_effect(before: Config, tree: Any, path: Path_, file: Path) -> bool | None:
    """Return whether another value at a path makes another configuration; None if no other was taken."""
    found = None
    for value in others(value_at(tree, path)):
        after = loaded(typed(put(tree, path, value)), file) if value != value_at(tree, path) else None
        if after is not None and after != before:
            return True
        found = found if after is None else False
    return found


@pytest.mark.timeout(300)
def test_no_option_is_without_effect(tmp_path: Path) -> None:
    shutil.copytree(GOOD, tmp_path / "good")
    scratch = tmp_path / "good" / "scratch.yaml"
    dead: dict[Path_, str] = {}
    effective: set[Path_] = set()
    tries = Counter[Path_]()
    for file in FILES:
        tree = typed(yaml.load(file.read_bytes(), yaml.BaseLoader))
        before = loaded(tree, scratch)
        assert before is not None, file
        for path in leaves(tree):
            if path[:2] == UNUSED:
                continue
            key = schema_key(path)
            tries[key] += 1
            if key in effective or tries[key] > MAX_TRIES:
                continue
            found = has_effect(before, tree, path, scratch)
            if found:
                effective.add(key)
                dead.pop(key, None)
            elif found is False:
                # it may depend on another one, that another file has
                dead[key] = f"{file.name}: {value_at(tree, path)}"
    assert dead == {}
    assert len(effective) > 80


def typed(tree: Any) -> Any:
    """Return a tree with its numbers and booleans as JSON has them."""
    if isinstance(tree, dict):
        return {key: typed(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [typed(value) for value in tree]
    if isinstance(tree, str) and re.fullmatch(r"true|false|-?(0|[1-9]\d{0,9})(\.\d{1,9})?", tree):
        return json.loads(tree)
    return tree
