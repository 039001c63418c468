"""TLS check: a session comes about, and the certificate is good for long enough."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from datetime import UTC, datetime

from anycastd.model.checks import Expiring, ProbeSpec, TlsOptions
from anycastd.model.probe import Note, Why
from anycastd.probes.attempt import Attempt, Owner, Reactor
from anycastd.probes.stream import Endpoint, StreamAttempt
from anycastd.probes.tls.contexts import Contexts, TlsClient, failure

DAY_S = 86400.0
READ_BYTES = 16384


class TlsAttempt(StreamAttempt):
    """Connect, shake hands, look at the certificate.

    In TLS 1.3 a server looks at our certificate after our side of the handshake is over. With one, the session is
    therefore half closed and the server's last word awaited: its alert, or its end.
    """

    __slots__ = ("context", "parting", "plan", "secured", "verdict")

    def __init__(self, owner: Owner, order: int, started_s: float, plan: TlsPlan) -> None:
        super().__init__(owner, order, started_s, plan.reactor, plan.endpoint)
        self.plan, self.secured, self.parting = plan, False, False
        self.context: ssl.SSLContext | None = None
        self.verdict: tuple[Why, str] = Why.INTERNAL, ""

    def start(self, now_s: float) -> None:
        """Look whether our own files are in order, and connect."""
        self.context, wrong = self.plan.client.prepare()
        if self.context is None:
            self.end(Why.FILE_UNUSABLE, wrong, now_s)
        else:
            super().start(now_s)

    def on_connected(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Begin TLS."""
        if self.context is None:
            return
        descriptor = sock.fileno()
        try:
            sock = self.sock = self.plan.client.wrap(self.context, sock)
        except (OSError, ValueError) as error:
            self.reactor.forget(descriptor)
            self.end(Why.INTERNAL, f"TLS set-up: {error}", now_s)
            return
        self.on_ready(sock, mask, now_s)

    def on_ready(self, sock: socket.socket, mask: int, now_s: float) -> None:
        """Go on as far as the socket allows."""
        if not isinstance(sock, ssl.SSLSocket):
            return
        try:
            if not self.secured:
                sock.do_handshake()
                self.verdict, self.note = self.plan.look(sock, time.time())
                self.secured = True
            if not self.plan.asks_last_word or self._last_word(sock):
                self.end(*self.verdict, now_s)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except ssl.SSLError as error:
            self.end(*failure(error), now_s)
        except OSError as error:
            # many servers end without the ceremony; an alert would have been read before
            if self.parting:
                self.end(*self.verdict, now_s)
            else:
                self.fail(error.errno, now_s)

    def _last_word(self, sock: ssl.SSLSocket) -> bool:
        """Return whether the server has taken our certificate; raise ssl.SSLError for its alert, or to be asked again.

        Data, or its end of the session, say that it has.
        """
        if not self.parting:
            self.parting = True
            # half of it alone, since unwrap() would not wait for the alert; where it was reset that is read first
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_WR)
        sock.read(READ_BYTES)
        return True

    def on_timeout(self, now_s: float) -> None:
        """End; a server that keeps a session open after our end of it has not complained."""
        if self.secured:
            self.end(*self.verdict, now_s)
        else:
            super().on_timeout(now_s)

    def doing(self) -> str:
        """Return what is being waited for."""
        return "TLS handshake" if self.connected else "connecting"


class TlsPlan:
    """A TLS check of one target."""

    def __init__(self, spec: ProbeSpec, options: TlsOptions, reactor: Reactor, contexts: Contexts) -> None:
        self.reactor, self._options = reactor, options
        self.endpoint = Endpoint(spec.target, options.port, spec.source)
        self.asks_last_word = options.cert_file is not None
        self._name = options.server_name or str(spec.target)
        self.client = TlsClient(contexts, options.trust, self._name)

    def look(self, sock: ssl.SSLSocket, wall_s: float) -> tuple[tuple[Why, str], Note]:
        """Return what the certificate of an open session is worth at a moment of Unix time."""
        certificate = sock.getpeercert() or {}
        expires_s = float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
        left_days, wanted_days = (expires_s - wall_s) / DAY_S, self._options.expires_in_s / DAY_S
        until = datetime.fromtimestamp(expires_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        is_good = left_days >= wanted_days
        wanted = "" if is_good else f"; wanted at least {wanted_days:g} days"
        detail = f"{sock.version()}, certificate of {self._name} ends {until}, in {left_days:.1f} days{wanted}"
        if is_good:
            return (Why.ANSWERED, detail), Note(certificate_ends_s=expires_s)
        if self._options.expiring is Expiring.WARN:
            return (Why.ANSWERED, detail), Note(certificate_ends_s=expires_s, warning=detail)
        return (Why.CERTIFICATE_EXPIRES, detail), Note(certificate_ends_s=expires_s)

    def attempt(self, owner: Owner, order: int, now_s: float) -> Attempt:
        """Return a probe that was not started yet."""
        return TlsAttempt(owner, order, now_s, self)

    def close(self) -> None:
        """Release nothing: nothing is shared."""
