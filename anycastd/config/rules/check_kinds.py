"""What a single kind of check asks for beside its schema."""

from __future__ import annotations

from anycastd.config.rules.checks import sections
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.checks import HttpsCheck, TlsCheck
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


def programs(found: Findings) -> None:
    """A program is named by its path, a line for the shell is one line."""
    for path, section in sections(found):
        if (check := section.exec) is None:
            continue
        if not check.argv:
            found.error((*path, "exec", "argv"), "is empty: what is to be run?")
        elif check.shell and len(check.argv) > 1:
            found.error((*path, "exec", "argv"), "with shell: true it has one entry, the line for /bin/sh")
        elif not check.shell and not check.argv[0].startswith("/"):
            what = f"'{check.argv[0]}' is not an absolute path (it must begin with /)"
            found.error((*path, "exec", "argv", 0), f"{what}; a line for the shell needs shell: true")


def tls(found: Findings) -> None:
    """A certificate is compared with a name, and ours has a key."""
    for path, section in sections(found):
        if section.tls is not None and section.tls.server_name is None:
            found.error((*path, "tls"), "needs server_name: the certificate is compared with that name")
        for kind in ("https", "tls"):
            check: HttpsCheck | TlsCheck | None = getattr(section, kind)
            if check is not None and check.key_file is not None and check.cert_file is None:
                found.error((*path, kind, "key_file"), "is the key of no certificate: write cert_file as well")


RULES = (dns, tls, programs)
