"""Files that checks name: certificates to trust, programs to run."""

from __future__ import annotations

from anycastd.config.document import Path
from anycastd.config.rules.checks import sections
from anycastd.config.rules.files import Stat, look
from anycastd.config.rules.findings import Findings
from anycastd.config.schema.checks import CheckSection

EXECUTABLE, WRITABLE_BY_OTHERS = 0o111, 0o022


def named_files(found: Findings, directory: str, stat: Stat) -> None:
    """Look at every file that a check names."""
    for path, section in sections(found):
        _authorities(found, path, section, directory, stat)
        _program(found, path, section, directory, stat)


def _authorities(found: Findings, path: Path, section: CheckSection, directory: str, stat: Stat) -> None:
    if section.https is None or section.https.ca_file is None:
        return
    status = look(found, (*path, "https", "ca_file"), section.https.ca_file, directory, stat)
    if status is not None and status.st_size == 0:
        found.error((*path, "https", "ca_file"), f"{section.https.ca_file} is empty")


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
