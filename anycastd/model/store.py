"""Where EIPs, dials and tasks are kept: in a file of this POP, or in an etcd that the whole fleet shares."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StoreKind(StrEnum):
    """The stores there are."""

    EMBEDDED = "embedded"
    ETCD = "etcd"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Which store, and how an etcd is asked; times in seconds.

    `attempt_s`: how long one member may take; `commit_within_s`: how long a change is tried in all. `heartbeat_s`: how
    often this POP writes its own key; not seen for `stale_after_s`, the member counts as stale and the next is asked.
    `presence_s`: how long a POP that says nothing is shown as present. `compact_after_s`: history older than this is
    forgotten (0 = by us never). `withdrawals_apart_s`: how far apart in the fleet a prefix is withdrawn for health.
    """

    kind: StoreKind = StoreKind.EMBEDDED
    endpoints: tuple[str, ...] = ()
    prefix: str = "/anycastd"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    user: str = ""
    password_file: str | None = None
    attempt_s: float = 1.0
    commit_within_s: float = 4.0
    heartbeat_s: float = 3.0
    stale_after_s: float = 9.0
    presence_s: float = 10.0
    compact_after_s: float = 3600.0
    single_flight_s: float = 60.0
    withdrawals_apart_s: float = 30.0
    budget_percent: int = 25
