"""The number of this start of the daemon: it always grows, also when the clock is set back or the file is lost."""

from __future__ import annotations

import json
from pathlib import Path

from anycastd.runtime.kept import memory_file

FORMAT = 1
LARGEST = (1 << 32) - 2
"""It rides in 32 bits of a beacon."""


def next_boot(path: Path, wall_s: float) -> tuple[int, str]:
    """Return the number of this start and, if it could not be kept for the next one, why.

    It is the Unix time, or one more than that of the last start: so it grows without the file as long as the clock
    does, and with the file as long as that is kept.
    """
    complaint, last = "", 0
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT or not 0 <= int(document["boot"]) <= LARGEST:
            complaint = f"{path}: not a file of this daemon"
        else:
            last = int(document["boot"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        complaint = f"{path}: {error}"
    boot = min(max(int(wall_s), last + 1), LARGEST)
    return boot, keep_boot(path, boot) or complaint


def keep_boot(path: Path, boot: int) -> str:
    """Keep a number for the next start; return why it could not be."""
    try:
        memory_file.save(path, json.dumps({"format": FORMAT, "boot": boot}) + "\n")
    except OSError as error:
        return f"{path}: {error}"
    return ""
