"""`bgp`: how ExaBGP is run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import (
    AbsolutePath,
    Flag,
    ToldPath,
    ToldSocketPath,
    UserName,
    choice,
    decimal,
    duration,
    whole,
)
from anycastd.config.values.net import Port
from anycastd.model.topology import BgpConfig, Launch

_DEFAULT = BgpConfig()


class BgpSection(Section):
    """How ExaBGP is run. Changes need a restart, but for `reconcile`."""

    launch: Annotated[Launch, choice(Launch)] = Field(
        default=_DEFAULT.launch,
        description="Who starts ExaBGP: the `daemon`, or a `service` of its own (anycastd-bgp.service), which the "
        "daemon finds by the bridge's hello.",
    )
    user: UserName = Field(
        default=_DEFAULT.user, description="Who ExaBGP runs as when the daemon is root, or as a service of its own."
    )
    socket: ToldSocketPath = Field(
        default=_DEFAULT.socket, description="Unix socket between the daemon and ExaBGP's bridge."
    )
    directory: ToldPath = Field(default=_DEFAULT.directory, description="Where ExaBGP's own files are written.")
    exabgp: AbsolutePath | None = Field(
        default=None, description="The exabgp program; default: the one installed with us."
    )
    port: Port = Field(default=_DEFAULT.port, description="TCP port of BGP.")
    listen: Flag = Field(default=_DEFAULT.listen, description="Whether neighbors may also connect to us.")
    window: Annotated[int, whole(1, 1024)] = Field(
        default=_DEFAULT.window, description="How many commands ExaBGP may have that it has not acknowledged."
    )
    reactor_speed: Annotated[float, decimal(0.01, 10)] = Field(
        default=_DEFAULT.reactor_speed,
        description="ExaBGP's reactor.speed; lower is quicker and uses more CPU: at 0.1 it turns 700 times a second, "
        "idle or not, which is 5 to 7 % of a core (measured with 5.0.15); at 1 it turns at most 100 times.",
    )
    wedged_after: Annotated[float, duration(0.5, 600.0)] = Field(
        default=_DEFAULT.wedged_after_s, description="A command unacknowledged for so long means that ExaBGP hangs."
    )
    idle_ask: Annotated[float, duration(0.2, 600.0)] = Field(
        default=_DEFAULT.idle_ask_s, description="How often an idle ExaBGP is asked whether it lives."
    )
    reconcile: Annotated[float, duration(1.0, 3600.0)] = Field(
        default=_DEFAULT.reconcile_s, description="How often what ExaBGP sends is read back and compared."
    )
    connect_within: Annotated[float, duration(1.0, 600.0)] = Field(
        default=_DEFAULT.connect_within_s,
        description="How long a started ExaBGP may take to report before it is replaced.",
    )
