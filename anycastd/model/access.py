"""Who may ask the API for what: roles, tokens, and why somebody is turned away."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do; each may also do what those before it may."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Return whether this role is enough where `needed` is."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)


class Denied(StrEnum):
    """Why a request is turned away: the `code` of the answer, and the reason in the log."""

    HOST_REFUSED = "host_refused"
    READ_ONLY = "read_only"
    TOKEN_MISSING = "token_missing"
    TOKEN_UNKNOWN = "token_unknown"
    ROLE_TOO_LOW = "role_too_low"
    PEER_REFUSED = "peer_refused"

    @property
    def status(self) -> int:
        """Return the HTTP status: 401 where a (better) token would help, else 403."""
        return 401 if self in (Denied.TOKEN_MISSING, Denied.TOKEN_UNKNOWN) else 403


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks: the owner of what is then done."""

    name: str
    role: Role


NOBODY = Who("anonymous", Role.READ)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpec:
    """A named bearer token: its secret, or the secret's SHA-256, is in a file."""

    name: str
    role: Role
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSpec:
    """Files of the TCP listener's TLS; with `client_ca_file` a client must have a certificate of that authority."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None
