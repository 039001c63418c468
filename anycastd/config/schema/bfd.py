"""`bfd`: how the process that speaks BFD is run."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import SocketPath, choice, duration
from anycastd.model.topology import BfdConfig, Launch

_DEFAULT = BfdConfig()


class BfdSection(Section):
    """How the process that speaks BFD is run; there is one where a `bfd` check is. Changes need a restart."""

    launch: Annotated[Launch, choice(Launch)] = Field(
        default=_DEFAULT.launch,
        description="Who starts it: the `daemon`, or a `service` of its own (anycastd-bfd.service), which may have "
        "real-time scheduling.",
    )
    socket: SocketPath = Field(default=_DEFAULT.socket, description="Unix socket between the daemon and the process.")
    silent_after: Annotated[float, duration(0.5, 60.0)] = Field(
        default=_DEFAULT.silent_after_s,
        description="After so much silence of the process nothing is known of its sessions.",
    )
    replace_after: Annotated[float, duration(1.0, 600.0)] = Field(
        default=_DEFAULT.replace_after_s, description="After so much silence it is killed and another one started."
    )
    alone: Annotated[float, duration(1.0, 86400.0)] = Field(
        default=_DEFAULT.alone_s,
        description="How long it keeps its sessions up when the daemon is gone (not as a service).",
    )
