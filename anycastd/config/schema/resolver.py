"""`resolver`: how DNS names of targets become addresses."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import duration
from anycastd.config.values.net import AddressField, Port
from anycastd.model.checks import Resolver

_DEFAULT = Resolver()


class ResolverSection(Section):
    """Names of targets are asked for over UDP, over TCP where the answer is too large; /etc/hosts is not looked at."""

    servers: tuple[AddressField, ...] = Field(
        default=(), description="Name servers that recurse, tried in this order; default: those of /etc/resolv.conf."
    )
    port: Port = Field(default=_DEFAULT.port, description="Their port.")
    timeout: Annotated[float, duration(0.05, 60.0)] = Field(
        default=_DEFAULT.timeout_s, description="How long one of them is waited for."
    )
    retry: Annotated[float, duration(0.1, 3600.0)] = Field(
        default=_DEFAULT.retry_s, description="How long after a failure it is tried again."
    )
    min_ttl: Annotated[float, duration(0.1, 86400.0)] = Field(
        default=_DEFAULT.min_ttl_s, description="An answer is used at least so long, whatever its TTL."
    )
    max_ttl: Annotated[float, duration(1.0, 604800.0)] = Field(
        default=_DEFAULT.max_ttl_s, description="And at most so long before it is asked for again."
    )
    stale: Annotated[float, duration(0.0, 2592000.0)] = Field(
        default=_DEFAULT.stale_s,
        description="How long after that the last good answer is used when there is no new one; then the checks are "
        "UNKNOWN.",
    )
