"""What every verb says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from anycastd.cli.main import VERBS, cli
from anycastd.cli.version import OURS


def _groups() -> Iterator[str]:
    for name, (module, _) in VERBS.items():
        if isinstance(getattr(import_module(module), name), click.Group):
            yield name


@pytest.mark.parametrize("arguments", [*([name] for name in _groups()), ["attack", "playbook"]], ids=" ".join)
def test_a_group_lists_its_verbs_in_whole_sentences(arguments: list[str]) -> None:
    _, told = CliRunner().invoke(cli, [*arguments, "--help"]).output.split("\nVerbs:\n")
    assert not [line for line in told.splitlines() if line.endswith("...") and "ARGUMENT" not in line]


def test_the_version_is_told_by_an_option_as_well() -> None:
    by_option, by_verb = (CliRunner().invoke(cli, [word]).output for word in ("--version", "version"))
    assert by_option == by_verb
    assert OURS in by_option
