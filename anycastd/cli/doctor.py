"""`anycastd doctor`: what breaks a POP on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from anycastd.cli.config_option import config_option
from anycastd.cli.render import wants_colour, wrapped
from anycastd.config.load import examine
from anycastd.doctor.collect import collect
from anycastd.doctor.diagnose import broken, diagnose
from anycastd.doctor.finding import Finding, Severity

UNEXAMINED = "unexamined"
"""The check of what did not answer. That nothing failed to answer is not listed: it would read as its opposite."""
COLOUR = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.OK: "green"}


@click.command("doctor")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(path: str, as_json: bool) -> None:
    """Look for what breaks a POP on this machine; exit 69 if something does, 78 if the file is refused."""
    examined = examine(path)
    if examined.config is None:
        for problem in examined.problems:
            click.echo(str(problem), err=True)
        sys.exit(os.EX_CONFIG)
    findings = diagnose(collect(examined.config))
    if as_json:
        shown = {"ok": not broken(findings), "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(shown, indent=2))
    else:
        for line in told(findings, colour=wants_colour()):
            click.echo(line)
    sys.exit(os.EX_UNAVAILABLE if broken(findings) else os.EX_OK)


def told(findings: tuple[Finding, ...], *, colour: bool) -> Iterator[str]:
    """Return the lines for a terminal: what is wrong, why, what mends it; what was found well, what not examined."""
    explained: set[str] = set()
    for finding in findings:
        if finding.severity in (Severity.OK, Severity.NOT_EXAMINED):
            continue
        word = click.style(finding.severity, fg=COLOUR[finding.severity]) if colour else str(finding.severity)
        yield f"{word} {finding.id}: {finding.what}"
        if finding.id not in explained:
            explained.add(finding.id)
            yield from wrapped(f"    why:  {finding.why}", 10)
        if finding.mend:
            yield f"    mend: {finding.mend}"
    counts = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    well = [finding.id for finding in findings if finding.severity is Severity.OK and finding.id != UNEXAMINED]
    if well:
        yield from wrapped(f"ok: {', '.join(well)}", 4)
    apart: dict[str, list[str]] = {}
    for finding in findings:
        if finding.severity is Severity.NOT_EXAMINED:
            apart.setdefault(finding.what, []).append(finding.id)
    for why, ids in apart.items():
        yield from wrapped(f"not examined: {', '.join(ids)} ({why})", 4)
    left = counts[Severity.NOT_EXAMINED]
    errors, warnings = _count(counts[Severity.ERROR], "error"), _count(counts[Severity.WARNING], "warning")
    yield ", ".join((errors, warnings, f"{len(well)} ok", *([f"{left} not examined"] if left else [])))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
