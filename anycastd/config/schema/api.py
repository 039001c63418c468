"""`api`: where the daemon listens. Changes need a restart."""

from __future__ import annotations

from pydantic import Field

from anycastd.config.fields import SocketPath
from anycastd.config.net_fields import ListenHost, Port
from anycastd.config.schema.base import Section
from anycastd.model.topology import ApiConfig

_DEFAULT = ApiConfig()


class ApiSection(Section):
    """The API: read-only over TCP, everything over the unix socket. Changes need a restart."""

    host: ListenHost = Field(default=_DEFAULT.host, description="Address of the read-only listener; loopback only.")
    port: Port = Field(default=_DEFAULT.port, description="Its TCP port.")
    socket: SocketPath = Field(default=_DEFAULT.socket, description="Unix socket of the command line tool.")
