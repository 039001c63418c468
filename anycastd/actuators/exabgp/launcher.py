"""Start ExaBGP so that an UPDATE leaves at once; runs alone on ExaBGP's own interpreter.

usage: python3 launcher.py EXABGP ARGUMENTS...

ExaBGP 5.0 sets it on sessions that the peer dialled only (the call is commented out in reactor/network/outgoing.py), so
of two UPDATEs in a row the second waits for the peer's delayed acknowledgement of the first: up to 40 ms. If ExaBGP
looks otherwise inside, it is started as it is. And with thousands of routes each full garbage collection stops it for
30 to 60 ms (measured), which is seldom worth it: nearly nothing that lives that long is garbage. The young are looked
at often: CPython counts what is made less what is freed, so that behind a high threshold many times as many gather.
"""

from __future__ import annotations

import gc
import os
import runpy
import socket
import sys
from collections.abc import Callable
from typing import Any

try:
    from exabgp.reactor.network import outgoing
except ImportError:
    outgoing = None

try:
    from exabgp.version import release
except ImportError:
    # of another release than was proven, and the daemon says so
    release = "unknown"

VERSION = "ANYCASTD_EXABGP_VERSION"
"""By this variable the bridge, whom ExaBGP starts, knows which one it is."""
GC_THRESHOLDS = (700, 10, 6_000)


def without_delay(create: Callable[..., socket.socket]) -> Callable[..., socket.socket]:
    """Return `create`, whose sockets send at once."""

    def created(*arguments: Any, **named: Any) -> socket.socket:
        sock = create(*arguments, **named)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    return created


def main() -> None:
    """Become ExaBGP."""
    if hasattr(outgoing, "create"):
        outgoing.create = without_delay(outgoing.create)
    else:
        sys.stderr.write("anycastd: sessions that ExaBGP dials are left with Nagle's algorithm\n")
    os.environ[VERSION] = str(release)
    gc.set_threshold(*GC_THRESHOLDS)
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
