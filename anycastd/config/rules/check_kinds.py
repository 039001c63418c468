"""What a single kind of check asks for beside its schema."""

from __future__ import annotations

from anycastd.config.rules.checks import sections
from anycastd.config.rules.findings import Findings
from anycastd.model.dns import Rcode, Transport, Truncated, canonical


def dns(found: Findings) -> None:
    """Expected values are of the record type, and an error has none."""
    for path, section in sections(found):
        check = section.dns
        if check is None:
            continue
        for key in ("expect", "contains"):
            values: tuple[str, ...] = getattr(check, key)
            for number, value in enumerate(values):
                try:
                    canonical(check.type, value)
                except ValueError as error:
                    found.error((*path, "dns", key, number), f"{error}, as type {check.type.value} has")
            if values and check.rcode is not Rcode.NOERROR:
                found.error((*path, "dns", key), f"an answer with {check.rcode.value} has no values")
        if check.transport is Transport.TCP and check.truncated is Truncated.FAIL:
            found.error((*path, "dns", "truncated"), "has no effect with transport: tcp")


RULES = (dns,)
