"""Everything that is wrong with a file, at once: its schema and what only the whole shows. Pure but for file stats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anycastd.config.document import Document
from anycastd.config.rules import (
    access,
    attack,
    bfd,
    check_files,
    check_kinds,
    checks,
    conditions,
    eips,
    files,
    fleet,
    left_out,
    machine,
    neighbors,
    prefixes,
    regions,
    safety,
    spread,
    store,
    tunnels,
)
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.root import Root
from anycastd.config.validate import validate
from anycastd.errors import Problem

RULES: tuple[Callable[[Findings], None], ...] = (
    *machine.RULES,
    *access.RULES,
    *neighbors.RULES,
    *checks.RULES,
    *check_kinds.RULES,
    *bfd.RULES,
    *regions.RULES,
    *tunnels.RULES,
    *prefixes.RULES,
    *conditions.RULES,
    *eips.RULES,
    *safety.RULES,
    *spread.RULES,
    *attack.RULES,
    *store.RULES,
    *fleet.RULES,
    *left_out.RULES,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file came to: `root` is set only when `problems` is empty."""

    root: Root | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def check(document: Document, directory: str, stat: files.Stat) -> Verdict:
    """Return the verdict on a document; `stat` looks at the files it names."""
    if not document.value and document.problems:
        return Verdict(None, tuple(sorted(set(document.problems))))
    draft = validate(document)
    problems = [*document.problems, *draft.problems]
    if draft.root is None:
        return Verdict(None, tuple(sorted(set(problems))))
    findings = Findings(draft, draft.root)
    for rule in RULES:
        rule(findings)
    files.named_files(findings, directory, stat)
    check_files.named_files(findings, directory, stat)
    tunnels.key_files(findings, directory, stat)
    access.key_files(findings, directory, stat)
    store.named_files(findings, directory, stat)
    fleet.named_files(findings, directory, stat)
    problems += findings.errors
    return Verdict(
        None if problems else draft.root, tuple(sorted(set(problems))), tuple(sorted(set(findings.warnings)))
    )
