"""TLS contexts, shared by all checks with the same trust, and made anew when one of their files is another."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from anycastd.config.trust import TrustError, context_of
from anycastd.model.checks import Trust
from anycastd.model.probe import Why

_State = tuple[tuple[int, int, int], ...]


class Contexts:
    """Makes each context once: reading the system's certificates takes about 10 ms."""

    def __init__(self) -> None:
        self._known: dict[Trust, tuple[_State, ssl.SSLContext]] = {}

    def get(self, trust: Trust) -> ssl.SSLContext:
        """Return a client context; renewed files are read again. Raise OSError or TrustError."""
        # a stat costs 2 us; a renewed certificate takes effect with the next probe, without a reload
        state = tuple(_state(name) for name in trust.files)
        known = self._known.get(trust)
        if known is not None and known[0] == state:
            return known[1]
        context = context_of(trust)
        self._known[trust] = state, context
        return context


@dataclass(frozen=True, slots=True)
class TlsClient:
    """One check's side of its TLS sessions: files, and the name that is asked for."""

    contexts: Contexts
    trust: Trust
    name: str

    def prepare(self) -> tuple[ssl.SSLContext | None, str]:
        """Return the context, or None and what is wrong with our files: found before anything is sent."""
        try:
            return self.contexts.get(self.trust), ""
        except (OSError, ValueError, TrustError) as error:
            return None, f"TLS set-up: {error}"

    def wrap(self, context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
        """Return the socket with TLS on it, handshake not begun. Raise OSError (ssl.SSLError is one) or ValueError."""
        return context.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=self.name)


def _state(name: str) -> tuple[int, int, int]:
    status = Path(name).stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def failure(error: ssl.SSLError) -> tuple[Why, str]:
    """Return the verdict on a session that failed, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Why.TLS_FAILED, error.verify_message
    return Why.TLS_FAILED, error.reason or "TLS failed"
