"""Facts -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from anycastd.doctor.collisions import COLLISIONS
from anycastd.doctor.facts import Facts
from anycastd.doctor.finding import Finding, Severity
from anycastd.doctor.network import NETWORK
from anycastd.doctor.ourselves import OURSELVES

CHECKS = (*NETWORK, *COLLISIONS, *OURSELVES)
"""Every check, in the order of the page."""

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.OK)


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return what every check found, the worst first; a check without trouble gives one finding that is ok."""
    findings: list[Finding] = []
    for check in CHECKS:
        troubles = tuple(check.look(facts))
        findings += [Finding(check.id, t.severity, t.what, check.why, t.mend) for t in troubles]
        if not troubles:
            findings.append(Finding(check.id, Severity.OK, check.title))
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def broken(findings: Iterable[Finding]) -> bool:
    """Return whether a finding breaks the POP."""
    return any(finding.severity is Severity.ERROR for finding in findings)
