"""Write docs/doctor.md: `python -m anycastd.doctor.reference FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from anycastd.doctor.diagnose import CHECKS

_HEAD = """# Doctor

<!-- made by `python -m anycastd.doctor.reference docs/doctor.md`; do not edit -->

`anycastd doctor -c FILE` looks for what breaks a POP on this machine, and changes nothing. Run it as root, in the
network namespace of the daemon, before the first start and after each change of the machine.

| exit status | meaning |
|---|---|
| 0 | no error; there may be warnings |
| 69 | at least one error: the POP loses traffic or cannot start |
| 78 | the configuration file is refused |

An *error* breaks the POP now. A *warning* will one day, or in one situation. What there was nothing to look at for (no
tunnel device yet, no observer in the file) is listed apart as *not examined*, with the reason: it is not known to be
well. `--json` prints `{"ok": ..., "findings": [...]}`; each finding has `id`, `severity` (`error`, `warning`, `ok`,
`not_examined`), `what`, `why` and `mend`.
"""


def page() -> str:
    """Return docs/doctor.md."""
    parts = [_HEAD]
    for check in CHECKS:
        parts.append(f"## {check.id}\n\n**{check.title}.** {check.why}\n\n**To mend:** {check.mend}\n")
    return "\n".join(parts)


def main(path: str) -> None:
    """Write the page."""
    Path(path).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs/doctor.md")
