"""How many sockets probes may have open at once."""

from __future__ import annotations

import resource

KEPT_FREE = 256
"""For the API, ExaBGP, netlink, files and what else a daemon opens."""


def may_be_open() -> int:
    """Return how many sockets the limit of this process (RLIMIT_NOFILE) leaves for probes."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return 1 << 20
    return max(limit - KEPT_FREE, limit // 2)
