"""`anycastd check`: what the daemon would say of a configuration file, without starting it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

import click

from anycastd.cli.config_option import config_option
from anycastd.config.load import Examined, examine
from anycastd.model.topology import Config


@click.command("check")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(path: str, as_json: bool) -> None:
    """Tell every mistake of a configuration file; exit 78 if there is one."""
    examined = examine(path)
    if as_json:
        click.echo(json.dumps(_as_json(examined), indent=2))
    else:
        for line in _told(examined, path):
            click.echo(line)
    sys.exit(os.EX_OK if examined.config is not None else os.EX_CONFIG)


def _told(examined: Examined, path: str) -> Iterator[str]:
    notes = [(problem, "") for problem in examined.problems] + [(one, "warning: ") for one in examined.warnings]
    # the file itself first, then those that it names
    for problem, kind in sorted(notes, key=lambda note: (note[0].file != path, note[0].file, note)):
        yield str(replace(problem, message=kind + problem.message))
    config = examined.config
    if config is not None:
        yield f"{config.pop.name}: " + ", ".join(_count(count, what) for what, count in _counts(config).items())
        return
    errors, warnings = len(examined.problems), len(examined.warnings)
    yield _count(errors, "errors") + (f", {_count(warnings, 'warnings')}" if warnings else "")


def _counts(config: Config) -> dict[str, int | float]:
    probes = (*config.probes, *config.self_test.probes)
    return {
        "neighbors": len(config.neighbors),
        "regions": len(config.regions),
        "tunnels": len(config.tunnels),
        "backends": len(config.backends),
        "prefixes": len(config.prefixes),
        "EIPs": len(config.eips),
        "probes per second": round(sum(1 / probe.check.timing.interval_s for probe in probes), 1),
        "warnings": len(config.warnings),
    }


_SINGULAR = {"prefixes": "prefix", "probes per second": "probe per second"}


def _count(count: float, what: str) -> str:
    return f"1 {_SINGULAR.get(what, what.removesuffix('s'))}" if count == 1 else f"{count:g} {what}"


def _as_json(examined: Examined) -> dict[str, object]:
    config = examined.config
    summary: dict[str, object] | None = None
    if config is not None:
        counts = {what.replace(" ", "_").lower(): count for what, count in _counts(config).items()}
        summary = {"pop": config.pop.name, "digest": config.digest, **counts}
    return {
        "ok": config is not None,
        "errors": [asdict(problem) for problem in examined.problems],
        "warnings": [asdict(problem) for problem in examined.warnings],
        "summary": summary,
    }
