"""Which host paths a node must be able to reach that its overlay of / does not show or does not let through.

The overlay's lower layer is the root file system alone: other file systems and what the node's own /tmp and /run
cover must be laid over. A second user (exabgp) runs python from the checkout, so directories above it must be open.
"""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
_COVERED_BY_NODE = tuple(Path(path) for path in ("/tmp", "/run", "/proc", "/sys", "/dev"))
FOR_OTHERS = stat.S_IXOTH | stat.S_IXGRP
"""A user whose group is the directory's owner's is judged by the group's bits, not the others' (path_resolution(7))."""
# Parts of a Linux system that an administrator may keep on a file system of their own.
_SYSTEM_PARTS = tuple(Path(path) for path in ("/usr", "/usr/local", "/etc", "/var", "/var/lib", "/opt"))


@dataclass(frozen=True, slots=True)
class Reach:
    """What must be done so that a node sees and may enter all it needs."""

    laid_over: tuple[Path, ...]
    opened: tuple[Path, ...]


def needed_paths() -> tuple[Path, ...]:
    """Give the checkout, the virtual environment and the python they stand on."""
    paths = {_CHECKOUT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return tuple(sorted(paths, key=lambda path: (len(path.parts), path)))


def reach(needed: Iterable[Path], mount_points: frozenset[Path]) -> Reach:
    """Give the paths to lay over, the outermost first, and the directories to open for other users."""
    laid_over: list[Path] = [part for part in _SYSTEM_PARTS if part in mount_points and not part.is_symlink()]
    opened: dict[Path, None] = {}
    for path in needed:
        hidden_at = _hidden_at(path, mount_points)
        if hidden_at is not None and not any(done.is_relative_to(hidden_at) and path.is_relative_to(done)
                                             for done in laid_over):  # fmt: skip
            laid_over.append(path)
        for directory in (*reversed(path.parents), path):
            if directory.is_dir() and directory.stat().st_mode & FOR_OTHERS != FOR_OTHERS:
                opened[directory] = None
    return Reach(tuple(laid_over), tuple(opened))


def _hidden_at(path: Path, mount_points: frozenset[Path]) -> Path | None:
    """Give the innermost directory at which the overlay of / stops to show `path`."""
    for directory in (path, *path.parents):
        if directory != Path("/") and (directory in mount_points or directory in _COVERED_BY_NODE):
            return directory
    return None


def mount_points_here() -> frozenset[Path]:
    """Give all mount points of this process."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    # Spaces and the like are written in octal (proc(5)).
    return frozenset(Path(line.split()[4].encode().decode("unicode_escape")) for line in lines)
