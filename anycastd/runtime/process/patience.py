"""A start that waits for a disk says so: what it waits for, and that nothing changes meanwhile.

A daemon that begins without its state would undo drains and announce what was blackholed. So it waits, however long:
ExaBGP keeps what it was told, the kernel what it holds (I3). SIGTERM ends the wait and withdraws nothing.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anycastd.runtime.process.notify import Notify

AFTER_S = 3.0
"""So long nothing is said: a disk under load takes a second."""
EACH_S = 10.0
LONGER_S = 30.0
"""What systemd is asked for each time: it would end a start after TimeoutStartSec, and begin another that waits."""
MOST_BYTES = 1 << 20


@contextmanager
def told(what: str, notify: Notify) -> Iterator[None]:
    """Say on stderr and to systemd that something is waited for, if it takes long; again and again to systemd."""
    done = threading.Event()

    def tell() -> None:
        if done.wait(AFTER_S):
            return
        words = f"waits for {what}, which does not answer"
        sys.stderr.write(f"anycastd: {words}; until then nothing is changed, and what is announced stays\n")
        while True:
            notify.send(STATUS=words, EXTEND_TIMEOUT_USEC=int(LONGER_S * 1e6))
            if done.wait(EACH_S):
                break
        sys.stderr.write(f"anycastd: {what} answers\n")

    teller = threading.Thread(target=tell, name="patience", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def read_through(directory: Path) -> None:
    """Read the beginning of every file of a state directory, for as long as that takes.

    Each is read in earnest by who needs it, then out of the kernel's memory; what cannot be read is told there.
    """
    with suppress(OSError):
        for found in sorted(directory.iterdir()):
            with suppress(OSError):
                # a pipe would be waited for as if it were a disk
                descriptor = os.open(found, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                with os.fdopen(descriptor, "rb") as file:
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        file.read(MOST_BYTES)
