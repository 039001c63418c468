"""`api`: where the daemon listens, and who may ask it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anycastd.config.schema.base import Section
from anycastd.config.values.fields import FileName, Name, SocketPath, UserName, choice
from anycastd.config.values.net import ListenHost, Port
from anycastd.model.access import Role
from anycastd.model.topology import ApiConfig

_DEFAULT = ApiConfig()


class TokenSection(Section):
    """A bearer token for the TCP listener; its name is the owner of what is done with it. Read anew by a reload."""

    role: Annotated[Role, choice(Role)] = Field(
        default=Role.READ,
        description="`read` asks, `operate` also changes EIPs, dials and drains, `admin` also reloads and forces.",
    )
    file: FileName = Field(
        description="File with the token, or `sha256:` and the SHA-256 of it in hex; mode 0600, or 0640 with the "
        "daemon's group. A relative name begins at the directory of the configuration file."
    )


class TlsSection(Section):
    """TLS of the TCP listener. Certificate and key are read anew by a reload."""

    cert_file: FileName = Field(description="Certificate, with the chain below it; PEM.")
    key_file: FileName = Field(description="Its private key; PEM, mode 0600 or 0640.")
    client_ca_file: FileName | None = Field(
        default=None, description="Authorities whose certificate every client must show; PEM. Default: none is asked."
    )


class ApiSection(Section):
    """The API: reads over TCP, writes there with a token, everything over the unix socket.

    Changes need a restart, but for `tokens`.
    """

    host: ListenHost = Field(
        default=_DEFAULT.host,
        description="Address of the TCP listener. Beyond loopback it needs `tls` and `tokens`, and every request a "
        "token.",
    )
    port: Port = Field(default=_DEFAULT.port, description="Its TCP port.")
    socket: SocketPath = Field(default=_DEFAULT.socket, description="Unix socket of the command line tool.")
    group: UserName = Field(
        default=_DEFAULT.group,
        description="Group whose members may use the unix socket, besides root and the daemon's user; where there is "
        "no such group, only these.",
    )
    tokens: dict[Name, TokenSection] = Field(default={}, description="Bearer tokens for the TCP listener, by name.")
    tls: TlsSection | None = Field(default=None, description="TLS of the TCP listener.")
