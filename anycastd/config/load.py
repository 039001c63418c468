"""Read a configuration file. The only effects are reading it and looking at (never into) the files it names."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from anycastd.config.build.check_options import absolute
from anycastd.config.build.config import build, digest_of
from anycastd.config.check import check
from anycastd.config.document import Document, Value, parse
from anycastd.config.playbooks import playbooks_of, problems_alone
from anycastd.config.source import read_text
from anycastd.errors import ConfigError, Problem
from anycastd.model.topology import Config


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file came to: a configuration, or the problems that refuse it; warnings either way."""

    config: Config | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def load(path: str) -> Config:
    """Return the configuration of a file; raise ConfigError with every problem found."""
    examined = examine(path)
    if examined.config is None:
        raise ConfigError(examined.problems)
    return examined.config


def examine(path: str) -> Examined:
    """Return everything there is to say of a file; never raises for what is in it."""
    try:
        text = read_text(path)
    except ConfigError as error:
        return Examined(None, error.problems)
    with _no_search_for_cycles():
        return _examined(text, path)


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    # there are none in a file's half a million values, and looking for them takes a third of the time
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _examined(text: str, path: str) -> Examined:
    directory = str(Path(path).absolute().parent)
    document = parse(text, path)
    verdict = check(document, directory, Path.stat)
    if verdict.root is None:
        # whoever mends this file is told of the others' mistakes too
        others = problems_alone(absolute(name, directory) or "" for name in _playbooks_named(document))
        return Examined(None, (*verdict.problems, *others), verdict.warnings)
    config = build(
        verdict.root,
        path=path,
        directory=directory,
        digest=digest_of(text),
        warnings=tuple(str(warning) for warning in verdict.warnings),
    )
    names = verdict.root.attack.spread.playbooks
    try:
        books = playbooks_of(config, tuple(absolute(name, directory) or "" for name in names))
    except ConfigError as error:
        return Examined(None, error.problems, verdict.warnings)
    attack = replace(config.attack, spread=replace(config.attack.spread, playbooks=books))
    return Examined(replace(config, attack=attack), (), verdict.warnings)


def _playbooks_named(document: Document) -> tuple[str, ...]:
    """Return the files of playbooks that a document names, whatever else is wrong with it."""
    here: Value = document.value
    for key in ("attack", "spread", "playbooks"):
        here = here.get(key) if isinstance(here, dict) else None
    return tuple(name for name in here if isinstance(name, str) and name) if isinstance(here, list) else ()


def problems(path: str) -> tuple[Problem, ...]:
    """Return every error of a file, in its order, then those of files that it names; empty when it can be loaded."""
    return examine(path).problems
