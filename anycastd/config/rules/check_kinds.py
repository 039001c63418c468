"""What a single kind of check asks for beside its schema."""

from __future__ import annotations

from anycastd.config.aims import aim_of
from anycastd.config.build.check_options import name_of
from anycastd.config.document import Path
from anycastd.config.rules.checks import sections
from anycastd.config.rules.findings import Findings, versions
from anycastd.config.schema.checks import FileCheck, HttpsCheck, LinkCheck, TimedCheck, TlsCheck
from anycastd.config.values.fields import duration_text
from anycastd.model.checks import Resolver
from anycastd.model.dns import Rcode, Transport, Truncated, canonical
from anycastd.model.topology import Launch

_HIDDEN = ("/tmp/", "/var/tmp/", "/home/", "/root/", "/run/user/")
"""What PrivateTmp= and ProtectHome= of the unit take away."""


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
        if section.tls is not None and section.tls.server_name is None and name_of(section.tls) is None:
            found.error((*path, "tls"), "needs server_name: the certificate is compared with that name")
        for kind in ("https", "tls"):
            check: HttpsCheck | TlsCheck | None = getattr(section, kind)
            if check is not None and check.key_file is not None and check.cert_file is None:
                found.error((*path, kind, "key_file"), "is the key of no certificate: write cert_file as well")


def targets(found: Findings) -> None:
    """Only what is sent has a target, and only a name has addresses of two families."""
    for path, section in sections(found):
        for kind in section.kinds:
            check: TimedCheck = getattr(section, kind)
            if isinstance(check, LinkCheck | FileCheck) and check.target is not None:
                found.error((*path, kind, "target"), f"a {kind} check looks at this machine: it has no target")
            if check.target_family is not None and not isinstance(check.target, str):
                found.error((*path, kind, "target_family"), "has no effect without a target that is a DNS name")


def reachable(found: Findings) -> None:
    """A target of its own is reached from addresses of its family."""
    for path, use in found.uses():
        section = found.root.checks.get(use) if isinstance(use, str) else use
        if section is None or len(section.kinds) != 1:
            continue
        aim = aim_of(section.only, Resolver())
        version = None if aim is None else aim.address.version if aim.address is not None else aim.version
        have = _versions(found, path)
        if version is not None and have and version not in have:
            found.error(path, f"aims at IPv{version}, and what it is used for sends IPv{have.pop()} only")


def _versions(found: Findings, path: Path) -> set[int]:
    """Return the IP versions that checks written at a place are sent by; empty = any."""
    if path[0] == "self_test":
        source = found.root.self_test.targets[str(path[2])].source
        return set() if source is None else {source.version}
    tunnels = found.root.regions[str(path[1])].tunnels
    senders = [tunnels[str(path[3])]] if path[2] == "tunnels" else list(tunnels.values())
    return {version for tunnel in senders for version in versions(tunnel)}


def ages(found: Findings) -> None:
    """A floor is not above its ceiling."""
    resolver = found.root.resolver
    if resolver.min_ttl > resolver.max_ttl:
        what = f"{duration_text(resolver.min_ttl)} is more than max_ttl ({duration_text(resolver.max_ttl)})"
        found.error(("resolver", "min_ttl"), what)


def hidden(found: Findings) -> None:
    """Under anycastd.service some directories are not those of the machine: what is put there is never seen."""
    if found.root.bgp.launch is not Launch.SERVICE:
        return
    for path, section in sections(found):
        named = [] if section.file is None else [((*path, "file", "path"), section.file.path)]
        if section.exec is not None and not section.exec.shell:
            named += [((*path, "exec", "argv", number), word) for number, word in enumerate(section.exec.argv)]
        for at, name in named:
            if name.startswith(_HIDDEN):
                found.warn(at, f"anycastd.service does not see the machine's {name}: it has a /tmp of its own and no "
                               "homes (docs/checks.md)")  # fmt: skip


RULES = (dns, tls, targets, reachable, ages, programs, hidden)
