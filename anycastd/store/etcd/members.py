"""Which member is asked, and when what it tells has become stale. Pure; times are monotonic seconds."""

from __future__ import annotations

from collections.abc import Sequence

REST_S = 5.0
"""A member that failed is passed over so long, while another may do."""


class Members:
    """The members in the order of the configuration; one that works is kept."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._at = 0
        self._rests_until_s: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def present(self) -> str:
        """Return the member that is asked first."""
        return self._urls[self._at]

    def choose(self, now_s: float) -> str:
        """Return whom to ask: the present one, or where it rests the next that does not; if all do, the longest."""
        order = [(self._at + step) % len(self._urls) for step in range(len(self._urls))]
        rests = [self._rests_until_s.get(self._urls[place], 0.0) for place in order]
        free = next((place for place, until_s in zip(order, rests, strict=True) if until_s <= now_s), None)
        self._at = order[rests.index(min(rests))] if free is None else free
        return self._urls[self._at]

    def failed(self, url: str, now_s: float) -> None:
        """Pass a member over for a while."""
        self._rests_until_s[url] = now_s + REST_S
        if self._urls[self._at] == url:
            self._at = (self._at + 1) % len(self._urls)

    def worked(self, url: str) -> None:
        """Ask a member again at any time."""
        self._rests_until_s.pop(url, None)


class Freshness:
    """Whether a stream still tells what happens: our own heartbeat comes back on it."""

    def __init__(self, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        self.seen_s = 0.0

    def seen(self, now_s: float) -> None:
        """Note that it came back, or that the stream begins."""
        self.seen_s = now_s

    def left_s(self, now_s: float) -> float:
        """Return how long it may still be silent."""
        return self.seen_s + self._stale_after_s - now_s
