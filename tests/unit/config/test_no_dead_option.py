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
WORDS = re.compile(r"is not ([\w, -]+ or [\w-]+)(?:;|$)", re.MULTILINE)
"""A refusal says which words are taken."""


def leaves(tree: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every scalar."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if inner is None:
        yield path
        return
    for key, value in inner:
        yield from leaves(value, (*path, key))


def others(text: str, refusal: str) -> Iterator[str]:
    """Yield other values that may do in place of this one; `refusal` is what was said of a wrong one."""
    yield from ELSE.get(text, ())
    for words in WORDS.findall(refusal):
        yield from re.split(", | or ", words)
    if found := re.search(r"\d+", text):
        for number in (int(found[0]) + 1, int(found[0]) * 2, int(found[0]) - 1, 1):
            yield text[: found.start()] + str(number) + text[found.end() :]
    if found := re.search(r"\d+(?=\D*$)", text):
        yield text[: found.start()] + str(int(found[0]) + 1) + text[found.end() :]


def schema_key(path: Path_) -> Path_:
    """Return the option that a path writes, whatever the names of the things it is written of."""
    named = {"regions", "neighbors", "prefixes", "eips", "tunnels", "backends", "checks", "targets"}
    return tuple(
        "*" if number and path[number - 1] in named else key for number, key in enumerate(path) if isinstance(key, str)
    )


def loaded(tree: Any, file: Path) -> Config | str:
    """Return the configuration, or what is wrong with it."""
    file.write_text(json.dumps(tree), encoding="utf-8")
    try:
        return replace(load(str(file)), digest="", warnings=())
    except ConfigError as error:
        return str(error)


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
    return json.dumps(tree) if isinstance(tree, bool) else str(tree)


def has_effect(before: Config, tree: Any, path: Path_, file: Path) -> bool | None:
    """Return whether another value at a path makes another configuration; None if no other was taken."""
    found, text = None, value_at(tree, path)
    refusal = loaded(typed(put(tree, path, f"{text}x")), file)
    if not isinstance(refusal, str):
        return refusal != before
    for value in others(text, refusal):
        after = refusal if value == text else loaded(typed(put(tree, path, value)), file)
        if not isinstance(after, str):
            if after != before:
                return True
            found = False
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
        assert isinstance(before, Config), before
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
    assert len(effective) > 300


def typed(tree: Any) -> Any:
    """Return a tree with its numbers and booleans as JSON has them."""
    if isinstance(tree, dict):
        return {key: typed(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [typed(value) for value in tree]
    if isinstance(tree, str) and re.fullmatch(r"true|false|-?(0|[1-9]\d{0,9})(\.\d{1,9})?", tree):
        return json.loads(tree)
    return tree
