"""One daemon a POP: a lock that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

RUN = Path("/run/anycastd")


class TakenError(Exception):
    """Another process holds the lock; says which."""


class Lock:
    """Holds the file locked from `take` until `release` or the end of the process."""

    def __init__(self, path: Path, does: str | None = None) -> None:
        self._path = path
        self._does = does or f"holds {path}"
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock or raise TakenError; OSError if the file cannot be made."""
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = self._locked()
        while not _is_at(descriptor, self._path):
            # who held it has removed it since we opened it: it keeps nobody out
            os.close(descriptor)
            descriptor = self._locked()
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def _locked(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            message = f"another anycastd (pid {holder or 'unknown'}) {self._does}"
            raise TakenError(message) from error
        return descriptor

    def release(self) -> None:
        """Let the next one in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one that is found at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


class KernelLock(Lock):
    """Of who changes the kernel of this network namespace, whatever sockets and directories its file names.

    Two of them would take each other's routes away, and open sessions to the same neighbors. A namespace has a file of
    its own, which goes with the lock; one that a killed daemon left goes when the next one starts, in any namespace.
    """

    def __init__(self, directory: Path = RUN) -> None:
        namespace = Path("/proc/self/ns/net").stat().st_ino
        super().__init__(directory / f"kernel-{namespace}.lock", "works in this network namespace already")

    def take(self) -> None:
        """Take the lock or raise TakenError; without a right to the file there is none."""
        with suppress(OSError):
            super().take()
            self._sweep()

    def release(self) -> None:
        """Remove the file, still locked, and let the next one in."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
        super().release()

    def _sweep(self) -> None:
        """Remove files of other namespaces that nobody holds."""
        for path in self._path.parent.glob("kernel-*.lock"):
            if path != self._path:
                # another's file, one that is held, one that is gone meanwhile: all are left as they are
                with suppress(OSError), path.open("rb") as left:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
