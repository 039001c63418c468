"""Files that checks name: certificates to trust, our own with their keys, programs to run."""

from __future__ import annotations

from anycastd.config.build.check_options import absolute
from anycastd.config.document import Path
from anycastd.config.rules.checks import sections
from anycastd.config.rules.files import Stat, look, secret
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.checks import BfdAuthSection, CheckSection, HttpsCheck, TlsCheck
from anycastd.config.trust import TrustError, context_of
from anycastd.model.checks import Trust

EXECUTABLE, WRITABLE_BY_OTHERS = 0o111, 0o022


def named_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at every file that a check names; certificates and keys are loaded as the probes load them."""
    for path, section in sections(found):
        for kind in ("https", "tls"):
            check: HttpsCheck | TlsCheck | None = getattr(section, kind)
            if check is not None:
                _certificates(found, (*path, kind), check, directory, stat)
        _program(found, path, section, directory, stat)
        if section.bfd is not None and section.bfd.auth is not None:
            _bfd_key(found, (*path, "bfd", "auth", "key_file"), section.bfd.auth, directory, stat)


def _certificates(found: Findings, path: Path, check: HttpsCheck | TlsCheck, directory: str, stat: Stat) -> None:
    usable = True
    for key in ("ca_file", "cert_file", "key_file"):
        name: str | None = getattr(check, key)
        if name is None:
            continue
        status = look(found, (*path, key), name, directory, stat)
        if status is not None and not status.st_size:
            found.error((*path, key), f"{name} is empty")
        usable = usable and status is not None and status.st_size > 0
        if status is not None and (key == "key_file" or (key == "cert_file" and check.key_file is None)):
            secret(found, (*path, key), name, status)
    if not usable or (check.key_file is not None and check.cert_file is None):
        return
    try:
        context_of(
            Trust(
                ca_file=absolute(check.ca_file, directory),
                # the machine's own authorities are no file of ours, and take a tenth of a second to read
                verify=check.ca_file is not None,
                cert_file=absolute(check.cert_file, directory),
                key_file=absolute(check.key_file, directory),
            )
        )
    except TrustError as error:
        key = error.key if getattr(check, error.key) is not None else "cert_file"
        found.error((*path, key), f"{getattr(check, key)} {error.why}")


def _bfd_key(found: Findings, path: Path, auth: BfdAuthSection, directory: str, stat: Stat) -> None:
    status = look(found, path, auth.key_file, directory, stat)
    if status is None:
        return
    secret(found, path, auth.key_file, status)
    most = auth.type.max_key_bytes
    if not 1 <= status.st_size <= most + 1:
        found.error(path, f"{auth.key_file} holds {status.st_size} bytes; a {auth.type.value} key has 1 to {most}")


def _program(found: Findings, path: Path, section: CheckSection, directory: str, stat: Stat) -> None:
    check = section.exec
    if check is None or check.shell or not check.argv or not check.argv[0].startswith("/"):
        return
    at, name = (*path, "exec", "argv", 0), check.argv[0]
    status = look(found, at, name, directory, stat)
    if status is None:
        return
    if not status.st_mode & EXECUTABLE:
        found.error(at, f"{name} is not executable; chmod +x it")
    if status.st_mode & WRITABLE_BY_OTHERS:
        found.error(at, f"{name} can be written by others, and the daemon runs it; chmod go-w it")
