"""The one list of endpoints: path, answer, and what the OpenAPI document says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel

from anycastd.api import schema, schema_attack, schema_orders
from anycastd.api.views import attack, checks, neighbors, orders, overview, prefixes, readiness
from anycastd.api.views.moments import Json
from anycastd.model.status import Status


@dataclass(frozen=True, slots=True)
class View:
    """A GET that is a pure function of the daemon's state."""

    path: str
    summary: str
    make: Callable[[Status], Json]
    model: type[BaseModel]


VIEWS: tuple[View, ...] = (
    View("/v1/status", "The whole POP on one page.", overview.overview, schema.Overview),
    View("/v1/prefixes", "Every prefix: state, preference, reason, hold.", prefixes.prefixes, schema.Prefixes),
    View("/v1/tunnels", "Every tunnel: health, latency, device.", checks.tunnels, schema.Tunnels),
    View("/v1/backends", "Every backend, and how it looks through each tunnel.", checks.backends, schema.Backends),
    View("/v1/regions", "Every region: whether this POP can serve from it.", checks.regions, schema.Regions),
    View(
        "/v1/neighbors",
        "Every BGP session with its desired and observed routes, and the unwanted ones.",
        neighbors.neighbors,
        schema.Neighbors,
    ),
    View("/v1/attacks", "Whether traffic is unusual, of the POP and EIPs.", attack.attacks, schema_attack.Attacks),
    View("/v1/drains", "Every drain: its phase, and what holds it.", orders.drains, schema_orders.DrainList),
    View("/v1/overrides", "Everything forced by hand.", orders.overrides, schema_orders.OverrideList),
    View("/v1/freeze", "Whether announcements are frozen.", orders.freeze, schema_orders.FreezeShape),
    View("/v1/checks", "Every check with its verdict and last results.", checks.checks, schema.Checks),
)

READY = View("/readyz", "Whether the POP does its work: 200, or 503.", readiness.readiness, schema.Readiness)
