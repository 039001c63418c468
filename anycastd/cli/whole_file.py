"""A file that a verb writes: there whole, or as it was before; a full disk must not cost the last good one."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def put(path: Path, text: str) -> None:
    """Write a text to a file, also one that is there; OSError if it cannot be, and then nothing has changed."""
    # behind a link, so that the link stays
    path = path.resolve()
    if path.exists() and not path.is_file():
        # a pipe or a terminal cannot be replaced
        path.write_text(text, encoding="utf-8")
        return
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with new.open("x", encoding="utf-8") as file:
            if path.exists():
                # who may read it stays as somebody decided
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
