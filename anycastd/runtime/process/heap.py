"""The C library's heap: one for all threads. Where the library is not glibc nothing is done."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""mallopt(3): each thread else gets a heap of its own, which is never given back: 3 MiB with 6 threads (measured)."""


def keep_one() -> None:
    """Let all threads share one heap; before there is a second thread."""
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(M_ARENA_MAX, 1)
