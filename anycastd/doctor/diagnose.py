"""Facts -> findings. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from anycastd.doctor.bfd import BFD
from anycastd.doctor.collisions import COLLISIONS
from anycastd.doctor.facts import Facts
from anycastd.doctor.filters import FILTERS
from anycastd.doctor.finding import Check, Finding, Severity
from anycastd.doctor.fleet import FLEET
from anycastd.doctor.network import NETWORK
from anycastd.doctor.ourselves import OURSELVES
from anycastd.doctor.scope import SCOPE
from anycastd.doctor.service import SERVICE

CHECKS = (*NETWORK, *BFD, *FLEET, *FILTERS, *COLLISIONS, *SERVICE, *OURSELVES)
"""Every check, in the order of the page."""

_ORDER = (Severity.ERROR, Severity.WARNING, Severity.OK, Severity.NOT_EXAMINED)


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return what every check found, the worst first; a check without trouble gives one that is ok, or not examined."""
    findings: list[Finding] = []
    for check in CHECKS:
        troubles = tuple(check.look(facts))
        findings += [Finding(check.id, t.severity, t.what, check.why, t.mend) for t in troubles]
        if not troubles:
            findings.append(_nothing(check, facts))
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))


def _nothing(check: Check, facts: Facts) -> Finding:
    for what in facts.unexamined:
        if any(need in what for need in check.needs):
            mend = "sudo anycastd doctor   # with iproute2 and nftables installed"
            return Finding(check.id, Severity.WARNING, f"not known: {what}", check.why, mend)
    if (scope := SCOPE.get(check.id)) is not None and (why := scope(facts)):
        return Finding(check.id, Severity.NOT_EXAMINED, why)
    return Finding(check.id, Severity.OK, check.title)


def broken(findings: Iterable[Finding]) -> bool:
    """Return whether a finding breaks the POP."""
    return any(finding.severity is Severity.ERROR for finding in findings)
