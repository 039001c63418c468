"""TLS contexts, shared by all checks with the same trust, and made anew when one of their files is another.

Whether it is another is looked at in a thread: on a disk that hangs a look never returns, and the probes go on with
what is known. Only what nobody has asked for yet is read at once; the configuration was judged by the same files.
"""

from __future__ import annotations

import socket
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from anycastd.config.trust import TrustError, context_of
from anycastd.model.checks import Trust
from anycastd.model.probe import Why

LOOK_EACH_S = 1.0
"""So long a renewed file may go unseen."""

_State = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Made:
    """A context with its files as they were; or None, and what is wrong with them."""

    state: _State = ()
    context: ssl.SSLContext | None = None
    wrong: str = ""


@dataclass(slots=True)
class _Kept:
    """What is known of one trust, and the look that is under way."""

    made: _Made
    looked_s: float
    look: Future[_Made] | None = None


class Contexts:
    """Makes each context once: reading the system's certificates takes about 10 ms."""

    def __init__(self) -> None:
        self._known: dict[Trust, _Kept] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tls files")

    def get(self, trust: Trust) -> tuple[ssl.SSLContext | None, str]:
        """Return a client context, or None and what is wrong with its files. Never waits for files that were read."""
        now_s = time.monotonic()
        kept = self._known.get(trust)
        if kept is None:
            kept = self._known[trust] = _Kept(_made(trust, _Made()), now_s)
        elif kept.look is not None and kept.look.done():
            kept.made, kept.look = kept.look.result(), None
        if kept.look is None and now_s - kept.looked_s >= LOOK_EACH_S:
            kept.looked_s = now_s
            kept.look = self._thread.submit(_made, trust, kept.made)
        return kept.made.context, kept.made.wrong

    def close(self) -> None:
        """Look no more; a look that hangs ends when its disk answers."""
        self._thread.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class TlsClient:
    """One check's side of its TLS sessions: files, and the name that is asked for."""

    contexts: Contexts
    trust: Trust
    name: str

    def prepare(self) -> tuple[ssl.SSLContext | None, str]:
        """Return the context, or None and what is wrong with our files: found before anything is sent."""
        return self.contexts.get(self.trust)

    def wrap(self, context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
        """Return the socket with TLS on it, handshake not begun. Raise OSError (ssl.SSLError is one) or ValueError."""
        return context.wrap_socket(sock, do_handshake_on_connect=False, server_hostname=self.name)


def _made(trust: Trust, before: _Made) -> _Made:
    """Return what the files come to now: the same as before while they are the same, and were no trouble."""
    try:
        state = tuple(map(_state, trust.files))
        if before.context is not None and not before.wrong and before.state == state:
            return before
        return _Made(state, context_of(trust))
    except (OSError, ValueError, TrustError) as error:
        return _Made(wrong=f"TLS set-up: {error}")


def _state(name: str) -> tuple[int, int, int]:
    status = Path(name).stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def failure(error: ssl.SSLError) -> tuple[Why, str]:
    """Return the verdict on a session that failed, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Why.TLS_FAILED, error.verify_message
    return Why.TLS_FAILED, error.reason or "TLS failed"
