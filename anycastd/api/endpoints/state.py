"""The one list of endpoints that show the state: path, answer, and what the OpenAPI document says of them.

The shapes of the answers are in `openapi.py`: 2 MiB that a daemon has no use for until somebody asks for the document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anycastd.api.views import attack, checks, neighbors, orders, overview, prefixes, readiness
from anycastd.api.views.moments import Json
from anycastd.model.status import Status


@dataclass(frozen=True, slots=True)
class View:
    """A GET that is a pure function of the daemon's state."""

    path: str
    summary: str
    make: Callable[[Status], Json]


VIEWS: tuple[View, ...] = (
    View("/v1/status", "The whole POP on one page.", overview.overview),
    View("/v1/prefixes", "Every prefix: state, preference, reason, hold.", prefixes.prefixes),
    View("/v1/tunnels", "Every tunnel: health, latency, device.", checks.tunnels),
    View("/v1/backends", "Every backend, and how it looks through each tunnel.", checks.backends),
    View("/v1/regions", "Every region: whether this POP can serve from it.", checks.regions),
    View(
        "/v1/neighbors",
        "Every BGP session with its desired and observed routes, and the unwanted ones.",
        neighbors.neighbors,
    ),
    View("/v1/attacks", "Whether traffic is unusual, of the POP and EIPs.", attack.attacks),
    View("/v1/drains", "Every drain: its phase, and what holds it.", orders.drains),
    View("/v1/overrides", "Everything forced by hand.", orders.overrides),
    View("/v1/freeze", "Whether announcements are frozen.", orders.freeze),
    View("/v1/checks", "Every check with its verdict and last results.", checks.checks),
)

READY = View("/readyz", "Whether the POP does its work: 200, or 503.", readiness.readiness)
